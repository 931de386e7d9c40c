//! DynamoDB and its streams: `dynoxide` behind one mutex.
//!
//! The facade of `dynoxide` slows down as it is used (its stream table has no index and it sweeps its idempotency
//! tokens on every call), so the storage is driven directly, with the two missing indexes, a token table of our own,
//! and one fsync for all transactions that arrived together. A call is answered only after the fsync that covers it:
//! what was acknowledged survives a crash of the machine.

use super::conflicts::Conflicts;
use super::operations::{Answer, Operations, StreamRecord};
use super::tables;
use crate::support::meter::Meter;
use crate::template::resources::Table;
use anyhow::{Context, Result};
use dynoxide::storage::Storage;
use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// The database of every table. Clones share it.
#[derive(Clone)]
pub struct Database(Arc<Shared>);

struct Shared {
    operations: Mutex<Operations>,
    conflicts: Conflicts,
    log: Option<Log>,
    /// By table: notified by each commit to it.
    written: HashMap<String, Arc<Notify>>,
}

/// The write-ahead log's file, and how much of what was committed is known to be on disk.
struct Log {
    file: File,
    committed: AtomicU64,
    synced: Mutex<u64>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Log {
    /// One fsync for everything committed since the last: the first caller syncs for all callers that wait behind it.
    /// SQLite itself runs with `synchronous = NORMAL`, which leaves exactly this to us.
    fn sync(&self, commit: u64) {
        let mut synced = lock(&self.synced);
        if *synced >= commit {
            return;
        }
        let covered = self.committed.load(Ordering::SeqCst);
        if let Err(error) = self.file.sync_data() {
            // Acknowledging a commit that may not be on disk would break the one promise of this module.
            tracing::error!("cannot write to disk, stopping: {error}");
            std::process::exit(1);
        }
        *synced = covered;
    }
}

impl Database {
    /// Opens the database at `path` (in memory without one) and creates the tables that are missing.
    ///
    /// # Errors
    /// When the file cannot be opened, or DynamoDB would refuse the declaration of a table.
    pub fn start(path: Option<&Path>, tables: &[Table]) -> Result<Self> {
        let storage = match path {
            Some(path) => {
                Storage::new(&path.to_string_lossy()).with_context(|| path.display().to_string())?
            }
            None => Storage::memory()?,
        };
        let indexes =
            "PRAGMA synchronous = NORMAL; PRAGMA cache_size = -65536; PRAGMA wal_autocheckpoint = 8000;
            CREATE INDEX IF NOT EXISTS _stream_newest
                ON _stream_records (table_name, CAST(sequence_number AS INTEGER));
            CREATE INDEX IF NOT EXISTS _stream_read
                ON _stream_records (table_name, shard_id, CAST(sequence_number AS INTEGER));";
        storage.conn().execute_batch(indexes)?;
        for table in tables {
            tables::create(&storage, table).with_context(|| format!("table {}", table.table_name))?;
        }
        let log = path.map(|path| File::open(format!("{}-wal", path.display()))).transpose()?;
        let log = log.map(|file| Log { file, committed: AtomicU64::new(0), synced: Mutex::new(0) });
        let written = tables.iter().map(|table| (table.table_name.clone(), Arc::new(Notify::new())));
        let (operations, conflicts) = (Mutex::new(Operations::new(storage)), Conflicts::new(tables));
        Ok(Self(Arc::new(Shared { operations, conflicts, log, written: written.collect() })))
    }

    /// Has the meter count the capacity that each operation consumes.
    pub fn metered_by(&self, meter: &Meter) {
        lock(&self.0.operations).metered_by(meter);
    }

    /// Carries out one operation of the DynamoDB API, such as `PutItem`, on its JSON body. Blocks for as long as the
    /// work takes: handing it to another thread and back takes longer.
    #[must_use]
    pub fn call(&self, operation: &str, body: &[u8]) -> Answer {
        let mut written = Vec::new();
        let mut operations = lock(&self.0.operations);
        let answer = operations.execute(operation, body, &mut written);
        if written.is_empty() {
            return answer;
        }
        let commit = self.0.log.as_ref().map(|log| (log, log.committed.fetch_add(1, Ordering::SeqCst) + 1));
        drop(operations);
        if let Some((log, commit)) = commit {
            log.sync(commit);
        }
        for table in written {
            if let Some(notify) = self.0.written.get(&table) {
                notify.notify_one();
            }
        }
        answer
    }

    /// The rows that transactions hold.
    #[must_use]
    pub fn conflicts(&self) -> &Conflicts {
        &self.0.conflicts
    }

    /// At most `limit` records of a table's stream after the sequence number `after`, oldest first; none older than a day.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn stream(&self, table: &str, after: i64, limit: usize) -> Result<Vec<StreamRecord>> {
        lock(&self.0.operations).records(table, after, limit)
    }

    /// Notified each time something was written to a table; `None` for a table that no template declares.
    #[must_use]
    pub fn written(&self, table: &str) -> Option<Arc<Notify>> {
        self.0.written.get(table).cloned()
    }

    /// Makes a table's stream forget all its records, as if a day had passed.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn forget(&self, table: &str) -> Result<()> {
        lock(&self.0.operations).forget(table)
    }

    /// [`Database::forget`] for the fault dial, which is no reason to keep the database open.
    pub fn forgetter(&self) -> impl Fn(&str) -> Result<()> + Send + Sync + use<> {
        let shared = Arc::downgrade(&self.0);
        move |table| shared.upgrade().map_or(Ok(()), |shared| Self(shared).forget(table))
    }

    /// Deletes rows past their TTL and stream records past their day.
    pub fn sweep(&self) {
        lock(&self.0.operations).sweep();
    }
}
