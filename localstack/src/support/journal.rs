//! What survives a restart besides the tables: queue messages, how far each pipe has read, archived events, and the
//! records of simulators, topics, executions, replays and readers of streams. One SQLite file, one writer thread, and one
//! commit for all entries that wait together. A stack without a file keeps its archives in memory, and nothing else.
//!
//! A pipe's position and the messages that it sent stand in the journal in the order in which they happened. Losing
//! the journal's end loses both, and the pipe reads the same records again: nothing has to wait for the disk. Only a
//! caller that was promised safety waits for it ([`Journal::flush`]).

use anyhow::{Context, Result};
use chrono::DateTime;
use rusqlite::{Connection, params};
use serde::{Serialize, de::DeserializeOwned};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::mpsc;
use tokio::sync::oneshot;

#[derive(Debug)]
pub enum Entry {
    /// A message was sent to a queue, moved there, or received once more.
    Message {
        id: String,
        queue: String,
        body: String,
        /// Epoch milliseconds.
        sent_at: i64,
        /// How often the message was received.
        receives: u32,
        /// Its place in a FIFO queue, as JSON.
        place: Option<String>,
    },
    /// A message was deleted.
    Deleted { id: String },
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

enum Command {
    Write(Vec<Entry>),
    Flush(oneshot::Sender<()>),
    Read(Wanted, oneshot::Sender<rusqlite::Result<Vec<String>>>),
}

/// A message as the journal kept it.
#[derive(Clone, Debug)]
pub struct KeptMessage {
    pub id: String,
    pub queue: String,
    pub body: String,
    /// Epoch milliseconds.
    pub sent_at: i64,
    /// How often the message was received.
    pub receives: u32,
    /// Its place in a FIFO queue, as JSON.
    pub place: Option<String>,
}

/// Everything that the journal held when it was opened.
#[derive(Debug, Default)]
pub struct Past {
    /// Oldest first.
    pub messages: Vec<KeptMessage>,
    /// By pipe or mapping.
    pub positions: HashMap<String, i64>,
    /// Keys and values.
    records: Vec<(String, String)>,
}

impl Past {
    /// The records whose keys begin with `prefix`, by the rest of their keys.
    ///
    /// # Errors
    /// When one of them cannot be read.
    pub fn records<T: DeserializeOwned>(&self, prefix: &str) -> Result<BTreeMap<String, T>> {
        let records = self.records.iter().filter_map(|(key, value)| Some((key.strip_prefix(prefix)?, value)));
        records.map(|(key, value)| Ok((key.to_owned(), serde_json::from_str(value)?))).collect()
    }
}

/// The running journal. Clones share it.
#[derive(Clone)]
pub struct Journal {
    commands: mpsc::Sender<Command>,
    /// Without a file it forgets everything but archived events.
    forgets: bool,
}

/// The table of the records is named `book` in every journal that exists.
const SCHEMA: &str =
    "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 8000;
    CREATE TABLE IF NOT EXISTS messages (n INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE,
        queue TEXT NOT NULL, body TEXT NOT NULL, sent_at INTEGER NOT NULL, receives INTEGER NOT NULL);
    CREATE TABLE IF NOT EXISTS positions (pipe TEXT PRIMARY KEY, sequence INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS archived (n INTEGER PRIMARY KEY AUTOINCREMENT, archive TEXT NOT NULL,
        at INTEGER NOT NULL, event TEXT NOT NULL);
    CREATE INDEX IF NOT EXISTS archived_minutes
        ON archived (archive, substr(event ->> '$.time', 1, 16), event ->> '$.id');
    CREATE TABLE IF NOT EXISTS book (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;";

/// Within a minute by the event's id, which is as good as no order.
const ARCHIVED: &str = "SELECT event FROM archived
    WHERE archive = ?1 AND substr(event ->> '$.time', 1, 16) BETWEEN ?2 AND ?3
        AND (substr(event ->> '$.time', 1, 16), event ->> '$.id') > (?2, ?4)
        AND unixepoch(event ->> '$.time') >= ?5 AND unixepoch(event ->> '$.time') < ?6
    ORDER BY substr(event ->> '$.time', 1, 16), event ->> '$.id' LIMIT ?7";

/// The most commands that share one commit.
const MAX_BATCH: usize = 256;

impl Journal {
    /// Opens the journal at `path` and reads everything in it; without a path it is in memory.
    ///
    /// # Errors
    /// When the file is not a journal or cannot be read.
    pub fn open(path: Option<&Path>) -> Result<(Self, Past)> {
        let connection = match path {
            Some(path) => Connection::open(path).with_context(|| path.display().to_string())?,
            None => Connection::open_in_memory()?,
        };
        connection.execute_batch(SCHEMA)?;
        add_place(&connection)?;
        let past = read(&connection)?;
        let (commands, inbox) = mpsc::channel();
        std::thread::Builder::new().name("journal".into()).spawn(move || run(&connection, &inbox))?;
        Ok((Self { commands, forgets: path.is_none() }, past))
    }

    /// The same journal for what is gone after a restart.
    #[must_use]
    pub fn forgetting(&self) -> Self {
        Self { commands: self.commands.clone(), forgets: true }
    }

    /// Appends entries, in order; they are on disk soon.
    pub fn write(&self, mut entries: Vec<Entry>) {
        if self.forgets {
            entries.retain(|entry| matches!(entry, Entry::Archived { .. }));
        }
        if !entries.is_empty() {
            // The writer stops only with the process.
            let _ = self.commands.send(Command::Write(entries));
        }
    }

    /// Events of an archive, those included that were written just now. The minutes are in order, the events of a minute
    /// are not.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn archived(&self, wanted: Wanted) -> Result<Vec<String>> {
        let (done, waiting) = oneshot::channel();
        let _ = self.commands.send(Command::Read(wanted, done));
        Ok(waiting.await??)
    }

    /// Writes a record and returns once it is on disk.
    pub async fn keep(&self, key: String, record: &impl Serialize) {
        let value = serde_json::to_string(record).unwrap_or_default();
        self.write(vec![Entry::Record { key, value }]);
        self.flush().await;
    }

    /// Returns once everything written so far is committed.
    pub async fn flush(&self) {
        if self.forgets {
            return;
        }
        let (done, waiting) = oneshot::channel();
        let _ = self.commands.send(Command::Flush(done));
        let _ = waiting.await;
    }
}

/// Journals from before FIFO queues lack the column.
fn add_place(connection: &Connection) -> rusqlite::Result<()> {
    let known = "SELECT count(*) FROM pragma_table_info('messages') WHERE name = 'place'";
    if connection.query_row(known, [], |row| row.get::<_, i64>(0))? == 0 {
        connection.execute_batch("ALTER TABLE messages ADD COLUMN place TEXT")?;
    }
    Ok(())
}

fn read(connection: &Connection) -> rusqlite::Result<Past> {
    let mut messages =
        connection.prepare("SELECT id, queue, body, sent_at, receives, place FROM messages ORDER BY n")?;
    let messages = messages.query_map([], |row| {
        Ok(KeptMessage {
            id: row.get(0)?,
            queue: row.get(1)?,
            body: row.get(2)?,
            sent_at: row.get(3)?,
            receives: row.get(4)?,
            place: row.get(5)?,
        })
    })?;
    let messages = messages.collect::<rusqlite::Result<_>>()?;
    let mut positions = connection.prepare("SELECT pipe, sequence FROM positions")?;
    let positions = positions.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let positions = positions.collect::<rusqlite::Result<_>>()?;
    let mut records = connection.prepare("SELECT key, value FROM book")?;
    let records = records.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let records = records.collect::<rusqlite::Result<_>>()?;
    Ok(Past { messages, positions, records })
}

fn run(connection: &Connection, inbox: &mpsc::Receiver<Command>) {
    while let Ok(first) = inbox.recv() {
        let mut waiting = Vec::new();
        let batch = std::iter::once(first).chain(inbox.try_iter().take(MAX_BATCH - 1));
        if let Err(error) = commit(connection, batch, &mut waiting) {
            // Going on without the journal would lose what it keeps.
            tracing::error!("cannot write the journal, stopping: {error}");
            std::process::exit(1);
        }
        // The task that waited may have been dropped.
        waiting.into_iter().for_each(|done: oneshot::Sender<()>| {
            let _ = done.send(());
        });
    }
}

fn commit(
    connection: &Connection,
    batch: impl Iterator<Item = Command>,
    waiting: &mut Vec<oneshot::Sender<()>>,
) -> rusqlite::Result<()> {
    connection.execute_batch("BEGIN")?;
    for command in batch {
        match command {
            Command::Write(entries) => entries.iter().try_for_each(|entry| write(connection, entry))?,
            Command::Flush(done) => waiting.push(done),
            Command::Read(wanted, done) => {
                let _ = done.send(archived(connection, &wanted));
            }
        }
    }
    connection.execute_batch("COMMIT")
}

fn archived(connection: &Connection, wanted: &Wanted) -> rusqlite::Result<Vec<String>> {
    let Wanted { archive, window: (from, to), after, limit } = wanted;
    let minute = |seconds: i64| {
        let time = DateTime::from_timestamp(seconds, 0).unwrap_or_default();
        time.format("%Y-%m-%dT%H:%M").to_string()
    };
    let (first, id) = match after {
        Some((time, id)) => (time.chars().take(16).collect(), id.as_str()),
        None => (minute(*from), ""),
    };
    let mut events = connection.prepare_cached(ARCHIVED)?;
    let bounds = params![archive, first, minute(*to), id, from, to, limit];
    events.query_map(bounds, |row| row.get(0))?.collect()
}

fn write(connection: &Connection, entry: &Entry) -> rusqlite::Result<()> {
    match entry {
        Entry::Message { id, queue, body, sent_at, receives, place } => connection
            .prepare_cached(
                "INSERT INTO messages (id, queue, body, sent_at, receives, place) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                 ON CONFLICT (id) DO UPDATE SET queue = ?2, sent_at = ?4, receives = ?5, place = ?6",
            )?
            .execute(params![id, queue, body, sent_at, receives, place]),
        Entry::Deleted { id } => {
            connection.prepare_cached("DELETE FROM messages WHERE id = ?1")?.execute([id])
        }
        Entry::Position { reader, sequence } => connection
            .prepare_cached("INSERT OR REPLACE INTO positions (pipe, sequence) VALUES (?1, ?2)")?
            .execute(params![reader, sequence]),
        Entry::Archived { archive, at, event } => connection
            .prepare_cached("INSERT INTO archived (archive, at, event) VALUES (?1, ?2, ?3)")?
            .execute(params![archive, at, event]),
        Entry::Record { key, value } => connection
            .prepare_cached("INSERT OR REPLACE INTO book (key, value) VALUES (?1, ?2)")?
            .execute(params![key, value]),
    }
    .map(drop)
}
