//! A queue, standard or FIFO, with visibility timeouts, receive counts, retention and redrive to a dead-letter queue.
//!
//! <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-visibility-timeout.html>
//! <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-dead-letter-queues.html>

use super::fifo::{Accepted, WINDOW};
use super::message::{Message, Received};
use super::state::{Backlog, IN_MEMORY, State, kept};
use crate::support::journal::{Entry, Journal};
use crate::template::resources::Queue as Declared;
use chrono::Utc;
use md5::{Digest, Md5};
use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use uuid::Uuid;

/// SQS's defaults.
const VISIBILITY_SECONDS: u32 = 30;
const RETENTION_SECONDS: u32 = 4 * 24 * 3600;
/// How many messages of a FIFO queue may be in flight. A receive beyond that is no error, and brings nothing.
///
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-fifo.html>
const FIFO_IN_FLIGHT: usize = 120_000;
/// How often a receive that waits looks again, whatever it hears.
const LOOKS_AGAIN: Duration = Duration::from_secs(1);
/// The most messages past their retention that one receive deletes: others wait for the queue meanwhile.
const MOST_EXPIRED: usize = 1000;

/// Where a message goes that was received too often.
pub struct Redrive {
    pub max_receives: u32,
    pub dead_letters: Arc<Queue>,
}

pub struct Queue {
    pub name: String,
    pub is_fifo: bool,
    /// Epoch milliseconds.
    pub created_at: i64,
    visibility: Duration,
    pub(super) retention: Duration,
    pub(super) most_in_flight: usize,
    pub(super) most_in_memory: usize,
    redrive: OnceLock<Redrive>,
    state: Mutex<State>,
    arrived: Notify,
    journal: Journal,
}

