//! The spans of a process, until they are exported. A process that nobody collects from keeps none.

use crate::trace::TraceContext;
use chrono::{DateTime, Utc};
use std::sync::{Mutex, OnceLock, PoisonError};

/// The most spans that wait. Without a collector that answers, the newest are dropped: the work itself never waits for one.
const MOST: usize = 2048;

/// What a piece of work was towards others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It answered a request.
    Server,
    /// It reacted to an event.
    Consumer,
    /// It called somebody outside.
    Client,
}

/// A piece of work that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Its place.
    pub context: TraceContext,
    /// The span that led to it, of the same trace; none for the first.
    pub parent: Option<u64>,
    /// What it was towards others.
    pub kind: Kind,
    /// `process order.created`
    pub name: String,
    /// When it began.
    pub began: DateTime<Utc>,
    /// When it ended.
    pub ended: DateTime<Utc>,
    /// What it was about; never an event's data.
    pub attributes: Vec<(&'static str, String)>,
    /// Why it failed, by class.
    pub error: Option<&'static str>,
}

static WAITING: OnceLock<Mutex<Vec<Span>>> = OnceLock::new();

/// Begins to keep spans.
pub fn keep() {
    let _ = WAITING.set(Mutex::default());
}

/// Keeps a span, if somebody collects them and its trace is sampled.
pub fn record(span: impl FnOnce() -> Span) {
    let Some(waiting) = WAITING.get() else { return };
    let span = span();
    let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
    if span.context.is_sampled() && waiting.len() < MOST {
        waiting.push(span);
    }
}

/// The spans that wait, which are not kept any longer.
#[must_use]
pub fn take() -> Vec<Span> {
    let waiting = WAITING.get().map(|waiting| waiting.lock().unwrap_or_else(PoisonError::into_inner));
    waiting.map(|mut waiting| std::mem::take(&mut *waiting)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    /// Guards: nothing is kept before somebody collects, nothing that is not sampled, and never more than the limit.
    #[test]
    fn spans_wait_in_a_bounded_place() {
        let span = |flags: u8| Span {
            context: TraceContext { flags, ..TraceContext::of_request(Uuid::from_u128(1), None) },
            parent: None,
            kind: Kind::Server,
            name: "GET /health".into(),
            began: DateTime::UNIX_EPOCH,
            ended: DateTime::UNIX_EPOCH,
            attributes: Vec::new(),
            error: None,
        };
        record(|| panic!("nobody collects"));
        keep();
        record(|| span(0));
        assert!(take().is_empty());
        for _ in 0..=MOST {
            record(|| span(1));
        }
        assert_eq!((take().len(), take().len()), (MOST, 0));
    }
}
