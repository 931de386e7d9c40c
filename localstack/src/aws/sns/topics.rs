//! FIFO topics. They deliver to the FIFO queues that are subscribed, and keep what was published, for people and tests to
//! read.
//!
//! <https://docs.aws.amazon.com/sns/latest/api/API_Publish.html>
//! <https://docs.aws.amazon.com/sns/latest/dg/fifo-message-delivery.html>
//! <https://docs.aws.amazon.com/sns/latest/dg/fifo-message-dedup.html>

use crate::aws::sqs::fifo::WINDOW;
use crate::aws::sqs::{Queue, Queues};
use crate::support::journal::{Entry, Journal, Past};
use crate::support::meter::{Meter, Unit};
use crate::template::names;
use crate::template::resources::{Subscription, Topic as Declared};
use anyhow::{Context, Result, ensure};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use uuid::Uuid;

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

#[derive(Default)]
struct Topic {
    /// In the order of their publication.
    messages: Vec<Published>,
    subscribers: Vec<Arc<Queue>>,
}

/// Every topic, by name. Clones share them.
#[derive(Clone)]
pub struct Topics {
    topics: Arc<Mutex<BTreeMap<String, Topic>>>,
    journal: Journal,
    meter: Meter,
}

impl Topics {
    /// The declared topics with their subscriptions and with the messages that the journal kept.
    ///
    /// # Errors
    /// For a topic that is not FIFO, a subscription that is not implemented or names what no template declares, or a kept
    /// message that cannot be read.
    pub fn start(
        (declared, subscriptions): (&[Declared], &[Subscription]),
        queues: &Queues,
        (journal, past): (&Journal, &Past),
        meter: &Meter,
    ) -> Result<Self> {
        let mut topics: BTreeMap<String, Topic> = BTreeMap::new();
        for Declared { topic_name, fifo_topic, .. } in declared {
            let is_fifo = fifo_topic.unwrap_or(false) && topic_name.ends_with(".fifo");
            ensure!(is_fifo, "topic {topic_name}: only FIFO topics are implemented by the local stack");
            topics.insert(topic_name.clone(), Topic::default());
        }
        for subscription in subscriptions {
            let (arn, queue) = (&subscription.topic_arn, subscriber(subscription, queues)?);
            let topic = topics.get_mut(names::last_part(arn));
            topic.with_context(|| format!("no template declares the topic {arn}"))?.subscribers.push(queue);
        }
        for (place, message) in past.records(PREFIX)? {
            let topic = place.split_once('/').and_then(|(name, _)| topics.get_mut(name));
            if let Some(topic) = topic {
                topic.messages.push(message);
            }
        }
        Ok(Self { topics: Arc::new(Mutex::new(topics)), journal: journal.clone(), meter: meter.clone() })
    }

    fn topics(&self) -> MutexGuard<'_, BTreeMap<String, Topic>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The messages of a topic, oldest first; `None` for a topic that no template declares.
    #[must_use]
    pub fn published(&self, topic: &str) -> Option<Vec<Published>> {
        self.topics().get(topic).map(|topic| topic.messages.clone())
    }

    /// Publishes a message, once within the window for its deduplication id; returns its id and number, or `None` when
    /// no template declares the topic. It is on disk after [`Topics::flush`].
    pub fn publish(&self, topic: &str, group: &str, id: &str, message: &str) -> Option<(String, usize)> {
        let (published, number) = self.append(topic, group, id, message)?;
        // Twenty digits, as on AWS: the keys sort as the numbers do.
        let key = format!("{PREFIX}{topic}/{number:020}");
        let value = serde_json::to_string(&published).unwrap_or_default();
        // The journal has the message in each queue before it has the message here: a crash between the two makes SNS deliver
        // a second time, which the queue recognises. The other way round the message would be lost.
        self.journal.write(vec![Entry::Record { key, value }]);
        Some((published.message_id, number))
    }

    /// Returns once everything that was published so far is on disk.
    pub async fn flush(&self) {
        self.journal.flush().await;
    }

    /// Counts a call with so many bytes in its messages: a call is billed, and not each message of it.
    ///
    /// <https://aws.amazon.com/sns/pricing/>
    pub fn bill(&self, topic: &str, bytes: usize) {
        self.meter.count_pieces(Unit::TopicPublishes, topic, bytes);
        self.meter.count_bytes(Unit::TopicBytes, topic, bytes);
    }

    /// Whether a template declares a topic.
    #[must_use]
    pub fn has(&self, topic: &str) -> bool {
        self.topics().contains_key(topic)
    }

    fn append(&self, topic: &str, group: &str, id: &str, message: &str) -> Option<(Published, usize)> {
        let mut topics = self.topics();
        let Topic { messages, subscribers } = topics.get_mut(topic)?;
        let now = Utc::now();
        let is_repeat = |m: &Published| m.deduplication_id == id && now - m.at < WINDOW;
        if let Some(at) = messages.iter().rposition(is_repeat) {
            let first = messages.get_mut(at)?;
            first.repeats += 1;
            return Some((first.clone(), at));
        }
        // Group and deduplication id pass on to the queue, and the body as it is.
        for queue in subscribers {
            self.meter.count_pieces(Unit::FifoRequests, &queue.name, message.len());
            queue.send_in_group(message, group, id);
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

/// The queue of a subscription. A FIFO topic can deliver to a standard queue too, and SNS can wrap a message in JSON:
/// neither is implemented. Nothing is put into the dead-letter queue of a subscription here, because delivery within one
/// process does not fail and the permission is checked at the start.
fn subscriber(subscription: &Subscription, queues: &Queues) -> Result<Arc<Queue>> {
    let Subscription { endpoint, raw_message_delivery, redrive_policy, .. } = subscription;
    let of = || format!("the subscription of {endpoint}");
    let is_raw = raw_message_delivery.unwrap_or(false);
    ensure!(is_raw, "{}: only RawMessageDelivery: true is implemented by the local stack", of());
    if let Some(policy) = redrive_policy {
        // <https://docs.aws.amazon.com/sns/latest/dg/sns-dead-letter-queues.html>
        queues.fifo_by_arn(&policy.dead_letter_target_arn).with_context(of)?;
    }
    queues.fifo_by_arn(endpoint).with_context(of)
}