/// SQS's checksum of a body, in hexadecimal; its clients verify it.
#[must_use]
pub fn md5_of(body: &str) -> String {
    Md5::digest(body.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Queue {
    #[must_use]
    pub fn new(declared: &Declared, journal: Journal) -> Self {
        let seconds =
            |declared: Option<u32>, default| Duration::from_secs(declared.unwrap_or(default).into());
        let is_fifo = declared.fifo_queue.unwrap_or(false);
        Self {
            name: declared.queue_name.clone(),
            is_fifo,
            created_at: Utc::now().timestamp_millis(),
            visibility: seconds(declared.visibility_timeout, VISIBILITY_SECONDS),
            retention: seconds(declared.message_retention_period, RETENTION_SECONDS),
            most_in_flight: if is_fifo { FIFO_IN_FLIGHT } else { usize::MAX },
            most_in_memory: IN_MEMORY,
            redrive: OnceLock::new(),
            state: Mutex::default(),
            arrived: Notify::new(),
            journal,
        }
    }

    /// Connects the queue to its dead-letter queue, once.
    pub fn redrive(&self, redrive: Redrive) {
        let _ = self.redrive.set(redrive);
    }

    /// Where its messages go that were received too often.
    #[must_use]
    pub fn redrives(&self) -> Option<&Redrive> {
        self.redrive.get()
    }

    /// Goes on with the messages that the journal kept.
    pub fn resume(&self) {
        let mut state = self.state();
        let page = kept(&self.name, &self.journal, (None, self.most_in_memory));
        let (mark, mut count) = (page.last().map(|last| last.number), 0);
        self.journal.visit_messages(&self.name, mark, |_| {
            count += 1;
            ControlFlow::Continue(())
        });
        state.backlog = Backlog::behind(mark, count);
        page.into_iter().for_each(|message| state.show(message));
        if self.is_fifo {
            self.remember(&mut state);
        }
        drop(state);
        self.arrived.notify_one();
    }

    /// A FIFO queue knows the deduplication ids of the last minutes and the last sequence number again.
    fn remember(&self, state: &mut State) {
        let oldest = Utc::now().timestamp_millis() - WINDOW.num_milliseconds();
        let mut recent = Vec::new();
        self.journal.visit_last_messages(&self.name, |message| {
            let message = Message::read(&self.name, message);
            let is_recent = message.as_ref().is_some_and(|message| message.sent_at > oldest);
            recent.extend(message.and_then(|Message { id, sent_at, place, .. }| Some((id, sent_at, place?))));
            if is_recent { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        recent.iter().rev().for_each(|(id, sent_at, place)| state.fifo.restore(id, *sent_at, place));
    }

    /// Returns once everything that was sent or deleted so far is on disk.
    pub async fn flush(&self) {
        self.journal.flush().await;
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A message's entry in the journal, if it keeps one.
    fn entry(&self, message: &Message) -> Option<Entry> {
        (!self.journal.forgets()).then(|| Entry::Message {
            queue: self.name.clone(),
            number: message.number,
            value: message.kept(),
        })
    }

    fn gone(&self, message: &Message) -> Entry {
        Entry::Deleted { queue: self.name.clone(), number: message.number }
    }

    /// How long a message that was received stays invisible.
    #[must_use]
    pub const fn visibility(&self) -> Duration {
        self.visibility
    }

    /// Sends a message; returns its id.
    pub fn send(&self, body: &str) -> String {
        self.send_delayed(body, Duration::ZERO)
    }

    /// As [`Queue::send`]; the message is invisible until `delay` has passed.
    pub fn send_delayed(&self, body: &str, delay: Duration) -> String {
        let (id, sent_at) = (Uuid::new_v4().to_string(), Utc::now().timestamp_millis());
        let (body, kept) = (body.into(), id.clone());
        let mut state = self.state();
        let message = Message { number: self.journal.number(), id, body, sent_at, receives: 0, place: None };
        self.journal.write(self.entry(&message).into_iter().collect());
        if delay.is_zero() {
            state.arrive(message, &self.journal, self.most_in_memory);
        } else {
            state.went_ahead(message.number);
            state.hide(&self.name, message, delay);
        }
        drop(state);
        self.arrived.notify_one();
        kept
    }

    /// Sends a message to a FIFO queue, once within the window for its deduplication id.
    pub fn send_in_group(&self, body: &str, group: &str, deduplication_id: &str) -> Accepted {
        let mut state = self.state();
        let (accepted, is_new) = state.fifo.accept(deduplication_id, Utc::now().timestamp_millis());
        if is_new {
            let place = accepted.place(group, deduplication_id);
            let (number, id, sent_at) = (self.journal.number(), accepted.id.clone(), accepted.at);
            let message = Message { number, id, body: body.into(), sent_at, receives: 0, place: Some(place) };
            self.journal.write(self.entry(&message).into_iter().collect());
            state.arrive(message, &self.journal, self.most_in_memory);
            drop(state);
            self.arrived.notify_one();
        }
        accepted
    }

    /// At most `max` visible messages, which become invisible for `invisible`.
    fn take(&self, max: usize, invisible: Duration) -> Vec<Received> {
        let mut received = Vec::new();
        let mut dead = Vec::new();
        let mut state = self.state();
        state.reveal(Instant::now());
        let retention = i64::try_from(self.retention.as_millis()).unwrap_or(i64::MAX);
        let oldest = Utc::now().timestamp_millis() - retention;
        let busy = if self.is_fifo { state.groups_in_flight() } else { HashSet::new() };
        let (mut begun, mut seen, mut gone) = (None, 0, 0);
        if state.wants_more(self.most_in_memory) {
            state.bring_back(&self.name, &self.journal);
        }
        while received.len() < max && state.in_flight.len() < self.most_in_flight && gone < MOST_EXPIRED {
            let Some(mut message) = state.next(begun.as_deref(), &busy, seen) else {
                seen = state.visible.len();
                if state.bring_back(&self.name, &self.journal) {
                    continue;
                }
                break;
            };
            if message.sent_at < oldest {
                self.journal.write(vec![self.gone(&message)]);
                gone += 1;
                continue;
            }
            if self.redrive.get().is_some_and(|redrive| message.receives >= redrive.max_receives) {
                dead.push(message);
                continue;
            }
            message.receives += 1;
            // The journal does not keep a first receive: a restart then gives the message one more try.
            if message.receives > 1 {
                self.journal.write(self.entry(&message).into_iter().collect());
            }
            begun = message.place.as_ref().map(|place| place.group.clone());
            received.push(state.hide(&self.name, message, invisible));
        }
        state.count_taken(received.len());
        drop(state);
        if gone == MOST_EXPIRED {
            self.arrived.notify_one();
        }
        dead.into_iter().for_each(|message| self.move_to_dead_letters(message));
        received
    }

    fn move_to_dead_letters(&self, message: Message) {
        if let Some(Redrive { dead_letters, .. }) = self.redrive.get() {
            let (queue, id, tries, to) = (&self.name, &message.id, message.receives, &dead_letters.name);
            tracing::warn!(
                "queue {queue}: message {id} went to the dead-letter queue {to} after {tries} receives"
            );
            dead_letters.adopt(message, self);
        }
    }

    /// Gets a message of another queue: a FIFO queue places it last and forgets when it was first sent.
    ///
    /// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/setting-up-dead-letter-queue-retention.html>
    fn adopt(&self, message: Message, from: &Self) {
        let gone = from.gone(&message);
        let mut state = self.state();
        let mut message = Message { number: self.journal.number(), receives: 0, ..message };
        if let Some(place) = &mut message.place {
            message.sent_at = Utc::now().timestamp_millis();
            place.sequence = state.fifo.next_sequence(message.sent_at);
        }
        // Together: a message that is in neither queue would be lost. One of the two journals may be one that forgets.
        let entries = self.entry(&message).into_iter().chain((!from.journal.forgets()).then_some(gone));
        let journal = if self.journal.forgets() { &from.journal } else { &self.journal };
        journal.write(entries.collect());
        state.arrive(message, &self.journal, self.most_in_memory);
        drop(state);
        self.arrived.notify_one();
    }

    /// Waits until a message is visible, then receives at most `max`.
    pub async fn receive(&self, max: usize) -> Vec<Received> {
        self.receive_for(max, self.visibility).await
    }

    /// As [`Queue::receive`], with another visibility timeout than the queue's own.
    pub async fn receive_for(&self, max: usize, invisible: Duration) -> Vec<Received> {
        loop {
            let arrived = self.arrived.notified();
            let received = self.take(max, invisible);
            if !received.is_empty() {
                if self.state().has_more() {
                    self.arrived.notify_one();
                }
                return received;
            }
            // Another caller may have what becomes visible next, and go away with it: then nobody says so.
            let latest = Instant::now() + LOOKS_AGAIN;
            let at = self.next_deadline().map_or(latest, |at| at.min(latest));
            tokio::select! {
                () = arrived => {}
                () = tokio::time::sleep_until(at.into()) => {}
            }
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.state().next_deadline()
    }

    /// Deletes a message by the receipt of its last receive; returns whether there was one.
    pub fn delete(&self, receipt: &str) -> bool {
        let message = self.state().remove(receipt);
        if let Some(message) = &message {
            self.journal.write(vec![self.gone(message)]);
            // The rest of a message's group has waited for it.
            self.arrived.notify_one();
        }
        message.is_some()
    }

    /// Divides the rest of a message's visibility timeout.
    pub fn divide_visibility(&self, receipt: &str, by: u32) {
        self.change_visibility(receipt, |rest| rest / by.max(1));
    }

    /// Changes how long a message in flight stays invisible; returns whether there was one.
    pub fn change_visibility(&self, receipt: &str, change: impl Fn(Duration) -> Duration) -> bool {
        let changed = self.state().change_deadline(receipt, change);
        self.arrived.notify_one();
        changed
    }

    /// Whether a receipt is of this queue, valid still or not.
    #[must_use]
    pub fn gave(&self, receipt: &str) -> bool {
        let of_message =
            receipt.strip_prefix(&self.name).and_then(|rest| rest.strip_prefix('#')?.split_once('#'));
        of_message.is_some_and(|(id, serial)| Uuid::try_parse(id).is_ok() && serial.parse::<u64>().is_ok())
    }

    /// How many messages are visible, and how many are in flight.
    #[must_use]
    pub fn depth(&self) -> (usize, usize) {
        let Counts { visible, in_flight, delayed, .. } = self.counts();
        (visible, in_flight + delayed)
    }

    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut state = self.state();
        state.reveal(Instant::now());
        if state.visible.is_empty() {
            state.bring_back(&self.name, &self.journal);
        }
        let delayed = state.in_flight.values().filter(|message| message.receives == 0).count();
        let all = state.visible.iter().chain(state.in_flight.values());
        let oldest = all.map(|message| message.sent_at).min();
        let visible = state.visible.len() + state.beyond();
        Counts { visible, in_flight: state.in_flight.len() - delayed, delayed, oldest }
    }

    /// Deletes every message.
    pub fn purge(&self) {
        let mut state = self.state();
        let end = self.journal.number();
        state.clear();
        drop(state);
        // What comes now has numbers behind the end, and need not wait.
        self.journal.purge(&self.name, end);
    }

    /// Moves the first visible message to another queue, as a new one; returns whether there was one.
    pub fn move_one(&self, to: &Self) -> bool {
        let mut state = self.state();
        state.reveal(Instant::now());
        while state.visible.is_empty() && state.bring_back(&self.name, &self.journal) {}
        let Some(message) = state.visible.pop_front() else { return false };
        drop(state);
        let (id, sent_at) = (Uuid::new_v4().to_string(), Utc::now().timestamp_millis());
        to.adopt(Message { id, sent_at, ..message }, self);
        true
    }
}

/// What a queue holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    pub visible: usize,
    pub in_flight: usize,
    /// Sent, and not visible yet.
    pub delayed: usize,
    /// When the oldest message in memory was sent, in epoch milliseconds.
    pub oldest: Option<i64>,
}
