//! SQS: standard queues with visibility timeouts, receive counts, retention and redrive to a dead-letter
//! queue.
//!
//! <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-visibility-timeout.html>
//! <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-dead-letter-queues.html>

pub mod api;

use crate::support::journal::{Entry, Journal, Kept};
use crate::template::names;
use crate::template::resources::{Queue as Declared, RedrivePolicy};
use anyhow::{Context, Result};
use chrono::Utc;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use uuid::Uuid;

/// A message.
#[derive(Clone, Debug)]
pub struct Message {
    /// Its id, for as long as it lives.
    pub id: String,
    /// Its body.
    pub body: Arc<str>,
    /// Epoch milliseconds.
    pub sent_at: i64,
    /// How often it was received.
    pub receives: u32,
}

/// A message as a consumer gets it.
#[derive(Clone, Debug)]
pub struct Received {
    /// The message.
    pub message: Message,
    /// What deletes it; valid until the next receive.
    pub receipt: String,
}

#[derive(Default)]
struct State {
    ready: VecDeque<Message>,
    in_flight: HashMap<String, Message>,
    /// When each message in flight becomes visible again.
    deadlines: BTreeMap<(Instant, u64), String>,
    /// By receipt, for taking a deadline back.
    deadline_of: HashMap<String, (Instant, u64)>,
    serial: u64,
}

/// One queue.
pub struct Queue {
    /// Its name.
    pub name: String,
    visibility: Duration,
    retention: Duration,
    redrive: Option<RedrivePolicy>,
    state: Mutex<State>,
    arrived: Notify,
    journal: Journal,
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn kept(&self, message: &Message) -> Entry {
        Entry::Message {
            id: message.id.clone(),
            queue: self.name.clone(),
            body: message.body.to_string(),
            sent_at: message.sent_at,
            receives: message.receives,
        }
    }

    fn push(&self, message: Message) {
        self.state().ready.push_back(message);
        self.arrived.notify_one();
    }

    /// For how long a message that was received stays invisible.
    #[must_use]
    pub const fn visibility(&self) -> Duration {
        self.visibility
    }

    /// Takes a message in; gives its id.
    pub fn send(&self, body: &str) -> String {
        self.send_later(body, Duration::ZERO)
    }

    /// As [`Queue::send`]; nobody receives it before so much time has passed.
    pub fn send_later(&self, body: &str, later: Duration) -> String {
        let (id, sent_at) = (Uuid::new_v4().to_string(), Utc::now().timestamp_millis());
        let message = Message { id: id.clone(), body: body.into(), sent_at, receives: 0 };
        self.journal.write(vec![self.kept(&message)]);
        if later.is_zero() {
            self.push(message);
        } else {
            self.state().hide(message, later);
            self.arrived.notify_one();
        }
        id
    }

    /// At most `most` visible messages, which stay invisible to others for the visibility timeout.
    fn take(&self, most: usize, hidden: Duration, queues: &Queues) -> Vec<Received> {
        let mut received = Vec::new();
        let mut dead = Vec::new();
        let mut state = self.state();
        state.reveal(Instant::now());
        let oldest =
            Utc::now().timestamp_millis() - i64::try_from(self.retention.as_millis()).unwrap_or(i64::MAX);
        while received.len() < most {
            let Some(mut message) = state.ready.pop_front() else { break };
            if message.sent_at < oldest {
                self.journal.write(vec![Entry::Deleted { id: message.id }]);
                continue;
            }
            if self.redrive.as_ref().is_some_and(|redrive| message.receives >= redrive.max_receive_count) {
                dead.push(message);
                continue;
            }
            message.receives += 1;
            // A first receive need not be remembered: forgetting it only gives the message one more try.
            if message.receives > 1 {
                self.journal.write(vec![self.kept(&message)]);
            }
            received.push(state.hide(message, hidden));
        }
        drop(state);
        dead.into_iter().for_each(|message| self.bury(message, queues));
        received
    }

    fn bury(&self, message: Message, queues: &Queues) {
        let target = self.redrive.as_ref().map(|redrive| names::last_part(&redrive.dead_letter_target_arn));
        if let Some(target) = target.and_then(|name| queues.get(name)) {
            tracing::warn!(queue = self.name, message = message.id, "moved to {}", target.name);
            let message = Message { receives: 0, ..message };
            self.journal.write(vec![target.kept(&message)]);
            target.push(message);
        }
    }

    /// Waits until there is something to receive, then receives it.
    pub async fn receive(&self, most: usize, queues: &Queues) -> Vec<Received> {
        self.receive_hidden(most, self.visibility, queues).await
    }

