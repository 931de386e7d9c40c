//! What survives a restart besides the tables: queue messages, how far each pipe has read, the archive, and
//! the payment simulator's book. One SQLite file, one writer thread, commits shared by all that waits.
//!
//! A pipe's position and the messages it led to stand in the journal in the order in which they happened.
//! Losing its end loses both, and the pipe reads the same records again: nothing has to wait for the disk.
//! What a caller was told is safe ([`Journal::flush`]) is synced first.

use anyhow::{Context, Result};
use rusqlite::{Connection, params};
use serde::{Serialize, de::DeserializeOwned};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc;
use tokio::sync::oneshot;

/// A change to remember.
#[derive(Debug)]
pub enum Entry {
    /// A message is in a queue (or has moved there, or was received once more).
    Message {
        /// Its id.
        id: String,
        /// The queue's name.
        queue: String,
        /// Its body.
        body: String,
        /// Epoch milliseconds.
        sent_at: i64,
        /// How often it was received.
        receives: u32,
    },
    /// A message is gone.
    Deleted {
        /// Its id.
        id: String,
    },
    /// A pipe has read up to here.
    Position {
        /// The pipe's name.
        pipe: String,
        /// The stream's sequence number.
        sequence: i64,
    },
    /// An event was archived.
    Archived {
        /// The archive's name.
        archive: String,
        /// Epoch milliseconds.
        at: i64,
        /// The event.
        event: String,
    },
    /// A record of a simulator's book.
    Book {
        /// Its key.
        key: String,
        /// Its JSON.
        value: String,
    },
}

enum Order {
    Write(Vec<Entry>),
    Flush(oneshot::Sender<()>),
}

/// A message as the journal kept it.
#[derive(Clone, Debug)]
pub struct Kept {
    /// Its id.
    pub id: String,
    /// The queue's name.
    pub queue: String,
    /// Its body.
    pub body: String,
    /// Epoch milliseconds.
    pub sent_at: i64,
    /// How often it was received.
    pub receives: u32,
}

/// Everything the journal knew when it was opened.
#[derive(Debug, Default)]
pub struct Past {
    /// Messages, oldest first.
    pub messages: Vec<Kept>,
    /// Positions by pipe.
    pub positions: Vec<(String, i64)>,
    /// The simulator's book.
    pub book: Vec<(String, String)>,
}

/// The running journal; none where nothing is to survive. Clones share it.
#[derive(Clone)]
pub struct Journal(Option<mpsc::Sender<Order>>);

