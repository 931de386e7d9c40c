//! Event source mappings: a poller feeds a function from its queue.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html>

use super::function::{Function, InvokeError};
use super::functions::Functions;
use crate::aws::sqs::{Queue, Queues, Received, md5_of};
use crate::support::meter::Unit;
use crate::template::names::{self, REGION};
use crate::template::resources::EventSourceMapping;
use anyhow::{Result, ensure};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// How many batches of a queue are in flight at first, and how many more are every second in which all were.
/// <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html>
const FIRST_BATCHES: usize = 5;
const MORE_BATCHES: usize = 5;
/// The most of a mapping that has no `MaximumConcurrency`.
const MOST_BATCHES: u32 = 1250;
/// What `MaximumConcurrency` may be.
const CONCURRENCY: RangeInclusive<u32> = 2..=1000;
/// The pauses between two tries of a batch whose function is throttled: the first, and the longest.
const PAUSE: Duration = Duration::from_millis(100);
const MAX_PAUSE: Duration = Duration::from_secs(5);
const SECOND: Duration = Duration::from_secs(1);
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
    /// The most batches in flight.
    pub most: usize,
    /// Divides the rest of the visibility timeout of a message that failed, and the pauses of a throttled batch.
    pub time_scale: u32,
}

impl Poller {
    /// The poller of a declared mapping.
    ///
    /// # Errors
    /// When no template declares the queue or the function, the function may run for longer than the queue hides a
    /// message, or `MaximumConcurrency` is out of AWS's bounds.
    pub fn new(
        declared: &EventSourceMapping,
        queues: &Queues,
        functions: &Functions,
        time_scale: u32,
    ) -> Result<Self> {
        let queue = queues.by_arn(&declared.event_source_arn)?;
        let function = functions.get(&declared.function_name)?;
        ensure!(
            function.timeout <= queue.visibility(),
            "{} may run for longer than {} hides a message",
            function.name,
            queue.name
        );
        let limit = declared.scaling_config.as_ref().map(|config| config.maximum_concurrency);
        ensure!(
            limit.is_none_or(|limit| CONCURRENCY.contains(&limit)),
            "the mapping of {}: MaximumConcurrency is {CONCURRENCY:?}",
            queue.name
        );
        Ok(Self {
            queue,
            function,
            most: usize::try_from(limit.unwrap_or(MOST_BATCHES))?,
            batch_size: usize::try_from(declared.batch_size.unwrap_or(BATCH_SIZE))?,
            reports_failures: declared
                .function_response_types
                .as_ref()
                .is_some_and(|types| !types.is_empty()),
            time_scale: time_scale.max(1),
        })
    }

    /// Polls for as long as the process lives.
    pub async fn run(self) {
        let poller = Arc::new(self);
        let mut batches = FIRST_BATCHES.min(poller.most);
        let slots = Arc::new(Semaphore::new(batches));
        loop {
            let free = timeout(SECOND, Arc::clone(&slots).acquire_owned()).await;
            let Ok(Ok(slot)) = free else {
                let more = MORE_BATCHES.min(poller.most - batches);
                slots.add_permits(more);
                batches += more;
                continue;
            };
            let received = poller.queue.receive(poller.batch_size).await;
            poller.function.meter.count(Unit::QueueRequests, &poller.queue.name, 1);
            let poller = Arc::clone(&poller);
            tokio::spawn(async move {
                let answer = poller.invoke(&received).await;
                poller.settle(&received, answer);
                drop(slot);
            });
        }
    }

    /// Runs the function on a batch; while it is throttled, again and again until the messages are visible to others.
    /// Their receives count.
    async fn invoke(&self, received: &[Received]) -> Result<Bytes, InvokeError> {
        let event = sqs_event(received, &names::queue_arn(&self.queue.name));
        let (began, mut pause) = (Instant::now(), PAUSE);
        loop {
            match self.function.invoke(event.clone()).await {
                Err(InvokeError::Throttled(_))
                    if began.elapsed() + pause < self.queue.visibility() / self.time_scale =>
                {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(MAX_PAUSE);
                }
                answer => return answer,
            }
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
        if failed.len() < received.len() {
            self.function.meter.count(Unit::QueueRequests, &self.queue.name, 1);
        }
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
