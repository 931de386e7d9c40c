//! What SQS refuses, and that nothing of a refused call is done.

use super::api::OPERATIONS;
use super::moves::Moves;
use super::queue::Queue;
use super::queues::Queues;
use super::service::Service;
use crate::aws::iam::{Caller, Iam};
use crate::aws::protocol::{ApiError, Call, operations};
use crate::support::journal::Journal;
use crate::support::storage::Storage;
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
    let queues = Queues::start(&[declared], &Journal::open(&Storage::memory()).unwrap().0).unwrap();
    let queue = queues.get("events").unwrap();
    queue.send("first");
    (queues, queue)
}

fn service(queues: &Queues) -> Service {
    let (policies, moves) = (Vec::new(), Moves::default());
    Service { queues: queues.clone(), policies, moves, endpoint: ENDPOINT.into() }
}

async fn call(queues: &Queues, operation: &str, mut body: Value) -> Result<Value, ApiError> {
    if body["QueueUrl"].is_null() {
        body["QueueUrl"] = names::queue_url(ENDPOINT, "events").into();
    }
    let iam = Iam::new(&BTreeMap::new()).unwrap();
    let call =
        Call { caller: &Caller::Administrator, iam: &iam, operation, body: &body.to_string().into_bytes() };
    let (_, answer) = operations::answer(OPERATIONS, &service(queues), &call).await?;
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
        let whole = match operation {
            "ReceiveMessage" => json!({}),
            "SendMessage" => json!({"MessageBody": "third"}),
            _ => received.clone(),
        };
        for value in values {
            let mut body = whole.clone();
            body[field] = value.into();
            let error = call(&queues, operation, body).await.unwrap_err();
            assert_eq!(error.code, "InvalidParameterValue", "{operation} {field} {value}");
            assert!(error.message.contains(&format!("{value} for parameter {field}")), "{error:?}");
        }
        let mut body = whole;
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
    let strange = json!({"ReceiptHandle": format!("others#{}#1", uuid::Uuid::new_v4())});
    let mut strange_and_hidden = strange.clone();
    strange_and_hidden["VisibilityTimeout"] = 0.into();
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
        ("DeleteMessage", strange, "ReceiptHandleIsInvalid"),
        ("ChangeMessageVisibility", json!({"VisibilityTimeout": 0}), "MissingParameter"),
        ("ChangeMessageVisibility", json!({"ReceiptHandle": receipt["ReceiptHandle"]}), "MissingParameter"),
        ("ChangeMessageVisibility", strange_and_hidden, "ReceiptHandleIsInvalid"),
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

/// Guards: an entry of a batch goes well or fails for itself; a batch that SQS refuses moves no message.
#[tokio::test]
async fn a_batch_is_many_calls_or_none() {
    let (queues, queue) = started();
    let entry = |id: &str, body: &str| json!({"Id": id, "MessageBody": body});
    let sent = call(&queues, "SendMessageBatch", json!({"Entries": [entry("a", "x"), entry("b", "")]}));
    let sent = sent.await.unwrap();
    assert_eq!((&sent["Successful"][0]["Id"], &sent["Failed"][0]["Id"]), (&json!("a"), &json!("b")));
    assert_eq!(
        (&sent["Failed"][0]["Code"], &sent["Failed"][0]["SenderFault"]),
        (&json!("MissingParameter"), &json!(true))
    );
    let half = "x".repeat(600 * 1024);
    let many: Vec<Value> = (0..11).map(|n| entry(&n.to_string(), "x")).collect();
    for (entries, code) in [
        (json!([]), "EmptyBatchRequest"),
        (json!(many), "TooManyEntriesInBatchRequest"),
        (json!([entry("a b", "x")]), "InvalidBatchEntryId"),
        (json!([entry("a", "x"), entry("a", "y")]), "BatchEntryIdsNotDistinct"),
        (json!([entry("a", &half), entry("b", &half)]), "BatchRequestTooLong"),
    ] {
        let error = call(&queues, "SendMessageBatch", json!({"Entries": entries})).await.unwrap_err();
        assert_eq!(error.code, code);
    }
    assert_eq!(queue.depth(), (2, 0));
}

/// Guards: a purge deletes every message, in flight and delayed too, for good, and rests for a minute.
#[tokio::test]
async fn a_purge_deletes_every_message() {
    let (queues, queue) = started();
    queue.send_delayed("later", Duration::from_secs(60));
    queue.send("second");
    let received = queue.receive(1).await;
    let service = service(&queues);
    let iam = Iam::new(&BTreeMap::new()).unwrap();
    let body = json!({"QueueUrl": names::queue_url(ENDPOINT, "events")}).to_string();
    let purge =
        Call { caller: &Caller::Administrator, iam: &iam, operation: "PurgeQueue", body: body.as_bytes() };
    operations::answer(OPERATIONS, &service, &purge).await.unwrap();
    assert!(queue.depth() == (0, 0) && !queue.change_visibility(&received[0].receipt, |_| Duration::ZERO));
    let again = operations::answer(OPERATIONS, &service, &purge).await.unwrap_err();
    assert_eq!((queue.depth(), again.code), ((0, 0), "PurgeQueueInProgress"));
}

/// Guards: what is moved is in one of the two queues at every moment, and over a restart in one alone.
#[tokio::test]
async fn what_is_moved_is_in_one_queue() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let open = || {
        let (journal, _) = Journal::open(&Storage::open(&path).unwrap()).unwrap();
        let declared = |name: &str| serde_json::from_value(json!({ "QueueName": name })).unwrap();
        let queues = Queues::start(&[declared("dead"), declared("live")], &journal).unwrap();
        (queues.get("dead").unwrap(), queues.get("live").unwrap())
    };
    let (dead, live) = open();
    let first = dead.send("letter");
    assert!(dead.move_one(&live) && !dead.move_one(&live));
    live.flush().await;
    drop((dead, live));
    let (dead, live) = open();
    assert_eq!((dead.depth(), live.depth()), ((0, 0), (1, 0)));
    let received = live.receive(1).await;
    assert!(received[0].message.id != first && received[0].message.receives == 1);
}
