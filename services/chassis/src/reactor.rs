//! A reactor: an aggregate that reacts to the events of other services.

use crate::aggregate::Aggregate;
use crate::inbox::Verdict;
use crate::store::AggregateId;
use events::{Envelope, Metadata, Unreadable};

/// An aggregate that reacts to events.
pub trait Reactor: Aggregate {
    /// What an event means to this service.
    ///
    /// # Errors
    /// [`Unreadable`] for a type that the service does not consume, or data that is not of its shape.
    fn read(envelope: &Envelope) -> Result<Self::Message, Unreadable>;

    /// The aggregate that an event is about.
    fn id(metadata: &Metadata) -> AggregateId {
        AggregateId::new("order", &metadata.subject)
    }

    /// The type of the event that answers for the state as it stands; none: the last that the service published. The
    /// consumer publishes it again when a reminder asks for it.
    fn last_answer(&self) -> Option<&'static str> {
        None
    }

    /// The verdict on a delivery that led from this state to `facts`.
    fn verdict(&self, _facts: &[Self::Fact]) -> Verdict {
        Verdict::Applied
    }
}
