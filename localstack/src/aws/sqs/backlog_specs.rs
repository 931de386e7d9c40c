//! What is true of messages that lie on disk alone.

use super::message::Received;
use super::queue::{Queue, Redrive};
use super::queues::Queues;
use crate::support::journal::Journal;
use crate::support::storage::Storage;
use crate::template::resources::Queue as Declared;
use serde_json::json;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

/// So few that a few messages more lie on disk alone.
const IN_MEMORY: usize = 4;

fn declared(name: &str) -> Declared {
    let is_fifo = name.ends_with(".fifo").then_some(true);
    serde_json::from_value(json!({"QueueName": name, "FifoQueue": is_fifo})).unwrap()
}

/// The queue of this name with what a folder holds of it.
fn opened(folder: &Path, name: &str) -> Queue {
    let (journal, _) = Journal::open(&Storage::open(&folder.join("store")).unwrap()).unwrap();
    let mut queue = Queue::new(&declared(name), journal);
    queue.most_in_memory = IN_MEMORY;
    queue.resume();
    queue
}

/// Everything that can be received, each message deleted before the next.
async fn read(queue: &Queue) -> Vec<String> {
    let mut bodies = Vec::new();
    while queue.depth().0 > 0 {
        for Received { message, receipt } in queue.receive_for(3, Duration::from_secs(60)).await {
            bodies.push(message.body.to_string());
            assert!(queue.delete(&receipt));
        }
    }
    bodies
}

/// How many visible messages are in memory.
fn in_memory(queue: &Queue) -> usize {
    queue.state().visible.len()
}

fn texts(numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|number| number.to_string()).collect()
}

/// Guards: a queue that nobody reads does not grow in memory, and every message of it comes once and in its turn, over a restart too.
#[tokio::test]
async fn what_nobody_reads_is_on_disk_alone() {
    let folder = TempDir::new().unwrap();
    let queue = opened(folder.path(), "notes.fifo");
    for text in texts(0..1300) {
        queue.send_in_group(&text, "order-1", &text);
    }
    assert_eq!((in_memory(&queue), queue.depth()), (IN_MEMORY, (1300, 0)));
    let first = queue.receive_for(2, Duration::ZERO).await;
    assert_eq!(first.len(), 2);
    let last = queue.send_in_group("1300", "order-1", "1300");
    queue.flush().await;
    drop(queue);
    let queue = opened(folder.path(), "notes.fifo");
    assert_eq!((in_memory(&queue), queue.depth()), (IN_MEMORY, (1301, 0)));
    // Its id and its number are known though it was not in memory.
    assert_eq!(queue.send_in_group("again", "order-1", "1300"), last);
    assert!(queue.send_in_group("1301", "order-1", "1301").sequence > last.sequence);
    assert_eq!(read(&queue).await, texts(0..1302));
    assert_eq!(queue.depth(), (0, 0));
    // With nothing on disk alone, the next ones are in memory again.
    queue.send_in_group("more", "order-1", "more");
    assert_eq!((in_memory(&queue), queue.depth()), (1, (1, 0)));
}

/// Guards: a message that was sent with a delay is in memory while others before and behind it are not, and comes once.
#[tokio::test]
async fn a_delayed_message_comes_once() {
    let folder = TempDir::new().unwrap();
    let queue = opened(folder.path(), "events");
    texts(0..6).iter().for_each(|text| drop(queue.send(text)));
    queue.send_delayed("late", Duration::from_millis(50));
    texts(6..9).iter().for_each(|text| drop(queue.send(text)));
    assert_eq!(queue.depth(), (9, 1));
    tokio::time::sleep(Duration::from_millis(80)).await;
    assert_eq!(queue.depth(), (10, 0));
    let mut bodies = read(&queue).await;
    bodies.sort();
    assert_eq!(bodies, [texts(0..9), vec!["late".to_owned()]].concat());
}

