//! SQS's calls about moving messages out of a dead-letter queue.
//!
//! <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_StartMessageMoveTask.html>
//! <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ListMessageMoveTasks.html>

use super::checks::{self, invalid};
use super::moves::{Status, Task};
use super::queue::Queue;
use super::queues_api::is_dead_letter_queue;
use super::service::Service;
use crate::aws::protocol::pages::limit;
use crate::aws::protocol::{ApiError, Call, Outcome, ok, without_nulls};
use crate::template::names;
use serde::Deserialize;
use serde_json::{Value, json};
use std::ops::RangeInclusive;
use std::sync::Arc;

const PER_SECOND: RangeInclusive<u32> = 1..=500;
/// How many tasks one answer has.
const LISTED: RangeInclusive<i64> = 1..=10;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Start {
    source_arn: Option<String>,
    destination_arn: Option<String>,
    max_number_of_messages_per_second: Option<u32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct List {
    source_arn: Option<String>,
    max_results: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Cancel {
    task_handle: Option<String>,
}

pub fn start(sqs: &Service, call: &Call<'_>) -> Outcome {
    let request: Start = call.parse()?;
    let arn = checks::required("SourceArn", request.source_arn.as_deref())?;
    let source = sqs.by_arn(call, "StartMessageMoveTask", arn)?;
    let sources = is_dead_letter_queue(sqs, &source)?;
    let to = destination(sqs, call, request.destination_arn.as_deref(), &sources)?;
    if to.is_fifo != source.is_fifo {
        return Err(invalid("Source and destination are both FIFO queues, or neither is."));
    }
    let per_second = request.max_number_of_messages_per_second;
    if per_second.is_some_and(|number| !PER_SECOND.contains(&number)) {
        return Err(invalid("MaxNumberOfMessagesPerSecond has to be from 1 to 500."));
    }
    let started = sqs.moves.start((arn, source), request.destination_arn, to, per_second);
    let handle = started
        .ok_or_else(|| unsupported("There is already a task running. Only one active task is allowed."))?;
    ok(&json!({"TaskHandle": handle}))
}

/// Where the messages go. A message here does not remember which queue it came from: without a destination there has to be one
/// queue alone whose dead letters these are.
fn destination(
    sqs: &Service,
    call: &Call<'_>,
    arn: Option<&str>,
    sources: &[Arc<Queue>],
) -> Result<Arc<Queue>, ApiError> {
    let queue = match (arn, sources) {
        (Some(arn), _) => return sqs.by_arn(call, "SendMessage", arn),
        (None, [source]) => source,
        (None, _) => {
            let text = "StartMessageMoveTask without DestinationArn, where dead letters come from several queues, is not implemented by the local stack";
            return Err(unsupported(text));
        }
    };
    call.require("sqs:SendMessage", &names::queue_arn(&queue.name))?;
    Ok(Arc::clone(queue))
}

fn unsupported(text: &str) -> ApiError {
    ApiError::new("UnsupportedOperation", text)
}

pub fn list(sqs: &Service, call: &Call<'_>) -> Outcome {
    let request: List = call.parse()?;
    let arn = checks::required("SourceArn", request.source_arn.as_deref())?;
    let source = sqs.by_arn(call, "ListMessageMoveTasks", arn)?;
    is_dead_letter_queue(sqs, &source)?;
    // AWS shows the newest one unless more are wanted.
    let asked = Some(request.max_results.unwrap_or(1));
    let limit = limit(("MaxResults", asked), &LISTED, "InvalidParameterValue")?;
    let tasks: Vec<Value> = sqs.moves.of(arn).iter().take(limit).map(shown).collect();
    ok(&json!({"Results": tasks}))
}

fn shown(task: &Task) -> Value {
    // A task is cancelled by its handle, and only while it runs.
    let handle = (task.status == Status::Running).then_some(&task.handle);
    without_nulls(json!({
        "TaskHandle": handle,
        "Status": task.status,
        "SourceArn": task.source,
        "DestinationArn": task.destination,
        "MaxNumberOfMessagesPerSecond": task.per_second,
        "ApproximateNumberOfMessagesMoved": task.moved,
        "ApproximateNumberOfMessagesToMove": task.to_move,
        "StartedTimestamp": task.started_at,
    }))
}

/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_CancelMessageMoveTask.html>
pub fn cancel(sqs: &Service, call: &Call<'_>) -> Outcome {
    let request: Cancel = call.parse()?;
    let handle = checks::required("TaskHandle", request.task_handle.as_deref())?;
    call.require("sqs:CancelMessageMoveTask", &names::queue_arn("*"))?;
    match sqs.moves.cancel(handle) {
        Some(Ok(moved)) => ok(&json!({"ApproximateNumberOfMessagesMoved": moved})),
        Some(Err(_)) => Err(unsupported("Only active tasks can be cancelled.")),
        None => Err(ApiError::new("ResourceNotFoundException", "Task does not exist.")),
    }
}
