//! FIFO topics. They keep what was published, for people and tests to read.
//!
//! <https://docs.aws.amazon.com/sns/latest/api/API_Publish.html>
//! <https://docs.aws.amazon.com/sns/latest/dg/fifo-message-dedup.html>

use crate::support::journal::{Journal, Past};
use crate::template::resources::Topic as Declared;
use anyhow::{Result, ensure};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use uuid::Uuid;

/// SNS recognises a deduplication id for five minutes.
const WINDOW: chrono::TimeDelta = chrono::TimeDelta::minutes(5);
/// The prefix of messages in the journal.
const PREFIX: &str = "topic/";

/// The journal and `GET /topics/<name>` hold it as JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Published {
    pub message_id: String,
    /// Messages of one group are delivered in their order.
    pub group: String,
    pub deduplication_id: String,
    pub at: DateTime<Utc>,
    /// How often the message was published again within the window, and dropped.
    pub repeats: u32,
    pub message: String,
}

/// Every topic, by name, with its messages in the order of their publication. Clones share them.
#[derive(Clone)]
pub struct Topics {
    topics: Arc<Mutex<BTreeMap<String, Vec<Published>>>>,
    journal: Journal,
}

impl Topics {
    /// The declared topics with the messages that the journal kept.
    ///
    /// # Errors
    /// For a topic that is not FIFO, or a kept message that cannot be read.
    pub fn start(declared: &[Declared], journal: &Journal, past: &Past) -> Result<Self> {
        let mut topics = BTreeMap::new();
        for Declared { topic_name, fifo_topic, .. } in declared {
            let is_fifo = fifo_topic.unwrap_or(false) && topic_name.ends_with(".fifo");
            ensure!(is_fifo, "topic {topic_name}: only FIFO topics are implemented by the local stack");
            topics.insert(topic_name.clone(), Vec::new());
        }
        for (place, message) in past.records(PREFIX)? {
            let topic = place.split_once('/').and_then(|(name, _)| topics.get_mut(name));
            if let Some(topic) = topic {
                topic.push(message);
            }
        }
        Ok(Self { topics: Arc::new(Mutex::new(topics)), journal: journal.clone() })
    }

    fn topics(&self) -> MutexGuard<'_, BTreeMap<String, Vec<Published>>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The messages of a topic, oldest first; `None` for a topic that no template declares.
    #[must_use]
    pub fn published(&self, topic: &str) -> Option<Vec<Published>> {
        self.topics().get(topic).cloned()
    }

    /// Publishes a message, once within the window for its deduplication id; returns its id and number, or `None` when
    /// no template declares the topic.
    pub async fn publish(
        &self,
        topic: &str,
        group: &str,
        id: &str,
        message: &str,
    ) -> Option<(String, usize)> {
        let (published, number) = self.append(topic, group, id, message)?;
        // Twenty digits, as on AWS: the keys sort as the numbers do.
        let key = format!("{PREFIX}{topic}/{number:020}");
        self.journal.keep(key, &published).await;
        Some((published.message_id, number))
    }

    fn append(&self, topic: &str, group: &str, id: &str, message: &str) -> Option<(Published, usize)> {
        let mut topics = self.topics();
        let messages = topics.get_mut(topic)?;
        let now = Utc::now();
        let is_repeat = |m: &Published| m.deduplication_id == id && now - m.at < WINDOW;
        if let Some(at) = messages.iter().rposition(is_repeat) {
            let first = messages.get_mut(at)?;
            first.repeats += 1;
            return Some((first.clone(), at));
        }
        messages.push(Published {
            message_id: Uuid::new_v4().to_string(),
            group: group.to_owned(),
            deduplication_id: id.to_owned(),
            at: now,
            repeats: 0,
            message: message.to_owned(),
        });
        Some((messages.last()?.clone(), messages.len() - 1))
    }
}
