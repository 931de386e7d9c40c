//! A reader of a stream that is switched off and on.

use super::record::Record;
use super::shard::{Connections, Outcome, Policy, Reader, Shard, Source};
use super::switch::State;
use crate::aws::dynamodb::Database;
use crate::aws::sqs::{Queue, Queues};
use crate::faults::Faults;
use crate::support::journal::Journal;
use crate::support::storage::Storage;
use crate::template::names;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

/// Notes what it is given, and fails as long as it is to.
#[derive(Default)]
struct Notes {
    fails: AtomicBool,
    tries: AtomicU32,
    given: Mutex<Vec<Value>>,
}

impl Reader for Notes {
    async fn hand_over(&self, batch: &[Record]) -> Outcome {
        self.tries.fetch_add(1, Ordering::SeqCst);
        if self.fails.load(Ordering::SeqCst) {
            return Outcome::Failed("it is to fail".into());
        }
        self.given.lock().unwrap().extend(batch.iter().map(key));
        Outcome::Done
    }

    fn head(&self, _condition: &str, _tries: u32) -> Value {
        json!({})
    }
}

fn key(record: &Record) -> Value {
    let mut record: Value = serde_json::from_str(&record.json).unwrap();
    record["dynamodb"]["Keys"]["pk"]["S"].take()
}

fn database() -> Database {
    let table = json!({
        "TableName": "rows", "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
        "StreamSpecification": {"StreamViewType": "NEW_IMAGE"},
    });
    Database::start(&Storage::memory(), &[serde_json::from_value(table).unwrap()]).unwrap()
}

fn put(database: &Database, key: &str) {
    let body = json!({"TableName": "rows", "Item": {"pk": {"S": key}}}).to_string();
    assert_eq!(database.call("PutItem", body.as_bytes()).0, 200);
}

/// The reader of the table's stream, and its dead-letter queue.
fn shard(database: &Database) -> (Arc<Shard>, Arc<Queue>) {
    let (journal, _) = Journal::open(&Storage::memory()).unwrap();
    let queues =
        Queues::start(&[serde_json::from_value(json!({"QueueName": "dead"})).unwrap()], &journal).unwrap();
    let connections = Connections {
        database,
        queues: &queues,
        journal: &journal,
        positions: &HashMap::new(),
        switches: &BTreeMap::new(),
        faults: &Faults::default(),
        time_scale: 1000,
    };
    let policy = Policy { batch_size: 2, retries: -1, max_age_seconds: -1, bisects: false };
    let stream = &names::stream_arn("rows");
    let source = Source {
        name: "reader",
        stream,
        filter: None,
        policy,
        dead_letters: Some(&names::queue_arn("dead")),
    };
    (Arc::new(Shard::new(&source, &connections).unwrap()), queues.get("dead").unwrap())
}

async fn until(what: impl Fn() -> bool) {
    while !what() {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
}

/// Guards: a reader that is switched off leaves the batch that it cannot settle, and forgets it; it reads the stream again when
/// it is switched on, and what the stream has forgotten by then is lost.
#[tokio::test]
async fn what_was_read_and_not_settled_is_read_again() {
    let (database, notes) = (database(), Arc::new(Notes::default()));
    let (shard, dead) = shard(&database);
    let (runs, reads) = (Arc::clone(&shard), Arc::clone(&notes));
    tokio::spawn(async move { runs.run(&*reads).await });
    let turn = async |off| {
        shard.switch().turn(off).await.unwrap();
        let state = if off { State::Stopped } else { State::Running };
        until(|| shard.switch().state().1 == state).await;
    };
    notes.fails.store(true, Ordering::SeqCst);
    ["a", "b", "c"].iter().for_each(|key| put(&database, key));
    until(|| notes.tries.load(Ordering::SeqCst) > 2).await;
    turn(true).await;
    let tries = notes.tries.load(Ordering::SeqCst);
    put(&database, "d");
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    assert!(shard.is_idle() && notes.tries.load(Ordering::SeqCst) == tries);

    turn(false).await;
    until(|| notes.tries.load(Ordering::SeqCst) > tries).await;
    turn(true).await;
    database.forget("rows");
    database.sweep().await;
    notes.fails.store(false, Ordering::SeqCst);
    put(&database, "e");
    turn(false).await;
    until(|| shard.is_idle()).await;
    assert_eq!(*notes.given.lock().unwrap(), ["e"]);
    // Given up would be what the stream still has, and is too old.
    assert_eq!(dead.depth(), (0, 0));
}
