//! What survives a restart besides the tables, in the same storage: queue messages, how far each pipe has read, archived events,
//! and the records of simulators, topics, executions, replays and readers of streams. Records and events are read where they lie,
//! by key or page by page: of those that grow with the orders a stack has only what is open in memory. A stack in memory keeps
//! records and archives in the storage's memory, and nothing else.
//!
//! A pipe's position and the messages that it sent stand in the storage's log in the order in which they happened. Losing
//! the log's end loses both, and the pipe reads the same records again: nothing has to wait for the disk. Only a
//! caller that was promised safety waits for it ([`Journal::flush`]).

use super::storage::{Batch, Range, Space, Storage};
use crate::aws::dynamodb::place;
use anyhow::Result;
use bytes::Bytes;
use chrono::DateTime;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::collections::{BTreeMap, HashMap};
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Clone, Debug)]
pub enum Entry {
    /// A message was sent to a queue, moved there, or received once more: replaces the one of this number.
    Message {
        queue: String,
        number: u64,
        /// JSON.
        value: String,
    },
    /// The message of this number was deleted.
    Deleted { queue: String, number: u64 },
    /// A pipe or mapping has settled its stream up to a record.
    Position { reader: String, sequence: i64 },
    Archived {
        archive: String,
        /// When it was archived, in epoch milliseconds.
        at: i64,
        event: String,
    },
    /// A record of a simulator, a topic, an execution, a replay or a reader; replaces the one under the same key.
    Record {
        /// `<prefix>/<key>`
        key: String,
        /// JSON.
        value: String,
    },
    /// A record that is needed no more.
    Forgotten { key: String },
}

/// Which events of an archive are read: those whose own time is in a window, minute by minute.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub archive: String,
    /// Epoch seconds: the first of the window, and the first after it.
    pub window: (i64, i64),
    /// The time of the last one that was read, as in the event, and its id.
    pub after: Option<(String, String)>,
    /// The most.
    pub limit: u32,
}

/// How far each pipe and mapping had come when the journal was opened.
pub type Positions = HashMap<String, i64>;

/// How many entries a page has that people or the stack's own sweeps read.
pub const PAGE: usize = 1000;

/// The running journal. Clones share it.
#[derive(Clone)]
pub struct Journal {
    storage: Storage,
    /// In memory it forgets messages and positions.
    forgets: bool,
    /// The number of the next message.
    next: Arc<AtomicU64>,
}

/// What an archive has to know of an event.
#[derive(Deserialize)]
struct Archived {
    id: String,
    time: String,
}

/// How many characters of a time say its minute.
const MINUTE: usize = 16;

