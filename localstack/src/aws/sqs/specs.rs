//! FIFO queues keep SQS's rules: order within a group, one reader for a group, deduplication, dead letters.

use super::api;
use super::message::Received;
use super::moves::Moves;
use super::queue::Queue;
use super::queues::Queues;
use super::service::Service;
use crate::aws::iam::{Caller, Iam};
use crate::aws::protocol::{ApiError, Call, operations};
use crate::aws::sns::{self, Topics};
use crate::support::journal::Journal;
use crate::support::meter::Meter;
use crate::support::storage::Storage;
use crate::template::names;
use crate::template::resources::{Model, Queue as Declared, Subscription, Topic};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const MESSAGES: &str = "messages.fifo";
const DEAD: &str = "messages-dlq.fifo";

/// A FIFO queue that tries a message three times, its dead-letter queue, and what is changed in them.
fn declared(change: impl Fn(&mut Value, &mut Value)) -> Vec<Declared> {
    let policy = json!({"deadLetterTargetArn": names::queue_arn(DEAD), "maxReceiveCount": 3});
    let mut queue =
        json!({"QueueName": MESSAGES, "FifoQueue": true, "VisibilityTimeout": 60, "RedrivePolicy": policy});
    let mut dead = json!({"QueueName": DEAD, "FifoQueue": true});
    change(&mut queue, &mut dead);
    [queue, dead].map(|queue| serde_json::from_value(queue).unwrap()).into()
}

fn started(folder: Option<&Path>) -> (Queues, Topics, Arc<Queue>) {
    let storage = folder.map_or_else(Storage::memory, |folder| Storage::open(folder).unwrap());
    let (journal, _) = Journal::open(&storage).unwrap();
    let queues = Queues::start(&declared(|_, _| ()), &journal).unwrap();
    let topics = topics(&queues, &journal, |_| ()).unwrap();
    let queue = queues.get(MESSAGES).unwrap();
    (queues, topics, queue)
}

fn topics(queues: &Queues, journal: &Journal, change: impl Fn(&mut Value)) -> anyhow::Result<Topics> {
    let topic: Topic = serde_json::from_value(json!({"TopicName": "notes.fifo", "FifoTopic": true})).unwrap();
    let mut subscription = json!({"TopicArn": names::arn("sns", "notes.fifo"), "Protocol": "sqs",
        "Endpoint": names::queue_arn(MESSAGES), "RawMessageDelivery": true,
        "RedrivePolicy": {"deadLetterTargetArn": names::queue_arn(DEAD)}});
    change(&mut subscription);
    let subscription: Subscription = serde_json::from_value(subscription).unwrap();
    Topics::start((&[topic], &[subscription]), queues, journal, &Meter::default())
}

/// What can be received at once, and what it was.
async fn receive(queue: &Queue, max: usize, invisible: u64) -> Vec<Received> {
    let receive = queue.receive_for(max, Duration::from_secs(invisible));
    tokio::time::timeout(Duration::from_millis(50), receive).await.unwrap_or_default()
}

fn bodies(received: &[Received]) -> Vec<&str> {
    received.iter().map(|received| &*received.message.body).collect()
}

fn send(queue: &Queue, messages: &[(&str, &str)]) {
    for (group, body) in messages {
        queue.send_in_group(body, group, body);
    }
}

/// Guards: the order of a group. While one of its messages is in flight, no reader gets another; other groups go on.
#[tokio::test]
async fn a_group_waits_for_its_message_in_flight() {
    let (_, _, queue) = started(None);
    send(&queue, &[("a", "a1"), ("b", "b1"), ("a", "a2"), ("a", "a3")]);
    let first = receive(&queue, 2, 60).await;
    assert_eq!(bodies(&first), ["a1", "a2"], "one receive gets as much of one group as it may");
    let other = receive(&queue, 10, 60).await;
    assert_eq!(bodies(&other), ["b1"]);
    assert!(queue.delete(&first[1].receipt));
    assert!(receive(&queue, 10, 60).await.is_empty(), "a1 is in flight still");
    assert!(queue.delete(&first[0].receipt));
    assert_eq!(bodies(&receive(&queue, 10, 60).await), ["a3"]);
}