/// Guards: a message that went ahead of others with a delay, and is a dead letter by the time when its page comes back, is one dead letter.
#[tokio::test]
async fn a_delayed_message_is_one_dead_letter() {
    let folder = TempDir::new().unwrap();
    let (journal, _) = Journal::open(&Storage::open(&folder.path().join("store")).unwrap()).unwrap();
    let dead = Arc::new(Queue::new(&declared("dead"), journal.clone()));
    let mut queue = Queue::new(&declared("events"), journal);
    queue.most_in_memory = IN_MEMORY;
    queue.redrive(Redrive { max_receives: 2, dead_letters: Arc::clone(&dead) });
    texts(0..6).iter().for_each(|text| drop(queue.send(text)));
    queue.send_delayed("late", Duration::from_millis(20));
    tokio::time::sleep(Duration::from_millis(40)).await;
    for _ in 0..2 {
        assert_eq!(queue.receive_for(5, Duration::ZERO).await.len(), 5);
    }
    let rest = queue.receive_for(10, Duration::from_secs(60)).await;
    assert_eq!(rest.len(), 2, "{rest:?}");
    assert_eq!((queue.depth(), dead.depth()), ((0, 2), (5, 0)));
}

/// Guards: messages that fail again and again do not keep those away that are on disk alone.
#[tokio::test]
async fn what_comes_back_does_not_keep_the_rest_away() {
    let folder = TempDir::new().unwrap();
    let queue = opened(folder.path(), "events");
    texts(0..9).iter().for_each(|text| drop(queue.send(text)));
    for _ in 0..1000 {
        let received = queue.receive_for(2, Duration::ZERO).await;
        if received.iter().any(|received| received.message.body.as_ref() == "8") {
            return;
        }
    }
    panic!("the last message was never received");
}

/// Guards: in a FIFO queue whose first groups are in flight, the groups behind them are found on disk.
#[tokio::test]
async fn a_free_group_is_found_behind_busy_ones() {
    let folder = TempDir::new().unwrap();
    let queue = opened(folder.path(), "notes.fifo");
    for text in texts(0..20) {
        queue.send_in_group(&text, if text == "19" { "free" } else { "busy" }, &text);
    }
    assert_eq!(queue.receive_for(1, Duration::from_secs(60)).await[0].message.body.as_ref(), "0");
    assert_eq!(queue.receive_for(1, Duration::from_secs(60)).await[0].message.body.as_ref(), "19");
}

/// Guards: a purge deletes what is on disk alone too.
#[tokio::test]
async fn a_purge_leaves_nothing_behind() {
    let folder = TempDir::new().unwrap();
    let queue = opened(folder.path(), "events");
    texts(0..2500).iter().for_each(|text| drop(queue.send(text)));
    queue.purge();
    assert_eq!(queue.depth(), (0, 0));
    queue.flush().await;
    drop(queue);
    assert_eq!(opened(folder.path(), "events").depth(), (0, 0));
}

/// Guards: a task moves what is on disk alone too, and what is moved into a queue that was made at run time is gone with it: a start
/// would not know the queue.
#[tokio::test]
async fn what_is_moved_to_a_queue_that_was_made_does_not_stop_a_start() {
    let folder = TempDir::new().unwrap();
    let storage = Storage::open(&folder.path().join("store")).unwrap();
    let (journal, _) = Journal::open(&storage).unwrap();
    let mut dead = Queue::new(&declared("dead"), journal.clone());
    dead.most_in_memory = IN_MEMORY;
    let made = Queue::new(&declared("made"), journal.forgetting());
    texts(0..9).iter().for_each(|text| drop(dead.send(text)));
    while dead.move_one(&made) {}
    assert_eq!((dead.depth(), made.depth()), ((0, 0), (9, 0)));
    assert_eq!(read(&made).await, texts(0..9));
    let queues = Queues::start(&[declared("dead")], &journal).unwrap();
    assert_eq!(queues.get("dead").unwrap().depth(), (0, 0));
}
