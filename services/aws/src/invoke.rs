//! Invoking a function by hand, as an operator does.

use crate::sdk::in_a_line;
use aws_config::{SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};
use aws_sdk_lambda::error::SdkError;
use aws_sdk_lambda::operation::invoke::InvokeError;
use aws_sdk_lambda::{Client, primitives::Blob};
use chassis::Failure;
use serde_json::Value;
use std::time::Duration;

/// Longer than any function takes.
const TIMEOUT: Duration = Duration::from_secs(60);

/// How often a throttled invocation is tried, and the pause between two tries.
const TRIES: u32 = 60;
const PAUSE: Duration = Duration::from_secs(1);

fn is_throttled(error: &SdkError<InvokeError>) -> bool {
    error.as_service_error().is_some_and(InvokeError::is_too_many_requests_exception)
}

/// Invokes a function and waits for its answer.
///
/// # Errors
/// [`Failure::Transient`] when Lambda does not answer, [`Failure::Poison`] with the function's own error.
pub async fn invoke(config: &SdkConfig, function: &str, payload: &Value) -> Result<Value, Failure> {
    let payload = Blob::new(payload.to_string());
    // Once: what runs longer than expected must not be started again beside itself.
    let once = aws_sdk_lambda::config::Builder::from(config)
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::builder().operation_attempt_timeout(TIMEOUT).build());
    let invoke = Client::from_conf(once.build()).invoke().function_name(function).payload(payload);
    let mut tries = 1;
    let answer = loop {
        match invoke.clone().send().await {
            Ok(answer) => break answer,
            // It has not run: the sweeper, which runs alone, is at work on its schedule.
            Err(error) if is_throttled(&error) && tries < TRIES => tries += 1,
            Err(error) => return Err(Failure::Transient(format!("{function}: {}", in_a_line(&error)))),
        }
        tokio::time::sleep(PAUSE).await;
    };
    let text = answer.payload().map(|blob| String::from_utf8_lossy(blob.as_ref()).into_owned());
    let text = text.unwrap_or_default();
    if answer.function_error().is_some() {
        return Err(Failure::Poison(format!("{function}: {text}")));
    }
    serde_json::from_str(&text).map_err(|e| Failure::Poison(format!("{function}: {e}: {text}")))
}
