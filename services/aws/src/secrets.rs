//! Secrets Manager: read when needed, never logged.

use crate::sdk::in_a_line;
use aws_config::SdkConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_secretsmanager::Client;
use chassis::Failure;
use std::time::Duration;

/// How long an attempt to read a secret may take. Three fit into the ten seconds that Lambda gives a function to start.
const ATTEMPT: Duration = Duration::from_secs(3);

/// A secret: its name or ARN, and where to read it.
pub struct Secret {
    client: Client,
    id: String,
}

impl Secret {
    /// The secret `id` (name or ARN).
    #[must_use]
    pub fn new(config: &SdkConfig, id: String) -> Self {
        let patient = TimeoutConfig::builder()
            .operation_attempt_timeout(ATTEMPT)
            .operation_timeout(3 * ATTEMPT)
            .build();
        let config = aws_sdk_secretsmanager::config::Builder::from(config).timeout_config(patient);
        Self { client: Client::from_conf(config.build()), id }
    }
}

impl chassis::ports::Secret for Secret {
    /// [`Failure::Transient`] when Secrets Manager did not give it, [`Failure::Poison`] when it holds no text.
    async fn read(&self) -> Result<String, Failure> {
        let answer = self.client.get_secret_value().secret_id(&self.id).send().await;
        let answer =
            answer.map_err(|e| Failure::Transient(format!("secret {}: {}", self.id, in_a_line(&e))))?;
        answer.secret_string.ok_or_else(|| Failure::Poison(format!("secret {} holds no text", self.id)))
    }
}
