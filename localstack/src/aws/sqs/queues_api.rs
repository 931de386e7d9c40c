//! SQS's calls about queues: lists, attributes, and deleting all messages.
//!
//! <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_GetQueueAttributes.html>
//! <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ListQueues.html>
//! <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_PurgeQueue.html>

use super::checks::{self, MAX_BODY_BYTES, invalid};
use super::queue::{Counts, Queue};
use super::service::Service;
use crate::aws::protocol::pages::{limit, page};
use crate::aws::protocol::{ApiError, Call, Outcome, ok, without_nulls};
use crate::template::names;
use serde::Deserialize;
use serde_json::{Value, json};
use std::ops::RangeInclusive;
use std::sync::Arc;

/// SQS's attributes of a queue. Those about keys of KMS, and which queues may use one for their dead letters, have no value here.
const ATTRIBUTES: [&str; 21] = [
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesDelayed",
    "ApproximateNumberOfMessagesNotVisible",
    "ContentBasedDeduplication",
    "CreatedTimestamp",
    "DeduplicationScope",
    "DelaySeconds",
    "FifoQueue",
    "FifoThroughputLimit",
    "KmsDataKeyReusePeriodSeconds",
    "KmsMasterKeyId",
    "LastModifiedTimestamp",
    "MaximumMessageSize",
    "MessageRetentionPeriod",
    "Policy",
    "QueueArn",
    "ReceiveMessageWaitTimeSeconds",
    "RedriveAllowPolicy",
    "RedrivePolicy",
    "SqsManagedSseEnabled",
    "VisibilityTimeout",
];
/// How many queues one answer has.
const LISTED: RangeInclusive<i64> = 1..=1000;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct ListQueues {
    queue_name_prefix: Option<String>,
    max_results: Option<i64>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct GetQueueUrl {
    queue_name: Option<String>,
    #[serde(rename = "QueueOwnerAWSAccountId")]
    owner: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct GetQueueAttributes {
    queue_url: Option<String>,
    #[serde(default)]
    attribute_names: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct ListSources {
    queue_url: Option<String>,
    max_results: Option<i64>,
    next_token: Option<String>,
}

/// Of the calls that name a queue, and nothing else.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Named {
    queue_url: Option<String>,
}

pub fn list(sqs: &Service, call: &Call<'_>) -> Outcome {
    let request: ListQueues = call.parse()?;
    call.require("sqs:ListQueues", &names::queue_arn("*"))?;
    let prefix = request.queue_name_prefix.unwrap_or_default();
    let mut queues = sqs.queues.all();
    queues.retain(|queue| queue.name.starts_with(&prefix));
    let (urls, next) = urls(sqs, queues, request.max_results, request.next_token.as_deref())?;
    // AWS leaves an empty list out.
    let urls = if urls.is_empty() { Value::Null } else { json!(urls) };
    ok(&without_nulls(json!({"QueueUrls": urls, "NextToken": next})))
}

fn urls(
    sqs: &Service,
    queues: Vec<Arc<Queue>>,
    max: Option<i64>,
    after: Option<&str>,
) -> Result<(Vec<String>, Option<String>), ApiError> {
    let limit = limit(("MaxResults", max), &LISTED, "InvalidParameterValue")?;
    let (queues, next) = page(queues, |queue| queue.name.clone(), after, limit);
    let urls = queues.iter().map(|queue| names::queue_url(&sqs.endpoint, &queue.name)).collect();
    // Without MaxResults an answer is the first thousand, and has no token.
    Ok((urls, next.filter(|_| max.is_some())))
}

pub fn url(sqs: &Service, call: &Call<'_>) -> Outcome {
    let request: GetQueueUrl = call.parse()?;
    let name = checks::required("QueueName", request.queue_name.as_deref())?;
    let owner = request.owner.as_deref();
    let queue = sqs.queues.get(name).filter(|_| owner.is_none_or(|owner| owner == names::ACCOUNT));
    let queue = queue.ok_or_else(checks::no_such_queue)?;
    call.require("sqs:GetQueueUrl", &names::queue_arn(&queue.name))?;
    ok(&json!({"QueueUrl": names::queue_url(&sqs.endpoint, &queue.name)}))
}

/// Those of the attributes that the caller names, or all of them.
pub fn named(attributes: Vec<(&'static str, String)>, names: &[String]) -> Value {
    let is_named = |attribute: &str| names.iter().any(|name| name == attribute || name == "All");
    let named = attributes.into_iter().filter(|(attribute, _)| is_named(attribute));
    Value::Object(named.map(|(attribute, value)| (attribute.to_owned(), value.into())).collect())
}

pub fn attributes(sqs: &Service, call: &Call<'_>) -> Outcome {
    let request: GetQueueAttributes = call.parse()?;
    let queue = sqs.queue(call, "GetQueueAttributes", request.queue_url.as_deref())?;
    checks::attribute_names(&request.attribute_names, &ATTRIBUTES)?;
    let mut attributes = of_every_queue(&queue);
    if let Some(policy) = policy(sqs, &queue) {
        attributes.push(("Policy", policy.to_string()));
    }
    if let Some(redrive) = queue.redrives() {
        let dead = names::queue_arn(&redrive.dead_letters.name);
        let policy = json!({"deadLetterTargetArn": dead, "maxReceiveCount": redrive.max_receives});
        attributes.push(("RedrivePolicy", policy.to_string()));
    }
    if queue.is_fifo {
        attributes.extend([
            ("FifoQueue", "true".to_owned()),
            ("ContentBasedDeduplication", "false".to_owned()),
            ("DeduplicationScope", "queue".to_owned()),
            ("FifoThroughputLimit", "perQueue".to_owned()),
        ]);
    }
    ok(&json!({"Attributes": named(attributes, &request.attribute_names)}))
}

fn of_every_queue(queue: &Queue) -> Vec<(&'static str, String)> {
    let Counts { visible, in_flight, delayed, .. } = queue.counts();
    let created = (queue.created_at / 1000).to_string();
    vec![
        ("QueueArn", names::queue_arn(&queue.name)),
        ("ApproximateNumberOfMessages", visible.to_string()),
        ("ApproximateNumberOfMessagesNotVisible", in_flight.to_string()),
        ("ApproximateNumberOfMessagesDelayed", delayed.to_string()),
        ("CreatedTimestamp", created.clone()),
        ("LastModifiedTimestamp", created),
        ("VisibilityTimeout", queue.visibility().as_secs().to_string()),
        ("MaximumMessageSize", MAX_BODY_BYTES.to_string()),
        ("MessageRetentionPeriod", queue.retention.as_secs().to_string()),
        ("DelaySeconds", "0".to_owned()),
        ("ReceiveMessageWaitTimeSeconds", "0".to_owned()),
        ("SqsManagedSseEnabled", "true".to_owned()),
    ]
}

/// The policy of a queue: the template's, or the one that it was made with.
fn policy(sqs: &Service, queue: &Queue) -> Option<Value> {
    let url = names::queue_url(&sqs.endpoint, &queue.name);
    let declared = sqs.policies.iter().find(|policy| policy.queues.contains(&url));
    let declared = declared.map(|policy| policy.policy_document.clone());
    declared.or_else(|| sqs.queues.made.read().queues.get(&queue.name)?.policy.clone())
}

/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ListDeadLetterSourceQueues.html>
pub fn list_sources(sqs: &Service, call: &Call<'_>) -> Outcome {
    let request: ListSources = call.parse()?;
    let queue = sqs.queue(call, "ListDeadLetterSourceQueues", request.queue_url.as_deref())?;
    let (urls, next) = urls(sqs, sources(sqs, &queue), request.max_results, request.next_token.as_deref())?;
    ok(&without_nulls(json!({"queueUrls": urls, "NextToken": next})))
}

/// The queues whose dead letters go to this one.
pub fn sources(sqs: &Service, dead: &Queue) -> Vec<Arc<Queue>> {
    let mut queues = sqs.queues.all();
    queues.retain(|queue| queue.redrives().is_some_and(|redrive| redrive.dead_letters.name == dead.name));
    queues
}

/// No queue here has a tag: templates with tags are refused.
pub fn tags(sqs: &Service, call: &Call<'_>) -> Outcome {
    let request: Named = call.parse()?;
    sqs.queue(call, "ListQueueTags", request.queue_url.as_deref())?;
    ok(&json!({}))
}

/// AWS deletes within a minute, and refuses a second purge meanwhile; here it is done at once, and refused all the same.
pub async fn purge(sqs: &Service, call: &Call<'_>) -> Outcome {
    let request: Named = call.parse()?;
    let queue = sqs.queue(call, "PurgeQueue", request.queue_url.as_deref())?;
    if !sqs.moves.may_purge(&queue.name) {
        let message = format!("Only one PurgeQueue operation on {} is allowed every 60 seconds.", queue.name);
        return Err(ApiError { status: 403, ..ApiError::new("PurgeQueueInProgress", message) });
    }
    let all = Arc::clone(&queue);
    // It reads and deletes on disk, as many as there are.
    let purged = tokio::task::spawn_blocking(move || all.purge()).await;
    purged.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
    queue.flush().await;
    ok(&json!({}))
}

/// # Errors
/// `InvalidParameterValue` for a queue that is nothing's dead-letter queue.
pub fn is_dead_letter_queue(sqs: &Service, queue: &Queue) -> Result<Vec<Arc<Queue>>, ApiError> {
    let sources = sources(sqs, queue);
    if sources.is_empty() {
        return Err(invalid("Source queue must be configured as a Dead Letter Queue."));
    }
    Ok(sources)
}
