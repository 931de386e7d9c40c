//! What a FIFO queue remembers: which deduplication ids it has accepted, and which sequence number comes next.
//!
//! <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/FIFO-key-terms.html>

use crate::support::remembered::{Fingerprints, Remembered};
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// SQS and SNS recognise a deduplication id for five minutes, even when its message is deleted before.
pub const WINDOW: TimeDelta = TimeDelta::minutes(5);

/// Whether SQS and SNS accept a text as the id of a group or of deduplication: 1 to 128 alphanumeric characters and punctuation marks.
///
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html>
#[must_use]
pub fn is_id(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_graphic())
}

/// A message's place in its FIFO queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Messages of one group are received in their order.
    pub group: String,
    pub deduplication_id: String,
    /// Grows within a queue, not by one.
    pub sequence: u64,
}

impl Place {
    /// As SQS writes it: texts of one length sort as the numbers do.
    #[must_use]
    pub fn sequence_number(&self) -> String {
        format!("{:020}", self.sequence)
    }
}

/// The answer to a send: for a repeated one, that of the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    pub id: String,
    /// Epoch milliseconds.
    pub at: i64,
    pub sequence: u64,
}

impl Accepted {
    #[must_use]
    pub fn place(&self, group: &str, deduplication_id: &str) -> Place {
        let (group, deduplication_id) = (group.to_owned(), deduplication_id.to_owned());
        Place { group, deduplication_id, sequence: self.sequence }
    }
}

#[derive(Debug, Default)]
pub struct Fifo {
    /// By the fingerprint of the deduplication id.
    accepted: Remembered<i64, u128, Accepted>,
    ids: Fingerprints,
    last_sequence: u64,
}

impl Fifo {
    /// Accepts a message at a time in epoch milliseconds. The second value is false when its deduplication id was accepted
    /// within the window before; then the answer is the first one.
    pub fn accept(&mut self, deduplication_id: &str, now: i64) -> (Accepted, bool) {
        let is_recent = |at: i64| now - at < WINDOW.num_milliseconds();
        let fingerprint = self.ids.of(deduplication_id);
        if let Some(first) = self.accepted.recent(&fingerprint, is_recent) {
            return (first.clone(), false);
        }
        let (id, sequence) = (Uuid::new_v4().to_string(), self.next_sequence(now));
        let accepted = Accepted { id, at: now, sequence };
        self.accepted.add(fingerprint, now, accepted.clone());
        (accepted, true)
    }

    /// A number above all before it, also those from before a restart: the journal forgets deleted messages, so it follows
    /// the time.
    pub fn next_sequence(&mut self, now: i64) -> u64 {
        let by_time = u64::try_from(now).unwrap_or_default() * 1000;
        self.last_sequence = by_time.max(self.last_sequence + 1);
        self.last_sequence
    }

    /// Remembers a message that the journal kept.
    pub fn restore(&mut self, id: &str, sent_at: i64, place: &Place) {
        self.last_sequence = self.last_sequence.max(place.sequence);
        let accepted = Accepted { id: id.to_owned(), at: sent_at, sequence: place.sequence };
        self.accepted.add(self.ids.of(&place.deduplication_id), sent_at, accepted);
    }
}
