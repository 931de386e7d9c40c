//! What time does to tables: rows expire, records of streams are a day old at most, and tokens are remembered for minutes.

use super::schema::place;
use super::{Database, Request};
use crate::support::storage::{Batch, Range, Space, Storage};
use chrono::Utc;
use serde_json::{Value, json};
use std::ops::ControlFlow;

fn table(expires: &str) -> Value {
    json!({
        "TableName": "rows", "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
        "StreamSpecification": {"StreamViewType": "NEW_IMAGE"},
        "TimeToLiveSpecification": {"AttributeName": expires, "Enabled": true},
    })
}

fn database(storage: &Storage, expires: &str) -> Database {
    Database::start(storage, &[serde_json::from_value(table(expires)).unwrap()]).unwrap()
}

fn call(database: &Database, operation: &str, body: &Value) -> (u16, Value) {
    let (status, answer) = database.call(operation, body.to_string().as_bytes());
    (status, serde_json::from_slice(&answer).unwrap())
}

/// Puts a row that expires after so many seconds.
fn put(database: &Database, key: &str, seconds: i64) {
    let at = (Utc::now().timestamp() + seconds).to_string();
    let row = json!({"TableName": "rows", "Item": {"pk": {"S": key}, "until": {"N": at}}});
    assert_eq!(call(database, "PutItem", &row).0, 200);
}

/// The keys of the rows that there are.
fn rows(database: &Database) -> Vec<String> {
    let (_, answer) = call(database, "Scan", &json!({"TableName": "rows"}));
    let rows = answer["Items"].as_array().unwrap().iter();
    rows.map(|row| row["pk"]["S"].as_str().unwrap().to_owned()).collect()
}

/// Guards: a row is deleted once its time has come, with a record in the stream, and no other row is: not one whose time was moved.
#[tokio::test]
async fn a_row_goes_when_its_time_has_come() {
    let database = database(&Storage::memory(), "until");
    put(&database, "past", -10);
    put(&database, "moved", -10);
    put(&database, "moved", 100);
    put(&database, "future", 100);
    database.sweep().await;
    assert_eq!(rows(&database), ["future", "moved"]);
    let removed = database.stream("rows", 0, 100).into_iter().filter(|record| record.event_name == "REMOVE");
    assert_eq!(removed.map(|record| record.keys).collect::<Vec<_>>(), [r#"{"pk":{"S":"past"}}"#]);
}

/// Guards: places that nothing makes. A template that names another attribute, or none, is not taken for that of the data folder.
#[tokio::test]
async fn another_attribute_is_another_template() {
    let storage = Storage::memory();
    put(&database(&storage, "until"), "row", -10);
    let declared = |expires| {
        let mut table = table(expires);
        table["TimeToLiveSpecification"]["Enabled"] = (expires == "until").into();
        [serde_json::from_value(table).unwrap()]
    };
    assert!(Database::start(&storage, &declared("until")).is_ok());
    assert!(Database::start(&storage, &declared("other")).is_err());
    assert!(Database::start(&storage, &[serde_json::from_value(table("other")).unwrap()]).is_err());
}

/// Guards: a time that is none, such as 0 or minutes since the epoch, which AWS passes over; and more rows than a step deletes.
#[tokio::test]
async fn what_expired_years_ago_stays() {
    const YEAR: i64 = 365 * 24 * 3600;
    let database = database(&Storage::memory(), "until");
    put(&database, "zero", -Utc::now().timestamp());
    put(&database, "six years", -6 * YEAR);
    put(&database, "four years", -4 * YEAR);
    (0..501).for_each(|n| put(&database, &format!("row {n}"), -10));
    database.sweep().await;
    assert_eq!(rows(&database), ["six years", "zero"]);
}

/// Guards: memory and disk. A record is deleted when it is a day old, and not before.
#[tokio::test]
async fn a_record_is_deleted_after_a_day() {
    let storage = Storage::memory();
    let database = database(&storage, "until");
    ["a", "b", "c"].iter().for_each(|key| put(&database, key, 100));
    let kept = || {
        let mut kept = Vec::new();
        storage.visit(Space::Streams, &Range::prefix(&place(&["rows"])), |place, record| {
            kept.push((place.to_vec(), record));
            ControlFlow::Continue(())
        });
        kept
    };
    database.sweep().await;
    assert_eq!(kept().len(), 3);
    let (place, record) = kept().remove(0);
    let yesterday = Utc::now().timestamp() - 25 * 3600;
    let mut batch = Batch::default();
    batch.put(Space::Streams, place, [&record[..1], &yesterday.to_be_bytes(), &record[9..]].concat());
    storage.write(batch);
    database.sweep().await;
    assert_eq!(kept().len(), 2);
    assert_eq!(database.stream("rows", 0, 100).len(), 2);
}

/// Guards: `ClientRequestToken`. A repeated transaction is answered and not carried out, and a token is for one request.
#[test]
fn a_token_is_for_one_transaction() {
    let database = database(&Storage::memory(), "until");
    let transaction = |token: &str, add: &str| {
        let update = json!({"TableName": "rows", "Key": {"pk": {"S": "a"}}, "UpdateExpression": "SET n = n + :n",
            "ExpressionAttributeValues": {":n": {"N": add}}});
        json!({"TransactItems": [{ "Update": update }], "ClientRequestToken": token})
    };
    let count = || {
        let key = json!({"TableName": "rows", "Key": {"pk": {"S": "a"}}});
        call(&database, "GetItem", &key).1["Item"]["n"]["N"].as_str().unwrap().to_owned()
    };
    let row = json!({"TableName": "rows", "Item": {"pk": {"S": "a"}, "n": {"N": "0"}}});
    assert_eq!(call(&database, "PutItem", &row).0, 200);
    for _ in 0..3 {
        assert_eq!(call(&database, "TransactWriteItems", &transaction("first", "1")).0, 200);
    }
    assert_eq!((count().as_str(), database.newest("rows")), ("1", 2));
    let (status, error) = call(&database, "TransactWriteItems", &transaction("first", "2"));
    let kind = error["__type"].as_str().unwrap();
    assert_eq!((status, kind.ends_with("#IdempotentParameterMismatchException")), (400, true), "{kind}");
    assert_eq!(call(&database, "TransactWriteItems", &transaction("second", "1")).0, 200);
    assert_eq!(count(), "2");
}

/// Guards: DescribeTable counts every row, in more steps than one, where others do not wait for it.
#[tokio::test]
async fn every_row_is_counted() {
    let database = database(&Storage::memory(), "until");
    (0..2001).for_each(|n| put(&database, &format!("row {n}"), 100));
    let request = Request::read("DescribeTable", br#"{"TableName": "rows"}"#).unwrap();
    let (_, answer) = database.answer(&request).await;
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!(answer["Table"]["ItemCount"], 2001);
}
