//! SQS's calls, in JSON 1.0.
//!
//! <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_Operations.html>

use super::queue::{Queue, Received, md5_of};
use super::queues::Queues;
use crate::aws::protocol::{ApiError, Call, Outcome, ok};
use crate::template::names;
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;

/// The fields of all operations together.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Request {
    queue_name: Option<String>,
    queue_url: Option<String>,
    message_body: Option<String>,
    max_number_of_messages: Option<usize>,
    /// Seconds.
    wait_time_seconds: Option<u64>,
    /// Seconds.
    visibility_timeout: Option<u64>,
    queue_name_prefix: Option<String>,
    receipt_handle: Option<String>,
}

/// Queue URLs begin with `endpoint`.
pub async fn answer(queues: &Queues, endpoint: &str, call: &Call<'_>) -> Outcome {
    let request: Request = call.parse()?;
    if call.operation == "ListQueues" {
        call.require("sqs:ListQueues", &names::queue_arn("*"))?;
        return list(queues, endpoint, &request.queue_name_prefix.unwrap_or_default());
    }
    let name = request.queue_name.as_deref().or(request.queue_url.as_deref()).unwrap_or_default();
    let queue = queues
        .get(names::last_part(name))
        .ok_or_else(|| ApiError::new("QueueDoesNotExist", "The specified queue does not exist."))?;
    call.require(&format!("sqs:{}", call.operation), &names::queue_arn(&queue.name))?;
    match call.operation {
        "GetQueueUrl" => ok(&json!({"QueueUrl": names::queue_url(endpoint, &queue.name)})),
        "GetQueueAttributes" => attributes(&queue),
        "SendMessage" => send(&queue, &request.message_body.unwrap_or_default()).await,
        "ReceiveMessage" => receive(&queue, &request).await,
        "ChangeMessageVisibility" => {
            let invisible = Duration::from_secs(request.visibility_timeout.unwrap_or_default());
            queue.change_visibility(&request.receipt_handle.unwrap_or_default(), |_| invisible);
            ok(&json!({}))
        }
        "DeleteMessage" => {
            queue.delete(&request.receipt_handle.unwrap_or_default());
            queue.flush().await;
            ok(&json!({}))
        }
        _ => Err(call.unknown()),
    }
}

fn list(queues: &Queues, endpoint: &str, prefix: &str) -> Outcome {
    let mut queues = queues.all();
    queues.retain(|queue| queue.name.starts_with(prefix));
    let urls: Vec<String> = queues.iter().map(|queue| names::queue_url(endpoint, &queue.name)).collect();
    ok(&json!({ "QueueUrls": urls }))
}

fn attributes(queue: &Queue) -> Outcome {
    let (visible, in_flight) = queue.depth();
    ok(&json!({"Attributes": {
        "QueueArn": names::queue_arn(&queue.name),
        "ApproximateNumberOfMessages": visible.to_string(),
        "ApproximateNumberOfMessagesNotVisible": in_flight.to_string(),
    }}))
}

async fn send(queue: &Queue, body: &str) -> Outcome {
    let id = queue.send(body);
    queue.flush().await;
    ok(&json!({"MessageId": id, "MD5OfMessageBody": md5_of(body)}))
}

async fn receive(queue: &Queue, request: &Request) -> Outcome {
    let max = request.max_number_of_messages.unwrap_or(1).clamp(1, 10);
    let wait = Duration::from_secs(request.wait_time_seconds.unwrap_or(0).min(20));
    let invisible = request.visibility_timeout.map_or(queue.visibility(), Duration::from_secs);
    let received = tokio::time::timeout(wait, queue.receive_for(max, invisible)).await;
    let messages: Vec<Value> = received.unwrap_or_default().iter().map(message_json).collect();
    ok(&json!({ "Messages": messages }))
}

fn message_json(received: &Received) -> Value {
    json!({
        "MessageId": received.message.id,
        "ReceiptHandle": received.receipt,
        "Body": &*received.message.body,
        "MD5OfBody": md5_of(&received.message.body),
        "Attributes": {
            "ApproximateReceiveCount": received.message.receives.to_string(),
            "SentTimestamp": received.message.sent_at.to_string(),
        },
    })
}
