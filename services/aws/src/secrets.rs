//! Secrets Manager: read once at start, never logged.

use crate::sdk::in_a_line;
use aws_config::SdkConfig;
use chassis::Failure;

/// The text of the secret `id` (name or ARN).
///
/// # Errors
/// [`Failure::Transient`] when Secrets Manager did not give it, [`Failure::Poison`] when it holds no text.
pub async fn secret(config: &SdkConfig, id: &str) -> Result<String, Failure> {
    let client = aws_sdk_secretsmanager::Client::new(config);
    let answer = client.get_secret_value().secret_id(id).send().await;
    let answer = answer.map_err(|e| Failure::Transient(format!("secret {id}: {}", in_a_line(&e))))?;
    answer.secret_string.ok_or_else(|| Failure::Poison(format!("secret {id} holds no text")))
}
