//! The projection `sales` built anew from the log, beside the one that reports show: each event of the log is decided on and
//! booked by the code that books a delivery, in the next generation of rows. When the log is at its end the two are swapped,
//! and the rows of the old one are deleted.

use crate::event_log::{EventLog, Position, Selection};
use chassis::store::{CommitError, Condition, Item, Key, MemoryStore, Scan, Store, Write, scan_all};
use chassis::{Aggregate, Decider, Failure, Ports};
use events::Envelope;
use futures_util::{StreamExt, TryStreamExt, stream};
use registry::sales::books::{Books, Message};
use registry::sales::generations::{Building, Generations};
use registry::sales::{counters, reactor, subscriptions};
use std::collections::BTreeMap;

/// How many orders are booked at a time.
const AT_A_TIME: usize = 16;
/// How many rows of the table one page reads, and the most rows that one transaction deletes.
const PAGE: u32 = 500;
const BATCH: usize = 50;

/// Why a rebuild does not begin, or does not go on.
#[derive(Debug, thiserror::Error)]
pub enum NotRebuilt {
    /// One was begun and has not ended.
    #[error(
        "a rebuild is going on, or was stopped: its last step was at {0}; if it was stopped, go on with: quadrille rebuild --projection sales --resume"
    )]
    Begun(String),
    /// Another one wrote its step first.
    #[error("another rebuild goes on with this generation: the row of generations has moved")]
    GoingOn,
    /// A table did not answer, or a row cannot be read.
    #[error(transparent)]
    Failed(#[from] Failure),
}

/// What came of a rebuild.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rebuilt {
    /// Events of the log that were read.
    pub read: u64,
    /// Those of them that were booked; the others were booked already.
    pub booked: u64,
}

/// The events that sales consumes, all of them: a clock that is ahead of the operator's hides none.
#[must_use]
pub fn selection() -> Selection {
    Selection::all(subscriptions::CONSUMES.iter().map(|one| one.kind))
}

/// A rebuild that has begun.
pub struct Rebuild<'a, S> {
    ports: &'a Ports<S>,
    log: &'a EventLog<S>,
    generations: Generations,
    position: Position,
    /// What it has done so far.
    pub rebuilt: Rebuilt,
}

impl<'a, S: Scan> Rebuild<'a, S> {
    /// Begins a rebuild; with `resume`, goes on with one that was stopped. None: there is none to go on with.
    ///
    /// # Errors
    /// [`NotRebuilt`].
    pub async fn begin(
        ports: &'a Ports<S>,
        log: &'a EventLog<S>,
        resume: bool,
    ) -> Result<Option<Self>, NotRebuilt> {
        let before = Generations::load(&ports.store).await?;
        let position = match (&before.building, resume) {
            (Some(Building { at, .. }), false) => return Err(NotRebuilt::Begun(at.clone())),
            (None, true) => return Ok(None),
            (Some(Building { position, .. }), true) => read(position)?,
            (None, false) => Position::default(),
        };
        let mut rebuild = Self { ports, log, generations: before, position, rebuilt: Rebuilt::default() };
        // Also a rebuild that goes on writes the row before anything else: one that was not stopped loses its place.
        rebuild.save(Some(rebuild.position.clone())).await?;
        Ok(Some(rebuild))
    }

    /// The generation that is built, or is live once the log is at its end.
    #[must_use]
    pub fn generations(&self) -> &Generations {
        &self.generations
    }

    /// Books the next page of the log; false once the new generation is live.
    ///
    /// # Errors
    /// [`NotRebuilt`]. The page is booked again when the rebuild goes on: what is booked already changes nothing.
    pub async fn step(&mut self) -> Result<bool, NotRebuilt> {
        let (events, next) = self.log.page(&selection(), &self.position).await?;
        // The events of one order in their turn, several orders at a time.
        let orders = events.chunk_by(|one, other| one.metadata.subject == other.metadata.subject);
        let booked = orders.map(|events| self.book(events));
        let booked: Vec<u64> = stream::iter(booked).buffer_unordered(AT_A_TIME).try_collect().await?;
        self.rebuilt.read += u64::try_from(events.len()).unwrap_or(u64::MAX);
        self.rebuilt.booked += booked.iter().sum::<u64>();
        self.save(next.clone()).await?;
        self.position = next.clone().unwrap_or_default();
        Ok(next.is_some())
    }

    async fn book(&self, events: &[Envelope]) -> Result<u64, Failure> {
        let mut booked = 0;
        for event in events {
            booked += u64::from(reactor::rebook(self.ports, &self.generations, event).await?);
        }
        Ok(booked)
    }

