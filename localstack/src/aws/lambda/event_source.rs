//! Event source mappings: a poller feeds a function from its queue.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html>

use super::function::{Function, InvokeError};
use super::functions::Functions;
use crate::aws::sqs::{Queue, Queues, Received, md5_of};
use crate::template::names::{self, REGION};
use crate::template::resources::EventSourceMapping;
use anyhow::Result;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// The most batches of one queue that are in flight at a time.
const MAX_BATCHES: usize = 8;
/// Lambda's default.
const BATCH_SIZE: u32 = 10;

/// Feeds a function from its queue, batch by batch; a failed message stays invisible until its timeout has passed.
pub struct Poller {
    pub queue: Arc<Queue>,
    pub function: Arc<Function>,
    /// The most messages of one invocation.
    pub batch_size: usize,
    /// Whether the function reports which messages failed.
    pub reports_failures: bool,
    /// Divides the rest of the visibility timeout of a message that failed.
    pub time_scale: u32,
}

impl Poller {
    /// The poller of a declared mapping.
    ///
    /// # Errors
    /// When no template declares the queue or the function.
    pub fn new(
        declared: &EventSourceMapping,
        queues: &Queues,
        functions: &Functions,
        time_scale: u32,
    ) -> Result<Self> {
        Ok(Self {
            queue: queues.by_arn(&declared.event_source_arn)?,
            function: functions.get(&declared.function_name)?,
            batch_size: usize::try_from(declared.batch_size.unwrap_or(BATCH_SIZE))?,
            reports_failures: declared
                .function_response_types
                .as_ref()
                .is_some_and(|types| !types.is_empty()),
            time_scale,
        })
    }

    /// Polls for as long as the process lives.
    pub async fn run(self) {
        let poller = Arc::new(self);
        let slots = Arc::new(Semaphore::new(MAX_BATCHES));
        while let Ok(slot) = Arc::clone(&slots).acquire_owned().await {
            let received = poller.queue.receive(poller.batch_size).await;
            let poller = Arc::clone(&poller);
            tokio::spawn(async move {
                let arn = names::queue_arn(&poller.queue.name);
                let answer = poller.function.invoke(sqs_event(&received, &arn)).await;
                poller.settle(&received, answer);
                drop(slot);
            });
        }
    }

    fn settle(&self, received: &[Received], answer: Result<Bytes, InvokeError>) {
        let failed = match answer {
            Ok(answer) if self.reports_failures => failures(&answer, received),
            Ok(_) => HashSet::new(),
            Err(error) => {
                tracing::warn!("a batch from {} comes back later: {error}", self.queue.name);
                received.iter().map(|received| received.message.id.clone()).collect()
            }
        };
        for Received { message, receipt } in received {
            if failed.contains(&message.id) {
                self.queue.divide_visibility(receipt, self.time_scale);
            } else {
                self.queue.delete(receipt);
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Failure {
    item_identifier: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BatchResponse {
    #[serde(default)]
    batch_item_failures: Option<Vec<Failure>>,
}

/// The ids of the failed messages; as AWS: an answer that cannot be read, or names a message that was not in
/// the batch, fails the whole batch.
fn failures(answer: &[u8], received: &[Received]) -> HashSet<String> {
    let all = || received.iter().map(|received| received.message.id.clone()).collect::<HashSet<_>>();
    let Ok(response) = serde_json::from_slice::<BatchResponse>(answer) else { return all() };
    let failed = response.batch_item_failures.into_iter().flatten().map(|failure| failure.item_identifier);
    let failed: HashSet<String> = failed.collect();
    if failed.is_subset(&all()) { failed } else { all() }
}

fn sqs_event(received: &[Received], arn: &str) -> Bytes {
    let records: Vec<Value> = received
        .iter()
        .map(|Received { message, receipt }| {
            json!({
                "messageId": message.id,
                "receiptHandle": receipt,
                "body": &*message.body,
                "attributes": {
                    "ApproximateReceiveCount": message.receives.to_string(),
                    "SentTimestamp": message.sent_at.to_string(),
                    "SenderId": names::ACCOUNT,
                    "ApproximateFirstReceiveTimestamp": message.sent_at.to_string(),
                },
                "messageAttributes": {},
                "md5OfBody": md5_of(&message.body),
                "eventSource": "aws:sqs",
                "eventSourceARN": arn,
                "awsRegion": REGION,
            })
        })
        .collect();
    json!({ "Records": records }).to_string().into()
}
