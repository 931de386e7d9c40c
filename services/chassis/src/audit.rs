//! What an audit needs of a service: how the rows of its table are compared with its events. The reading is an operator's.

use crate::aggregate::{Aggregate, read_state};
use crate::failure::Failure;
use crate::outbox::envelope_of;
use crate::store::{AggregateId, Item};
use events::{Envelope, Metadata, Unreadable};

/// What a service lets an audit see of its table.
pub struct Audited {
    /// The aggregates in it.
    pub kinds: &'static [Kind],
    /// The projections in it.
    pub views: &'static [View],
    /// Whose inbox remembers an event.
    pub inbox: fn(&Metadata) -> AggregateId,
}

/// The aggregates of one kind.
pub struct Kind {
    /// How their partitions begin: `order` of `order#018f…`.
    pub name: &'static str,
    /// Whether only events begin one, and so leave an event row or an inbox row.
    pub by_events: bool,
    /// The attributes of the state row that other writes adjust.
    pub adjusted: fn() -> Vec<&'static str>,
    /// Both sides of a comparison: a state row, and the event rows of its aggregate, oldest first.
    pub compare: fn(&Item, &[Item]) -> Result<Compared, Failure>,
}

/// A projection.
pub struct View {
    /// How its partitions begin.
    pub name: &'static str,
    /// The row that an event makes, if it is one that the view shows.
    pub row: fn(&Envelope) -> Result<Option<Item>, Unreadable>,
}

/// What a state row says of what its events determine, and what they say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compared {
    /// The state row.
    pub stored: String,
    /// The fold of the events.
    pub folded: String,
}

impl Kind {
    /// Aggregates that only events begin.
    #[must_use]
    pub const fn by_events<A: Aggregate>(name: &'static str) -> Self {
        Self { name, by_events: true, adjusted: adjusted::<A>, compare: compare::<A> }
    }

    /// Aggregates that commands begin too.
    #[must_use]
    pub const fn by_commands<A: Aggregate>(name: &'static str) -> Self {
        Self { by_events: false, ..Self::by_events::<A>(name) }
    }
}

fn adjusted<A: Aggregate>() -> Vec<&'static str> {
    A::default().adjusted_elsewhere().into_iter().map(|(name, _)| name).collect()
}

fn compare<A: Aggregate>(state: &Item, events: &[Item]) -> Result<Compared, Failure> {
    let mut folded = A::default();
    for row in events {
        let facts = folded.facts(&envelope_of(row)?)?;
        folded = facts.iter().fold(folded, A::evolve);
    }
    Ok(Compared { stored: read_state::<A>(state)?.state.visible(), folded: folded.visible() })
}
