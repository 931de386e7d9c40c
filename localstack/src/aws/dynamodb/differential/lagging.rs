//! Reads that are behind against a database that stood still: what one of them shows, the other has.

use super::calls::Calls;
use super::{pages, plain, tables};
use crate::aws::dynamodb::Database;
use crate::aws::dynamodb::lag::MOST_CHANGES;
use crate::support::storage::Storage;
use serde_json::{Value, json};
use std::time::Duration;

const SEEDS: u64 = 20;
/// How many calls the databases get together, how many only those that go on, and how many reads are compared.
const CALLS: [usize; 3] = [120, 40, 60];

const READS: [&str; 5] = ["GetItem", "BatchGetItem", "TransactGetItems", "Query", "Scan"];

fn database() -> Database {
    Database::start(&Storage::memory(), &tables()).unwrap()
}

/// Whether a read is consistent; `None` for one that is both.
fn is_consistent(operation: &str, body: &Value) -> Option<bool> {
    let is = |read: &Value| read["ConsistentRead"] == true;
    let Some(tables) = body["RequestItems"].as_object() else {
        return Some(operation == "TransactGetItems" || is(body));
    };
    let mut tables = tables.values().map(is);
    let first = tables.next();
    if tables.all(|other| Some(other) == first) { first } else { None }
}

fn ask(database: &Database, operation: &str, body: &Value) -> (u16, Value) {
    let one = |body: &Value| {
        let (status, answer) = database.call(operation, body.to_string().as_bytes());
        (status, serde_json::from_slice(&answer).unwrap())
    };
    match operation {
        "Query" | "Scan" => pages(body, &one),
        _ => plain(operation, one(body)),
    }
}

/// Guards: what replicas and indexes show a moment after a write. A read that is not consistent shows every row and every place of an
/// index as it was, page by page; a consistent one what is.
#[test]
fn a_read_that_is_behind_shows_what_was() {
    let mut differing = 0;
    for seed in 0..SEEDS {
        let (past, present, lagging) = (database(), database(), database());
        let mut calls = Calls::new(seed);
        let mut play = |number: usize, databases: &[&Database]| {
            for (operation, body) in (0..number).map(|_| calls.next()) {
                databases.iter().for_each(|database| drop(ask(database, operation, &body)));
            }
        };
        play(CALLS[0], &[&past, &present, &lagging]);
        ["rows", "single"].iter().for_each(|table| lagging.lag(table, Duration::from_secs(3600)));
        play(CALLS[1], &[&present, &lagging]);
        let reads = std::iter::repeat_with(|| calls.next());
        for (operation, body) in reads.filter(|(operation, _)| READS.contains(operation)).take(CALLS[2]) {
            let Some(is_consistent) = is_consistent(operation, &body) else { continue };
            let [was, is] = [&past, &present].map(|database| ask(database, operation, &body));
            differing += usize::from(was != is);
            let wanted = if is_consistent { is } else { was };
            assert_eq!(ask(&lagging, operation, &body), wanted, "seed {seed}: {operation} {body}");
        }
    }
    assert!(differing > 100, "{differing} reads would have shown a difference");
}

/// Guards: a lag has an end. What changed longer ago, or before many other changes, is shown, and so is everything once no fault
/// wants a lag.
#[test]
fn what_changed_longer_ago_is_shown() {
    let database = database();
    let put = |kind: &str| {
        let body = json!({"TableName": "single", "Item": {"pk": {"S": "one"}, "kind": {"S": kind}}});
        assert_eq!(ask(&database, "PutItem", &body).0, 200);
    };
    let kind = || {
        let body = json!({"TableName": "single", "Key": {"pk": {"S": "one"}}});
        ask(&database, "GetItem", &body).1["Item"]["kind"]["S"].as_str().unwrap().to_owned()
    };
    put("first");
    database.lag("single", Duration::from_secs(3600));
    put("second");
    assert_eq!(kind(), "first");
    database.lag("single", Duration::from_millis(5));
    std::thread::sleep(Duration::from_millis(6));
    assert_eq!(kind(), "second");
    database.lag("single", Duration::from_secs(3600));
    put("third");
    assert_eq!(kind(), "second");
    database.lag("single", Duration::ZERO);
    assert_eq!(kind(), "third");
    database.lag("single", Duration::from_secs(3600));
    put("fourth");
    let other = json!({"TableName": "single", "Item": {"pk": {"S": "other"}}});
    let remove = json!({"TableName": "single", "Key": {"pk": {"S": "other"}}});
    for (operation, body) in [("PutItem", &other), ("DeleteItem", &remove)].repeat(MOST_CHANGES / 2 - 1) {
        assert_eq!(ask(&database, operation, body).0, 200);
    }
    assert_eq!(kind(), "third");
    assert_eq!(ask(&database, "PutItem", &other).0, 200);
    assert_eq!(kind(), "third");
    assert_eq!(ask(&database, "DeleteItem", &remove).0, 200);
    assert_eq!(kind(), "fourth");
}
