//! SQS's calls: what queues offer to whoever speaks JSON 1.0.
//!
//! <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_Operations.html>

use crate::aws::endpoint::{Endpoint, Fault, Outcome, ok, parse, unknown};
use crate::aws::iam::Caller;
use crate::aws::lambda::md5_of;
use crate::aws::sqs::Received;
use crate::template::names::{self, ACCOUNT};
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;

impl Endpoint {
    pub(crate) async fn sqs(&self, caller: &Caller, operation: &str, body: &[u8]) -> Outcome {
        let request: SqsRequest = parse(body)?;
        if operation == "ListQueues" {
            self.allow(caller, "sqs:ListQueues", &names::arn("sqs", "*"))?;
            let prefix = request.queue_name_prefix.unwrap_or_default();
            let mut queues = self.queues.all();
            queues.retain(|queue| queue.name.starts_with(&prefix));
            let urls: Vec<String> = queues.iter().map(|queue| self.queue_url(&queue.name)).collect();
            return ok(&json!({ "QueueUrls": urls }));
        }
        let name = request.queue_name.as_deref().or(request.queue_url.as_deref()).unwrap_or_default();
        let queue = self
            .queues
            .get(names::last_part(name))
            .ok_or_else(|| Fault::new("QueueDoesNotExist", "The specified queue does not exist."))?;
        self.allow(caller, &format!("sqs:{operation}"), &names::arn("sqs", &queue.name))?;
        match operation {
            "GetQueueUrl" => ok(&json!({"QueueUrl": self.queue_url(&queue.name)})),
            "GetQueueAttributes" => {
                let (ready, in_flight) = queue.depth();
                ok(&json!({"Attributes": {
                    "QueueArn": names::arn("sqs", &queue.name),
                    "ApproximateNumberOfMessages": ready.to_string(),
                    "ApproximateNumberOfMessagesNotVisible": in_flight.to_string(),
                }}))
            }
            "SendMessage" => {
                let body = request.message_body.unwrap_or_default();
                let id = queue.send(&body);
                self.journal.flush().await;
                ok(&json!({"MessageId": id, "MD5OfMessageBody": md5_of(&body)}))
            }
            "ReceiveMessage" => {
                let most = request.max_number_of_messages.unwrap_or(1).clamp(1, 10);
                let wait = Duration::from_secs(request.wait_time_seconds.unwrap_or(0).min(20));
                let hidden = request.visibility_timeout.map_or(queue.visibility(), Duration::from_secs);
                let receive = queue.receive_hidden(most, hidden, &self.queues);
                let received = tokio::time::timeout(wait, receive).await;
                let messages: Vec<Value> = received.unwrap_or_default().iter().map(message_json).collect();
                ok(&json!({ "Messages": messages }))
            }
            "ChangeMessageVisibility" => {
                let hidden = Duration::from_secs(request.visibility_timeout.unwrap_or_default());
                queue.change_visibility(&request.receipt_handle.unwrap_or_default(), |_| hidden);
                ok(&json!({}))
            }
            "DeleteMessage" => {
                queue.delete(&request.receipt_handle.unwrap_or_default());
                self.journal.flush().await;
                ok(&json!({}))
            }
            _ => Err(unknown(operation)),
        }
    }

    fn queue_url(&self, name: &str) -> String {
        format!("{}/{ACCOUNT}/{name}", self.url)
    }
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

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SqsRequest {
    queue_name: Option<String>,
    queue_url: Option<String>,
    message_body: Option<String>,
    max_number_of_messages: Option<usize>,
    wait_time_seconds: Option<u64>,
    visibility_timeout: Option<u64>,
    queue_name_prefix: Option<String>,
    receipt_handle: Option<String>,
}
