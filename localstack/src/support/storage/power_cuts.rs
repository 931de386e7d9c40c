//! Power cuts: what is left of a store when the machine loses everything that was not synced, and any part of it.
//!
//! The storage syncs through a function that notes what is safe then: a log's bytes, a folder's entries. A cut copies the folder: of
//! each log what was safe, and behind it as much as is left, whole, zeroed or garbled, page by page; of each folder the entries that
//! were safe, and any of the others. What `fjall` writes into the folder of a space it syncs itself.

use super::disk::Fsync;
use super::{Batch, Range, Space, Storage};
use fastrand::Rng;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::Read;
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;

/// How many cuts; `POWER_CUTS` names another number.
const CUTS: u64 = 200;
/// How many cuts are made of one life of a store.
const CUTS_OF_A_LIFE: u64 = 20;
/// A disk loses pages.
const PAGE: usize = 4096;
/// Zeros of this length are not written yet: no value is so long.
const BLANK: usize = 64 * 1024;
const SPACES: [Space; 4] = [Space::Rows, Space::Indexes, Space::Messages, Space::Records];

/// What is safe of a file or folder.
#[derive(Clone)]
enum Safe {
    File(Vec<u8>),
    Folder(BTreeSet<PathBuf>),
}

/// What is safe, by inode: a file keeps it when it is renamed.
type Known = Arc<Mutex<HashMap<u64, Safe>>>;

fn inode(path: &Path) -> u64 {
    std::fs::metadata(path).unwrap().ino()
}

fn entries(folder: &Path) -> BTreeSet<PathBuf> {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into()).collect()
}

/// What is written of a log, without the zeros that wait behind it.
fn written(path: &Path) -> Vec<u8> {
    let (mut file, mut bytes) = (File::open(path).unwrap(), Vec::new());
    let mut piece = vec![0; BLANK];
    loop {
        let length = file.read(&mut piece).unwrap();
        let used = piece[..length].iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        bytes.extend_from_slice(&piece[..if used == 0 { 0 } else { length }]);
        if used == 0 {
            let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            bytes.truncate(used);
            return bytes;
        }
    }
}

/// Notes what is safe, at the pace of a slow disk.
fn fsync(known: &Known, mut rng: Rng) -> Fsync {
    let known = Arc::clone(known);
    let pauses: Mutex<Rng> = Mutex::new(rng.fork());
    Box::new(move |path, _| {
        let is_folder = path.is_dir();
        let safe = if is_folder { Safe::Folder(entries(path)) } else { Safe::File(written(path)) };
        known.lock().unwrap().insert(inode(path), safe);
        let pause = pauses.lock().unwrap().u64(0..4);
        std::thread::sleep(Duration::from_millis(if is_folder { 0 } else { pause }));
        Ok(())
    })
}

/// A folder where nothing needs a disk that syncs.
fn new_folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    TempDir::new_in(parent).unwrap()
}

/// Where the store of a test lies: a store makes its own folder.
pub(super) fn store(folder: &TempDir) -> PathBuf {
    folder.path().join("store")
}

/// The values of the batch with this number: its own, one that each batch writes anew, and one that the next deletes.
fn batch(number: u64) -> Batch {
    let mut rng = Rng::with_seed(number);
    let mut batch = Batch::default();
    for part in 0..rng.u64(1..5) {
        batch.put(SPACES[rng.usize(0..SPACES.len())], format!("own {number} {part}"), value(&mut rng));
    }
    batch.put(Space::Rows, "last", number.to_string());
    batch.put(Space::Messages, format!("open {number}"), value(&mut rng));
    batch.delete(Space::Messages, format!("open {}", number.wrapping_sub(1)));
    batch
}

fn value(rng: &mut Rng) -> Vec<u8> {
    // Long ones are compressed.
    let length = if rng.u8(0..8) == 0 { rng.usize(0..9000) } else { rng.usize(0..200) };
    std::iter::repeat_with(|| rng.u8(0..4)).take(length).collect()
}

type Keys = BTreeMap<(u8, Vec<u8>), Vec<u8>>;

fn everything(storage: &Storage) -> Keys {
    let mut found = Keys::new();
    for space in SPACES {
        storage.visit(space, &Range::prefix(b""), |key, value| {
            found.insert((space as u8, key.to_vec()), value.to_vec());
            ControlFlow::Continue(())
        });
    }
    found
}

/// What a store holds after so many batches.
fn after(batches: u64) -> Keys {
    let mut keys = Keys::new();
    for (space, key, change) in (0..batches).flat_map(|number| batch(number).0) {
        match change {
            super::Change::Put(value) => keys.insert((space as u8, key), value.to_vec()),
            super::Change::Delete => keys.remove(&(space as u8, key)),
        };
    }
    keys
}

/// What there is of a store at one moment.
struct Moment {
    /// How many batches were acknowledged.
    acknowledged: u64,
    /// What the store noted of its marks, which it never syncs.
    noted: Vec<u8>,
    safe: HashMap<u64, Safe>,
    /// By the paths of the logs.
    logs: Vec<(PathBuf, Vec<u8>)>,
}

impl Moment {
    fn of(acknowledged: u64, store: &Path, known: &Known) -> Self {
        // In this order: what is noted is safe, and what is safe is in the logs by then.
        let noted = std::fs::read(store.join("synced")).unwrap();
        let safe = known.lock().unwrap().clone();
        let logs = super::logs::of(store).unwrap().into_iter().map(|(_, path)| path);
        let logs = logs.map(|path| (path.clone(), written(&path))).collect();
        Self { acknowledged, noted, safe, logs }
    }

