//! SQS's calls about single messages.
//!
//! <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html>
//! <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ReceiveMessage.html>

use super::checks::{self, invalid};
use super::fifo::is_id;
use super::message::Received;
use super::queue::{Queue, md5_of};
use super::queues_api::named;
use super::service::Service;
use crate::aws::protocol::{ApiError, Call, Outcome, ok};
use serde::Deserialize;
use serde_json::{Value, json};

/// Those of a message's attributes that the local stack has.
const ATTRIBUTES: [&str; 5] = [
    "ApproximateReceiveCount",
    "SentTimestamp",
    "MessageGroupId",
    "MessageDeduplicationId",
    "SequenceNumber",
];

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct SendMessage {
    queue_url: Option<String>,
    message_body: Option<String>,
    /// Seconds.
    delay_seconds: Option<i64>,
    message_group_id: Option<String>,
    message_deduplication_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct DeleteMessage {
    queue_url: Option<String>,
    receipt_handle: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct ChangeMessageVisibility {
    queue_url: Option<String>,
    receipt_handle: Option<String>,
    /// Seconds.
    visibility_timeout: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct ReceiveMessage {
    queue_url: Option<String>,
    max_number_of_messages: Option<i64>,
    /// Seconds.
    wait_time_seconds: Option<i64>,
    /// Seconds.
    visibility_timeout: Option<i64>,
    /// The old name of the next one.
    #[serde(default)]
    attribute_names: Vec<String>,
    #[serde(default)]
    message_system_attribute_names: Vec<String>,
    #[serde(default)]
    message_attribute_names: Vec<String>,
}

/// A message that is to be sent.
pub struct New<'a> {
    pub body: Option<&'a str>,
    /// Seconds.
    pub delay: Option<i64>,
    pub group: Option<&'a str>,
    pub deduplication_id: Option<&'a str>,
}

pub async fn send(sqs: &Service, call: &Call<'_>) -> Outcome {
    let request: SendMessage = call.parse()?;
    let queue = sqs.queue(call, "SendMessage", request.queue_url.as_deref())?;
    let new = New {
        body: request.message_body.as_deref(),
        delay: request.delay_seconds,
        group: request.message_group_id.as_deref(),
        deduplication_id: request.message_deduplication_id.as_deref(),
    };
    let answer = sent(&queue, &new)?;
    queue.flush().await;
    ok(&answer)
}

/// Sends a message; what the answer says of it.
pub fn sent(queue: &Queue, new: &New<'_>) -> Result<Value, ApiError> {
    let body = checks::body(new.body)?;
    let mut answer = json!({"MD5OfMessageBody": md5_of(body)});
    if queue.is_fifo {
        let (group, deduplication_id) = group(new)?;
        let accepted = queue.send_in_group(body, group, deduplication_id);
        answer["SequenceNumber"] = accepted.place(group, deduplication_id).sequence_number().into();
        answer["MessageId"] = accepted.id.into();
    } else {
        if new.group.is_some() || new.deduplication_id.is_some() {
            return Err(invalid(
                "MessageGroupId and MessageDeduplicationId of a standard queue are not implemented by the local stack",
            ));
        }
        let delay = checks::delay(new.delay)?;
        answer["MessageId"] = queue.send_delayed(body, delay).into();
    }
    Ok(answer)
}

/// What a FIFO queue needs of a message: its group and its deduplication id, and no delay of its own.
fn group<'a>(new: &New<'a>) -> Result<(&'a str, &'a str), ApiError> {
    let group = new.group.ok_or_else(|| checks::missing("MessageGroupId"))?;
    let deduplication_id = new.deduplication_id.ok_or_else(|| {
        invalid("The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly")
    })?;
    for (name, id) in [("MessageGroupId", group), ("MessageDeduplicationId", deduplication_id)] {
        if !is_id(id) {
            return Err(invalid(format!(
                "{name} can only include alphanumeric and punctuation characters. 1 to 128 in length"
            )));
        }
    }
    match new.delay {
        Some(delay) => Err(invalid(format!(
            "Value {delay} for parameter DelaySeconds is invalid. Reason: The request include parameter that is not valid for this queue type."
        ))),
        None => Ok((group, deduplication_id)),
    }
}

pub async fn delete(sqs: &Service, call: &Call<'_>) -> Outcome {
    let request: DeleteMessage = call.parse()?;
    let queue = sqs.queue(call, "DeleteMessage", request.queue_url.as_deref())?;
    deleted(&queue, request.receipt_handle.as_deref())?;
    queue.flush().await;
    ok(&json!({}))
}

/// A FIFO queue does not delete by a receipt whose visibility timeout has passed: the message may be with another reader.
///
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_DeleteMessage.html>
pub fn deleted(queue: &Queue, receipt: Option<&str>) -> Result<(), ApiError> {
    let receipt = checks::receipt(queue, receipt)?;
    if !queue.delete(receipt) && queue.is_fifo {
        return Err(invalid(format!(
            "Value {receipt} for parameter ReceiptHandle is invalid. Reason: The receipt handle has expired."
        )));
    }
    Ok(())
}

pub fn change_visibility(sqs: &Service, call: &Call<'_>) -> Outcome {
    let request: ChangeMessageVisibility = call.parse()?;
    let queue = sqs.queue(call, "ChangeMessageVisibility", request.queue_url.as_deref())?;
    hidden(&queue, request.receipt_handle.as_deref(), request.visibility_timeout)?;
    ok(&json!({}))
}

/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ChangeMessageVisibility.html>
pub fn hidden(queue: &Queue, receipt: Option<&str>, seconds: Option<i64>) -> Result<(), ApiError> {
    let invisible =
        checks::visibility_timeout(seconds)?.ok_or_else(|| checks::missing("VisibilityTimeout"))?;
    let receipt = checks::receipt(queue, receipt)?;
    if queue.change_visibility(receipt, |_| invisible) {
        return Ok(());
    }
    Err(ApiError::new(
        "MessageNotInflight",
        "The message is not in flight, or no longer by this receipt handle.",
    ))
}

pub async fn receive(sqs: &Service, call: &Call<'_>) -> Outcome {
    let request: ReceiveMessage = call.parse()?;
    let queue = sqs.queue(call, "ReceiveMessage", request.queue_url.as_deref())?;
    let max = checks::number_of_messages(request.max_number_of_messages)?;
    let wait = checks::wait_time(request.wait_time_seconds)?;
    let invisible = checks::visibility_timeout(request.visibility_timeout)?.unwrap_or(queue.visibility());
    let names = [&request.attribute_names[..], &request.message_system_attribute_names].concat();
    checks::attribute_names(&names, &ATTRIBUTES)?;
    checks::message_attribute_names(&request.message_attribute_names)?;
    let received = tokio::time::timeout(wait, queue.receive_for(max, invisible)).await;
    let received = received.unwrap_or_default();
    let messages: Vec<Value> = received.iter().map(|received| shown(received, &names)).collect();
    // AWS leaves an empty list out, and its CLI prints nothing then.
    ok(&if messages.is_empty() { json!({}) } else { json!({ "Messages": messages }) })
}

fn shown(received: &Received, names: &[String]) -> Value {
    let Received { message, receipt } = received;
    let mut attributes = vec![
        ("ApproximateReceiveCount", message.receives.to_string()),
        ("SentTimestamp", message.sent_at.to_string()),
    ];
    if let Some(place) = &message.place {
        attributes.push(("MessageGroupId", place.group.clone()));
        attributes.push(("MessageDeduplicationId", place.deduplication_id.clone()));
        attributes.push(("SequenceNumber", place.sequence_number()));
    }
    json!({
        "MessageId": message.id,
        "ReceiptHandle": receipt,
        "Body": &*message.body,
        "MD5OfBody": md5_of(&message.body),
        "Attributes": named(attributes, names),
    })
}