/// Guards: a reader that waits is woken when a group is free again.
#[tokio::test]
async fn a_delete_wakes_the_reader_that_waits_for_the_group() {
    let (_, _, queue) = started(None);
    send(&queue, &[("a", "a1"), ("a", "a2")]);
    let first = receive(&queue, 1, 60).await;
    let waiting = tokio::spawn({
        let queue = Arc::clone(&queue);
        async move { queue.receive(1).await }
    });
    tokio::time::sleep(Duration::from_millis(20)).await;
    queue.delete(&first[0].receipt);
    let second = tokio::time::timeout(Duration::from_secs(5), waiting).await.unwrap().unwrap();
    assert_eq!(bodies(&second), ["a2"]);
}

/// Guards: a message that comes back stands where it stood, before the rest of its group.
#[tokio::test]
async fn a_message_that_was_not_deleted_comes_back_at_its_place() {
    let (_, _, queue) = started(None);
    send(&queue, &[("a", "a1"), ("a", "a2"), ("b", "b1")]);
    assert_eq!(bodies(&receive(&queue, 1, 0).await), ["a1"]);
    assert_eq!(bodies(&receive(&queue, 10, 0).await), ["a1", "a2", "b1"]);
}

/// Guards: a message that fails three times does not hold up its group for ever, and is kept.
#[tokio::test]
async fn a_poisonous_message_leaves_its_group_for_the_dead_letter_queue() {
    let (queues, _, queue) = started(None);
    send(&queue, &[("a", "a1"), ("a", "a2")]);
    for _ in 0..3 {
        assert_eq!(bodies(&receive(&queue, 1, 0).await), ["a1"]);
    }
    assert_eq!(bodies(&receive(&queue, 10, 60).await), ["a2"]);
    let dead = receive(&queues.get(DEAD).unwrap(), 10, 60).await;
    assert_eq!(bodies(&dead), ["a1"]);
    let place = dead[0].message.place.as_ref().unwrap();
    assert_eq!((place.group.as_str(), dead[0].message.receives), ("a", 1));
}

/// Guards: a deduplication id is remembered after its message is deleted, and numbers grow.
#[tokio::test]
async fn a_repeated_send_is_accepted_and_not_delivered() {
    let (_, _, queue) = started(None);
    let first = queue.send_in_group("one", "a", "id");
    queue.delete(&receive(&queue, 1, 60).await[0].receipt);
    assert_eq!(queue.send_in_group("two", "a", "id"), first);
    assert_eq!(queue.depth(), (0, 0));
    assert!(queue.send_in_group("three", "a", "other").sequence > first.sequence);
}

/// Guards: what SNS has accepted is in the queue after a crash, once, in its order, with group and deduplication id.
#[tokio::test]
async fn a_published_message_survives_in_the_queue() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let before = {
        let (_, topics, _) = started(Some(&path));
        for body in ["one", "two", "one"] {
            topics.publish("notes.fifo", "order-1", body, body).unwrap();
            topics.flush().await;
        }
        topics.published("notes.fifo").unwrap().len()
    };
    let (_, topics, queue) = started(Some(&path));
    topics.publish("notes.fifo", "order-1", "two", "two").unwrap();
    topics.flush().await;
    let received = receive(&queue, 10, 60).await;
    assert_eq!((before, bodies(&received)), (2, vec!["one", "two"]));
    // The topic knows its ids and its numbers after a restart.
    let published = topics.page("notes.fifo", None, 10).unwrap();
    let known: Vec<_> = published.iter().map(|(_, m)| (m.message.as_str(), m.repeats)).collect();
    assert_eq!(known, [("one", 1), ("two", 1)]);
    let (number, _) = &published[0];
    assert_eq!(topics.page("notes.fifo", Some(number), 10).unwrap().len(), 1);
    let place = received[1].message.place.as_ref().unwrap();
    assert_eq!((place.group.as_str(), place.deduplication_id.as_str()), ("order-1", "two"));
    // Had the crash come before the topic's own record, the queue would recognise the second delivery.
    queue.send_in_group("one", "order-1", "one");
    assert_eq!(queue.depth(), (0, 2));
}

