//! Invoking a function by hand, as an operator does.

use crate::sdk::in_a_line;
use aws_config::{SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};
use aws_sdk_lambda::{Client, primitives::Blob};
use chassis::Failure;
use serde_json::Value;
use std::time::Duration;

/// Longer than any function takes.
const TIMEOUT: Duration = Duration::from_secs(60);

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
    let sent = Client::from_conf(once.build()).invoke().function_name(function).payload(payload).send().await;
    let answer = sent.map_err(|e| Failure::Transient(format!("{function}: {}", in_a_line(&e))))?;
    let text = answer.payload().map(|blob| String::from_utf8_lossy(blob.as_ref()).into_owned());
    let text = text.unwrap_or_default();
    if answer.function_error().is_some() {
        return Err(Failure::Poison(format!("{function}: {text}")));
    }
    serde_json::from_str(&text).map_err(|e| Failure::Poison(format!("{function}: {e}: {text}")))
}
