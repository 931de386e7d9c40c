//! SQS's calls, in JSON 1.0.
//!
//! <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_Operations.html>

use super::checks::{self, invalid};
use super::fifo::is_id;
use super::made_api;
use super::queue::{Queue, Received, md5_of};
use super::queues::Queues;
use crate::aws::protocol::{ApiError, Call, Outcome, ok};
use crate::template::names;
use serde::Deserialize;
use serde_json::{Value, json};

/// Those of a queue's attributes that the local stack has.
const QUEUE_ATTRIBUTES: [&str; 4] =
    ["QueueArn", "ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible", "FifoQueue"];
/// Those of a message's.
const MESSAGE_ATTRIBUTES: [&str; 5] = [
    "ApproximateReceiveCount",
    "SentTimestamp",
    "MessageGroupId",
    "MessageDeduplicationId",
    "SequenceNumber",
];

/// The fields of all operations together; any other is refused.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default, deny_unknown_fields)]
struct Request {
    queue_name: Option<String>,
    queue_url: Option<String>,
    message_body: Option<String>,
    max_number_of_messages: Option<i64>,
    /// Seconds.
    wait_time_seconds: Option<i64>,
    /// Seconds.
    visibility_timeout: Option<i64>,
    queue_name_prefix: Option<String>,
    receipt_handle: Option<String>,
    message_group_id: Option<String>,
    message_deduplication_id: Option<String>,
    /// Seconds.
    delay_seconds: Option<i64>,
    /// Of a queue; of a message by its old name.
    attribute_names: Vec<String>,
    message_system_attribute_names: Vec<String>,
    /// No message here has any.
    #[serde(rename = "MessageAttributeNames")]
    _message_attribute_names: Vec<String>,
    /// The answer has all queues.
    #[serde(rename = "MaxResults")]
    _max_results: Option<u64>,
}

/// Queue URLs begin with `endpoint`.
pub async fn answer(queues: &Queues, endpoint: &str, call: &Call<'_>) -> Outcome {
    match call.operation {
        "CreateQueue" => return made_api::create(queues, endpoint, call),
        "DeleteQueue" => return made_api::delete(queues, endpoint, call),
        _ => {}
    }
    let request: Request = call.parse()?;
    if call.operation == "ListQueues" {
        call.require("sqs:ListQueues", &names::queue_arn("*"))?;
        return list(queues, endpoint, &request.queue_name_prefix.unwrap_or_default());
    }
    let name = match call.operation {
        "GetQueueUrl" => checks::required("QueueName", request.queue_name.as_deref())?,
        _ => checks::queue_name(endpoint, checks::required("QueueUrl", request.queue_url.as_deref())?)?,
    };
    let queue = queues.get(name).ok_or_else(checks::no_such_queue)?;
    call.require(&format!("sqs:{}", call.operation), &names::queue_arn(&queue.name))?;
    match call.operation {
        "GetQueueUrl" => ok(&json!({"QueueUrl": names::queue_url(endpoint, &queue.name)})),
        "GetQueueAttributes" => attributes(&queue, &request.attribute_names),
        "SendMessage" => send(&queue, &request).await,
        "ReceiveMessage" => receive(&queue, &request).await,
        "ChangeMessageVisibility" => change_visibility(&queue, &request),
        "DeleteMessage" => delete(&queue, &request).await,
        _ => Err(call.unknown()),
    }
}

fn list(queues: &Queues, endpoint: &str, prefix: &str) -> Outcome {
    let mut queues = queues.all();
    queues.retain(|queue| queue.name.starts_with(prefix));
    let urls: Vec<String> = queues.iter().map(|queue| names::queue_url(endpoint, &queue.name)).collect();
    ok(&json!({ "QueueUrls": urls }))
}

