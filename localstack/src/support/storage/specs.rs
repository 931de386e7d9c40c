//! Storage in memory and on disk: one behaviour, and what a crash leaves.

use super::power_cuts::{copy, store};
use super::{Batch, MOST_KEY_BYTES, Range, Space, Storage, end};
use bytes::Bytes;
use std::ops::{Bound, ControlFlow};
use std::path::PathBuf;
use tempfile::TempDir;

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
    let folder = TempDir::new().unwrap();
    behaves(&Storage::open(&store(&folder)).unwrap());
}

#[test]
fn a_prefix_ends_before_the_next_key() {
    assert_eq!(end(b"ab"), Some(b"ac".to_vec()));
    assert_eq!(end(&[1, 255, 255]), Some(vec![2]));
    assert_eq!(end(&[255]), None);
}

/// The file of the log that is written.
fn log(folder: &TempDir) -> PathBuf {
    let files = std::fs::read_dir(store(folder)).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|suffix| suffix == "jnl")).max().unwrap()
}

/// Guards: what was acknowledged is there after a crash, and what tears at the end of the log is cut.
#[tokio::test]
async fn a_torn_tail_is_cut() {
    let folder = TempDir::new().unwrap();
    let storage = Storage::open(&store(&folder)).unwrap();
    storage.synced(put(&storage, &[("a", "1")])).await;
    drop(storage);
    let mut torn = std::fs::read(log(&folder)).unwrap();
    torn.extend_from_slice(&[0; 100]);
    std::fs::write(log(&folder), torn).unwrap();
    let storage = Storage::open(&store(&folder)).unwrap();
    assert_eq!(keys(&storage, &Range::prefix(b"")), ["a"]);
    storage.synced(put(&storage, &[("b", "1")])).await;
    drop(storage);
    assert_eq!(keys(&Storage::open(&store(&folder)).unwrap(), &Range::prefix(b"")), ["a", "b"]);
}

/// A store with twenty keys, each of them acknowledged, and its log.
async fn twenty(folder: &TempDir) -> Vec<u8> {
    let storage = Storage::open(&store(folder)).unwrap();
    for n in 0..20 {
        storage.synced(put(&storage, &[(&format!("key {n}"), "value")])).await;
    }
    drop(storage);
    let mut whole = std::fs::read(log(folder)).unwrap();
    whole.truncate(whole.iter().rposition(|byte| *byte != 0).unwrap() + 1);
    whole
}

/// Refused with these words, and left as it is.
fn is_refused(folder: &TempDir, spoiled: &[u8], words: &str) {
    std::fs::write(log(folder), spoiled).unwrap();
    let refused = format!("{:#}", Storage::open(&store(folder)).err().unwrap());
    assert!(refused.contains(words) && refused.contains("its log is spoiled"), "{refused}");
    assert!(std::fs::read(log(folder)).unwrap() == spoiled, "the log was changed");
}

/// Guards: what was acknowledged and is not there any more is said with its place, not passed over, and nothing is changed.
#[tokio::test]
async fn a_spoiled_log_is_refused() {
    let folder = TempDir::new().unwrap();
    let whole = twenty(&folder).await;
    for at in [whole.len() / 2, whole.len() / 3] {
        let mut spoiled = whole.clone();
        spoiled[at..].fill(0);
        is_refused(&folder, &spoiled, "0.jnl at byte");
        is_refused(&folder, &whole[..at], "0.jnl at byte");
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        is_refused(&folder, &flipped, "0.jnl at byte");
    }
    std::fs::write(log(&folder), "").unwrap();
    let refused = Storage::open(&store(&folder)).err().unwrap();
    assert!(format!("{refused:#}").contains("its log is spoiled"), "{refused:#}");
}

