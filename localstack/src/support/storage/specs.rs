//! Storage in memory and on disk: one behaviour, and what a crash leaves.

use super::{Batch, Range, Space, Storage, end};
use bytes::Bytes;
use std::ops::{Bound, ControlFlow};
use std::path::PathBuf;

/// A folder that is deleted at the end of a test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        Self(std::env::temp_dir().join(format!("storage-{}", uuid::Uuid::new_v4())))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

fn put(storage: &Storage, pairs: &[(&str, &str)]) -> u64 {
    let mut batch = Batch::default();
    for (key, value) in pairs {
        batch.put(Space::Rows, *key, value.to_string());
    }
    storage.write(batch)
}

fn keys(storage: &Storage, range: &Range) -> Vec<String> {
    let mut found = Vec::new();
    storage.visit(Space::Rows, range, |key, value| {
        assert_eq!(value, storage.get(Space::Rows, key).unwrap());
        found.push(String::from_utf8(key.to_vec()).unwrap());
        ControlFlow::Continue(())
    });
    found
}

fn behaves(storage: &Storage) {
    put(storage, &[("b", "1"), ("a", "2"), ("ab", "3"), ("c", "4")]);
    put(storage, &[("b", "5")]);
    assert_eq!(storage.get(Space::Rows, b"b"), Some(Bytes::from("5")));
    assert_eq!(storage.get(Space::Indexes, b"b"), None);
    let all = Range { from: Bound::Unbounded, to: Bound::Unbounded, is_backward: false };
    assert_eq!(keys(storage, &all), ["a", "ab", "b", "c"]);
    assert_eq!(keys(storage, &all.clone().backward(true)), ["c", "b", "ab", "a"]);
    assert_eq!(keys(storage, &all.clone().after(b"ab")), ["b", "c"]);
    assert_eq!(keys(storage, &all.backward(true).after(b"b")), ["ab", "a"]);
    assert_eq!(keys(storage, &Range::prefix(b"a")), ["a", "ab"]);
    assert_eq!(keys(storage, &Range::prefix(b"a").after(b"z")), Vec::<String>::new());
    let mut batch = Batch::default();
    batch.delete(Space::Rows, "a");
    batch.put(Space::Rows, "ab", "6");
    batch.delete(Space::Rows, "ab");
    storage.write(batch);
    assert_eq!(keys(storage, &Range::prefix(b"a")), Vec::<String>::new());
    let mut first = None;
    storage.visit(Space::Rows, &Range::prefix(b""), |key, _| {
        first = Some(key.to_vec());
        ControlFlow::Break(())
    });
    assert_eq!(first, Some(b"b".to_vec()));
}

#[test]
fn memory_and_disk_behave_alike() {
    behaves(&Storage::memory());
    let folder = Folder::new();
    behaves(&Storage::open(&folder.0).unwrap());
}

#[test]
fn a_prefix_ends_before_the_next_key() {
    assert_eq!(end(b"ab"), Some(b"ac".to_vec()));
    assert_eq!(end(&[1, 255, 255]), Some(vec![2]));
    assert_eq!(end(&[255]), None);
}

/// The file of the log that is written.
fn log(folder: &Folder) -> PathBuf {
    let files = std::fs::read_dir(&folder.0).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|suffix| suffix == "jnl")).max().unwrap()
}

/// Guards: what was acknowledged is there after a crash, and what tears at the end of the log is cut.
#[tokio::test]
async fn a_torn_tail_is_cut() {
    let folder = Folder::new();
    let storage = Storage::open(&folder.0).unwrap();
    storage.synced(put(&storage, &[("a", "1")])).await;
    drop(storage);
    let mut torn = std::fs::read(log(&folder)).unwrap();
    torn.extend_from_slice(&[0; 100]);
    std::fs::write(log(&folder), torn).unwrap();
    let storage = Storage::open(&folder.0).unwrap();
    assert_eq!(keys(&storage, &Range::prefix(b"")), ["a"]);
    storage.synced(put(&storage, &[("b", "1")])).await;
    drop(storage);
    assert_eq!(keys(&Storage::open(&folder.0).unwrap(), &Range::prefix(b"")), ["a", "b"]);
}

/// Guards: what was acknowledged and is not there any more is said, not passed over.
#[tokio::test]
async fn a_spoiled_log_is_refused() {
    let folder = Folder::new();
    let storage = Storage::open(&folder.0).unwrap();
    for n in 0..20 {
        storage.synced(put(&storage, &[(&format!("key {n}"), "value")])).await;
    }
    drop(storage);
    let whole = std::fs::read(log(&folder)).unwrap();
    let length = whole.iter().rposition(|byte| *byte != 0).unwrap();
    for (place, what) in [(length / 2, "its log is spoiled"), (length / 3, "its log is spoiled")] {
        let mut spoiled = whole.clone();
        spoiled[place..].fill(0);
        std::fs::write(log(&folder), &spoiled).unwrap();
        let refused = Storage::open(&folder.0).err().unwrap();
        assert!(format!("{refused:#}").contains(what), "{refused:#}");
    }
    let mut flipped = whole;
    flipped[length / 2] ^= 1;
    std::fs::write(log(&folder), &flipped).unwrap();
    assert!(Storage::open(&folder.0).is_err());
}
