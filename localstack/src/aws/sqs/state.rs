//! What a queue has: messages that are visible, in flight, and on disk alone. What is not read does not grow in memory.
//!
//! A queue with a backlog has a mark. Every message up to the mark's number is in memory; those behind it are on disk, and come back
//! in their order, a page at a time, as memory has room. Only what was sent with a delay is in memory before its turn.

use super::fifo::Fifo;
use super::message::{Message, Received};
use crate::support::journal::Journal;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

/// For how long SQS hides a message at most: 12 hours.
///
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html>
pub const MAX_VISIBILITY: Duration = Duration::from_secs(12 * 3600);
/// So many visible messages are in memory before the next ones are on disk alone.
pub const IN_MEMORY: usize = 2000;
/// How many come back at once.
const PAGE: usize = 500;
/// Among so many messages SQS looks for a group of which none is in flight.
///
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/avoid-backlog-with-the-same-message-group-id.html>
const SEEN: usize = 120_000;

/// What is on disk alone.
#[derive(Debug, Default)]
pub struct Backlog {
    /// `None` when no message is up to it.
    mark: Option<u64>,
    /// How many are behind the mark and were never in memory.
    count: usize,
    /// The numbers of those behind the mark that are in memory, or were.
    ahead: BTreeSet<u64>,
    /// How many messages were received since the last page came back.
    taken: usize,
}

impl Backlog {
    /// So many messages behind a mark; `None` for none.
    #[must_use]
    pub fn behind(mark: Option<u64>, count: usize) -> Option<Self> {
        (count > 0).then(|| Self { mark, count, ..Self::default() })
    }
}

#[derive(Default)]
pub struct State {
    /// Of a FIFO queue, by their places.
    pub visible: VecDeque<Message>,
    pub in_flight: HashMap<String, Message>,
    pub backlog: Option<Backlog>,
    pub fifo: Fifo,
    /// When each message in flight becomes visible again.
    deadlines: BTreeMap<(Instant, u64), String>,
    /// By receipt, for taking a deadline back.
    deadline_of: HashMap<String, (Instant, u64)>,
    serial: u64,
}

/// When a message that is hidden for `hidden` is visible again. Within [`MAX_VISIBILITY`] no sum overflows: a panic between
/// the two places of a message would lose it.
fn after(now: Instant, hidden: Duration) -> Instant {
    now + hidden.min(MAX_VISIBILITY)
}