/// Those of the attributes that the caller names, or all of them.
fn named(attributes: Vec<(&'static str, String)>, names: &[String]) -> Value {
    let is_named = |attribute: &str| names.iter().any(|name| name == attribute || name == "All");
    let named = attributes.into_iter().filter(|(attribute, _)| is_named(attribute));
    Value::Object(named.map(|(attribute, value)| (attribute.to_owned(), value.into())).collect())
}

/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_GetQueueAttributes.html>
fn attributes(queue: &Queue, names: &[String]) -> Outcome {
    checks::attribute_names(names, &QUEUE_ATTRIBUTES)?;
    let (visible, in_flight) = queue.depth();
    let mut attributes = vec![
        ("QueueArn", names::queue_arn(&queue.name)),
        ("ApproximateNumberOfMessages", visible.to_string()),
        ("ApproximateNumberOfMessagesNotVisible", in_flight.to_string()),
    ];
    if queue.is_fifo {
        attributes.push(("FifoQueue", true.to_string()));
    }
    ok(&json!({"Attributes": named(attributes, names)}))
}

/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html>
async fn send(queue: &Queue, request: &Request) -> Outcome {
    let body = checks::body(request.message_body.as_deref())?;
    let mut answer = json!({"MD5OfMessageBody": md5_of(body)});
    if queue.is_fifo {
        let (group, deduplication_id) = group(request)?;
        let accepted = queue.send_in_group(body, group, deduplication_id);
        answer["SequenceNumber"] = accepted.place(group, deduplication_id).sequence_number().into();
        answer["MessageId"] = accepted.id.into();
    } else {
        if request.message_group_id.is_some() || request.message_deduplication_id.is_some() {
            return Err(invalid(
                "a group or a deduplication id of a standard queue is not implemented by the local stack",
            ));
        }
        let delay = checks::delay(request.delay_seconds)?;
        answer["MessageId"] = queue.send_delayed(body, delay).into();
    }
    queue.flush().await;
    ok(&answer)
}

/// What a FIFO queue needs of a message: its group and its deduplication id, and no delay of its own.
fn group(request: &Request) -> Result<(&str, &str), ApiError> {
    let group = request.message_group_id.as_deref().ok_or_else(|| checks::missing("MessageGroupId"))?;
    let deduplication_id = request.message_deduplication_id.as_deref().ok_or_else(|| {
        invalid("The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly")
    })?;
    for (name, id) in [("MessageGroupId", group), ("MessageDeduplicationId", deduplication_id)] {
        if !is_id(id) {
            return Err(invalid(format!(
                "{name} can only include alphanumeric and punctuation characters. 1 to 128 in length"
            )));
        }
    }
    match request.delay_seconds {
        Some(delay) => Err(invalid(format!(
            "Value {delay} for parameter DelaySeconds is invalid. Reason: The request include parameter that is not valid for this queue type."
        ))),
        None => Ok((group, deduplication_id)),
    }
}

/// A FIFO queue does not delete by a receipt whose visibility timeout has passed: the message may be with another reader.
///
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_DeleteMessage.html>
async fn delete(queue: &Queue, request: &Request) -> Outcome {
    let receipt = checks::receipt(queue, request.receipt_handle.as_deref())?;
    if !queue.delete(receipt) && queue.is_fifo {
        return Err(invalid(format!(
            "Value {receipt} for parameter ReceiptHandle is invalid. Reason: The receipt handle has expired."
        )));
    }
    queue.flush().await;
    ok(&json!({}))
}

/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ChangeMessageVisibility.html>
fn change_visibility(queue: &Queue, request: &Request) -> Outcome {
    let invisible = checks::visibility_timeout(request.visibility_timeout)?
        .ok_or_else(|| checks::missing("VisibilityTimeout"))?;
    let receipt = checks::receipt(queue, request.receipt_handle.as_deref())?;
    if queue.change_visibility(receipt, |_| invisible) {
        return ok(&json!({}));
    }
    Err(ApiError::new(
        "MessageNotInflight",
        "The message is not in flight, or no longer by this receipt handle.",
    ))
}

async fn receive(queue: &Queue, request: &Request) -> Outcome {
    let max = checks::number_of_messages(request.max_number_of_messages)?;
    let wait = checks::wait_time(request.wait_time_seconds)?;
    let invisible = checks::visibility_timeout(request.visibility_timeout)?.unwrap_or(queue.visibility());
    let names = [&request.attribute_names[..], &request.message_system_attribute_names].concat();
    checks::attribute_names(&names, &MESSAGE_ATTRIBUTES)?;
    let received = tokio::time::timeout(wait, queue.receive_for(max, invisible)).await;
    let received = received.unwrap_or_default();
    let messages: Vec<Value> = received.iter().map(|received| message_json(received, &names)).collect();
    // AWS leaves an empty list out, and its CLI prints nothing then.
    ok(&if messages.is_empty() { json!({}) } else { json!({ "Messages": messages }) })
}

/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ReceiveMessage.html>
fn message_json(received: &Received, names: &[String]) -> Value {
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
