//! What the stack keeps: keys and values in order, in memory or on disk, written in batches of which all is there or nothing.
//!
//! On disk it is one store with one log. A caller that acknowledges something awaits [`Storage::synced`] before: one fsync covers
//! everything that was written until it began, tables, messages and books alike. What was written first is never lost without
//! what was written after it.

mod disk;
mod logs;
mod memory;
#[cfg(test)]
mod power_cuts;
#[cfg(test)]
mod specs;

use anyhow::Result;
use bytes::Bytes;
use std::ops::{Bound, ControlFlow, RangeBounds};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, SyncSender};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::thread::JoinHandle;
use tokio::sync::watch;

/// A part of the storage with keys of its own. The names are those of the folders on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// The tables' rows.
    Rows,
    /// The entries of the tables' secondary indexes.
    Indexes,
    /// The records of the tables' streams.
    Streams,
    /// The rows that have a time to live, by that time.
    Expiries,
    /// Messages in queues.
    Messages,
    /// How far each reader of a stream has read.
    Positions,
    /// Records by key: books, executions, what was published.
    Records,
    /// The archives' events.
    Archives,
    /// What the storage notes for itself.
    Marks,
}

impl Space {
    const ALL: [Self; 9] = [
        Self::Rows,
        Self::Indexes,
        Self::Streams,
        Self::Expiries,
        Self::Messages,
        Self::Positions,
        Self::Records,
        Self::Archives,
        Self::Marks,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Rows => "rows",
            Self::Indexes => "indexes",
            Self::Streams => "streams",
            Self::Expiries => "expiries",
            Self::Messages => "messages",
            Self::Positions => "positions",
            Self::Records => "records",
            Self::Archives => "archives",
            Self::Marks => "marks",
        }
    }

    /// Whether its changes may wait in memory for the next batch or sync. Of these spaces the stack works with what it has in memory,
    /// and reads the disk at a start or when a person asks. An order makes some thirty such changes, each in a moment of its own:
    /// one by one they would cost as many system calls and waits for the log.
    const fn may_wait(self) -> bool {
        matches!(self, Self::Messages | Self::Positions | Self::Archives)
    }
}

/// What happens to a key.
#[derive(Debug)]
pub enum Change {
    Put(Bytes),
    Delete,
}

/// Changes that are made together. Of two changes of one key the later one counts.
#[derive(Debug, Default)]
pub struct Batch(Vec<(Space, Vec<u8>, Change)>);

impl Batch {
    pub fn put(&mut self, space: Space, key: impl Into<Vec<u8>>, value: impl Into<Bytes>) {
        self.0.push((space, key.into(), Change::Put(value.into())));
    }

    pub fn delete(&mut self, space: Space, key: impl Into<Vec<u8>>) {
        self.0.push((space, key.into(), Change::Delete));
    }

    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[must_use]
    pub const fn len(&self) -> usize {
        self.0.len()
    }
}

/// The most bytes of a key, for the store on disk.
pub const MOST_KEY_BYTES: usize = 65_535;

/// The keys between two bounds, in order or against it.
#[derive(Clone, Debug)]
pub struct Range {
    pub from: Bound<Vec<u8>>,
    pub to: Bound<Vec<u8>>,
    pub is_backward: bool,
}

impl Range {
    /// The keys that begin with `prefix`.
    #[must_use]
    pub fn prefix(prefix: &[u8]) -> Self {
        let from = Bound::Included(prefix.to_vec());
        Self { from, to: end(prefix).map_or(Bound::Unbounded, Bound::Excluded), is_backward: false }
    }

    /// Without the keys up to `key`, in the direction of the range.
    #[must_use]
    pub fn after(self, key: &[u8]) -> Self {
        let bound = Bound::Excluded(key.to_vec());
        if self.is_backward { Self { to: bound, ..self } } else { Self { from: bound, ..self } }
    }

    #[must_use]
    pub fn backward(self, is_backward: bool) -> Self {
        Self { is_backward, ..self }
    }

    /// Whether a key is between the bounds.
    #[must_use]
    pub fn holds(&self, key: &[u8]) -> bool {
        RangeBounds::<[u8]>::contains(
            &(self.from.as_ref().map(Vec::as_slice), self.to.as_ref().map(Vec::as_slice)),
            key,
        )
    }

    /// The same keys, of which none is longer than `most` bytes, between bounds that are not longer either.
    fn within(&self, most: usize) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
        let cut = |bound: &Bound<Vec<u8>>| match bound {
            Bound::Included(key) | Bound::Excluded(key) => {
                key.get(..most).filter(|_| key.len() > most).map(<[u8]>::to_vec)
            }
            Bound::Unbounded => None,
        };
        // What begins as such a bound does, and is not longer than `most`, is before it.
        let from = cut(&self.from).map_or_else(|| self.from.clone(), Bound::Excluded);
        let to = cut(&self.to).map_or_else(|| self.to.clone(), Bound::Included);
        (from, to)
    }

    fn is_empty(&self) -> bool {
        let (Bound::Included(from) | Bound::Excluded(from), Bound::Included(to) | Bound::Excluded(to)) =
            (&self.from, &self.to)
        else {
            return false;
        };
        let both = matches!((&self.from, &self.to), (Bound::Included(_), Bound::Included(_)));
        from > to || (from == to && !both)
    }
}

/// The first key behind all that begin with `prefix`; `None` when there is none.
#[must_use]
pub fn end(prefix: &[u8]) -> Option<Vec<u8>> {
    let kept = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut end = prefix.get(..=kept)?.to_vec();
    *end.last_mut()? += 1;
    Some(end)
}

