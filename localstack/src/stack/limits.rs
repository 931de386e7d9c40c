//! Checks at the start: numbers and values that AWS bounds. On AWS a deployment with another one fails.

use crate::template::names;
use crate::template::resources::{Model, RetryPolicy};
use anyhow::{Context, Result, ensure};
use std::fmt::{Debug, Display};
use std::ops::RangeInclusive;

/// <https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_RetryPolicy.html>
const RETRIES: RangeInclusive<u32> = 0..=185;
const EVENT_AGE: RangeInclusive<u32> = 60..=86_400;
/// Of a stream; -1 is as often, or as long, as the stream has the record.
///
/// <https://docs.aws.amazon.com/eventbridge/latest/pipes-reference/API_PipeSourceDynamoDBStreamParameters.html>
/// <https://docs.aws.amazon.com/lambda/latest/api/API_CreateEventSourceMapping.html>
const STREAM_RETRIES: RangeInclusive<i32> = -1..=10_000;
const STREAM_AGE: RangeInclusive<i32> = 60..=604_800;
const STREAM_BATCH: RangeInclusive<u32> = 1..=10_000;
/// Of a queue, without a batching window.
const QUEUE_BATCH: RangeInclusive<u32> = 1..=10;
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SetQueueAttributes.html>
const VISIBILITY: RangeInclusive<u32> = 0..=43_200;
const RETENTION: RangeInclusive<u32> = 60..=1_209_600;
const RECEIVES: RangeInclusive<u32> = 1..=1000;
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
const MEMORY_MIB: RangeInclusive<u32> = 128..=10_240;
const TIMEOUT: RangeInclusive<u32> = 1..=900;
/// <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutRetentionPolicy.html>
const LOG_DAYS: [u32; 23] = [
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653,
    0,
];

/// Checks what the templates declare.
///
/// # Errors
/// The first value that AWS would refuse.
pub fn check(model: &Model) -> Result<()> {
    for queue in &model.queues {
        let receives = queue.redrive_policy.as_ref().map(|policy| policy.max_receive_count);
        let checked = within("VisibilityTimeout", queue.visibility_timeout, &VISIBILITY)
            .and(within("MessageRetentionPeriod", queue.message_retention_period, &RETENTION))
            .and(within("maxReceiveCount", receives, &RECEIVES));
        checked.with_context(|| format!("queue {}", queue.queue_name))?;
    }
    for function in &model.functions {
        let checked = within("MemorySize", function.memory_size, &MEMORY_MIB).and(within(
            "Timeout",
            function.timeout,
            &TIMEOUT,
        ));
        checked.with_context(|| format!("function {}", function.function_name))?;
    }
    check_readers(model)?;
    check_retries(model)?;
    check_rest(model)
}

fn within<T: PartialOrd + Display + Debug>(
    name: &str,
    value: Option<T>,
    range: &RangeInclusive<T>,
) -> Result<()> {
    match value.filter(|value| !range.contains(value)) {
        Some(value) => Err(anyhow::anyhow!("{name} is {value}, and has to be in {range:?}")),
        None => Ok(()),
    }
}

/// What reads streams and queues.
fn check_readers(model: &Model) -> Result<()> {
    let age =
        |age: Option<i32>| within("MaximumRecordAgeInSeconds", age.filter(|age| *age != -1), &STREAM_AGE);
    for pipe in &model.pipes {
        let stream = &pipe.source_parameters.stream;
        let checked = within("BatchSize", stream.batch_size, &STREAM_BATCH)
            .and(within("MaximumRetryAttempts", stream.maximum_retry_attempts, &STREAM_RETRIES))
            .and(age(stream.maximum_record_age_in_seconds));
        checked.with_context(|| format!("pipe {}", pipe.name))?;
        // What it would log there is in the stack's own log.
        if let Some(logs) = &pipe.log_configuration {
            let arn = &logs.cloudwatch_logs_log_destination.log_group_arn;
            let is_meant = |group: &str| {
                arn.trim_end_matches(":*") == names::log_group_arn(group).trim_end_matches(":*")
            };
            let is_declared = model.log_groups.iter().any(|group| is_meant(&group.log_group_name));
            ensure!(is_declared, "pipe {}: no template declares the log group {arn}", pipe.name);
        }
    }
    for mapping in &model.stream_mappings {
        let checked = within("BatchSize", mapping.batch_size, &STREAM_BATCH)
            .and(within("MaximumRetryAttempts", mapping.maximum_retry_attempts, &STREAM_RETRIES))
            .and(age(mapping.maximum_record_age_in_seconds));
        checked.with_context(|| format!("the mapping of {}", mapping.function_name))?;
    }
    for mapping in &model.mappings {
        let checked = within("BatchSize", mapping.batch_size, &QUEUE_BATCH);
        checked.with_context(|| format!("the mapping of {}", mapping.event_source_arn))?;
    }
    Ok(())
}