impl Journal {
    /// Reads the positions that a storage holds.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn open(storage: &Storage) -> Result<(Self, Positions)> {
        let text = |bytes: &[u8]| Ok::<_, anyhow::Error>(String::from_utf8(bytes.to_vec())?);
        let positions =
            all(storage, Space::Positions, |key, value| Ok((text(key)?, serde_json::from_slice(value)?)))?;
        let journal = Self { storage: storage.clone(), forgets: storage.is_memory(), next: Arc::default() };
        let last = journal.queues().into_iter().map(|(_, last)| last + 1).max();
        journal.next.store(last.unwrap_or(0), Ordering::SeqCst);
        Ok((journal, positions.into_iter().collect()))
    }

    /// The number of a new message. It is above those of all messages that are kept.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::SeqCst)
    }

    /// Whether it forgets messages and positions.
    #[must_use]
    pub const fn forgets(&self) -> bool {
        self.forgets
    }

    /// The queues that have messages here, each with the number of its last one.
    #[must_use]
    pub fn queues(&self) -> Vec<(String, u64)> {
        let (mut queues, mut to) = (Vec::new(), Bound::Unbounded);
        loop {
            let range = Range { from: Bound::Unbounded, to, is_backward: true };
            let mut last = None;
            self.storage.visit(Space::Messages, &range, |key, _| {
                last = key.split_last_chunk().map(|(of, number)| (of.to_vec(), u64::from_be_bytes(*number)));
                ControlFlow::Break(())
            });
            let Some((of, number)) = last else { return queues };
            let name = of.strip_suffix(place(&[""]).as_slice()).unwrap_or(&of);
            queues.push((String::from_utf8_lossy(name).into_owned(), number));
            to = Bound::Excluded(of);
        }
    }

    /// Shows the messages of a queue behind the number `after`, in their order, until `visit` breaks off.
    pub fn visit_messages(
        &self,
        queue: &str,
        after: Option<u64>,
        mut visit: impl FnMut(&[u8]) -> ControlFlow<()>,
    ) {
        self.storage.visit(Space::Messages, &messages_of(queue, after), |_, value| visit(&value));
    }

    /// The last messages of a queue, the last one first, until `visit` breaks off.
    pub fn visit_last_messages(&self, queue: &str, mut visit: impl FnMut(&[u8]) -> ControlFlow<()>) {
        let range = messages_of(queue, None).backward(true);
        self.storage.visit(Space::Messages, &range, |_, value| visit(&value));
    }

    /// Deletes the messages of a queue before a number.
    pub fn purge(&self, queue: &str, end: u64) {
        if self.forgets {
            return;
        }
        let to = Bound::Excluded(message_place(queue, end));
        let mut range = Range { to, ..messages_of(queue, None) };
        while let (1.., last) = self.delete_page(Space::Messages, &range) {
            range = range.after(&last);
        }
    }

    /// Deletes the first keys of a range, at most a page; how many, and the last one.
    fn delete_page(&self, space: Space, range: &Range) -> (usize, Vec<u8>) {
        let (mut batch, mut last) = (Batch::default(), Vec::new());
        self.storage.visit(space, range, |key, _| {
            last = key.to_vec();
            batch.delete(space, key);
            if batch.len() < PAGE { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        let count = batch.len();
        if count > 0 {
            self.storage.write(batch);
        }
        (count, last)
    }

    /// The same journal for what is gone after a restart.
    #[must_use]
    pub fn forgetting(&self) -> Self {
        Self { forgets: true, ..self.clone() }
    }

    /// Writes entries, together; they are safe soon.
    pub fn write(&self, entries: Vec<Entry>) {
        let mut batch = Batch::default();
        for entry in entries {
            let is_passing =
                matches!(entry, Entry::Message { .. } | Entry::Deleted { .. } | Entry::Position { .. });
            if !(self.forgets && is_passing) {
                self.stage(&mut batch, entry);
            }
        }
        if !batch.is_empty() {
            self.storage.write(batch);
        }
    }

    fn stage(&self, batch: &mut Batch, entry: Entry) {
        match entry {
            Entry::Message { queue, number, value } => {
                batch.put(Space::Messages, message_place(&queue, number), value);
            }
            Entry::Deleted { queue, number } => batch.delete(Space::Messages, message_place(&queue, number)),
            Entry::Position { reader, sequence } => batch.put(Space::Positions, reader, json(&sequence)),
            Entry::Archived { archive, at, event } => {
                let n = self.number();
                let mut key = archived_place(&archive, &event);
                // The archive has an event as often as it came.
                key.extend(at.to_be_bytes().into_iter().chain(n.to_be_bytes()));
                batch.put(Space::Archives, key, event);
            }
            Entry::Record { key, value } => batch.put(Space::Records, key, value),
            Entry::Forgotten { key } => batch.delete(Space::Records, key),
        }
    }

    /// Events of an archive, those included that were written just now. The minutes are in order, the events of a minute
    /// by their ids, which is as good as no order.
    #[must_use]
    pub fn archived(&self, wanted: &Wanted) -> Vec<String> {
        let Wanted { archive, window: (from, to), after, limit } = wanted;
        let first = match after {
            Some((time, id)) => {
                let minute: String = time.chars().take(MINUTE).collect();
                // Behind the event, as often as it is there.
                super::storage::end(&place(&[archive, &minute, id])).unwrap_or_default()
            }
            None => place(&[archive, &minute(*from)]),
        };
        let behind =
            super::storage::end(&place(&[archive, &minute(*to)])).map_or(Bound::Unbounded, Bound::Excluded);
        let range = Range { from: Bound::Included(first), to: behind, is_backward: false };
        let mut events = Vec::new();
        self.storage.visit(Space::Archives, &range, |_, event| {
            let event = String::from_utf8_lossy(&event).into_owned();
            let time = serde_json::from_str::<Archived>(&event).ok();
            let time = time.and_then(|event| DateTime::parse_from_rfc3339(&event.time).ok());
            let is_wanted = time.is_some_and(|time| (*from..*to).contains(&time.timestamp()));
            events.extend(is_wanted.then_some(event));
            if events.len() < *limit as usize { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        events
    }

    /// The record under a key.
    #[must_use]
    pub fn record<T: DeserializeOwned>(&self, key: &str) -> Option<T> {
        self.storage.get(Space::Records, key.as_bytes()).and_then(|value| read(key, &value))
    }

    /// The records whose keys begin with `prefix`, by the rest of their keys: those after `after`, at most `limit`.
    #[must_use]
    pub fn page<T: DeserializeOwned>(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Vec<(String, T)> {
        let range = Range::prefix(prefix.as_bytes());
        let range = match after {
            Some(after) => range.after(format!("{prefix}{after}").as_bytes()),
            None => range,
        };
        self.listed(prefix, &range, limit)
    }

    /// The last records whose keys begin with `prefix`, the last one first.
    #[must_use]
    pub fn last<T: DeserializeOwned>(&self, prefix: &str, limit: usize) -> Vec<(String, T)> {
        self.listed(prefix, &Range::prefix(prefix.as_bytes()).backward(true), limit)
    }

    fn listed<T: DeserializeOwned>(&self, prefix: &str, range: &Range, limit: usize) -> Vec<(String, T)> {
        let mut found = Vec::new();
        self.storage.visit(Space::Records, range, |key, value| {
            if found.len() >= limit {
                return ControlFlow::Break(());
            }
            let key = String::from_utf8_lossy(key).into_owned();
            let rest = key.strip_prefix(prefix).map(str::to_owned);
            found.extend(rest.zip(read(&key, &value)));
            ControlFlow::Continue(())
        });
        found
    }

    /// All records whose keys begin with `prefix`, by the rest of their keys: for those that do not grow with the orders.
    #[must_use]
    pub fn records<T: DeserializeOwned>(&self, prefix: &str) -> BTreeMap<String, T> {
        self.page(prefix, None, usize::MAX).into_iter().collect()
    }

    /// Deletes the events of an archive whose own time is before the minute of `seconds`, at most a page; how many.
    pub fn forget_archived(&self, archive: &str, seconds: i64) -> usize {
        let to = Bound::Excluded(place(&[archive, &minute(seconds)]));
        let range = Range { from: Bound::Included(place(&[archive])), to, is_backward: false };
        self.delete_page(Space::Archives, &range).0
    }

    /// Writes a record and returns once it is safe.
    pub async fn keep(&self, key: String, record: &impl Serialize) {
        let value = serde_json::to_string(record).unwrap_or_default();
        self.write(vec![Entry::Record { key, value }]);
        self.flush().await;
    }

    /// Returns once everything written so far is safe.
    pub async fn flush(&self) {
        if !self.forgets {
            self.storage.flush().await;
        }
    }
}

fn message_place(queue: &str, number: u64) -> Vec<u8> {
    [place(&[queue]).as_slice(), &number.to_be_bytes()].concat()
}

fn messages_of(queue: &str, after: Option<u64>) -> Range {
    let all = Range::prefix(&place(&[queue]));
    match after {
        Some(after) => all.after(&message_place(queue, after)),
        None => all,
    }
}

/// The minute of a time in epoch seconds, as an event's time begins.
fn minute(seconds: i64) -> String {
    DateTime::from_timestamp(seconds, 0).unwrap_or_default().format("%Y-%m-%dT%H:%M").to_string()
}

/// A record as its owner wrote it. One of another version is said, and passed over.
fn read<T: DeserializeOwned>(key: &str, value: &[u8]) -> Option<T> {
    let record = serde_json::from_slice(value);
    record.inspect_err(|error| tracing::error!("the record {key} cannot be read: {error}")).ok()
}

fn json(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).unwrap_or_default().into()
}

fn archived_place(archive: &str, event: &str) -> Vec<u8> {
    // The bus writes both into every event.
    let event = serde_json::from_str(event).unwrap_or(Archived { id: String::new(), time: String::new() });
    let minute: String = event.time.chars().take(MINUTE).collect();
    place(&[archive, &minute, &event.id])
}

/// Everything in a space, each key and value read by `read`.
fn all<T>(storage: &Storage, space: Space, read: impl Fn(&[u8], &[u8]) -> Result<T>) -> Result<Vec<T>> {
    let mut found = Vec::new();
    storage.visit(space, &Range::prefix(b""), |key, value| {
        found.push(read(key, &value));
        ControlFlow::Continue(())
    });
    found.into_iter().collect()
}
