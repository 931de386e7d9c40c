//! What SNS refuses to publish.

use super::{Topics, api};
use crate::aws::sqs::Queues;
use crate::support::journal::Journal;
use crate::support::meter::Meter;
use crate::template::names;
use serde_json::json;

fn topics() -> Topics {
    let (journal, past) = Journal::open(None).unwrap();
    let topic = serde_json::from_value(json!({"TopicName": "notes.fifo", "FifoTopic": true})).unwrap();
    Topics::start((&[topic], &[]), &Queues::default(), (&journal, &past), &Meter::default()).unwrap()
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
        api::answer(&topics, form.finish().as_bytes(), |_, _| Ok(())).await.status().as_u16()
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