const SCHEMA: &str =
    "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 8000;
    CREATE TABLE IF NOT EXISTS messages (n INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE,
        queue TEXT NOT NULL, body TEXT NOT NULL, sent_at INTEGER NOT NULL, receives INTEGER NOT NULL);
    CREATE TABLE IF NOT EXISTS positions (pipe TEXT PRIMARY KEY, sequence INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS archived (n INTEGER PRIMARY KEY AUTOINCREMENT, archive TEXT NOT NULL,
        at INTEGER NOT NULL, event TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS book (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;";

/// The most orders that share one commit.
const MAX_BATCH: usize = 256;

impl Journal {
    /// Opens the journal at `path` and reads what it knows; without a path nothing is kept.
    ///
    /// # Errors
    /// When the file is not a journal or cannot be read.
    pub fn open(path: Option<&Path>) -> Result<(Self, Past)> {
        let Some(path) = path else { return Ok((Self(None), Past::default())) };
        let connection = Connection::open(path).with_context(|| path.display().to_string())?;
        connection.execute_batch(SCHEMA)?;
        let past = read(&connection)?;
        let (orders, inbox) = mpsc::channel();
        std::thread::Builder::new().name("journal".into()).spawn(move || run(&connection, &inbox))?;
        Ok((Self(Some(orders)), past))
    }

    /// Remembers entries, in order, soon.
    pub fn write(&self, entries: Vec<Entry>) {
        if let Some(orders) = &self.0 {
            // The writer stops only with the process.
            let _ = orders.send(Order::Write(entries));
        }
    }

    /// Remembers a record of a book before anybody hears of it.
    pub async fn keep(&self, key: String, record: &impl Serialize) {
        let value = serde_json::to_string(record).unwrap_or_default();
        self.write(vec![Entry::Book { key, value }]);
        self.flush().await;
    }

    /// Returns once everything written so far is committed.
    pub async fn flush(&self) {
        let Some(orders) = &self.0 else { return };
        let (done, waiting) = oneshot::channel();
        let _ = orders.send(Order::Flush(done));
        let _ = waiting.await;
    }
}

/// The records of one book among all that was kept: those whose key begins with `prefix`, by the rest of it.
///
/// # Errors
/// When one of them cannot be read.
pub fn book<T: DeserializeOwned>(kept: &[(String, String)], prefix: &str) -> Result<BTreeMap<String, T>> {
    let of_book = kept.iter().filter_map(|(key, value)| Some((key.strip_prefix(prefix)?, value)));
    of_book.map(|(key, value)| Ok((key.to_owned(), serde_json::from_str(value)?))).collect()
}

fn read(connection: &Connection) -> rusqlite::Result<Past> {
    let mut messages =
        connection.prepare("SELECT id, queue, body, sent_at, receives FROM messages ORDER BY n")?;
    let messages = messages.query_map([], |row| {
        Ok(Kept {
            id: row.get(0)?,
            queue: row.get(1)?,
            body: row.get(2)?,
            sent_at: row.get(3)?,
            receives: row.get(4)?,
        })
    })?;
    let messages = messages.collect::<rusqlite::Result<_>>()?;
    let mut positions = connection.prepare("SELECT pipe, sequence FROM positions")?;
    let positions = positions.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let positions = positions.collect::<rusqlite::Result<_>>()?;
    let mut book = connection.prepare("SELECT key, value FROM book")?;
    let book = book.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let book = book.collect::<rusqlite::Result<_>>()?;
    Ok(Past { messages, positions, book })
}

fn run(connection: &Connection, inbox: &mpsc::Receiver<Order>) {
    while let Ok(first) = inbox.recv() {
        let mut waiting = Vec::new();
        let batch = std::iter::once(first).chain(inbox.try_iter().take(MAX_BATCH - 1));
        if let Err(error) = commit(connection, batch, &mut waiting) {
            // Going on without a journal would lose what it is there to keep.
            tracing::error!("cannot write the journal, stopping: {error}");
            std::process::exit(1);
        }
        // Whoever waited may be gone.
        waiting.into_iter().for_each(|done: oneshot::Sender<()>| {
            let _ = done.send(());
        });
    }
}

fn commit(
    connection: &Connection,
    batch: impl Iterator<Item = Order>,
    waiting: &mut Vec<oneshot::Sender<()>>,
) -> rusqlite::Result<()> {
    connection.execute_batch("BEGIN")?;
    for order in batch {
        match order {
            Order::Write(entries) => entries.iter().try_for_each(|entry| write(connection, entry))?,
            Order::Flush(done) => waiting.push(done),
        }
    }
    connection.execute_batch("COMMIT")
}

fn write(connection: &Connection, entry: &Entry) -> rusqlite::Result<()> {
    match entry {
        Entry::Message { id, queue, body, sent_at, receives } => connection
            .prepare_cached(
                "INSERT INTO messages (id, queue, body, sent_at, receives) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (id) DO UPDATE SET queue = ?2, receives = ?5",
            )?
            .execute(params![id, queue, body, sent_at, receives]),
        Entry::Deleted { id } => {
            connection.prepare_cached("DELETE FROM messages WHERE id = ?1")?.execute([id])
        }
        Entry::Position { pipe, sequence } => connection
            .prepare_cached("INSERT OR REPLACE INTO positions (pipe, sequence) VALUES (?1, ?2)")?
            .execute(params![pipe, sequence]),
        Entry::Archived { archive, at, event } => connection
            .prepare_cached("INSERT INTO archived (archive, at, event) VALUES (?1, ?2, ?3)")?
            .execute(params![archive, at, event]),
        Entry::Book { key, value } => connection
            .prepare_cached("INSERT OR REPLACE INTO book (key, value) VALUES (?1, ?2)")?
            .execute(params![key, value]),
    }
    .map(drop)
}
