//! What SQS refuses, and that nothing of a refused call is done.

use super::api;
use super::queue::Queue;
use super::queues::Queues;
use crate::aws::iam::{Caller, Iam};
use crate::aws::protocol::{ApiError, Call};
use crate::support::journal::Journal;
use crate::template::names;
use crate::template::resources::Queue as Declared;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const ENDPOINT: &str = "http://127.0.0.1:4566";

/// A standard queue with one message.
fn started() -> (Queues, Arc<Queue>) {
    let declared: Declared = serde_json::from_value(json!({"QueueName": "events"})).unwrap();
    let queues = Queues::start(&[declared], &[], &Journal::open(None).unwrap().0).unwrap();
    let queue = queues.get("events").unwrap();
    queue.send("first");
    (queues, queue)
}

async fn call(queues: &Queues, operation: &str, mut body: Value) -> Result<Value, ApiError> {
    if body["QueueUrl"].is_null() {
        body["QueueUrl"] = names::queue_url(ENDPOINT, "events").into();
    }
    let iam = Iam::new(&BTreeMap::new()).unwrap();
    let call =
        Call { caller: &Caller::Administrator, iam: &iam, operation, body: &body.to_string().into_bytes() };
    let (_, answer) = api::answer(queues, ENDPOINT, &call).await?;
    Ok(serde_json::from_slice(&answer).unwrap())
}

/// Guards: a number out of its range is refused before a message moves.
#[tokio::test]
async fn a_number_out_of_its_range_moves_no_message() {
    let (queues, queue) = started();
    let received = json!({"ReceiptHandle": call(&queues, "ReceiveMessage", json!({})).await.unwrap()
        ["Messages"][0]["ReceiptHandle"]});
    queue.send("second");
    for (operation, field, values) in [
        ("ReceiveMessage", "VisibilityTimeout", [-1, 43_201, i64::MAX]),
        ("ReceiveMessage", "MaxNumberOfMessages", [0, 11, i64::MAX]),
        ("ReceiveMessage", "WaitTimeSeconds", [-1, 21, i64::MAX]),
        ("ChangeMessageVisibility", "VisibilityTimeout", [-1, 43_201, i64::MAX]),
        ("SendMessage", "DelaySeconds", [-1, 901, i64::MAX]),
    ] {
        for value in values {
            let mut body = received.clone();
            body["MessageBody"] = "third".into();
            body[field] = value.into();
            let error = call(&queues, operation, body).await.unwrap_err();
            assert_eq!(error.code, "InvalidParameterValue", "{operation} {field} {value}");
            assert!(error.message.contains(&format!("{value} for parameter {field}")), "{error:?}");
        }
        let mut body = received.clone();
        body[field] = u64::MAX.into();
        assert_eq!(call(&queues, operation, body).await.unwrap_err().code, "SerializationException");
    }
    assert_eq!(queue.depth(), (1, 1));
}

/// Guards: what SQS cannot keep, find or answer is refused with SQS's error, and no message comes or goes.
#[tokio::test]
async fn a_call_that_sqs_refuses_is_refused() {
    let (queues, queue) = started();
    let large = "x".repeat(1024 * 1024);
    let receipt = call(&queues, "ReceiveMessage", json!({})).await.unwrap()["Messages"][0].clone();
    let elsewhere = json!({"QueueUrl": names::queue_url(ENDPOINT, "others")});
    let strange =
        json!({"ReceiptHandle": format!("others#{}#1", uuid::Uuid::new_v4()), "VisibilityTimeout": 0});
    let url = |url: &str| json!({"QueueUrl": url, "MessageBody": "x"});
    for (operation, body, code) in [
        ("SendMessage", json!({}), "MissingParameter"),
        ("SendMessage", json!({"MessageBody": ""}), "MissingParameter"),
        ("SendMessage", json!({"MessageBody": "a\u{1}"}), "InvalidMessageContents"),
        ("SendMessage", json!({"MessageBody": "a\u{fffe}"}), "InvalidMessageContents"),
        ("SendMessage", json!({"MessageBody": format!("{large}x")}), "InvalidParameterValue"),
        ("SendMessage", elsewhere, "QueueDoesNotExist"),
        ("SendMessage", url("http://127.0.0.1:4566/999999999999/events"), "QueueDoesNotExist"),
        ("SendMessage", url("http://127.0.0.1:4566/000000000000/more/events"), "QueueDoesNotExist"),
        ("SendMessage", url("http://elsewhere/000000000000/events"), "InvalidAddress"),
        ("SendMessage", url("events"), "InvalidAddress"),
        ("DeleteMessage", json!({}), "MissingParameter"),
        ("DeleteMessage", json!({"ReceiptHandle": "nope"}), "ReceiptHandleIsInvalid"),
        ("DeleteMessage", strange.clone(), "ReceiptHandleIsInvalid"),
        ("ChangeMessageVisibility", json!({"VisibilityTimeout": 0}), "MissingParameter"),
        ("ChangeMessageVisibility", json!({"ReceiptHandle": receipt["ReceiptHandle"]}), "MissingParameter"),
        ("ChangeMessageVisibility", strange, "ReceiptHandleIsInvalid"),
        ("GetQueueAttributes", json!({"AttributeNames": ["Nope"]}), "InvalidAttributeName"),
        ("ReceiveMessage", json!({"AttributeNames": ["Nope"]}), "InvalidAttributeName"),
        ("ReceiveMessage", json!({"MessageSystemAttributeNames": ["SenderId"]}), "InvalidAttributeName"),
    ] {
        let error = call(&queues, operation, body).await.unwrap_err();
        assert_eq!(error.code, code, "{operation}: {error:?}");
    }
    assert_eq!(queue.depth(), (0, 1));
    for body in [large.as_str(), "\t\r\n \u{d7ff}\u{e000}\u{fffd}\u{10000}"] {
        call(&queues, "SendMessage", json!({"MessageBody": body})).await.unwrap();
    }
    let by_name = json!({"QueueUrl": "http://localhost:4566/000000000000/events"});
    call(&queues, "GetQueueAttributes", by_name).await.unwrap();
}

/// Guards: a receipt that a later receive has replaced changes nothing. A standard queue accepts it for a deletion, as on AWS.
#[tokio::test]
async fn an_old_receipt_changes_nothing() {
    let (queues, queue) = started();
    let first = call(&queues, "ReceiveMessage", json!({"VisibilityTimeout": 0})).await.unwrap();
    call(&queues, "ReceiveMessage", json!({})).await.unwrap();
    let mut old = json!({"ReceiptHandle": first["Messages"][0]["ReceiptHandle"], "VisibilityTimeout": 0});
    let error = call(&queues, "ChangeMessageVisibility", old.clone()).await.unwrap_err();
    assert_eq!(error.code, "MessageNotInflight");
    old.as_object_mut().unwrap().remove("VisibilityTimeout");
    call(&queues, "DeleteMessage", old).await.unwrap();
    assert_eq!(queue.depth(), (0, 1));
}

/// Guards: no time for which a message is hidden loses it, however long.
#[tokio::test]
async fn a_message_hidden_for_ever_is_not_lost() {
    let (_, queue) = started();
    let received = queue.receive_for(1, Duration::MAX).await;
    assert_eq!(queue.depth(), (0, 1));
    assert!(queue.change_visibility(&received[0].receipt, |_| Duration::MAX));
    queue.send_delayed("second", Duration::MAX);
    assert_eq!(queue.depth(), (0, 2));
    assert!(queue.change_visibility(&received[0].receipt, |_| Duration::ZERO));
    assert_eq!(&*queue.receive(1).await[0].message.body, "first");
}
