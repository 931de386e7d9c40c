//! What newcomer reads of the others' events: these fields and no more.

//: each id type
use events::WidgetId;
//: end
use events::catalogue::{Subscription, subscription};
//: each source
use events::producers::{WidgetHappened};
//: end
use schemars::JsonSchema;
use serde::Deserialize;

//: each consumed
/// Of `widget.happened`.
#[derive(Deserialize, JsonSchema)]
pub struct Happened {
    pub widget_id: WidgetId,
}

//: end
/// Everything that newcomer consumes.
pub const CONSUMES: &[Subscription] = &[
    //: each consumed
    subscription::<WidgetHappened, Happened>(),
    //: end
];
