//! Which events newcomer consumes and publishes.

use crate::subscriptions::{VIEWS};
use crate::widget::{Fact, Message, Widget};
use chassis::audit::{Audited, Kind};
use chassis::outbox::OutboxEntry;
//: each subject but an order
use chassis::store::AggregateId;
//: end
use chassis::{Aggregate, NoEffects, Reactor};
use events::newcomer::{PUBLISHED};
//: each source
use events::producers::{WidgetHappened};
//: each subject but an order
use events::Metadata;
//: end
use events::{Envelope, Unreadable};

/// Newcomer makes no outward calls.
pub type Reactions = NoEffects<Widget>;

impl Aggregate for Widget {
    const SERVICE: &'static str = "newcomer";

    //: each silent
    fn event(_fact: &Fact) -> Option<OutboxEntry> {
        None
    }
    //: each publishing
    fn event(fact: &Fact) -> Option<OutboxEntry> {
        match fact {
            //: each produced
            Fact::Decided(decided) => Some(OutboxEntry::published(decided)),
            //: each unpublished
            Fact::Noted => None,
            //: each publishing
        }
    }
    //: end

    fn facts(&self, event: &Envelope) -> Result<Vec<Fact>, Unreadable> {
        //: each produced
        if event.is::<NewcomerDecided>() {
            return Ok(vec![Fact::Decided(event.data()?)]);
        }
        //: end
        Err(event.not_consumed_by(Self::SERVICE))
    }

    //: each determined
    /// Every fact is an event, so they determine all of the state.
    fn visible(&self) -> String {
        format!("{self:?}")
    }
    //: each undetermined
    /// Nothing yet: say what the events determine of the state, beside what only the state keeps.
    fn visible(&self) -> String {
        String::new()
    }
    //: end

    fn starts_aggregate(message: &Message) -> bool {
        matches!(message, Message::First(_))
    }
}

impl Reactor for Widget {
    fn read(envelope: &Envelope) -> Result<Message, Unreadable> {
        //: each consumed
        if envelope.is::<WidgetHappened>() {
            return Ok(Message::Happened(envelope.view::<Happened>()?.widget_id));
        }
        //: end
        Err(envelope.not_consumed_by(Self::SERVICE))
    }
    //: each subject but an order

    fn id(metadata: &Metadata) -> AggregateId {
        AggregateId::new("widget", &metadata.subject)
    }
    //: end
}

/// What an audit compares.
pub const AUDITED: Audited =
    Audited { kinds: &[Kind::by_events::<Widget>("widget")], views: &[], inbox: <Widget as Reactor>::id };