/// Guards: values that lie apart from their keys are read as they were last written, over merges and a restart, and those that were deleted
/// are gone.
#[tokio::test]
async fn values_apart_from_their_keys_are_read() {
    let folder = TempDir::new().unwrap();
    let value = |round: u64, n: u64| format!("{round}/{n}/").repeat(40);
    let key = |n: u64| format!("key {n:05}");
    let storage = Storage::open(&store(&folder)).unwrap();
    // Each round fills a buffer, and writes half of what the one before wrote again.
    for round in 0..4 {
        for n in round * 6000..round * 6000 + 12_000 {
            let mut batch = Batch::default();
            match n % 7 {
                0 => batch.delete(Space::Records, key(n)),
                _ => batch.put(Space::Records, key(n), value(round, n) + &"x".repeat(600)),
            }
            storage.write(batch);
        }
    }
    storage.flush().await;
    drop(storage);
    let records = store(&folder).join("keyspaces/7/blobs");
    assert!(std::fs::read_dir(&records).unwrap().next().is_some(), "nothing lies apart");
    let storage = Storage::open(&store(&folder)).unwrap();
    for n in 0..30_000 {
        let round = (n / 6000).min(3);
        let expected = (n % 7 != 0).then(|| value(round, n) + &"x".repeat(600));
        assert_eq!(storage.get(Space::Records, key(n).as_bytes()), expected.map(Bytes::from), "{n}");
    }
}

/// Guards: a store of another version is refused and left as it is: its keys would be misread.
#[tokio::test]
async fn a_store_of_another_version_is_refused() {
    let folder = TempDir::new().unwrap();
    let before = twenty(&folder).await;
    for format in [Some("1"), None] {
        let path = store(&folder).join("format");
        format.map_or_else(|| std::fs::remove_file(&path), |format| std::fs::write(&path, format)).unwrap();
        let refused = format!("{:#}", Storage::open(&store(&folder)).err().unwrap());
        assert!(refused.contains("it is of another version"), "{refused}");
    }
    assert!(std::fs::read(log(&folder)).unwrap().starts_with(&before), "the log was changed");
}

/// Guards: a mark in the log proves that the one before it was synced, though the file that notes it was lost with the machine.
#[tokio::test]
async fn what_a_later_mark_proves_is_not_cut() {
    let folder = TempDir::new().unwrap();
    let whole = twenty(&folder).await;
    std::fs::write(store(&folder).join("synced"), "").unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    is_refused(&folder, &flipped, "0.jnl at byte");
    // Behind the last mark but one nothing is proven.
    let mut torn = whole.clone();
    torn[whole.len() - 5] ^= 1;
    std::fs::write(log(&folder), &torn).unwrap();
    let storage = Storage::open(&store(&folder)).unwrap();
    assert_eq!(keys(&storage, &Range::prefix(b"")).len(), 20);
}

/// Guards: a log that is no longer written was synced to its end; the store would cut it, and go on with the next.
#[tokio::test]
async fn a_spoiled_older_log_is_refused() {
    let folder = TempDir::new().unwrap();
    let whole = twenty(&folder).await;
    let mut older = whole.clone();
    older[whole.len() / 2] ^= 1;
    std::fs::write(log(&folder).with_file_name("1.jnl"), &whole).unwrap();
    std::fs::write(log(&folder).with_file_name("0.jnl"), older).unwrap();
    is_refused(&folder, &whole, "0.jnl at byte");
}

/// Guards: a store that a crash left half made is made anew.
#[tokio::test]
async fn a_store_that_is_half_made_is_made_anew() {
    let folder = TempDir::new().unwrap();
    let new = store(&folder).with_extension("new");
    std::fs::create_dir(&new).unwrap();
    std::fs::write(new.join("0.jnl"), "").unwrap();
    let storage = Storage::open(&store(&folder)).unwrap();
    storage.synced(put(&storage, &[("a", "1")])).await;
    assert!(!new.exists());
}

fn put_message(storage: &Storage, key: &str) -> u64 {
    let mut batch = Batch::default();
    batch.put(Space::Messages, key, key.to_owned());
    storage.write(batch)
}

/// What a crash of the process leaves now.
fn crashed(folder: &TempDir) -> (TempDir, Storage) {
    let left = TempDir::new().unwrap();
    copy(&store(folder), &store(&left));
    let storage = Storage::open(&store(&left)).unwrap();
    (left, storage)
}

/// A storage whose disk syncs when a bell is rung, and the bell.
fn waiting_for_its_disk(folder: &TempDir) -> (Storage, std::sync::mpsc::Sender<()>) {
    drop(Storage::open(&store(folder)).unwrap());
    let (bell, rings) = std::sync::mpsc::channel();
    let fsync = Box::new(move |_: &std::path::Path, _: &std::fs::File| {
        // Without the bell nothing holds it back.
        let _ = rings.recv();
        Ok(())
    });
    (Storage::open_with(&store(folder), fsync).unwrap(), bell)
}