    /// As [`Queue::receive`], with another visibility timeout than the queue's own.
    pub async fn receive_hidden(&self, most: usize, hidden: Duration, queues: &Queues) -> Vec<Received> {
        loop {
            let arrived = self.arrived.notified();
            let received = self.take(most, hidden, queues);
            if !received.is_empty() {
                if !self.state().ready.is_empty() {
                    self.arrived.notify_one();
                }
                return received;
            }
            match self.next_deadline() {
                Some(at) => tokio::select! {
                    () = arrived => {}
                    () = tokio::time::sleep_until(at.into()) => {}
                },
                None => arrived.await,
            }
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.state().deadlines.keys().next().map(|(at, _)| *at)
    }

    /// Deletes a message by the receipt of its last receive; says whether there was one.
    pub fn delete(&self, receipt: &str) -> bool {
        let message = self.state().take_back(receipt);
        if let Some(message) = &message {
            self.journal.write(vec![Entry::Deleted { id: message.id.clone() }]);
        }
        message.is_some()
    }

    /// Divides what is left of a message's visibility timeout.
    pub fn hasten(&self, receipt: &str, by: u32) {
        self.change_visibility(receipt, |left| left / by.max(1));
    }

    /// Changes how long a message in flight stays invisible; says whether there was one.
    pub fn change_visibility(&self, receipt: &str, change: impl Fn(Duration) -> Duration) -> bool {
        let changed = self.state().change_deadline(receipt, change);
        self.arrived.notify_one();
        changed
    }

    /// How many messages are visible, and how many are in flight.
    #[must_use]
    pub fn depth(&self) -> (usize, usize) {
        let mut state = self.state();
        state.reveal(Instant::now());
        (state.ready.len(), state.in_flight.len())
    }
}

impl State {
    fn hide(&mut self, message: Message, visibility: Duration) -> Received {
        self.serial += 1;
        let receipt = format!("{}#{}", message.id, self.serial);
        let deadline = (Instant::now() + visibility, self.serial);
        self.deadlines.insert(deadline, receipt.clone());
        self.deadline_of.insert(receipt.clone(), deadline);
        self.in_flight.insert(receipt.clone(), message.clone());
        Received { message, receipt }
    }

    fn change_deadline(&mut self, receipt: &str, change: impl Fn(Duration) -> Duration) -> bool {
        let Some((at, serial)) = self.deadline_of.get(receipt).copied() else { return false };
        let now = Instant::now();
        let deadline = (now + change(at.saturating_duration_since(now)), serial);
        self.deadlines.remove(&(at, serial));
        self.deadlines.insert(deadline, receipt.to_owned());
        self.deadline_of.insert(receipt.to_owned(), deadline);
        true
    }

    fn take_back(&mut self, receipt: &str) -> Option<Message> {
        let deadline = self.deadline_of.remove(receipt)?;
        self.deadlines.remove(&deadline);
        self.in_flight.remove(receipt)
    }

    /// Makes everything visible whose time is up.
    fn reveal(&mut self, now: Instant) {
        while let Some((at, _)) = self.deadlines.keys().next().copied() {
            if at > now {
                break;
            }
            if let Some((_, receipt)) = self.deadlines.pop_first() {
                self.deadline_of.remove(&receipt);
                self.ready.extend(self.in_flight.remove(&receipt));
            }
        }
    }
}

/// Every queue, by name.
#[derive(Clone, Default)]
pub struct Queues(Arc<HashMap<String, Arc<Queue>>>);

impl Queues {
    /// The declared queues with the messages that the journal kept; those in flight when the stack stopped
    /// are visible again.
    ///
    /// # Errors
    /// When a redrive policy names a queue that nobody declared, or a kept message's queue is gone.
    pub fn start(declared: &[Declared], kept: Vec<Kept>, journal: &Journal) -> Result<Self> {
        let queue = |declared: &Declared| Queue {
            name: declared.queue_name.clone(),
            visibility: Duration::from_secs(declared.visibility_timeout.unwrap_or(30).into()),
            retention: Duration::from_secs(declared.message_retention_period.unwrap_or(345_600).into()),
            redrive: declared.redrive_policy.clone(),
            state: Mutex::default(),
            arrived: Notify::new(),
            journal: journal.clone(),
        };
        let queues: HashMap<_, _> =
            declared.iter().map(|d| (d.queue_name.clone(), Arc::new(queue(d)))).collect();
        let queues = Self(Arc::new(queues));
        for redrive in declared.iter().filter_map(|queue| queue.redrive_policy.as_ref()) {
            queues.by_arn(&redrive.dead_letter_target_arn)?;
        }
        for Kept { id, queue, body, sent_at, receives } in kept {
            let queue = queues.get(&queue).with_context(|| {
                format!(
                    "the journal holds a message of {queue}, which no template declares; start with --fresh"
                )
            })?;
            queue.push(Message { id, body: body.into(), sent_at, receives });
        }
        Ok(queues)
    }

    /// A queue by name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Arc<Queue>> {
        self.0.get(name).cloned()
    }

    /// A queue by ARN.
    ///
    /// # Errors
    /// When nobody declared it.
    pub fn by_arn(&self, arn: &str) -> Result<Arc<Queue>> {
        self.get(names::last_part(arn)).with_context(|| format!("no template declares the queue {arn}"))
    }

    /// All of them, by name.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Queue>> {
        let mut all: Vec<_> = self.0.values().cloned().collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }
}
