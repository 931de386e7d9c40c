//! SQS's calls about up to ten messages at once. Each entry goes well or fails for itself.
//!
//! <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessageBatch.html>
//! <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_DeleteMessageBatch.html>

use super::checks::MAX_BODY_BYTES;
use super::messages_api::{New, deleted, hidden, sent};
use super::service::Service;
use crate::aws::protocol::batch::{self, Entry, Fault, MAX_ENTRIES, MAX_ID};
use crate::aws::protocol::{ApiError, Call, Outcome, ok};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Batch<E> {
    queue_url: Option<String>,
    entries: Vec<E>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Sending {
    id: String,
    message_body: Option<String>,
    /// Seconds.
    delay_seconds: Option<i64>,
    message_group_id: Option<String>,
    message_deduplication_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Deletion {
    id: String,
    receipt_handle: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Hiding {
    id: String,
    receipt_handle: Option<String>,
    /// Seconds.
    visibility_timeout: Option<i64>,
}

macro_rules! entries {
    ($($name:ident),*) => {
        $(impl Entry for $name { fn id(&self) -> &str { &self.id } })*
    };
}

entries!(Sending, Deletion, Hiding);

pub async fn send(sqs: &Service, call: &Call<'_>) -> Outcome {
    let batch: Batch<Sending> = call.parse()?;
    let queue = sqs.queue(call, "SendMessage", batch.queue_url.as_deref())?;
    let bytes = batch.entries.iter().filter_map(|entry| entry.message_body.as_ref()).map(String::len);
    if bytes.sum::<usize>() > MAX_BODY_BYTES {
        let message = format!("The messages of a batch have at most {MAX_BODY_BYTES} bytes together.");
        return Err(ApiError::new("BatchRequestTooLong", message));
    }
    let answer = each(&batch.entries, |entry| {
        let new = New {
            body: entry.message_body.as_deref(),
            delay: entry.delay_seconds,
            group: entry.message_group_id.as_deref(),
            deduplication_id: entry.message_deduplication_id.as_deref(),
        };
        sent(&queue, &new)
    })?;
    queue.flush().await;
    ok(&answer)
}

pub async fn delete(sqs: &Service, call: &Call<'_>) -> Outcome {
    let batch: Batch<Deletion> = call.parse()?;
    let queue = sqs.queue(call, "DeleteMessage", batch.queue_url.as_deref())?;
    let delete = |entry: &Deletion| deleted(&queue, entry.receipt_handle.as_deref()).map(|()| json!({}));
    let answer = each(&batch.entries, delete)?;
    queue.flush().await;
    ok(&answer)
}

pub fn change_visibility(sqs: &Service, call: &Call<'_>) -> Outcome {
    let batch: Batch<Hiding> = call.parse()?;
    let queue = sqs.queue(call, "ChangeMessageVisibility", batch.queue_url.as_deref())?;
    let hide = |entry: &Hiding| {
        hidden(&queue, entry.receipt_handle.as_deref(), entry.visibility_timeout).map(|()| json!({}))
    };
    ok(&each(&batch.entries, hide)?)
}

fn each<E: Entry>(entries: &[E], run: impl Fn(&E) -> Result<Value, ApiError>) -> Result<Value, ApiError> {
    batch::check(entries).map_err(|fault| ApiError::new(fault.code(), message(&fault)))?;
    Ok(batch::each(entries, run))
}

fn message(fault: &Fault) -> String {
    match fault {
        Fault::Empty => "There should be at least one entry in Entries.".into(),
        Fault::TooMany => format!("Maximum number of entries per request are {MAX_ENTRIES}."),
        Fault::IllegalId(id) => {
            format!("The Id {id:?} is not 1 to {MAX_ID} of A-Z, a-z, 0-9, - and _.")
        }
        Fault::SameIds => "Two entries have the same Id.".into(),
    }
}
