//! The topic port over SNS.

use crate::sdk::in_a_line;
use aws_config::SdkConfig;
use aws_sdk_sns::Client;
use chassis::Failure;
use chassis::ports::Topic;

/// A FIFO topic: <https://docs.aws.amazon.com/sns/latest/dg/fifo-message-dedup.html>
pub struct SnsTopic {
    client: Client,
    arn: String,
}

impl SnsTopic {
    /// The topic at `arn`.
    #[must_use]
    pub fn new(config: &SdkConfig, arn: String) -> Self {
        Self { client: Client::new(config), arn }
    }
}

impl Topic for SnsTopic {
    async fn publish(&self, group: &str, id: &str, body: String) -> Result<(), Failure> {
        let publish = self.client.publish().topic_arn(&self.arn).message(body);
        let published = publish.message_group_id(group).message_deduplication_id(id).send().await;
        published.map(drop).map_err(|e| Failure::Transient(format!("topic: {}", in_a_line(&e))))
    }
}
