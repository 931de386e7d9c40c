//! An aggregate: a decider whose state is a row, and whose facts are event rows.

use crate::decider::Decider;
use crate::digest::sealed;
use crate::failure::Failure;
use crate::inbox::{Delivered, Inbox};
use crate::metrics::Sample;
use crate::outbox::{Context, OutboxEntry, event_rows};
use crate::store::{AggregateId, Attr, Condition, Item, Key, Rejected, Store, Write};
use events::{Envelope, Unreadable, envelope::millis};
use serde::{Serialize, de::DeserializeOwned};
use std::fmt::Display;

/// A decider with a place in its service's table.
pub trait Aggregate: Decider + Serialize + DeserializeOwned {
    /// The service that owns it: the producer of its events.
    const SERVICE: &'static str;

    /// The event row of a fact; none for a fact that only the state keeps.
    fn event(fact: &Self::Fact) -> Option<OutboxEntry>;

    /// The facts that an event row of this aggregate stands for, in this state: the one that made it, and before it the
    /// private ones that must have come first. The audit folds them.
    ///
    /// # Errors
    /// [`Unreadable`] for an event that the aggregate never publishes, or data that is not of its shape.
    fn facts(&self, event: &Envelope) -> Result<Vec<Self::Fact>, Unreadable>;

    /// What the aggregate's event rows determine of the state, and nothing that only private facts do. The audit compares
    /// it with the fold, and shows it: no personal data.
    fn visible(&self) -> String;

    /// Whether a message usually is the first that its aggregate sees. The loop then starts from nothing without
    /// loading; where that was wrong, the commit's own condition says so and the loop loads.
    fn starts_aggregate(_message: &Self::Message) -> bool {
        false
    }

    /// Attributes of the state row that indexes need.
    fn index(&self) -> Vec<(&'static str, Attr)> {
        Vec::new()
    }

    /// Writes to other rows of the table that belong to a fact.
    fn side_writes(_fact: &Self::Fact) -> Vec<SideWrite<Self::Message>> {
        Vec::new()
    }

    /// What is measured when facts of this state are committed. A commit that fails is not measured, and a repetition commits
    /// nothing.
    fn measured(&self, _facts: &[Self::Fact]) -> Vec<Sample> {
        Vec::new()
    }

    /// The attributes that hold the state: one JSON text, unless other writes adjust single attributes.
    ///
    /// # Errors
    /// [`Failure::Poison`] when the state cannot be written as JSON.
    fn attributes(&self) -> Result<Vec<(&'static str, Attr)>, Failure> {
        let data = serde_json::to_string(self).map_err(|e| Failure::Poison(e.to_string()))?;
        Ok(vec![("data", data.into())])
    }

    /// The state that [`Aggregate::attributes`] were made of.
    ///
    /// # Errors
    /// [`Failure::Poison`] when the row does not hold one.
    fn read_row(row: &Item) -> Result<Self, Failure> {
        let data = row.text("data").ok_or_else(|| unreadable(row, "no data"))?;
        // serde_json's error would repeat a value of the state in the logs; where it is has to be enough.
        serde_json::from_str(data).map_err(|e| unreadable(row, format!("no state at column {}", e.column())))
    }

    /// Attributes that a commit must find unchanged, beside the version: those that other writes adjust.
    fn adjusted_elsewhere(&self) -> Vec<(&'static str, Attr)> {
        Vec::new()
    }
}

fn unreadable(row: &Item, why: impl Display) -> Failure {
    Failure::Poison(format!("{}: {why}", row.key))
}

/// A write that belongs to a fact, beside state and event rows.
pub struct SideWrite<M> {
    /// The write.
    pub write: Write,
    /// The message to decide on instead when the write's condition does not hold; `None` where it always holds.
    pub otherwise: Option<Otherwise<M>>,
}

/// Turns the rejection of a write into the message to decide on instead.
pub type Otherwise<M> = Box<dyn Fn(Rejected) -> M + Send + Sync>;

/// An aggregate as loaded: its state with the version that a commit must find unchanged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded<A> {
    /// The state.
    pub state: A,
    /// 0: there is no row yet.
    pub version: u64,
    /// The number of its last event row.
    pub seq: u64,
    /// The deliveries that the state row remembers.
    pub inbox: Inbox,
}

/// Loads an aggregate, strongly consistent.
///
/// # Errors
/// [`Failure::Transient`] when the store does not answer, [`Failure::Poison`] when the row cannot be read.
pub async fn load<A: Aggregate, S: Store>(store: &S, id: &AggregateId) -> Result<Loaded<A>, Failure> {
    match store.load(&Key::state(&*id.pk)).await? {
        None => Ok(Loaded::default()),
        Some(row) => read_state(&row),
    }
}

/// Reads a state row.
///
/// # Errors
/// [`Failure::Poison`] when it is not one.
pub fn read_state<A: Aggregate>(row: &Item) -> Result<Loaded<A>, Failure> {
    Ok(Loaded {
        state: A::read_row(row)?,
        version: row.count("version").ok_or_else(|| unreadable(row, "no version"))?,
        seq: row.count("seq").ok_or_else(|| unreadable(row, "no seq"))?,
        inbox: Inbox::read(row)?,
    })
}

/// An aggregate after facts were appended.
pub struct Appended<A> {
    /// The aggregate.
    pub after: Loaded<A>,
    /// The writes that make it so: the state row under its version, and the event rows.
    pub writes: Vec<Write>,
    /// The inbox row of the delivery that led to it, where the state row has no place for that. It is a condition too: it fails
    /// when the event was delivered before.
    pub remembered: Option<Write>,
}

/// Appends facts. `delivered` says of the new state which delivery led to it.
///
/// # Errors
/// [`Failure::Poison`] when an event is too large or the state cannot be written as JSON.
pub fn append<A: Aggregate>(
    before: Loaded<A>,
    facts: &[A::Fact],
    delivered: impl FnOnce(&A) -> Option<Delivered>,
    id: &AggregateId,
    context: &Context<'_>,
) -> Result<Appended<A>, Failure> {
    let when = unchanged(&before);
    let entries: Vec<OutboxEntry> = facts.iter().filter_map(A::event).collect();
    let events = event_rows(A::SERVICE, &entries, id, before.seq + 1, context)?;
    let mut after = Loaded {
        state: facts.iter().fold(before.state, A::evolve),
        version: before.version + 1,
        seq: before.seq + count(entries.len()),
        inbox: before.inbox,
    };
    let delivered = delivered(&after.state);
    let remembered = delivered.and_then(|delivered| after.inbox.remember(delivered, &id.pk));
    let mut row = Item::new(Key::state(&*id.pk))
        .with("version", number(after.version))
        .with("seq", number(after.seq))
        .with("updated_at", millis::text(&context.now));
    let attributes = after.state.attributes()?.into_iter().chain(after.state.index());
    for (name, value) in attributes.chain(after.inbox.attribute()?) {
        row = row.with(name, value);
    }
    let adjusted: Vec<&str> = after.state.adjusted_elsewhere().into_iter().map(|(name, _)| name).collect();
    let mut writes = vec![Write::Put { item: sealed(row, &adjusted), when }];
    writes.extend(events.into_iter().map(|item| Write::Put { item, when: Condition::Absent }));
    Ok(Appended { after, writes, remembered })
}

fn unchanged<A: Aggregate>(before: &Loaded<A>) -> Condition {
    if before.version == 0 {
        return Condition::Absent;
    }
    let mut same = before.state.adjusted_elsewhere();
    same.push(("version", number(before.version).into()));
    Condition::Matches(same)
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
