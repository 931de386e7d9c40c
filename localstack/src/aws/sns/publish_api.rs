//! SNS's calls that publish.
//!
//! <https://docs.aws.amazon.com/sns/latest/api/API_Publish.html>
//! <https://docs.aws.amazon.com/sns/latest/api/API_PublishBatch.html>

use super::service::{Service, invalid, not_found, read, topic};
use crate::aws::protocol::batch::{self, Fault};
use crate::aws::protocol::{ApiError, Call, Outcome, ok};
use crate::aws::sqs::fifo::is_id;
use serde::Deserialize;
use serde_json::{Value, json};

/// The most bytes of a message, and of all messages of a batch.
const MAX_MESSAGE_BYTES: usize = 256 * 1024;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Publish {
    topic_arn: Option<String>,
    message: Option<String>,
    message_group_id: Option<String>,
    message_deduplication_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct PublishBatch {
    topic_arn: Option<String>,
    #[serde(default)]
    publish_batch_request_entries: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Entry {
    id: String,
    message: Option<String>,
    message_group_id: Option<String>,
    message_deduplication_id: Option<String>,
}

/// A message that is to be published.
struct New<'a> {
    message: Option<&'a str>,
    group: Option<&'a str>,
    deduplication_id: Option<&'a str>,
}

pub async fn publish(sns: &Service, call: &Call<'_>) -> Outcome {
    let request: Publish = read(call)?;
    let topic = topic(sns, call, "Publish", request.topic_arn.as_deref())?;
    let new = New {
        message: request.message.as_deref(),
        group: request.message_group_id.as_deref(),
        deduplication_id: request.message_deduplication_id.as_deref(),
    };
    let answer = published(sns, topic, &new)?;
    sns.topics.bill(topic, request.message.map_or(0, |message| message.len()));
    sns.topics.flush().await;
    ok(&answer)
}

fn published(sns: &Service, topic: &str, new: &New<'_>) -> Result<Value, ApiError> {
    fn required<'a>(name: &str, value: Option<&'a str>) -> Result<&'a str, ApiError> {
        value.ok_or_else(|| invalid(format!("{name} is required")))
    }
    let group = required("MessageGroupId", new.group)?;
    let id = required("MessageDeduplicationId", new.deduplication_id)?;
    for (name, id) in [("MessageGroupId", group), ("MessageDeduplicationId", id)] {
        if !is_id(id) {
            return Err(invalid(format!(
                "{name} can only include 1 to 128 alphanumeric characters and punctuation marks"
            )));
        }
    }
    let message = required("Message", new.message)?;
    if message.is_empty() || message.len() > MAX_MESSAGE_BYTES {
        return Err(invalid(format!("Message has to have 1 to {MAX_MESSAGE_BYTES} bytes")));
    }
    let published = sns.topics.publish(topic, group, id, message);
    let (id, number) = published.ok_or_else(|| not_found("Topic"))?;
    Ok(json!({"MessageId": id, "SequenceNumber": format!("{number:020}")}))
}

pub async fn publish_batch(sns: &Service, call: &Call<'_>) -> Outcome {
    let request: PublishBatch = read(call)?;
    let topic = topic(sns, call, "Publish", request.topic_arn.as_deref())?;
    let entries = &request.publish_batch_request_entries;
    check(entries)?;
    sns.topics.bill(topic, bytes(entries));
    let answer = batch::each(entries, |entry| {
        let new = New {
            message: entry.message.as_deref(),
            group: entry.message_group_id.as_deref(),
            deduplication_id: entry.message_deduplication_id.as_deref(),
        };
        published(sns, topic, &new)
    });
    sns.topics.flush().await;
    ok(&answer)
}

fn bytes(entries: &[Entry]) -> usize {
    entries.iter().filter_map(|entry| entry.message.as_ref()).map(String::len).sum()
}

impl batch::Entry for Entry {
    fn id(&self) -> &str {
        &self.id
    }
}

/// # Errors
/// For the whole batch.
fn check(entries: &[Entry]) -> Result<(), ApiError> {
    batch::check(entries).map_err(|fault| ApiError::new(fault.code(), message(&fault)))?;
    if bytes(entries) > MAX_MESSAGE_BYTES {
        let message = "The messages of the batch are too long together.";
        return Err(ApiError::new("BatchRequestTooLong", message));
    }
    Ok(())
}

const fn message(fault: &Fault) -> &'static str {
    match fault {
        Fault::Empty => "The batch request doesn't contain any entries.",
        Fault::TooMany => "The batch request contains more than 10 entries.",
        Fault::IllegalId(_) => "An Id has 1 to 80 of A-Z, a-z, 0-9, - and _.",
        Fault::SameIds => "Two entries of the batch have the same Id.",
    }
}