/// Guards: what waits for the next batch stands in the log before it, and a reader sees it.
#[test]
fn what_waits_is_written_first_and_is_seen() {
    let folder = TempDir::new().unwrap();
    let (storage, bell) = waiting_for_its_disk(&folder);
    // From here on the syncer waits for its disk.
    put(&storage, &[("a", "1")]);
    while crashed(&folder).1.get(Space::Marks, b"synced").is_none() {
        std::thread::yield_now();
    }
    put_message(&storage, "first");
    assert_eq!(crashed(&folder).1.get(Space::Messages, b"first"), None, "it did not wait");
    put(&storage, &[("b", "1")]);
    let (_left, after) = crashed(&folder);
    assert_eq!(keys(&after, &Range::prefix(b"")), ["a", "b"]);
    assert_eq!(after.get(Space::Messages, b"first"), Some(Bytes::from("first")));
    put_message(&storage, "second");
    assert_eq!(storage.get(Space::Messages, b"second"), Some(Bytes::from("second")));
    drop(bell);
}

/// Guards: what waits is written by the next sync, which says that it is safe.
#[tokio::test]
async fn what_waits_is_synced() {
    let folder = TempDir::new().unwrap();
    let storage = Storage::open(&store(&folder)).unwrap();
    storage.synced(put_message(&storage, "first")).await;
    assert_eq!(crashed(&folder).1.get(Space::Messages, b"first"), Some(Bytes::from("first")));
}

/// Guards: what others have written and is not in the log yet, when a caller's key is longer than the store takes; and that such a key
/// is looked for as any other.
#[tokio::test]
async fn a_key_that_is_too_long_is_the_trouble_of_its_caller() {
    let folder = TempDir::new().unwrap();
    let storage = Storage::open(&store(&folder)).unwrap();
    let long = "a".repeat(MOST_KEY_BYTES + 1);
    // The syncer may be faster than one of them.
    for n in 0..50 {
        let mut batch = Batch::default();
        batch.put(Space::Messages, format!("waits {n:02}"), "1");
        storage.write(batch);
        let writes = std::panic::AssertUnwindSafe(|| put(&storage, &[("a", "1"), (&long, "2")]));
        assert!(std::panic::catch_unwind(writes).is_err());
    }
    let longest = "a".repeat(MOST_KEY_BYTES);
    put(&storage, &[(&longest, "3"), ("b", "4")]);
    assert_eq!(storage.get(Space::Rows, long.as_bytes()), None);
    assert_eq!(keys(&storage, &Range::prefix(long.as_bytes())), Vec::<String>::new());
    let all = Range { from: Bound::Unbounded, to: Bound::Unbounded, is_backward: false };
    assert_eq!(keys(&storage, &all.clone().after(long.as_bytes())), ["b"]);
    assert_eq!(keys(&storage, &all.backward(true).after(long.as_bytes())), [longest.as_str()]);
    storage.flush().await;
    storage.close();
    let storage = Storage::open(&store(&folder)).unwrap();
    let mut kept = 0;
    storage.visit(Space::Messages, &Range::prefix(b"waits"), |_, _| {
        kept += 1;
        ControlFlow::Continue(())
    });
    assert_eq!(kept, 50);
}

/// Guards: a space that lost its folder, or the file that says what it has. The store would make it anew, and delete the rest of it.
#[tokio::test]
async fn a_space_that_is_gone_is_refused() {
    let folder = TempDir::new().unwrap();
    twenty(&folder).await;
    let names = || {
        let entries = std::fs::read_dir(store(&folder).join("keyspaces")).unwrap();
        entries.map(|entry| entry.unwrap().file_name()).collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(names().len(), 1 + Space::ALL.len());
    for number in 0..=Space::ALL.len() {
        let current = store(&folder).join(format!("keyspaces/{number}/current"));
        let kept = std::fs::read(&current).unwrap();
        std::fs::remove_file(&current).unwrap();
        let refused = format!("{:#}", Storage::open(&store(&folder)).err().unwrap());
        assert!(refused.contains(&format!("keyspaces/{number}/current is gone")), "{refused}");
        std::fs::write(&current, kept).unwrap();
    }
    assert_eq!(keys(&Storage::open(&store(&folder)).unwrap(), &Range::prefix(b"")).len(), 20);
}
