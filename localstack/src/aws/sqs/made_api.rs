//! SQS's calls that make and delete queues. Those of the templates stay as they are declared.
//!
//! <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_CreateQueue.html>
//! <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_DeleteQueue.html>

use super::checks::{self, invalid};
use super::made::{Made, MadeQueues};
use super::queue::Queue;
use super::queues::Queues;
use crate::aws::protocol::{ApiError, Call, Outcome, ok};
use crate::aws::resource_policies;
use crate::template::names;
use crate::template::resources::Queue as Declared;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// For how long the name of a deleted queue cannot be used again.
const NAME_RESTS: Duration = Duration::from_secs(60);
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-queues.html>
const MAX_NAME: usize = 80;
const RETENTION_SECONDS: RangeInclusive<u32> = 60..=1_209_600;
const VISIBILITY_SECONDS: RangeInclusive<u32> = 0..=43_200;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct CreateQueue {
    queue_name: Option<String>,
    #[serde(default)]
    attributes: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct DeleteQueue {
    queue_url: Option<String>,
}

/// # Errors
/// As AWS's, by name; `UnsupportedOperation` for what the local stack does not implement.
pub fn create(queues: &Queues, endpoint: &str, call: &Call<'_>) -> Outcome {
    let CreateQueue { queue_name, attributes } = call.parse()?;
    let name = checks::required("QueueName", queue_name.as_deref())?;
    call.require("sqs:CreateQueue", &names::queue_arn(name))?;
    let is_legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if name.ends_with(".fifo") {
        return Err(unsupported("a FIFO queue that is made at run time"));
    }
    if name.len() > MAX_NAME || !name.chars().all(is_legal) {
        return Err(invalid(
            "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length",
        ));
    }
    let made = made(name, attributes, &queues.made)?;
    let url = json!({"QueueUrl": names::queue_url(endpoint, name)});
    if queues.is_declared(name) {
        return Err(unsupported("CreateQueue for a queue that a template declares"));
    }
    let mut state = queues.made.write();
    match state.queues.get(name) {
        Some(there) if there.attributes == made.attributes => return ok(&url),
        Some(_) => {
            let message =
                "A queue already exists with the same name and a different value for its attributes";
            return Err(ApiError::new("QueueNameExists", message));
        }
        None => {}
    }
    if state.deleted.get(name).is_some_and(|deleted| deleted.elapsed() < NAME_RESTS) {
        let message = "You must wait 60 seconds after deleting a queue before you can create another with the same name.";
        return Err(ApiError::new("QueueDeletedRecently", message));
    }
    state.queues.insert(name.to_owned(), made);
    ok(&url)
}

fn made(name: &str, attributes: BTreeMap<String, String>, queues: &MadeQueues) -> Result<Made, ApiError> {
    let mut declared = json!({"QueueName": name});
    let mut policy = None;
    for (attribute, value) in &attributes {
        match attribute.as_str() {
            "MessageRetentionPeriod" => declared[attribute] = number(attribute, value, &RETENTION_SECONDS)?,
            "VisibilityTimeout" => declared[attribute] = number(attribute, value, &VISIBILITY_SECONDS)?,
            "Policy" => policy = Some(read_policy(value)?),
            other => {
                let message =
                    format!("The attribute {other} is unknown, or not implemented by the local stack.");
                return Err(ApiError::new("InvalidAttributeName", message));
            }
        }
    }
    let journal = queues.journal.clone().ok_or_else(|| unsupported("CreateQueue without a journal"))?;
    let declared: Declared = serde_json::from_value(declared).map_err(|e| invalid(e.to_string()))?;
    Ok(Made { queue: Arc::new(Queue::new(&declared, journal)), attributes, policy })
}

fn number(name: &str, value: &str, range: &RangeInclusive<u32>) -> Result<Value, ApiError> {
    let number = value.parse::<u32>().ok().filter(|number| range.contains(number));
    let refused =
        || ApiError::new("InvalidAttributeValue", format!("Invalid value for the parameter {name}."));
    number.map(Value::from).ok_or_else(refused)
}

fn read_policy(text: &str) -> Result<Value, ApiError> {
    let policy = serde_json::from_str::<Value>(text).ok().filter(resource_policies::is_policy);
    let refused = || ApiError::new("InvalidAttributeValue", "Invalid value for the parameter Policy.");
    policy.ok_or_else(refused)
}

/// # Errors
/// `QueueDoesNotExist`; `UnsupportedOperation` for a queue of the templates.
pub fn delete(queues: &Queues, endpoint: &str, call: &Call<'_>) -> Outcome {
    let DeleteQueue { queue_url } = call.parse()?;
    let name = checks::queue_name(endpoint, checks::required("QueueUrl", queue_url.as_deref())?)?;
    call.require("sqs:DeleteQueue", &names::queue_arn(name))?;
    if queues.is_declared(name) {
        return Err(unsupported("DeleteQueue for a queue that a template declares"));
    }
    let mut state = queues.made.write();
    state.queues.remove(name).ok_or_else(checks::no_such_queue)?;
    state.deleted.retain(|_, deleted| deleted.elapsed() < NAME_RESTS);
    state.deleted.insert(name.to_owned(), Instant::now());
    ok(&json!({}))
}

fn unsupported(what: &str) -> ApiError {
    ApiError::new("UnsupportedOperation", format!("{what} is not implemented by the local stack"))
}
