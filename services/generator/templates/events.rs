//! What newcomer publishes: of a widget, DECISIONS.

use crate::{IDS};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

//: each produced
/// Newcomer's word on a widget: DECISION.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NewcomerDecided {
    /// The widget.
    pub widget_id: WidgetId,
}

event!(NewcomerDecided, "newcomer.decided", 1, "newcomer");

//: end
