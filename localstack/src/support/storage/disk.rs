//! Keys on disk: `fjall`, a log-structured store, each key and value checked by a checksum.
//!
//! The store writes a batch into its log without syncing it. [`Log::sync`] syncs the log through a handle of its own: the store's
//! own call would hold the log's lock for as long as the disk needs, and every writer would wait with it.

use super::{Batch, Change, Range, Space};
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use std::fs::File;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Recently read blocks.
const CACHE_BYTES: u64 = 64 * 1024 * 1024;
/// What the log may hold: it is read at a start.
const LOG_BYTES: u64 = 128 * 1024 * 1024;
/// What a space keeps in memory before it is sorted into files.
const BUFFER_BYTES: u64 = 8 * 1024 * 1024;
/// One for each kind of the store's background work: with a single one, flushes wait for themselves.
const WORKERS: usize = 2;
/// The store's logs are named `0.jnl`, `1.jnl` and so on; the last one is written.
const LOG_SUFFIX: &str = "jnl";
/// The file that holds the number of the last mark that was synced, and the key of the last mark in the store.
const SYNCED: &str = "synced";

pub struct Disk {
    store: Database,
    spaces: Vec<Keyspace>,
}

/// The log as the syncer sees it.
pub struct Log {
    store: Database,
    marks: Keyspace,
    folder: PathBuf,
    /// The log that was written at the last sync, by its number.
    open: Option<(u64, File)>,
    /// The mark that was synced last, and the file that says so.
    mark: u64,
    noted: File,
}

/// Going on with a store that cannot be read or written would lose what it keeps, or forget that it is there.
fn must<T, E: std::fmt::Display>(outcome: Result<T, E>, what: &str) -> T {
    outcome.unwrap_or_else(|error| {
        tracing::error!("cannot {what} the data folder, stopping: {error}");
        std::process::exit(1)
    })
}

impl Disk {
    /// # Errors
    /// When the store cannot be opened.
    pub fn open(folder: &Path) -> Result<(Self, Log)> {
        let store = Database::builder(folder)
            .cache_size(CACHE_BYTES)
            .max_journaling_size(LOG_BYTES)
            .worker_threads(WORKERS)
            .open()?;
        let options = || KeyspaceCreateOptions::default().max_memtable_size(BUFFER_BYTES);
        let spaces = Space::ALL.map(|space| store.keyspace(space.name(), options));
        let spaces: Vec<Keyspace> = spaces.into_iter().collect::<fjall::Result<_>>()?;
        let marks = spaces.get(Space::Marks as usize).context("no space for marks")?.clone();
        let log = Log::open(folder, &store, marks)?;
        Ok((Self { store, spaces }, log))
    }

    fn space(&self, space: Space) -> &Keyspace {
        &self.spaces[space as usize]
    }

    pub fn get(&self, space: Space, key: &[u8]) -> Option<Bytes> {
        must(self.space(space).get(key), "read").map(|value| Bytes::copy_from_slice(&value))
    }

    pub fn visit(
        &self,
        space: Space,
        range: &Range,
        visit: &mut impl FnMut(&[u8], Bytes) -> ControlFlow<()>,
    ) {
        let mut found = self.space(space).range((range.from.clone(), range.to.clone()));
        while let Some(entry) = if range.is_backward { found.next_back() } else { found.next() } {
            let (key, value) = must(entry.into_inner(), "read");
            if visit(&key, Bytes::copy_from_slice(&value)).is_break() {
                return;
            }
        }
    }

    pub fn write(&self, batch: &Batch) {
        let mut writes = self.store.batch().durability(Some(PersistMode::Buffer));
        for (space, key, change) in &batch.0 {
            match change {
                Change::Put(value) => writes.insert(self.space(*space), key.as_slice(), &value[..]),
                Change::Delete => writes.remove(self.space(*space), key.as_slice()),
            }
        }
        must(writes.commit(), "write");
    }
}

impl Log {
    /// Opening the store cuts off what is torn at the end of its log. What was synced cannot be torn: if its mark is gone, the
    /// log was spoiled.
    fn open(folder: &Path, store: &Database, marks: Keyspace) -> Result<Self> {
        let number = |bytes: &[u8]| bytes.try_into().map_or(0, u64::from_le_bytes);
        let mark = marks.get(SYNCED)?.map_or(0, |mark| number(&mark));
        let noted = std::fs::read(folder.join(SYNCED)).map_or(0, |noted| number(&noted));
        ensure!(
            mark >= noted,
            "its log is spoiled: it ends at mark {mark}, and mark {noted} was synced and acknowledged"
        );
        let path = folder.join(SYNCED);
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        let file = file.with_context(|| path.display().to_string())?;
        Ok(Self { store: store.clone(), marks, folder: folder.to_owned(), open: None, mark, noted: file })
    }

    /// The number of the log that is written.
    fn number(&self) -> Result<u64> {
        let mut newest = None;
        for entry in std::fs::read_dir(&self.folder)? {
            let path = entry?.path();
            let is_log = path.extension().is_some_and(|suffix| suffix == LOG_SUFFIX);
            let number = path.file_stem().and_then(|name| name.to_str()?.parse::<u64>().ok());
            newest = newest.max(number.filter(|_| is_log));
        }
        newest.with_context(|| format!("{}: no log", self.folder.display()))
    }

    /// Syncs everything written so far, or ends the process.
    pub fn sync(&mut self) {
        must(self.try_sync(), "write");
    }

    /// The store syncs a log itself before it begins the next, so that the newest is the only one that is not.
    fn try_sync(&mut self) -> Result<()> {
        self.mark += 1;
        let mark = self.mark.to_le_bytes();
        let mut batch = self.store.batch().durability(Some(PersistMode::Buffer));
        batch.insert(&self.marks, SYNCED, mark);
        batch.commit()?;
        let number = self.number()?;
        if self.open.as_ref().is_none_or(|(known, _)| *known != number) {
            self.open = Some((number, File::open(self.folder.join(format!("{number}.{LOG_SUFFIX}")))?));
        }
        if let Some((_, file)) = &self.open {
            file.sync_data()?;
        }
        self.noted.write_all_at(&mark, 0)?;
        Ok(())
    }
}
