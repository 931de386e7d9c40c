//! The part of a queue that lies on disk alone: what nobody reads does not grow in memory.
//!
//! A queue with a backlog has a mark. Every message up to the mark's number is in memory; those behind it are on disk, and come back
//! in their order, a page at a time, as memory has room. Only what was sent with a delay is in memory before its turn.

use super::fifo::{Place, WINDOW};
use super::queue::{Message, Queue, State};
use chrono::Utc;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::ControlFlow;

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

/// A message as the journal keeps it.
#[derive(Deserialize, Serialize)]
struct Kept<'a> {
    number: u64,
    id: Cow<'a, str>,
    body: Cow<'a, str>,
    sent_at: i64,
    receives: u32,
    place: Option<Cow<'a, Place>>,
}

impl Message {
    /// As the journal keeps it.
    pub(super) fn kept(&self) -> String {
        let Self { number, id, body, sent_at, receives, place } = self;
        let kept = Kept {
            number: *number,
            id: id.into(),
            body: Cow::Borrowed(body),
            sent_at: *sent_at,
            receives: *receives,
            place: place.as_ref().map(Cow::Borrowed),
        };
        // Texts and numbers can always be written.
        serde_json::to_string(&kept).unwrap_or_default()
    }

    /// One that the journal kept. One that cannot be read is said, and passed over.
    fn read(queue: &str, kept: &[u8]) -> Option<Self> {
        let kept = serde_json::from_slice::<Kept<'_>>(kept);
        let kept = kept.inspect_err(|error| tracing::error!("a message of {queue} cannot be read: {error}"));
        let Kept { number, id, body, sent_at, receives, place } = kept.ok()?;
        let (id, place) = (id.into_owned(), place.map(Cow::into_owned));
        Some(Self { number, id, body: body.into(), sent_at, receives, place })
    }
}

impl State {
    /// How many messages are on disk alone.
    pub(super) fn beyond(&self) -> usize {
        self.backlog.as_ref().map_or(0, |backlog| backlog.count)
    }

    /// Makes a message visible that the journal has got: in memory, or on disk alone when many are in memory, or those before it
    /// are not.
    pub(super) fn arrive(&mut self, message: Message, queue: &Queue) {
        let has_room = self.backlog.is_none() && self.visible.len() < queue.most_in_memory;
        if has_room || queue.journal.forgets() {
            return self.show(message);
        }
        let mark = message.number.checked_sub(1);
        self.backlog.get_or_insert_with(|| Backlog { mark, ..Backlog::default() }).count += 1;
    }

    /// A message is in memory that the journal has got, whatever stands before it.
    pub(super) fn went_ahead(&mut self, number: u64) {
        if let Some(backlog) = &mut self.backlog {
            backlog.ahead.insert(number);
        }
    }

    pub(super) fn count_taken(&mut self, count: usize) {
        if let Some(backlog) = &mut self.backlog {
            backlog.taken += count;
        }
    }

    /// Whether memory has room for a page, or one is due: messages that come back again and again do not keep away those on disk.
    pub(super) fn wants_more(&self, most: usize) -> bool {
        let is_due = self.backlog.as_ref().is_some_and(|backlog| backlog.taken >= PAGE);
        is_due || self.visible.len() < most
    }

    /// Whether there are visible messages.
    pub(super) fn has_more(&self) -> bool {
        !self.visible.is_empty() || self.beyond() > 0
    }

    /// Brings back a page of what is on disk alone; whether there was any.
    pub(super) fn bring_back(&mut self, queue: &Queue) -> bool {
        if self.visible.len() >= SEEN {
            return false;
        }
        let Some(Backlog { mark, count, mut ahead, .. }) = self.backlog.take() else { return false };
        let page = queue.kept(mark, PAGE);
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

impl Queue {
    /// The messages behind a number that the journal keeps, at most `limit`.
    fn kept(&self, after: Option<u64>, limit: usize) -> Vec<Message> {
        let mut kept = Vec::new();
        self.journal.visit_messages(&self.name, after, |message| {
            kept.extend(Message::read(&self.name, message));
            if kept.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        kept
    }

    /// Goes on with the messages that the journal kept.
    pub fn resume(&self) {
        let mut state = self.state();
        let page = self.kept(None, self.most_in_memory);
        let (mark, mut count) = (page.last().map(|last| last.number), 0);
        self.journal.visit_messages(&self.name, mark, |_| {
            count += 1;
            ControlFlow::Continue(())
        });
        state.backlog = (count > 0).then(|| Backlog { mark, count, ..Backlog::default() });
        page.into_iter().for_each(|message| state.show(message));
        self.remember(&mut state);
        drop(state);
        self.arrived.notify_one();
    }

    /// A FIFO queue knows the deduplication ids of the last minutes and the last sequence number again.
    fn remember(&self, state: &mut State) {
        let oldest = Utc::now().timestamp_millis() - WINDOW.num_milliseconds();
        let mut recent = Vec::new();
        self.journal.visit_last_messages(&self.name, |message| {
            let message = Message::read(&self.name, message).filter(|_| self.is_fifo);
            let is_recent = message.as_ref().is_some_and(|message| message.sent_at > oldest);
            recent.extend(message.and_then(|Message { id, sent_at, place, .. }| Some((id, sent_at, place?))));
            if is_recent { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        recent.iter().rev().for_each(|(id, sent_at, place)| state.fifo.restore(id, *sent_at, place));
    }
}