/// The messages of a queue behind a number that the journal keeps, at most so many.
pub fn kept(queue: &str, journal: &Journal, (after, limit): (Option<u64>, usize)) -> Vec<Message> {
    let mut kept = Vec::new();
    journal.visit_messages(queue, after, |message| {
        kept.extend(Message::read(queue, message));
        if kept.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    kept
}

impl State {
    /// Makes a message visible: in a FIFO queue at its place, otherwise behind the others.
    pub fn show(&mut self, message: Message) {
        let at = message.place.as_ref().map_or(self.visible.len(), |place| {
            let earlier = |m: &Message| m.place.as_ref().is_some_and(|m| m.sequence < place.sequence);
            self.visible.partition_point(earlier)
        });
        self.visible.insert(at, message);
    }

    /// The groups of a FIFO queue of which a message is in flight: the rest of each waits.
    pub fn groups_in_flight(&self) -> HashSet<String> {
        self.in_flight.values().filter_map(|message| Some(message.place.as_ref()?.group.clone())).collect()
    }

    /// The next message to receive, of those that this receive has not looked at. Of a FIFO queue: the next one of the group that
    /// this receive has begun with, or else the first of a group that waits for none.
    ///
    /// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/FIFO-queues-understanding-logic.html>
    pub fn next(&mut self, begun: Option<&str>, busy: &HashSet<String>, seen: usize) -> Option<Message> {
        let of =
            |message: &Message, group: &str| message.place.as_ref().is_some_and(|place| place.group == group);
        let is_free =
            |message: &Message| message.place.as_ref().is_none_or(|place| !busy.contains(&place.group));
        let rest = || self.visible.iter().skip(seen);
        let of_begun = begun.and_then(|begun| rest().position(|message| of(message, begun)));
        let at = of_begun.or_else(|| rest().position(is_free))?;
        self.visible.remove(seen + at)
    }

    pub fn hide(&mut self, queue: &str, message: Message, visibility: Duration) -> Received {
        self.serial += 1;
        let receipt = format!("{queue}#{}#{}", message.id, self.serial);
        let deadline = (after(Instant::now(), visibility), self.serial);
        self.deadlines.insert(deadline, receipt.clone());
        self.deadline_of.insert(receipt.clone(), deadline);
        self.in_flight.insert(receipt.clone(), message.clone());
        Received { message, receipt }
    }

    pub fn change_deadline(&mut self, receipt: &str, change: impl Fn(Duration) -> Duration) -> bool {
        let Some((at, serial)) = self.deadline_of.get(receipt).copied() else { return false };
        let now = Instant::now();
        let deadline = (after(now, change(at.saturating_duration_since(now))), serial);
        self.deadlines.remove(&(at, serial));
        self.deadlines.insert(deadline, receipt.to_owned());
        self.deadline_of.insert(receipt.to_owned(), deadline);
        true
    }

    pub fn remove(&mut self, receipt: &str) -> Option<Message> {
        let deadline = self.deadline_of.remove(receipt)?;
        self.deadlines.remove(&deadline);
        self.in_flight.remove(receipt)
    }

    /// When the next message in flight becomes visible.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.keys().next().map(|(at, _)| *at)
    }

    /// Forgets every message.
    pub fn clear(&mut self) {
        self.backlog = None;
        self.visible.clear();
        self.in_flight.clear();
        self.deadlines.clear();
        self.deadline_of.clear();
    }

    /// Makes every message visible whose timeout has passed.
    pub fn reveal(&mut self, now: Instant) {
        while let Some(at) = self.next_deadline() {
            if at > now {
                break;
            }
            if let Some((_, receipt)) = self.deadlines.pop_first() {
                self.deadline_of.remove(&receipt);
                if let Some(message) = self.in_flight.remove(&receipt) {
                    self.show(message);
                }
            }
        }
    }

    /// How many messages are on disk alone.
    pub fn beyond(&self) -> usize {
        self.backlog.as_ref().map_or(0, |backlog| backlog.count)
    }

    /// Makes a message visible that the journal has got: in memory, or on disk alone when many are in memory, or those before it
    /// are not.
    pub fn arrive(&mut self, message: Message, journal: &Journal, most: usize) {
        let has_room = self.backlog.is_none() && self.visible.len() < most;
        if has_room || journal.forgets() {
            return self.show(message);
        }
        let mark = message.number.checked_sub(1);
        self.backlog.get_or_insert_with(|| Backlog { mark, ..Backlog::default() }).count += 1;
    }

    /// A message is in memory that the journal has got, whatever stands before it.
    pub fn went_ahead(&mut self, number: u64) {
        if let Some(backlog) = &mut self.backlog {
            backlog.ahead.insert(number);
        }
    }

    pub fn count_taken(&mut self, count: usize) {
        if let Some(backlog) = &mut self.backlog {
            backlog.taken += count;
        }
    }

    /// Whether memory has room for a page, or one is due: messages that come back again and again do not keep away those on disk.
    pub fn wants_more(&self, most: usize) -> bool {
        let is_due = self.backlog.as_ref().is_some_and(|backlog| backlog.taken >= PAGE);
        is_due || self.visible.len() < most
    }

    /// Whether there are visible messages.
    pub fn has_more(&self) -> bool {
        !self.visible.is_empty() || self.beyond() > 0
    }

    /// Brings back a page of what is on disk alone; whether there was any.
    pub fn bring_back(&mut self, queue: &str, journal: &Journal) -> bool {
        if self.visible.len() >= SEEN {
            return false;
        }
        let Some(Backlog { mark, count, mut ahead, .. }) = self.backlog.take() else { return false };
        let page = kept(queue, journal, (mark, PAGE));
        let (is_empty, is_full, last) =
            (page.is_empty(), page.len() == PAGE, page.last().map(|last| last.number));
        let back: Vec<Message> = page.into_iter().filter(|kept| !ahead.contains(&kept.number)).collect();
        if let Some(last) = last.filter(|_| is_full) {
            let count = count.saturating_sub(back.len());
            self.backlog =
                Some(Backlog { mark: Some(last), count, ahead: ahead.split_off(&(last + 1)), taken: 0 });
        }
        back.into_iter().for_each(|message| self.show(message));
        !is_empty
    }
}
