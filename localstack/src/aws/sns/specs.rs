//! What SNS refuses to publish.

use super::{Service, Topics, api};
use crate::aws::iam::{Caller, Iam};
use crate::aws::protocol::{Call, form, operations};
use crate::aws::sqs::Queues;
use crate::support::http::Response;
use crate::support::journal::Journal;
use crate::support::meter::Meter;
use crate::support::storage::Storage;
use crate::template::names;
use crate::template::resources::Model;
use serde_json::json;
use std::sync::Arc;

fn topics() -> Topics {
    let (journal, _) = Journal::open(&Storage::memory()).unwrap();
    let topic = serde_json::from_value(json!({"TopicName": "notes.fifo", "FifoTopic": true})).unwrap();
    Topics::start((&[topic], &[]), &Queues::default(), &journal, &Meter::default()).unwrap()
}

/// The answer to a form.
async fn asked(topics: &Topics, form: &str) -> Response {
    let sns = Service { topics: topics.clone(), model: Arc::new(Model::default()) };
    let asked = form::read(form.as_bytes()).unwrap();
    let (caller, iam) = (&Caller::Administrator, Iam::default());
    let call = Call { caller, iam: &iam, operation: &asked.operation, body: &asked.body };
    let outcome = operations::answer(api::OPERATIONS, &sns, &call).await;
    form::answer(api::NAMESPACE, &asked.operation, outcome)
}

/// Guards: what SNS refuses is refused with its status, and not published.
#[tokio::test]
async fn what_sns_refuses_is_not_published() {
    let topics = topics();
    let arn = names::arn("sns", "notes.fifo");
    let publish = async |field: &str, value: &str| {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("Action", "Publish");
        let good =
            [("TopicArn", &*arn), ("Message", "x"), ("MessageGroupId", "g"), ("MessageDeduplicationId", "1")];
        for (name, other) in good {
            form.append_pair(name, if name == field { value } else { other });
        }
        asked(&topics, &form.finish()).await.status().as_u16()
    };
    let (long, large) = ("x".repeat(129), "x".repeat(256 * 1024 + 1));
    for (field, value, status) in [
        ("MessageGroupId", "", 400),
        ("MessageGroupId", "a b", 400),
        ("MessageGroupId", "\u{e9}", 400),
        ("MessageGroupId", &long, 400),
        ("MessageDeduplicationId", "", 400),
        ("MessageDeduplicationId", &long, 400),
        ("Message", "", 400),
        ("Message", &large, 400),
        ("TopicArn", "notes.fifo", 400),
        ("TopicArn", "arn:aws:sns:eu-west-1:000000000000:notes.fifo", 400),
        ("TopicArn", "arn:aws:sns:us-east-1:999999999999:notes.fifo", 404),
        ("TopicArn", "arn:aws:sns:us-east-1:000000000000:more:notes.fifo", 404),
        ("TopicArn", "arn:aws:sns:us-east-1:000000000000:others.fifo", 404),
    ] {
        assert_eq!(publish(field, value).await, status, "{field} {value:.60}");
    }
    assert_eq!(topics.published("notes.fifo").unwrap().len(), 0);
    assert_eq!(publish("Message", &large[1..]).await, 200);
}

/// A batch of entries with these fields, numbered from 1; its status and body.
async fn batch(topics: &Topics, entries: &[Vec<(&str, &str)>]) -> (u16, String) {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("Action", "PublishBatch").append_pair("TopicArn", &names::arn("sns", "notes.fifo"));
    for (n, entry) in entries.iter().enumerate() {
        for (name, value) in entry {
            form.append_pair(&format!("PublishBatchRequestEntries.member.{}.{name}", n + 1), value);
        }
    }
    let answer = asked(topics, &form.finish()).await;
    let status = answer.status().as_u16();
    let body = http_body_util::BodyExt::collect(answer.into_body()).await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

fn entry<'a>(id: &'a str, message: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![("Id", id), ("Message", message), ("MessageGroupId", "g"), ("MessageDeduplicationId", id)]
}

/// Guards: the limits of a batch. What breaks one is refused with SNS's own code, and nothing of it is published.
#[tokio::test]
async fn a_batch_that_sns_refuses_is_not_published() {
    let topics = topics();
    let (ids, long): (Vec<String>, _) = ((0..11).map(|n| n.to_string()).collect(), "x".repeat(81));
    let half = "x".repeat(128 * 1024);
    let eleven = ids.iter().map(|id| entry(id, "x")).collect();
    for (code, entries) in [
        ("EmptyBatchRequest", vec![]),
        ("TooManyEntriesInBatchRequest", eleven),
        ("InvalidBatchEntryId", vec![entry("a b", "x")]),
        ("InvalidBatchEntryId", vec![entry(&long, "x")]),
        ("InvalidBatchEntryId", vec![entry("", "x")]),
        ("BatchEntryIdsNotDistinct", vec![entry("1", "x"), entry("1", "y")]),
        ("BatchRequestTooLong", vec![entry("1", &half), entry("2", &half), entry("3", "x")]),
        ("InvalidParameter", vec![[entry("1", "x"), vec![("Subject", "x")]].concat()]),
    ] {
        let (status, body) = batch(&topics, &entries).await;
        assert!(status == 400 && body.contains(&format!("<Code>{code}</Code>")), "{code}: {status} {body}");
    }
    assert_eq!(topics.published("notes.fifo").unwrap().len(), 0);
    assert_eq!(batch(&topics, &[entry("1", &half), entry("2", &half)]).await.0, 200);
}

/// Guards: each entry of a batch has a result of its own, and what is published keeps the order of the entries and counts a repeat.
#[tokio::test]
async fn of_a_batch_each_entry_has_its_own_result() {
    let topics = topics();
    let entries = [entry("b", "1"), vec![("Id", "bad"), ("Message", "2")], entry("a", "3"), entry("c", "")];
    let (status, body) = batch(&topics, &entries).await;
    let (failed, successful) = body.split_once("<Successful>").unwrap();
    let ids = |text: &str| -> Vec<String> {
        let ids = text.split("<Id>").skip(1).map(|rest| rest.split('<').next().unwrap().to_owned());
        ids.collect()
    };
    assert_eq!(
        (status, ids(successful), ids(failed)),
        (200, vec!["b".into(), "a".into()], vec!["bad".into(), "c".into()])
    );
    assert_eq!(batch(&topics, &[entry("a", "3")]).await.0, 200);
    let published = topics.published("notes.fifo").unwrap();
    let seen: Vec<_> = published.iter().map(|m| (m.message.as_str(), m.repeats)).collect();
    assert_eq!(seen, [("1", 0), ("3", 1)]);
}
