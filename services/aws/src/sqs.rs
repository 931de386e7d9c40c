//! Queues, as an operator uses them: receive, release, send, delete.

use crate::sdk::in_a_line;
use aws_config::SdkConfig;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sqs::operation::change_message_visibility::ChangeMessageVisibilityError;
use aws_sdk_sqs::types::{Message, MessageSystemAttributeName, QueueAttributeName};
use chassis::Failure;
use chrono::{DateTime, Utc};
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Debug;

/// For how many seconds SQS hides a message from others after a receive.
const VISIBILITY_SECONDS: i32 = 300;
/// How many empty answers in a row make a queue count as empty.
const EMPTY: u32 = 2;

/// The queues of an account.
pub struct Queues(Client);

/// A message as received.
#[derive(Clone, Debug)]
pub struct Received {
    /// Its id.
    pub id: String,
    /// What deletes or releases it, within [`VISIBILITY_SECONDS`] seconds.
    pub receipt: String,
    /// Its body.
    pub body: String,
    /// When it was sent first.
    pub sent_at: Option<DateTime<Utc>>,
    /// Why EventBridge could not deliver it, if EventBridge dead-lettered it.
    pub error: Option<String>,
    /// Its group in a FIFO queue.
    pub group: Option<String>,
}

#[allow(clippy::needless_pass_by_value, reason = "handed to map_err")]
fn lost<E, R>(error: SdkError<E, R>) -> Failure
where
    E: ProvideErrorMetadata + Error + 'static,
    R: Debug,
{
    Failure::Transient(format!("queues: {}", in_a_line(&error)))
}

impl From<Message> for Received {
    fn from(message: Message) -> Self {
        let attribute = |name| message.attributes()?.get(&name).cloned();
        let sent = attribute(MessageSystemAttributeName::SentTimestamp);
        let sent_at = sent.and_then(|text| text.parse().ok()).and_then(DateTime::from_timestamp_millis);
        let group = attribute(MessageSystemAttributeName::MessageGroupId);
        let said = |name: &str| message.message_attributes()?.get(name)?.string_value().map(str::to_owned);
        let error = said("ERROR_CODE").map(|code| match said("ERROR_MESSAGE") {
            Some(text) => format!("{code}: {text}"),
            None => code,
        });
        Self {
            sent_at,
            error,
            group,
            id: message.message_id.unwrap_or_default(),
            receipt: message.receipt_handle.unwrap_or_default(),
            body: message.body.unwrap_or_default(),
        }
    }
}

impl Queues {
    /// The queues that these credentials see.
    #[must_use]
    pub fn new(config: &SdkConfig) -> Self {
        Self(Client::new(config))
    }

    /// URLs of the queues whose name begins with `prefix`, by name.
    ///
    /// # Errors
    /// [`Failure::Transient`] when SQS does not answer.
    pub async fn list(&self, prefix: &str) -> Result<BTreeMap<String, String>, Failure> {
        let mut pages =
            self.0.list_queues().queue_name_prefix(prefix).max_results(1000).into_paginator().send();
        let mut queues = BTreeMap::new();
        while let Some(page) = pages.next().await {
            for url in page.map_err(lost)?.queue_urls() {
                let name = url.rsplit('/').next().unwrap_or(url);
                queues.insert(name.to_owned(), url.clone());
            }
        }
        Ok(queues)
    }

    /// Receives some messages of a queue, and hides them for [`VISIBILITY_SECONDS`] seconds; the caller releases or deletes
    /// them. Returns no messages when none is visible.
    ///
    /// # Errors
    /// As [`Queues::list`].
    pub async fn receive(&self, url: &str) -> Result<Vec<Received>, Failure> {
        // SQS may answer once that a queue with few messages has none.
        for _ in 0..EMPTY {
            let receive = self.0.receive_message().queue_url(url).max_number_of_messages(10);
            let receive = receive
                .visibility_timeout(VISIBILITY_SECONDS)
                .wait_time_seconds(1)
                .message_attribute_names("All");
            let receive = receive.message_system_attribute_names(MessageSystemAttributeName::All);
            let messages = receive.send().await.map_err(lost)?.messages.unwrap_or_default();
            if !messages.is_empty() {
                return Ok(messages.into_iter().map(Received::from).collect());
            }
        }
        Ok(Vec::new())
    }

    /// Releases a message. One whose time was up is visible again already, and that is fine.
    ///
    /// # Errors
    /// As [`Queues::list`].
    pub async fn release(&self, url: &str, message: &Received) -> Result<(), Failure> {
        let change = self.0.change_message_visibility().queue_url(url).receipt_handle(&message.receipt);
        match change.visibility_timeout(0).send().await {
            Ok(_) => Ok(()),
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(ChangeMessageVisibilityError::is_message_not_inflight) =>
            {
                Ok(())
            }
            Err(error) => Err(lost(error)),
        }
    }

    /// About how many messages are visible, and how many are hidden: received, and neither deleted nor released.
    ///
    /// # Errors
    /// As [`Queues::list`].
    pub async fn depth(&self, url: &str) -> Result<(usize, usize), Failure> {
        let visible = QueueAttributeName::ApproximateNumberOfMessages;
        let hidden = QueueAttributeName::ApproximateNumberOfMessagesNotVisible;
        let asked = self.0.get_queue_attributes().queue_url(url);
        let asked = asked.attribute_names(visible.clone()).attribute_names(hidden.clone());
        let answer = asked.send().await.map_err(lost)?;
        let count = |name| answer.attributes().and_then(|all| all.get(&name)?.parse().ok()).unwrap_or(0);
        Ok((count(visible), count(hidden)))
    }

    /// Sends a message's body once more, into its group if it has one. Its own id deduplicates then: a FIFO queue may still
    /// remember the id under which the message came first, and would drop it.
    ///
    /// # Errors
    /// As [`Queues::list`].
    pub async fn send_again(&self, url: &str, message: &Received) -> Result<(), Failure> {
        let mut send = self.0.send_message().queue_url(url).message_body(&message.body);
        if let Some(group) = &message.group {
            send = send.message_group_id(group).message_deduplication_id(&message.id);
        }
        send.send().await.map(drop).map_err(lost)
    }

    /// Deletes a message.
    ///
    /// # Errors
    /// As [`Queues::list`].
    pub async fn delete(&self, url: &str, message: &Received) -> Result<(), Failure> {
        let delete = self.0.delete_message().queue_url(url).receipt_handle(&message.receipt);
        delete.send().await.map(drop).map_err(lost)
    }
}
