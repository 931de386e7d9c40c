//! What SQS refuses before it touches a queue.

use super::queue::Queue;
use super::state::MAX_VISIBILITY;
use crate::aws::protocol::ApiError;
use crate::template::names;
use std::ops::RangeInclusive;
use std::time::Duration;

/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ReceiveMessage.html>
const MESSAGES: RangeInclusive<i64> = 1..=10;
const MAX_WAIT: Duration = Duration::from_secs(20);
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html>
const MAX_DELAY: Duration = Duration::from_secs(900);

/// The most bytes of a message.
pub const MAX_BODY_BYTES: usize = 1024 * 1024;

pub fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::new("InvalidParameterValue", message)
}

pub fn missing(name: &str) -> ApiError {
    ApiError::new("MissingParameter", format!("The request must contain the parameter {name}."))
}

/// # Errors
/// `MissingParameter`, for an empty one too.
pub fn required<'a>(name: &str, value: Option<&'a str>) -> Result<&'a str, ApiError> {
    value.filter(|value| !value.is_empty()).ok_or_else(|| missing(name))
}

/// The name of the queue that a URL of this endpoint names. AWS names no error for a URL of another one among a call's own,
/// but `InvalidAddress` is what it answers.
///
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-queue-message-identifiers.html>
///
/// # Errors
/// `InvalidAddress`; `QueueDoesNotExist` for another account's queue.
pub fn queue_name<'a>(endpoint: &str, url: &'a str) -> Result<&'a str, ApiError> {
    let by_name = endpoint.replace("//127.0.0.1:", "//localhost:");
    let path = url.strip_prefix(endpoint).or_else(|| url.strip_prefix(&by_name));
    let path = path.and_then(|path| path.strip_prefix('/')?.split_once('/'));
    match path {
        None => {
            Err(ApiError::new("InvalidAddress", format!("The address {url} is not valid for this endpoint.")))
        }
        Some((account, queue)) if account == names::ACCOUNT => Ok(queue),
        Some(_) => Err(no_such_queue()),
    }
}

pub fn no_such_queue() -> ApiError {
    ApiError::new("QueueDoesNotExist", "The specified queue does not exist.")
}

/// The characters of XML 1.0, as SQS counts them: since 2025 it refuses a message with another one.
///
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html>
///
/// # Errors
/// `MissingParameter`, `InvalidMessageContents` or `InvalidParameterValue`.
pub fn body(body: Option<&str>) -> Result<&str, ApiError> {
    let body = required("MessageBody", body)?;
    let allowed = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..);
    if let Some(other) = body.chars().find(|c| !allowed(*c)) {
        let code = u32::from(other);
        let message = format!("The message has the character #x{code:X}, which is not among those allowed.");
        return Err(ApiError::new("InvalidMessageContents", message));
    }
    if body.len() > MAX_BODY_BYTES {
        return Err(invalid(format!("The message has to have at most {MAX_BODY_BYTES} bytes.")));
    }
    Ok(body)
}

/// A receipt of this queue, of any age.
///
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_DeleteMessage.html>
///
/// # Errors
/// `MissingParameter` or `ReceiptHandleIsInvalid`.
pub fn receipt<'a>(queue: &Queue, receipt: Option<&'a str>) -> Result<&'a str, ApiError> {
    let receipt = required("ReceiptHandle", receipt)?;
    if queue.gave(receipt) {
        return Ok(receipt);
    }
    let message = format!("\"{receipt}\" is no receipt handle of this queue.");
    Err(ApiError::new("ReceiptHandleIsInvalid", message))
}

/// Checks the names of message attributes that a caller wants: no message here has any, because sending one is refused.
///
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ReceiveMessage.html>
///
/// # Errors
/// `InvalidParameterValue` for what is no name, and no beginning of one.
pub fn message_attribute_names(asked: &[String]) -> Result<(), ApiError> {
    let is_legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let is_name = |name: &str| (1..=256).contains(&name.len()) && name.chars().all(is_legal);
    let other = asked.iter().find(|name| !is_name(name.strip_suffix(".*").unwrap_or(name)));
    other.map_or(Ok(()), |other| {
        Err(invalid(format!("{other:?} in MessageAttributeNames is no name of one.")))
    })
}

/// # Errors
/// `InvalidAttributeName` for a name that is neither `All` nor among those that the local stack has.
pub fn attribute_names(asked: &[String], known: &[&str]) -> Result<(), ApiError> {
    match asked.iter().find(|name| *name != "All" && !known.contains(&name.as_str())) {
        None => Ok(()),
        Some(other) => {
            let message = format!("The attribute {other} is unknown, or not implemented by the local stack.");
            Err(ApiError::new("InvalidAttributeName", message))
        }
    }
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
