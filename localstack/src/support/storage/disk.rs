//! Keys on disk: `fjall`, a log-structured store, each key and value checked by a checksum.
//!
//! The store writes a batch into its log without syncing it. [`Log::sync`] syncs the log through a handle of its own: the store's
//! own call would hold the log's lock for as long as the disk needs, and every writer would wait with it.

use super::{Batch, Change, MOST_KEY_BYTES, Range, Space, logs};
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use fjall::compaction::Leveled;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, KvSeparationOptions, PersistMode};
use std::fs::File;
use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Syncs a file or folder. The tests of power cuts note what is safe with it.
pub type Fsync = Box<dyn Fn(&Path, &File) -> std::io::Result<()> + Send>;

const MIB: u64 = 1024 * 1024;
/// Recently read blocks.
const CACHE_BYTES: u64 = 64 * MIB;
/// What the log may hold: it is read at a start. Less than the buffers, and they would be emptied before they are full.
const LOG_BYTES: u64 = 192 * MIB;
/// After how many new files the store merges them: each merge writes most of a space's files again. At 20 the store slows writes down.
const NEW_FILES: u8 = 8;
/// The store's background work. With a single one, flushes wait for themselves. The first one does not merge files: it hands such work
/// on, again and again as long as all others are busy, and takes a whole core meanwhile. With two in all that was a tenth of a loaded
/// stack's time; with four, buffers were not emptied in time once the files were large, and everything stood still for seconds.
const WORKERS: usize = 8;
/// Values from this length on lie apart from their keys, where a space has such.
const APART_BYTES: u32 = 128;
/// The most changes that wait: more would be a pause for the batch that has them.
const MOST_WAITING: usize = 1024;
/// How the keys and values of a store are written: another way would be misread. A file of this name says which it is.
const FORMAT: &str = "2";
const FORMAT_FILE: &str = "format";
/// The file that holds the number of the last mark that was synced.
const SYNCED: &str = "synced";
/// Where the store has a folder for each space.
const SPACES: &str = "keyspaces";
/// The file of a space that says which files it has.
const CURRENT: &str = "current";

pub struct Disk {
    store: Database,
    spaces: Vec<Keyspace>,
    /// Whoever writes into the log has it, so that what waits stands there before what was written after it.
    turn: Mutex<()>,
    /// Changes that are not in the log yet, of spaces that may wait: the next batch has them, or the next sync.
    waiting: Mutex<Batch>,
}

/// The log as the syncer sees it.
pub struct Log {
    disk: Arc<Disk>,
    folder: PathBuf,
    /// The log that was written at the last sync, by its number.
    open: Option<(u64, PathBuf, File)>,
    /// The mark that was synced last, and the file that says so.
    mark: u64,
    noted: File,
    fsync: Fsync,
}

/// Going on with a store that cannot be read or written would lose what it keeps, or forget that it is there.
fn must<T, E: std::fmt::Display>(outcome: Result<T, E>, what: &str) -> T {
    outcome.unwrap_or_else(|error| {
        tracing::error!(
            "cannot {what} the data folder, stopping: {error}; if its files are spoiled, put a copy back, or start with --fresh, which deletes them"
        );
        std::process::exit(1)
    })
}

fn number(bytes: &[u8]) -> u64 {
    bytes.try_into().map_or(0, u64::from_le_bytes)
}

fn fsynced(path: &Path, fsync: &Fsync) -> Result<()> {
    let synced = File::open(path).and_then(|file| fsync(path, &file));
    synced.with_context(|| path.display().to_string())
}

/// Makes a store beside its place and moves it there when all of it is on disk: what a crash leaves half made is made anew. The store
/// does not sync the folder of the spaces after it has made one.
fn create(folder: &Path, fsync: &Fsync) -> Result<()> {
    let new = folder.with_extension("new");
    if new.exists() {
        std::fs::remove_dir_all(&new)?;
    }
    drop(Disk::of(&new)?);
    fsynced(&new.join(SPACES), fsync)?;
    File::create_new(new.join(SYNCED))?;
    std::fs::write(new.join(FORMAT_FILE), FORMAT)?;
    fsynced(&new.join(FORMAT_FILE), fsync)?;
    fsynced(&new, fsync)?;
    std::fs::rename(&new, folder)?;
    folder.parent().map_or(Ok(()), |parent| fsynced(parent, fsync))
}

/// The store makes a space anew of which it finds no version, and deletes what is left of it. It numbers them as they were made, from
/// 1; its own is 0.
fn check_spaces(folder: &Path) -> Result<()> {
    for number in 0..=Space::ALL.len() {
        let current = folder.join(SPACES).join(number.to_string()).join(CURRENT);
        ensure!(current.exists(), "its file {} is gone", current.display());
    }
    Ok(())
}

/// What a space keeps in memory before it is sorted into files: most where most is written, and where what was written is soon written
/// again or deleted, so that it never gets into a file.
const fn buffer_bytes(space: Space) -> u64 {
    match space {
        Space::Rows | Space::Streams => 32 * MIB,
        Space::Messages => 16 * MIB,
        _ => 8 * MIB,
    }
}

/// Whether a space's values lie in files of their own, so that merges write its keys again and not them: where they grow with the orders
/// that a stack has had, and few are written again once they are in a file. The store syncs such a file, and not the folder that it is
/// new in: it relies on a file system that keeps a new file's name with its first sync, as ext4, XFS and Btrfs do.
const fn is_apart(space: Space) -> bool {
    matches!(space, Space::Rows | Space::Streams | Space::Archives | Space::Records)
}