async fn call(queues: &Queues, operation: &str, mut body: Value) -> Result<Value, ApiError> {
    body["QueueUrl"] = names::queue_url("http://local", MESSAGES).into();
    let iam = Iam::new(&BTreeMap::new()).unwrap();
    let call =
        Call { caller: &Caller::Administrator, iam: &iam, operation, body: &body.to_string().into_bytes() };
    let (policies, moves, queues) = (Vec::new(), Moves::default(), queues.clone());
    let service = Service { queues, policies, moves, endpoint: "http://local".into() };
    let (_, answer) = operations::answer(api::OPERATIONS, &service, &call).await?;
    Ok(serde_json::from_slice(&answer).unwrap())
}

/// Guards: a sender or a reader that would fail on AWS fails here.
#[tokio::test]
async fn calls_that_sqs_refuses_are_refused() {
    let (queues, ..) = started(None);
    let message = json!({"MessageBody": "x", "MessageGroupId": "a", "MessageDeduplicationId": "1"});
    let with = |field: &str, value: Value| {
        let mut message = message.clone();
        message[field] = value;
        message
    };
    for (body, code, said) in [
        (with("MessageGroupId", Value::Null), "MissingParameter", "MessageGroupId"),
        (with("MessageDeduplicationId", Value::Null), "InvalidParameterValue", "MessageDeduplicationId"),
        (with("MessageGroupId", "a b".into()), "InvalidParameterValue", "MessageGroupId"),
        (with("MessageGroupId", "x".repeat(129).into()), "InvalidParameterValue", "MessageGroupId"),
        (with("MessageDeduplicationId", "é".into()), "InvalidParameterValue", "MessageDeduplicationId"),
        (with("DelaySeconds", 1.into()), "InvalidParameterValue", "DelaySeconds"),
        (with("MessageAttributes", json!({})), "SerializationException", "MessageAttributes"),
    ] {
        let error = call(&queues, "SendMessage", body).await.unwrap_err();
        assert!(error.code == code && error.message.contains(said), "{error:?}");
    }
    let sent = call(&queues, "SendMessage", message.clone()).await.unwrap();
    let asked = json!({"VisibilityTimeout": 0, "MessageSystemAttributeNames": ["All"]});
    let received = call(&queues, "ReceiveMessage", asked).await.unwrap()["Messages"][0].clone();
    let attributes = &received["Attributes"];
    assert_eq!(
        (&attributes["MessageGroupId"], &attributes["MessageDeduplicationId"]),
        (&json!("a"), &json!("1"))
    );
    assert_eq!(attributes["SequenceNumber"], sent["SequenceNumber"]);
    let again = call(&queues, "ReceiveMessage", json!({})).await.unwrap();
    assert_eq!(again["Messages"][0]["Attributes"], json!({}), "attributes come when they are asked for");
    let late = json!({"ReceiptHandle": received["ReceiptHandle"]});
    let error = call(&queues, "DeleteMessage", late).await.unwrap_err();
    assert!(error.message.contains("has expired"), "{error:?}");
}

/// Guards: SNS accepts no group and no deduplication id that its queue would refuse.
#[tokio::test]
async fn ids_that_sns_refuses_are_refused() {
    let (_, topics, queue) = started(None);
    let publish = async |group: &str, id: &str| {
        let arn = names::arn("sns", "notes.fifo");
        let body =
            json!({"TopicArn": arn, "Message": "x", "MessageGroupId": group, "MessageDeduplicationId": id});
        let (caller, iam, body) = (&Caller::Administrator, Iam::default(), body.to_string());
        let call = Call { caller, iam: &iam, operation: "Publish", body: body.as_bytes() };
        let service = sns::Service { topics: topics.clone(), model: Arc::new(Model::default()) };
        operations::answer(sns::api::OPERATIONS, &service, &call)
            .await
            .map_or_else(|error| error.status, |(status, _)| status)
    };
    let long = "x".repeat(129);
    for (group, id) in [("a b", "1"), ("", "1"), (long.as_str(), "1"), ("a", &long), ("a", " ")] {
        assert_eq!(publish(group, id).await, 400, "{group:?} {id:?}");
    }
    assert_eq!(queue.depth(), (0, 0));
    assert_eq!(publish(&long[1..], &long[1..]).await, 200);
}