/// A rule or a schedule repeats what it cannot deliver. Within this process a queue accepts every message, a state machine every
/// execution and Lambda every event, so that nothing is ever repeated: the numbers are checked, and change nothing.
fn check_retries(model: &Model) -> Result<()> {
    let check = |policy: &Option<RetryPolicy>| {
        let Some(policy) = policy else { return Ok(()) };
        within("MaximumRetryAttempts", policy.maximum_retry_attempts, &RETRIES).and(within(
            "MaximumEventAgeInSeconds",
            policy.maximum_event_age_in_seconds,
            &EVENT_AGE,
        ))
    };
    for rule in &model.rules {
        let mut targets = rule.targets.iter();
        let checked = targets.try_for_each(|target| check(&target.retry_policy));
        checked.with_context(|| format!("rule {}", rule.name))?;
    }
    for schedule in &model.schedules {
        check(&schedule.target.retry_policy).with_context(|| format!("schedule {}", schedule.name))?;
    }
    Ok(())
}

fn check_rest(model: &Model) -> Result<()> {
    for group in &model.log_groups {
        let days = group.retention_in_days.unwrap_or(0);
        let is_allowed = LOG_DAYS.contains(&days);
        ensure!(is_allowed, "log group {}: RetentionInDays is none of {LOG_DAYS:?}", group.log_group_name);
    }
    for permission in &model.permissions {
        let account = permission.source_account.as_deref();
        ensure!(
            account.is_none_or(|account| account == names::ACCOUNT),
            "the permission on {}: SourceAccount is another account",
            permission.function_name
        );
    }
    for stage in &model.api_stages {
        ensure!(
            stage.auto_deploy == Some(true),
            "the stage of {}: without AutoDeploy: true it serves nothing before a deployment, which the local stack has not",
            stage.api_id
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn refused(change: impl Fn(&mut Model)) -> String {
        let mut model = Model::default();
        change(&mut model);
        check(&model).map_err(|error| format!("{error:#}")).unwrap_err()
    }

    fn of<T: serde::de::DeserializeOwned>(value: Value) -> Vec<T> {
        vec![serde_json::from_value(value).unwrap()]
    }

    /// Guards: a number out of AWS's bounds stops the start with its resource and its name.
    #[test]
    fn a_number_out_of_its_bounds_is_refused() {
        let mapping = |field: &str, value: i32| json!({"EventSourceArn": "s", "FunctionName": "f", "StartingPosition": "TRIM_HORIZON", field: value});
        for (field, value) in [
            ("MaximumRetryAttempts", -2),
            ("MaximumRetryAttempts", 10_001),
            ("MaximumRecordAgeInSeconds", 59),
            ("MaximumRecordAgeInSeconds", 604_801),
            ("BatchSize", 10_001),
        ] {
            let text = refused(|model| model.stream_mappings = of(mapping(field, value)));
            assert!(text.contains("mapping of f") && text.contains(field), "{text}");
        }
        for (field, value) in [("MaximumRetryAttempts", 186), ("MaximumEventAgeInSeconds", 59)] {
            let target = json!({"Id": "t", "Arn": "a", "RetryPolicy": {field: value}});
            let rule = json!({"Name": "r", "EventBusName": "b", "EventPattern": {}, "Targets": [target]});
            let text = refused(|model| model.rules = of(rule.clone()));
            assert!(text.contains("rule r") && text.contains(field), "{text}");
        }
        let queue = json!({"QueueName": "q", "MessageRetentionPeriod": 59});
        assert!(refused(|model| model.queues = of(queue.clone())).contains("MessageRetentionPeriod"));
        let group = json!({"LogGroupName": "g", "RetentionInDays": 2});
        assert!(refused(|model| model.log_groups = of(group.clone())).contains("RetentionInDays"));
        let stage = json!({"ApiId": "a", "StageName": "$default"});
        assert!(refused(|model| model.api_stages = of(stage.clone())).contains("AutoDeploy"));
        assert!(check(&Model::default()).is_ok());
    }
}