    /// What is left of a log: all that was safe, and any pages of the rest.
    fn left(&self, path: &Path, now: &[u8], rng: &mut Rng) -> Vec<u8> {
        let safe: &[u8] = match self.safe.get(&inode(path)) {
            Some(Safe::File(safe)) => safe,
            _ => &[],
        };
        let mut left = now[..rng.usize(safe.len()..=now.len())].to_vec();
        for page in (safe.len() / PAGE)..=(left.len() / PAGE) {
            let (from, to) = ((page * PAGE).max(safe.len()), ((page + 1) * PAGE).min(left.len()));
            match rng.u8(0..6) {
                0 => left[from.min(to)..to].fill(0),
                1 => left[from.min(to)..to].fill_with(|| rng.u8(..)),
                2 if from < to => left[rng.usize(from..to)] ^= 1,
                _ => {}
            }
        }
        // Written or not, the file is longer.
        left.resize(left.len() + rng.usize(0..3 * PAGE), 0);
        left
    }

    /// Copies the folder as the cut leaves it.
    fn cut(&self, from: &Path, to: &Path, rng: &mut Rng) {
        let safe = self.safe.get(&inode(from));
        let is_own = !from.parent().is_some_and(|parent| parent.ends_with("keyspaces"));
        for name in entries(from) {
            let (from, mut to) = (from.join(&name), to.join(&name));
            let is_safe = matches!(safe, Some(Safe::Folder(names)) if names.contains(&name));
            if is_own && !is_safe && rng.bool() {
                if !name.ends_with("store") {
                    continue;
                }
                // It was not renamed.
                to.set_extension("new");
            }
            if from.is_dir() && from.parent().is_some_and(|parent| parent.ends_with("keyspaces")) {
                copy(&from, &to);
            } else if from.is_dir() {
                std::fs::create_dir(&to).unwrap();
                self.cut(&from, &to, rng);
            } else if let Some((_, now)) = self.logs.iter().find(|(path, _)| *path == from) {
                std::fs::write(&to, self.left(&from, now, rng)).unwrap();
            } else if name.ends_with("synced") {
                std::fs::write(&to, if rng.bool() { &self.noted } else { &[][..] }).unwrap();
            } else {
                std::fs::copy(&from, &to).unwrap();
            }
        }
    }
}

pub(super) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for name in entries(from) {
        let (from, to) = (from.join(&name), to.join(&name));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            std::fs::copy(&from, &to).unwrap();
        }
    }
}

/// Opens what a cut left: everything that was acknowledged is there, what is there is whole, and the store goes on.
fn survives(moment: &Moment, folder: &TempDir, rng: &mut Rng, context: &str) -> bool {
    let left = new_folder();
    moment.cut(folder.path(), left.path(), rng);
    let open = |what: &str| {
        Storage::open_with(&store(&left), Box::new(|_, _| Ok(())))
            .unwrap_or_else(|error| panic!("{context}: {what} is refused: {error:#}"))
    };
    let storage = open("the start");
    let last = storage.get(Space::Rows, b"last").map(|last| String::from_utf8(last.to_vec()).unwrap());
    let batches = last.map_or(0, |last| last.parse::<u64>().unwrap() + 1);
    let acknowledged = moment.acknowledged;
    assert!(batches >= acknowledged, "{context}: {batches} batches of {acknowledged} acknowledged");
    assert!(everything(&storage) == after(batches), "{context}: a batch of {batches} is not whole");
    if rng.u8(0..4) > 0 {
        return batches > acknowledged;
    }
    storage.write(batch(batches));
    drop(storage);
    let storage = open("the next start");
    assert!(everything(&storage) == after(batches + 1), "{context}: what came after the cut");
    batches > acknowledged
}

/// Writes for a while, and cuts the power at every few batches; how many cuts left more than was acknowledged.
async fn live(life: u64, cuts: u64) -> u64 {
    let (folder, known, mut rng) = (new_folder(), Known::default(), Rng::with_seed(life));
    let storage = Storage::open_with(&store(&folder), fsync(&known, rng.fork())).unwrap();
    let (mut number, mut acknowledged, mut more) = (0, 0, 0);
    for cut in 0..cuts {
        for _ in 0..rng.u64(0..12) {
            let written = storage.write(batch(number));
            number += 1;
            if rng.u8(0..4) == 0 {
                storage.synced(written).await;
                acknowledged = number;
            }
        }
        let moment = Moment::of(acknowledged, &store(&folder), &known);
        let context = format!("life {life}, cut {cut}");
        more += u64::from(survives(&moment, &folder, &mut rng, &context));
    }
    more
}

/// Guards: a power cut at any moment loses nothing that was acknowledged, leaves no half of a batch, and the store opens: the sync of
/// the log before an acknowledgement, those of the folders when a store is made, and the cut of what was never synced.
#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_loses_nothing_that_was_acknowledged() {
    let cuts = std::env::var("POWER_CUTS").map_or(CUTS, |cuts| cuts.parse().unwrap());
    let mut more = 0;
    for life in 0..cuts.div_ceil(CUTS_OF_A_LIFE) {
        more += live(life, CUTS_OF_A_LIFE).await;
    }
    // Otherwise no cut was within what was not synced.
    assert!(more > cuts / 20, "{more} of {cuts}");
    println!("{cuts} cuts, {more} of them left more than was acknowledged");
}
