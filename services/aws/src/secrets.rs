//! Secrets Manager: read when needed, never logged.

use crate::sdk::in_a_line;
use aws_config::SdkConfig;
use aws_sdk_secretsmanager::Client;
use chassis::Failure;

/// A secret: its name or ARN, and where to read it.
pub struct Secret {
    client: Client,
    id: String,
}

impl Secret {
    /// The secret `id` (name or ARN).
    #[must_use]
    pub fn new(config: &SdkConfig, id: String) -> Self {
        Self { client: Client::new(config), id }
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
