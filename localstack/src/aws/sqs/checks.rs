//! What SQS refuses before it touches a queue.

use super::queue::MAX_VISIBILITY;
use crate::aws::protocol::ApiError;
use std::ops::RangeInclusive;
use std::time::Duration;

/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ReceiveMessage.html>
const MESSAGES: RangeInclusive<i64> = 1..=10;
const MAX_WAIT: Duration = Duration::from_secs(20);
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html>
const MAX_DELAY: Duration = Duration::from_secs(900);

pub fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::new("InvalidParameterValue", message)
}

fn out_of_range(name: &str, value: i64, min: i64, max: impl std::fmt::Display) -> ApiError {
    invalid(format!(
        "Value {value} for parameter {name} is invalid. Reason: it has to be from {min} to {max}."
    ))
}

/// # Errors
/// `InvalidParameterValue`, as of the other functions here for a number out of its range.
fn seconds(name: &str, value: Option<i64>, max: Duration) -> Result<Option<Duration>, ApiError> {
    let in_range = |value: i64| u64::try_from(value).ok().map(Duration::from_secs).filter(|it| *it <= max);
    let read = |value| in_range(value).ok_or_else(|| out_of_range(name, value, 0, max.as_secs()));
    value.map(read).transpose()
}

pub fn visibility_timeout(value: Option<i64>) -> Result<Option<Duration>, ApiError> {
    seconds("VisibilityTimeout", value, MAX_VISIBILITY)
}

pub fn wait_time(value: Option<i64>) -> Result<Duration, ApiError> {
    Ok(seconds("WaitTimeSeconds", value, MAX_WAIT)?.unwrap_or_default())
}

pub fn delay(value: Option<i64>) -> Result<Duration, ApiError> {
    Ok(seconds("DelaySeconds", value, MAX_DELAY)?.unwrap_or_default())
}

pub fn number_of_messages(value: Option<i64>) -> Result<usize, ApiError> {
    let value = value.unwrap_or(*MESSAGES.start());
    let number = usize::try_from(value).ok().filter(|_| MESSAGES.contains(&value));
    number.ok_or_else(|| out_of_range("MaxNumberOfMessages", value, *MESSAGES.start(), MESSAGES.end()))
}