/// Where the keys are kept.
enum Place {
    Memory(Box<memory::Memory>),
    /// Nothing once it is closed.
    Disk(RwLock<Option<Arc<disk::Disk>>>),
}

struct Shared {
    place: Place,
    /// How many batches were written.
    written: Arc<AtomicU64>,
    syncer: Mutex<Option<Syncer>>,
}

/// The thread that syncs. It ends when its bell is gone.
struct Syncer {
    bell: SyncSender<()>,
    thread: JoinHandle<()>,
}

/// The storage. Clones share it.
#[derive(Clone)]
pub struct Storage {
    shared: Arc<Shared>,
    /// How many batches are known to be safe.
    safe: watch::Receiver<u64>,
}

/// The number of a batch.
pub type Written = u64;

impl Storage {
    /// A storage that ends with the process.
    #[must_use]
    pub fn memory() -> Self {
        let place = Place::Memory(Box::default());
        let (_, safe) = watch::channel(u64::MAX);
        Self { shared: Arc::new(Shared { place, written: Arc::default(), syncer: Mutex::default() }), safe }
    }

    /// The storage in a folder, which is made if it is not there.
    ///
    /// # Errors
    /// When the folder cannot be used, or what lies in it is spoiled.
    pub fn open(folder: &Path) -> Result<Self> {
        Self::open_with(folder, Box::new(|_, file| file.sync_data()))
    }

    /// The same with another way to sync: tests note what is safe, or let nothing be.
    pub(crate) fn open_with(folder: &Path, fsync: disk::Fsync) -> Result<Self> {
        let (disk, mut log) = disk::Disk::open(folder, fsync)?;
        let (sender, safe) = watch::channel(0);
        let written = Arc::new(AtomicU64::new(0));
        let counts = Arc::clone(&written);
        // One ring is kept for later: what is written during a sync is synced by the next.
        let (bell, rings) = mpsc::sync_channel(1);
        let work = move || {
            while rings.recv().is_ok() {
                let covered = counts.load(Ordering::SeqCst);
                log.sync();
                sender.send_replace(covered);
            }
        };
        let thread = std::thread::Builder::new().name("syncer".into()).spawn(work)?;
        let syncer = Mutex::new(Some(Syncer { bell, thread }));
        let shared = Shared { place: Place::Disk(RwLock::new(Some(disk))), written, syncer };
        Ok(Self { shared: Arc::new(shared), safe })
    }

    /// Gives the folder free, though clones may be left: they find nothing any more, and what they write is lost. For a stack that
    /// ends before its process; its connections have no say in it.
    pub fn close(&self) {
        self.shared.close();
    }

    /// Whether it ends with the process.
    #[must_use]
    pub fn is_memory(&self) -> bool {
        matches!(self.shared.place, Place::Memory(_))
    }

    #[must_use]
    pub fn get(&self, space: Space, key: &[u8]) -> Option<Bytes> {
        match &self.shared.place {
            Place::Memory(memory) => memory.get(space, key),
            Place::Disk(disk) => open(disk).as_ref()?.get(space, key),
        }
    }

    /// Shows the keys and values of a range, until `visit` breaks off.
    pub fn visit(&self, space: Space, range: &Range, mut visit: impl FnMut(&[u8], Bytes) -> ControlFlow<()>) {
        if range.is_empty() {
            return;
        }
        match &self.shared.place {
            Place::Memory(memory) => memory.visit(space, range, &mut visit),
            Place::Disk(disk) => open(disk).iter().for_each(|disk| disk.visit(space, range, &mut visit)),
        }
    }

    /// Writes a batch; [`Storage::synced`] says when it is safe.
    ///
    /// # Panics
    /// For a key that is longer than [`MOST_KEY_BYTES`]: whoever makes keys of what callers send has limits for it. Here, before
    /// others' changes are in hand, it is the trouble of one caller.
    pub fn write(&self, batch: Batch) -> Written {
        let is_short = |(_, key, _): &(Space, Vec<u8>, Change)| key.len() <= MOST_KEY_BYTES;
        assert!(batch.0.iter().all(is_short), "a key has more than {MOST_KEY_BYTES} bytes");
        match &self.shared.place {
            Place::Memory(memory) => memory.write(batch),
            Place::Disk(disk) => {
                if let Some(disk) = &*open(disk) {
                    disk.write(batch);
                }
            }
        }
        let written = self.shared.written.fetch_add(1, Ordering::SeqCst) + 1;
        if let Some(syncer) = &*self.shared.syncer.lock().unwrap_or_else(PoisonError::into_inner) {
            // A bell that has rung already is enough.
            let _ = syncer.bell.try_send(());
        }
        written
    }

    /// Returns once a batch, and every one before it, survives a crash of the machine.
    pub async fn synced(&self, written: Written) {
        let mut safe = self.safe.clone();
        if safe.wait_for(|safe| *safe >= written).await.is_err() {
            // The storage was closed before: nobody learns that something is safe which is not.
            std::future::pending::<()>().await;
        }
    }

    /// Returns once everything written so far is safe.
    pub async fn flush(&self) {
        self.synced(self.shared.written.load(Ordering::SeqCst)).await;
    }
}

fn open(disk: &RwLock<Option<Arc<disk::Disk>>>) -> RwLockReadGuard<'_, Option<Arc<disk::Disk>>> {
    disk.read().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn close(&self) {
        let syncer = self.syncer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Syncer { bell, thread }) = syncer {
            drop(bell);
            // Its errors have ended the process.
            let _ = thread.join();
        }
        if let Place::Disk(disk) = &self.place {
            disk.write().unwrap_or_else(PoisonError::into_inner).take();
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.close();
    }
}
