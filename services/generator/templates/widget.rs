//! What newcomer knows about one widget, and what it decides: the pure core.

use chassis::{Decider, Refusal};
use chrono::{DateTime, Utc};
//: each id type
use events::WidgetId;
//: end
//: each publishing
use events::newcomer::{PUBLISHED};
//: end
use serde::{Deserialize, Serialize};

/// What newcomer knows about a widget.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "stage", rename_all = "snake_case")]
pub enum Widget {
    /// Nothing.
    #[default]
    Unknown,
    //: each step
    /// ANSWERED
    Done,
    //: end
}

/// What newcomer decides on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    //: each consumed
    Happened(WidgetId),
    //: end
}

/// What newcomer decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    //: each produced
    Decided(NewcomerDecided),
    //: each kept
    /// Only the state keeps it.
    Noted,
    //: end
}

impl Decider for Widget {
    type Message = Message;
    type Fact = Fact;

    fn decide(&self, message: &Message, _now: DateTime<Utc>) -> Result<Vec<Fact>, Refusal> {
        match (self, message) {
            //: each step
            (Self::Earlier, Message::Happened(widget_id)) => Ok(vec![FACTS]),
            //: each step
            (Self::Done, _) => Err(Refusal::Stale("already done")),
            //: end
        }
    }

    fn evolve(self, fact: &Fact) -> Self {
        match fact {
            //: each mark
            Fact::Marked => Self::Done,
            //: end
        }
    }
}

#[cfg(test)]
mod specs {
    use super::*;
    //: each uuid
    use uuid::Uuid;
    //: end

    type Spec = chassis::spec::Spec<Widget>;

    fn widget_id() -> WidgetId {
        SAMPLE
    }
    //: each step

    fn after_happened() -> Vec<Fact> {
        vec![SAMPLE_FACTS]
    }
    //: each step

    #[test]
    fn happened_is_answered_once() {
        let happened = Message::Happened(widget_id());
        Spec::given([]).when(happened.clone()).then(after_happened());
        Spec::given(after_happened()).when(happened).refused(Refusal::Stale("already done"));
    }
    //: each overtaking

    /// Guards: the tombstone. What comes after it was overtaken changes nothing.
    #[test]
    fn first_after_last_is_stale() {
        let late = Message::First(widget_id());
        Spec::given(after_last()).when(late).refused(Refusal::Stale("already done"));
    }
    //: end
}