impl Disk {
    /// # Errors
    /// When the store cannot be opened.
    pub fn open(folder: &Path, fsync: Fsync) -> Result<(Arc<Self>, Log)> {
        if !folder.exists() {
            create(folder, &fsync)?;
        }
        let format = match std::fs::read_to_string(folder.join(FORMAT_FILE)) {
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            read => read.with_context(|| format!("its file {FORMAT_FILE}"))?,
        };
        ensure!(format == FORMAT, "it is of another version, format {format:?}; this one has {FORMAT:?}");
        let noted = std::fs::read(folder.join(SYNCED)).with_context(|| format!("its file {SYNCED}"))?;
        ensure!([0, 8].contains(&noted.len()), "its file {SYNCED} has {} bytes instead of 8", noted.len());
        let noted = number(&noted);
        check_spaces(folder)?;
        logs::mend(folder, noted)?;
        let disk = Arc::new(Self::of(folder)?);
        let log = Log::open(folder, Arc::clone(&disk), (noted, fsync))?;
        Ok((disk, log))
    }

    fn of(folder: &Path) -> Result<Self> {
        let store = Database::builder(folder)
            .cache_size(CACHE_BYTES)
            .max_journaling_size(LOG_BYTES)
            .worker_threads(WORKERS)
            .open()?;
        let options = |space| {
            let merges = Leveled::default().with_l0_threshold(NEW_FILES);
            let apart = KvSeparationOptions::default().separation_threshold(APART_BYTES);
            KeyspaceCreateOptions::default()
                .max_memtable_size(buffer_bytes(space))
                .with_kv_separation(is_apart(space).then_some(apart))
                .compaction_strategy(Arc::new(merges))
        };
        let spaces = Space::ALL.map(|space| store.keyspace(space.name(), || options(space)));
        let spaces = spaces.into_iter().collect::<fjall::Result<_>>()?;
        Ok(Self { store, spaces, turn: Mutex::default(), waiting: Mutex::default() })
    }

    fn space(&self, space: Space) -> &Keyspace {
        &self.spaces[space as usize]
    }

    pub fn get(&self, space: Space, key: &[u8]) -> Option<Bytes> {
        if key.len() > MOST_KEY_BYTES {
            return None;
        }
        self.settle(space);
        must(self.space(space).get(key), "read").map(Bytes::from)
    }

    pub fn visit(
        &self,
        space: Space,
        range: &Range,
        visit: &mut impl FnMut(&[u8], Bytes) -> ControlFlow<()>,
    ) {
        self.settle(space);
        let mut found = self.space(space).range(range.within(MOST_KEY_BYTES));
        while let Some(entry) = if range.is_backward { found.next_back() } else { found.next() } {
            let (key, value) = must(entry.into_inner(), "read");
            if visit(&key, value.into()).is_break() {
                return;
            }
        }
    }

    /// Writes a batch, or lets it wait for the next one.
    pub fn write(&self, batch: Batch) {
        if !batch.0.iter().all(|(space, ..)| space.may_wait()) {
            return self.commit(batch);
        }
        let mut waiting = locked(&self.waiting);
        waiting.0.extend(batch.0);
        let is_full = waiting.len() >= MOST_WAITING;
        drop(waiting);
        if is_full {
            self.commit(Batch::default());
        }
    }

    /// What waits is not seen by readers: they write it first.
    fn settle(&self, space: Space) {
        if space.may_wait() {
            self.commit(Batch::default());
        }
    }

    /// Writes what waits, and a batch.
    fn commit(&self, batch: Batch) {
        let turn = locked(&self.turn);
        let waiting = std::mem::take(&mut locked(&self.waiting).0);
        let mut writes = self.store.batch().durability(Some(PersistMode::Buffer));
        for (space, key, change) in waiting.into_iter().chain(batch.0) {
            match change {
                Change::Put(value) => writes.insert(self.space(space), key, value),
                Change::Delete => writes.remove(self.space(space), key),
            }
        }
        must(writes.commit(), "write");
        drop(turn);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Log {
    /// What was synced cannot be torn: if its mark is gone, the store was spoiled.
    fn open(folder: &Path, disk: Arc<Disk>, (noted, fsync): (u64, Fsync)) -> Result<Self> {
        let mark = disk.space(Space::Marks).get(logs::MARK)?.map_or(0, |mark| number(&mark));
        ensure!(
            mark >= noted,
            "its log is spoiled: it ends at mark {mark}, and mark {noted} was synced and acknowledged"
        );
        let path = folder.join(SYNCED);
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        let file = file.with_context(|| path.display().to_string())?;
        Ok(Self { disk, folder: folder.to_owned(), open: None, mark, noted: file, fsync })
    }

    /// Syncs everything written so far, or ends the process.
    pub fn sync(&mut self) {
        must(self.try_sync(), "write");
    }

    /// The store syncs a log itself before it begins the next, so that the newest is the only one that is not.
    fn try_sync(&mut self) -> Result<()> {
        self.disk.commit(Batch::default());
        self.mark += 1;
        let mark = self.mark.to_le_bytes();
        // A batch of its own: it proves that the mark before it was synced.
        let mut batch = self.disk.store.batch().durability(Some(PersistMode::Buffer));
        batch.insert(self.disk.space(Space::Marks), logs::MARK, mark);
        batch.commit()?;
        // The store numbers its logs one after the other, and deletes the oldest first.
        let is_newest = match &self.open {
            Some((number, path, _)) => {
                path.try_exists()? && !logs::path(&self.folder, number + 1).try_exists()?
            }
            None => false,
        };
        if !is_newest {
            let (number, path) = logs::of(&self.folder)?.pop().context("there is no log")?;
            let file = File::open(&path)?;
            self.open = Some((number, path, file));
        }
        if let Some((_, path, file)) = &self.open {
            (self.fsync)(path, file)?;
        }
        self.noted.write_all_at(&mark, 0)?;
        Ok(())
    }
}
