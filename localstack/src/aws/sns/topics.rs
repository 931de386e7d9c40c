//! FIFO topics. They deliver to the FIFO queues that are subscribed, and keep what was published, for people and tests to
//! read: on disk. In memory are the deduplication ids of the window.
//!
//! <https://docs.aws.amazon.com/sns/latest/api/API_Publish.html>
//! <https://docs.aws.amazon.com/sns/latest/dg/fifo-message-delivery.html>
//! <https://docs.aws.amazon.com/sns/latest/dg/fifo-message-dedup.html>

use crate::aws::sqs::fifo::WINDOW;
use crate::aws::sqs::{Queue, Queues};
use crate::support::journal::{Entry, Journal};
use crate::support::meter::{Meter, Unit};
use crate::support::remembered::{Fingerprints, Remembered};
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
/// How many messages are read first at a start, for the ids of the window.
const RECENT: usize = 256;

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
    /// The number of the next message.
    next: u64,
    recent: Recent,
    ids: Fingerprints,
    subscribers: Vec<Arc<Queue>>,
}

/// The numbers of the messages of the last minutes, by the fingerprints of their deduplication ids.
type Recent = Remembered<DateTime<Utc>, u128, u64>;

fn find(recent: &mut Recent, id: u128, now: DateTime<Utc>) -> Option<u64> {
    recent.recent(&id, |at| now - at < WINDOW).copied()
}

impl Topic {
    /// Goes on behind the messages that the journal kept.
    fn resume(&mut self, name: &str, journal: &Journal) {
        let prefix = format!("{PREFIX}{name}/");
        let (mut limit, now) = (RECENT, Utc::now());
        // Twice as many, until one is older than the window or all are there.
        let mut kept: Vec<(String, Published)> = loop {
            let kept: Vec<(String, Published)> = journal.last(&prefix, limit);
            if kept.len() < limit || kept.last().is_none_or(|(_, oldest)| now - oldest.at >= WINDOW) {
                break kept;
            }
            limit = limit.saturating_mul(2);
        };
        let number = |number: &str| number.parse::<u64>().unwrap_or_default();
        self.next = kept.first().map_or(0, |(last, _)| number(last) + 1);
        kept.reverse();
        for (at, message) in kept {
            self.recent.add(self.ids.of(&message.deduplication_id), message.at, number(&at));
        }
    }
}

/// Every topic, by name. Clones share them.
#[derive(Clone)]
pub struct Topics {
    topics: Arc<Mutex<BTreeMap<String, Topic>>>,
    journal: Journal,
    meter: Meter,
}

impl Topics {
    /// The declared topics with their subscriptions, and with the ids of the messages that the journal kept.
    ///
    /// # Errors
    /// For a topic that is not FIFO, or a subscription that is not implemented or names what no template declares.
    pub fn start(
        (declared, subscriptions): (&[Declared], &[Subscription]),
        queues: &Queues,
        journal: &Journal,
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
        topics.iter_mut().for_each(|(name, topic)| topic.resume(name, journal));
        Ok(Self { topics: Arc::new(Mutex::new(topics)), journal: journal.clone(), meter: meter.clone() })
    }

    fn topics(&self) -> MutexGuard<'_, BTreeMap<String, Topic>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All messages of a topic, oldest first; `None` for a topic that no template declares.
    #[must_use]
    pub fn published(&self, topic: &str) -> Option<Vec<Published>> {
        Some(self.page(topic, None, usize::MAX)?.into_iter().map(|(_, message)| message).collect())
    }

    /// The messages of a topic behind this number, oldest first, and their numbers.
    #[must_use]
    pub fn page(&self, topic: &str, after: Option<&str>, limit: usize) -> Option<Vec<(String, Published)>> {
        self.has(topic).then(|| self.journal.page(&format!("{PREFIX}{topic}/"), after, limit))
    }

    /// Publishes a message, once within the window for its deduplication id; returns its id and number, or `None` when
    /// no template declares the topic. It is on disk after [`Topics::flush`].
    pub fn publish(&self, topic: &str, group: &str, id: &str, message: &str) -> Option<(String, u64)> {
        let (name, now) = (topic, Utc::now());
        let mut topics = self.topics();
        let topic = topics.get_mut(topic)?;
        let fingerprint = topic.ids.of(id);
        if let Some(number) = find(&mut topic.recent, fingerprint, now) {
            let mut first: Published = self.journal.record(&key(name, number))?;
            first.repeats += 1;
            self.keep(name, number, &first);
            return Some((first.message_id, number));
        }
        // Group and deduplication id pass on to the queue, and the body as it is.
        for queue in &topic.subscribers {
            self.meter.count_pieces(Unit::FifoRequests, &queue.name, message.len());
            queue.send_in_group(message, group, id);
        }
        let published = Published {
            message_id: Uuid::new_v4().to_string(),
            group: group.to_owned(),
            deduplication_id: id.to_owned(),
            at: now,
            repeats: 0,
            message: message.to_owned(),
        };
        let number = topic.next;
        topic.next += 1;
        topic.recent.add(fingerprint, now, number);
        self.keep(name, number, &published);
        Some((published.message_id, number))
    }

    /// The journal has the message in each queue before it has the message here: a crash between the two makes SNS deliver a second
    /// time, which the queue recognises. The other way round the message would be lost.
    fn keep(&self, topic: &str, number: u64, published: &Published) {
        let value = serde_json::to_string(published).unwrap_or_default();
        self.journal.write(vec![Entry::Record { key: key(topic, number), value }]);
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
}

/// Twenty digits, as on AWS: the keys sort as the numbers do.
fn key(topic: &str, number: u64) -> String {
    format!("{PREFIX}{topic}/{number:020}")
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

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;

    /// Guards: a topic's memory: the ids of the window are known, and no older one is left.
    #[test]
    fn ids_are_forgotten_after_the_window() {
        let (mut recent, start) = (Recent::default(), DateTime::UNIX_EPOCH);
        for number in 0..1000 {
            let now = start + TimeDelta::seconds(number);
            let id = u128::from(number.unsigned_abs());
            assert_eq!(find(&mut recent, id, now), None);
            recent.add(id, now, number.unsigned_abs());
        }
        let now = start + TimeDelta::seconds(999);
        let window = usize::try_from(WINDOW.num_seconds()).unwrap();
        assert_eq!((find(&mut recent, 999, now), find(&mut recent, 0, now)), (Some(999), None));
        assert_eq!(recent.len(), (window, window));
    }
}
