//! The topic port over SNS.

use crate::sdk::in_a_line;
use aws_config::SdkConfig;
use aws_sdk_sns::Client;
use aws_sdk_sns::error::BuildError;
use aws_sdk_sns::operation::publish_batch::PublishBatchOutput;
use aws_sdk_sns::types::{BatchResultErrorEntry, PublishBatchRequestEntry};
use chassis::Failure;
use chassis::gather::Gather;
use chassis::ports::Topic;
use std::collections::HashMap;

/// The most messages of a `PublishBatch`, and the most bytes of all of them.
///
/// <https://docs.aws.amazon.com/sns/latest/api/API_PublishBatch.html>
const MAX_ENTRIES: usize = 10;
const MAX_BYTES: usize = 256 * 1024;

type Published = Result<(), Failure>;

/// A FIFO topic: <https://docs.aws.amazon.com/sns/latest/dg/fifo-message-dedup.html>
///
/// Messages that are published at the same time go out in one call.
pub struct SnsTopic {
    topic: At,
    together: Gather<Message, Published>,
}

/// The topic at an ARN.
#[derive(Clone)]
struct At {
    client: Client,
    arn: String,
}

struct Message {
    group: String,
    id: String,
    body: String,
}

impl SnsTopic {
    /// The topic at `arn`.
    #[must_use]
    pub fn new(config: &SdkConfig, arn: String) -> Self {
        Self { topic: At { client: Client::new(config), arn }, together: Gather::default() }
    }
}

impl Topic for SnsTopic {
    async fn publish(&self, group: &str, id: &str, body: String) -> Published {
        let message = Message { group: group.to_owned(), id: id.to_owned(), body };
        let topic = self.topic.clone();
        let answer = async move |messages| topic.publish_all(messages).await;
        self.together.ask(message, answer).await.unwrap_or_else(|| failed("no answer"))
    }
}

fn failed(why: &str) -> Published {
    Err(Failure::Transient(format!("topic: {why}")))
}

impl At {
    /// Publishes messages, call after call, so that those of a group keep their order.
    async fn publish_all(&self, messages: Vec<Message>) -> Vec<Published> {
        let mut outcomes = Vec::with_capacity(messages.len());
        for mut batch in batches(messages) {
            match (batch.len(), batch.pop()) {
                (1, Some(only)) => outcomes.push(self.publish(only).await),
                (_, last) => outcomes.extend(self.publish_batch(batch.into_iter().chain(last)).await),
            }
        }
        outcomes
    }

    async fn publish(&self, Message { group, id, body }: Message) -> Published {
        let publish = self.client.publish().topic_arn(&self.arn).message(body);
        let published = publish.message_group_id(group).message_deduplication_id(id).send().await;
        published.map(drop).or_else(|error| failed(&in_a_line(&error)))
    }

    async fn publish_batch(&self, messages: impl Iterator<Item = Message>) -> Vec<Published> {
        let entries: Vec<_> = messages.enumerate().map(|(number, message)| entry(number, message)).collect();
        let count = entries.len();
        let all = |why: &str| vec![failed(why); count];
        let entries = match entries.into_iter().collect::<Result<Vec<_>, _>>() {
            Ok(entries) => entries,
            Err(error) => return all(&error.to_string()),
        };
        let batch = self.client.publish_batch().topic_arn(&self.arn);
        match batch.set_publish_batch_request_entries(Some(entries)).send().await {
            Ok(answer) => outcomes(&answer, count),
            Err(error) => all(&in_a_line(&error)),
        }
    }
}

/// Messages in their order, as many together as one call may have.
fn batches(messages: Vec<Message>) -> Vec<Vec<Message>> {
    let (mut batches, mut bytes): (Vec<Vec<Message>>, usize) = (Vec::new(), 0);
    for message in messages {
        bytes += message.body.len();
        match batches.last_mut().filter(|batch| batch.len() < MAX_ENTRIES && bytes <= MAX_BYTES) {
            Some(batch) => batch.push(message),
            None => {
                bytes = message.body.len();
                batches.push(vec![message]);
            }
        }
    }
    batches
}

fn entry(
    number: usize,
    Message { group, id, body }: Message,
) -> Result<PublishBatchRequestEntry, BuildError> {
    let entry = PublishBatchRequestEntry::builder().id(number.to_string()).message(body);
    entry.message_group_id(group).message_deduplication_id(id).build()
}

/// What became of each entry. SNS accepts some of a batch and refuses others.
fn outcomes(answer: &PublishBatchOutput, count: usize) -> Vec<Published> {
    let accepted = answer.successful().iter().filter_map(|entry| Some((entry.id()?, Ok(()))));
    let refused = answer.failed().iter().map(|entry| (entry.id(), failed(&why(entry))));
    let by_id: HashMap<&str, Published> = accepted.chain(refused).collect();
    let of = |number: usize| by_id.get(number.to_string().as_str()).cloned();
    (0..count).map(|number| of(number).unwrap_or_else(|| failed("no answer"))).collect()
}

fn why(entry: &BatchResultErrorEntry) -> String {
    format!("{}: {}", entry.code(), entry.message().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_sns::types::PublishBatchResultEntry;

    /// Guards: of a batch each message has its own outcome. What SNS refuses, or says nothing of, is not taken for published.
    #[test]
    fn each_message_has_its_own_outcome() {
        let accepted = PublishBatchResultEntry::builder().id("1").build();
        let refused = BatchResultErrorEntry::builder()
            .id("0")
            .code("InternalError")
            .sender_fault(false)
            .build()
            .unwrap();
        let answer = PublishBatchOutput::builder().successful(accepted).failed(refused).build();
        let published: Vec<bool> = outcomes(&answer, 3).iter().map(Result::is_ok).collect();
        assert_eq!(published, [false, true, false]);
    }

    /// Guards: ten messages and 256 KiB are the most of one call, and the order stays.
    #[test]
    fn a_batch_ends_where_sns_ends_it() {
        let sizes = |sizes: &[usize]| -> Vec<Vec<usize>> {
            let message =
                |size: &usize| Message { group: "g".into(), id: "i".into(), body: "x".repeat(*size) };
            let batches = batches(sizes.iter().map(message).collect());
            batches.iter().map(|batch| batch.iter().map(|message| message.body.len()).collect()).collect()
        };
        assert_eq!(sizes(&[1; 11]), [vec![1; 10], vec![1]]);
        let (half, all) = (MAX_BYTES / 2, MAX_BYTES);
        assert_eq!(sizes(&[half, half, 1]), [vec![half, half], vec![1]]);
        assert_eq!(sizes(&[all, 1, all]), [vec![all], vec![1], vec![all]]);
        assert!(sizes(&[]).is_empty());
    }
}
