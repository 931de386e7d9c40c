//! Replay: events of the log are published once more, in order for each order, marked as replayed. A consumer that has had
//! them answers `duplicate`; one that is named gets them alone; none of them charges, ships or notifies.

use crate::event_log::{EventLog, Position, Selection};
use chassis::Failure;
use chassis::ports::Bus;
use chassis::store::{Attr, CommitError, Condition, Item, Key, Scan, Write};
use chrono::Utc;
use events::Envelope;
use events::envelope::{self, millis};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

/// How many events one call publishes.
const CALL: usize = 10;
/// The sort key of a replay's row.
const STATE: &str = "checkpoint";

/// How many events there are of each type.
pub type Counts = BTreeMap<String, u64>;

/// A replay, and how far it has come; its row, the checkpoint, holds it as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replay {
    /// Its id, which each event carries.
    pub id: Uuid,
    /// What it publishes.
    pub selection: Selection,
    /// The one consumer that gets it; none: every consumer.
    pub consumer: Option<String>,
    /// Where it goes on; none: it is done.
    pub position: Option<Position>,
    /// What it has published.
    pub published: Counts,
    /// How often this was saved: an attribute of the row.
    #[serde(skip)]
    version: i64,
}

/// Why a replay cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum NotResumed {
    /// There is none of this id.
    #[error("there is no replay {0}")]
    NoSuchReplay(Uuid),
    /// Someone else goes on with it at the same time.
    #[error("replay {0} is going on elsewhere: its checkpoint has moved")]
    GoingOn(Uuid),
    /// The table did not answer, or its row is no checkpoint.
    #[error(transparent)]
    Failed(#[from] Failure),
}

impl Replay {
    /// A replay that has not begun.
    #[must_use]
    pub fn new(id: Uuid, selection: Selection, consumer: Option<String>) -> Self {
        Self {
            id,
            selection,
            consumer,
            position: Some(Position::default()),
            published: Counts::new(),
            version: 0,
        }
    }

    fn key(id: Uuid) -> Key {
        Key::new(format!("replay#{id}"), STATE)
    }

    /// The events as this replay publishes them.
    #[must_use]
    pub fn marked(&self, mut events: Vec<Envelope>) -> Vec<Envelope> {
        for event in &mut events {
            event.metadata.replay = Some(envelope::Replay { id: self.id, consumer: self.consumer.clone() });
        }
        events
    }

    /// The replay as its checkpoint left it.
    ///
    /// # Errors
    /// [`NotResumed`].
    pub async fn saved<S: Scan>(table: &S, id: Uuid) -> Result<Self, NotResumed> {
        let row = table.load(&Self::key(id)).await?.ok_or(NotResumed::NoSuchReplay(id))?;
        let unreadable = || Failure::Poison(format!("{} is no checkpoint of a replay", row.key));
        let read = row.text("state").and_then(|text| serde_json::from_str(text).ok());
        let replay: Self = read.ok_or_else(unreadable)?;
        let version = row.number("version").ok_or_else(unreadable)?;
        Ok(Self { version, ..replay })
    }

    /// Saves how far it has come, unless someone else has. A new one is saved before its first event, so that whatever
    /// stops it, it can be resumed.
    ///
    /// # Errors
    /// [`NotResumed`].
    pub async fn save<S: Scan>(&mut self, table: &S) -> Result<(), NotResumed> {
        let text = serde_json::to_string(self).map_err(|e| Failure::Poison(e.to_string()))?;
        let item = Item::new(Self::key(self.id)).with("version", self.version + 1).with("state", text);
        let item = item.with("at", millis::text(&Utc::now()));
        let when = match self.version {
            0 => Condition::Absent,
            version => Condition::Matches(vec![("version", Attr::N(version))]),
        };
        match table.commit(vec![Write::Put { item, when }]).await {
            Ok(()) => self.version += 1,
            Err(CommitError::Rejected(_)) => return Err(NotResumed::GoingOn(self.id)),
            Err(error) => return Err(Failure::from(error).into()),
        }
        Ok(())
    }
}

/// Publishes no faster than so many events a second.
pub struct Pace {
    rate: u32,
    next: Instant,
    sent: u64,
}

impl Pace {
    /// `rate` events a second, at least one.
    #[must_use]
    pub fn new(rate: u32) -> Self {
        Self { rate: rate.max(1), next: Instant::now(), sent: 0 }
    }

    /// How many events the bus has accepted so far.
    #[must_use]
    pub const fn sent(&self) -> u64 {
        self.sent
    }

    /// Waits until `events` more may be published.
    async fn wait(&mut self, events: usize) {
        sleep_until(self.next).await;
        let events = u32::try_from(events).unwrap_or(u32::MAX);
        self.next = self.next.max(Instant::now()) + Duration::from_secs(1) * events / self.rate;
    }
}

/// How much there is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// By type.
    pub events: Counts,
    /// Orders, products and so on.
    pub subjects: u64,
}

/// Counts what a log has.
///
/// # Errors
/// As [`EventLog::walk`].
pub async fn count<S: Scan>(log: &EventLog<S>, selection: &Selection) -> Result<Counted, Failure> {
    let mut counted = Counted::default();
    let visit = async |events: Vec<Envelope>| {
        add(&mut counted.events, &events);
        // Each subject is on one page.
        let subjects: BTreeSet<&str> = events.iter().map(|event| event.metadata.subject.as_str()).collect();
        counted.subjects += u64::try_from(subjects.len()).unwrap_or(u64::MAX);
        Ok::<_, Failure>(())
    };
    log.walk(selection, visit).await?;
    Ok(counted)
}

/// Adds events to the counts of their types.
pub fn add(counts: &mut Counts, events: &[Envelope]) {
    for event in events {
        *counts.entry(event.metadata.kind.clone()).or_default() += 1;
    }
}

/// Publishes events in their order.
///
/// # Errors
/// A [`Failure`] when the bus refuses one. Those before it are published.
pub async fn publish<B: Bus>(events: &[Envelope], bus: &B, pace: &mut Pace) -> Result<(), Failure> {
    for some in events.chunks(CALL) {
        pace.wait(some.len()).await;
        bus.publish(some).await?;
        pace.sent = pace.sent.saturating_add(u64::try_from(some.len()).unwrap_or(u64::MAX));
    }
    Ok(())
}

/// Publishes one more page of a replay, and saves how far it has come. After a failure in between, the page is published
/// again: consumers deduplicate.
///
/// # Errors
/// [`NotResumed`].
pub async fn step<S: Scan, B: Bus>(
    replay: &mut Replay,
    log: &EventLog<S>,
    (bus, pace): (&B, &mut Pace),
    table: &S,
) -> Result<(), NotResumed> {
    let Some(here) = replay.position.clone() else { return Ok(()) };
    let (events, next) = log.page(&replay.selection, &here).await?;
    let events = replay.marked(events);
    publish(&events, bus, pace).await?;
    add(&mut replay.published, &events);
    replay.position = next;
    replay.save(table).await
}