/// Guards: a queue with as many messages in flight as it may have brings no more until one is deleted. That is no error.
#[tokio::test]
async fn a_receive_beyond_the_messages_in_flight_brings_nothing() {
    let mut queue = Queue::new(&declared(|_, _| ()).remove(0), Journal::open(&Storage::memory()).unwrap().0);
    assert_eq!(queue.most_in_flight, 120_000);
    queue.most_in_flight = 2;
    for group in ["a", "b", "c"] {
        queue.send_in_group(group, group, group);
    }
    let received = receive(&queue, 10, 60).await;
    assert_eq!(bodies(&received), ["a", "b"]);
    assert_eq!(bodies(&receive(&queue, 10, 60).await), Vec::<&str>::new());
    queue.delete(&received[0].receipt);
    assert_eq!(bodies(&receive(&queue, 10, 60).await), ["c"]);
}

/// Guards: refuse, don't ignore. What CloudFormation would refuse, and what is not implemented, stops the start.
#[test]
fn a_queue_or_subscription_that_is_no_fifo_pair_stops_the_start() {
    let (journal, _) = Journal::open(&Storage::memory()).unwrap();
    let start = |declared: Vec<Declared>| Queues::start(&declared, &journal).map(drop);
    let remove = |queue: &mut Value, field: &str| drop(queue.as_object_mut().unwrap().remove(field));
    for (declared, said) in [
        (declared(|queue, _| remove(queue, "FifoQueue")), "ends in .fifo"),
        (declared(|queue, _| queue["QueueName"] = "messages".into()), "ends in .fifo"),
        (declared(|queue, _| queue["FifoQueue"] = false.into()), "true or left out"),
        (declared(|queue, _| queue["ContentBasedDeduplication"] = true.into()), "not implemented"),
    ] {
        let error = start(declared).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
    let standard = declared(|queue, dead| {
        remove(dead, "FifoQueue");
        dead["QueueName"] = "plain".into();
        queue["RedrivePolicy"]["deadLetterTargetArn"] = names::queue_arn("plain").into();
    });
    assert!(start(standard).unwrap_err().to_string().contains("both have to be FIFO"));

    let (queues, ..) = started(None);
    assert!(queues.by_arn(MESSAGES).map(drop).unwrap_err().to_string().contains("is a FIFO queue"));
    for (field, value, said) in [
        ("RawMessageDelivery", json!(false), "RawMessageDelivery: true"),
        ("Endpoint", json!(names::queue_arn("nowhere")), "the subscription of"),
        ("TopicArn", json!(names::arn("sns", "nowhere")), "no template declares the topic"),
        ("RedrivePolicy", json!({"deadLetterTargetArn": names::queue_arn("nowhere")}), "the subscription of"),
    ] {
        let refused = topics(&queues, &journal, |subscription| subscription[field] = value.clone());
        let error = refused.map(drop).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
}

/// Guards: a receive that waits gets what another one had and did not delete, once it is visible again, though nothing arrives.
#[tokio::test]
async fn who_waits_gets_what_another_gave_up() {
    let (journal, _) = Journal::open(&Storage::memory()).unwrap();
    let declared = serde_json::from_value(json!({"QueueName": "messages"})).unwrap();
    let queue = Queues::start(&[declared], &journal).unwrap().get("messages").unwrap();
    let wait = || {
        let queue = Arc::clone(&queue);
        tokio::spawn(async move { queue.receive_for(1, Duration::from_millis(100)).await })
    };
    let waiting = [wait(), wait()];
    tokio::task::yield_now().await;
    queue.send("x");
    for one in waiting {
        let received = tokio::time::timeout(Duration::from_secs(10), one).await;
        assert_eq!(bodies(&received.expect("a receive sleeps").unwrap()), ["x"]);
    }
}