    /// Saves how far it has come; at the end of the log, swaps the generations.
    async fn save(&mut self, position: Option<Position>) -> Result<(), NotRebuilt> {
        let after = match position {
            None => self.generations.swapped(),
            Some(position) => {
                let text = serde_json::to_string(&position).map_err(|e| Failure::Poison(e.to_string()))?;
                self.generations.building(text, self.ports.clock.now())
            }
        };
        match self.ports.commit_alone(after.following(&self.generations)).await {
            Ok(()) => self.generations = after,
            Err(CommitError::Rejected(_)) => return Err(NotRebuilt::GoingOn),
            Err(error) => return Err(Failure::from(error).into()),
        }
        Ok(())
    }
}

fn read(position: &str) -> Result<Position, Failure> {
    serde_json::from_str(position)
        .map_err(|_| Failure::Poison("the place of the rebuild is unreadable".into()))
}

/// Deletes the counters of every generation before the live one: which is live, and how many rows it deleted. A generation
/// after it is another rebuild's, which may have begun since this one looked.
///
/// # Errors
/// A [`Failure`] when the table does not answer. What is left, the next rebuild deletes.
pub async fn clean<S: Scan>(ports: &Ports<S>) -> Result<(u32, u64), Failure> {
    let generations = Generations::load(&ports.store).await?;
    let mut deleted = 0;
    let visit = async |rows: Vec<Item>| {
        let is_old =
            |row: &&Item| counters::generation_of(&row.key.pk).is_none_or(|one| one < generations.live);
        let old: Vec<&Item> = rows.iter().filter(is_old).collect();
        for some in old.chunks(BATCH) {
            delete(&ports.store, some).await?;
            deleted += u64::try_from(some.len()).unwrap_or(u64::MAX);
        }
        Ok::<_, Failure>(())
    };
    scan_all(&ports.store, counters::PREFIX, PAGE, visit).await?;
    Ok((generations.live, deleted))
}

async fn delete<S: Store>(table: &S, rows: &[&Item]) -> Result<(), Failure> {
    let there = || Condition::Matches(Vec::new());
    let writes = rows.iter().map(|row| Write::Delete { key: row.key.clone(), when: there() });
    Ok(table.commit(writes.collect()).await?)
}

/// The counters of a row.
pub type Counters = BTreeMap<&'static str, u64>;

/// A row of counters that is not as the log says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Which row.
    pub key: Key,
    /// What it holds; none: it is not there.
    pub is: Option<Counters>,
    /// What it would hold; none: it would not be there.
    pub would_be: Option<Counters>,
}

/// What a rebuild would change in the counters of the live generation. An event that is on its way is a difference too.
///
/// # Errors
/// A [`Failure`] when a table does not answer, or a row cannot be read.
pub async fn differences<S: Scan>(table: &S, log: &EventLog<S>) -> Result<Vec<Difference>, Failure> {
    let live = Generations::load(table).await?.live;
    let mut rows: BTreeMap<Key, Counters> = BTreeMap::new();
    let visit = async |page: Vec<Item>| {
        let own = page.iter().filter(|row| counters::generation_of(&row.key.pk) == Some(live));
        rows.extend(own.map(|row| (row.key.clone(), counters_of(row))));
        Ok::<_, Failure>(())
    };
    scan_all(table, counters::PREFIX, PAGE, visit).await?;
    let mut wanted = expected(log, live).await?;
    let keys: Vec<Key> = rows.keys().chain(wanted.keys()).cloned().collect();
    let mut differences: Vec<Difference> = Vec::new();
    for key in keys {
        let (is, would_be) = (rows.remove(&key), wanted.remove(&key));
        if is != would_be {
            differences.push(Difference { key, is, would_be });
        }
    }
    Ok(differences)
}

fn counters_of(row: &Item) -> Counters {
    counters::ALL.iter().filter_map(|name| Some((*name, row.count(name)?))).collect()
}

/// The counters that the log leads to.
async fn expected<S: Scan>(log: &EventLog<S>, live: u32) -> Result<BTreeMap<Key, Counters>, Failure> {
    let (sums, selection) = (MemoryStore::default(), selection());
    let visit = async |events: Vec<Envelope>| {
        for events in events.chunk_by(|one, other| one.metadata.subject == other.metadata.subject) {
            count(&sums, live, events).await?;
        }
        Ok::<_, Failure>(())
    };
    log.walk(&selection, visit).await?;
    Ok(sums.rows().iter().map(|row| (row.key.clone(), counters_of(row))).collect())
}

/// Counts what the events of one order lead to.
async fn count(sums: &MemoryStore, live: u32, events: &[Envelope]) -> Result<(), Failure> {
    let mut books = Books::default();
    for event in events {
        let (order_id, read) = reactor::read(event)?;
        let message = Message { order_id, event: read, live, generations: vec![live] };
        for fact in books.decide(&message, event.metadata.time).unwrap_or_default() {
            let writes = Books::side_writes(&fact).into_iter().map(|side| side.write);
            sums.commit(writes.collect()).await?;
            books = books.evolve(&fact);
        }
    }
    Ok(())
}
