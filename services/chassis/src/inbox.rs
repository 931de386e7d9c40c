//! The inbox: rows by which an aggregate remembers every event that was delivered to it, and the verdict on it. An event
//! whose inbox row is there is a duplicate. A delivery that failed leaves a note of why instead.

use crate::decider::Refusal;
use crate::failure::Failure;
use crate::ports::Ports;
use crate::store::{AggregateId, CommitError, Condition, Item, Key, Store, Write};
use chrono::{DateTime, Duration, Utc};
use events::{EventId, Metadata, envelope::millis};

/// How long an inbox row is kept. Longer than any queue keeps a message; afterwards the state itself refuses what it
/// already knows.
pub const INBOX_DAYS: i64 = 7;
/// How long the note of a failed delivery is kept: as long as a dead-letter queue keeps the message.
const FAILURE_DAYS: i64 = 14;
/// The counter of an inbox row: how often the event was delivered again.
const DUPLICATES: &str = "duplicates";

/// What a delivery came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verdict {
    /// It changed the aggregate, or the aggregate took note of it.
    Applied,
    /// The inbox has it already.
    Duplicate,
    /// It came before the event that it depends on, and is remembered.
    Early,
    /// It came after the order was cancelled, and is being undone.
    LateCompensated,
    /// The state is past it.
    Stale,
    /// It makes no sense in this state.
    Refused,
    /// It and the state cannot both be true. It changes nothing, and an alarm sounds.
    Contradicted,
    /// It is of a newer version than the service knows; the older one is published beside it.
    NewerVersion,
    /// It comes from a replay, and the service acts outside: it may do that on live events only. It changes nothing.
    Replayed,
}

impl Verdict {
    /// As it stands in inbox rows, logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Duplicate => "duplicate",
            Self::Early => "early",
            Self::LateCompensated => "late_compensated",
            Self::Stale => "stale",
            Self::Refused => "refused",
            Self::Contradicted => "contradicted",
            Self::NewerVersion => "newer_version",
            Self::Replayed => "replayed",
        }
    }
}

impl From<Refusal> for Verdict {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Stale(_) => Self::Stale,
            Refusal::Illegal(_) => Self::Refused,
            Refusal::Contradicted(_) => Self::Contradicted,
        }
    }
}

/// The inbox row of an event. Its condition makes the transaction fail when the event was delivered before.
#[must_use]
pub fn inbox_row(metadata: &Metadata, pk: &str, verdict: Verdict, now: DateTime<Utc>) -> Write {
    let mut item = Item::new(Key::inbox(pk, metadata.id))
        .with("verdict", verdict.as_str())
        .with("event_id", metadata.id.to_string())
        .with("type", metadata.kind.as_str())
        .with("time", millis::text(&metadata.time))
        .with("at", millis::text(&now))
        .with(DUPLICATES, 0)
        .with("expires_at", (now + Duration::days(INBOX_DAYS)).timestamp());
    // Where the partition does not say what the event is about, the audit could not find it.
    if !pk.ends_with(&metadata.subject) {
        let seq = i64::try_from(metadata.seq).unwrap_or(i64::MAX);
        item = item.with("subject", metadata.subject.as_str()).with("seq", seq);
    }
    Write::Put { item, when: Condition::Absent }
}

/// Remembers a delivery that changes nothing else; a duplicate is counted.
///
/// # Errors
/// A [`Failure`] when the store does not answer.
pub async fn settle<S: Store>(
    ports: &Ports<S>,
    metadata: &Metadata,
    id: &AggregateId,
    verdict: Verdict,
) -> Result<Verdict, Failure> {
    let row = inbox_row(metadata, &id.pk, verdict, ports.clock.now());
    match ports.commit_alone(row).await {
        Ok(()) => Ok(verdict),
        Err(CommitError::Rejected(_)) => duplicate(ports, metadata, id).await,
        Err(error) => Err(error.into()),
    }
}

/// Counts one more delivery of a known event, for the timeline.
///
/// # Errors
/// A [`Failure`] when the store does not answer.
pub async fn duplicate<S: Store>(
    ports: &Ports<S>,
    metadata: &Metadata,
    id: &AggregateId,
) -> Result<Verdict, Failure> {
    let again = Write::Adjust { key: Key::inbox(&id.pk, metadata.id), by: vec![(DUPLICATES, 1)] };
    match ports.commit_alone(again).await {
        // Rejected: TTL has deleted the row in this moment, and with it the count.
        Ok(()) | Err(CommitError::Rejected(_)) => Ok(Verdict::Duplicate),
        Err(error) => Err(error.into()),
    }
}

/// The verdict on a replayed event of a service that must not act on one: known, or left alone. It leaves no row, so that
/// the same event is still news when it is published live.
///
/// # Errors
/// A [`Failure`] when the store does not answer.
pub async fn leave_alone<S: Store>(
    ports: &Ports<S>,
    metadata: &Metadata,
    id: &AggregateId,
) -> Result<Verdict, Failure> {
    match ports.store.load(&Key::inbox(&id.pk, metadata.id)).await? {
        Some(_) => duplicate(ports, metadata, id).await,
        None => Ok(Verdict::Replayed),
    }
}

/// The row that says why the last delivery of an event failed.
#[must_use]
pub fn failure_key(event: EventId) -> Key {
    Key::new(format!("failure#{event}"), "failure")
}

/// How long a note may take. A table that hung before may hang again, and the function has to answer.
const NOTE: std::time::Duration = std::time::Duration::from_millis(400);

/// Keeps why a delivery failed, for the operator who finds the message in a dead-letter queue.
pub async fn note_failure<S: Store>(ports: &Ports<S>, metadata: &Metadata, failure: &Failure) {
    let now = ports.clock.now();
    let item = Item::new(failure_key(metadata.id))
        .with("type", metadata.kind.as_str())
        .with("subject", metadata.subject.as_str())
        .with("reason", failure.to_string())
        .with("at", millis::text(&now))
        .with("failed_at", now.timestamp_millis())
        .with("expires_at", (now + Duration::days(FAILURE_DAYS)).timestamp());
    let when = Condition::Newer("failed_at", now.timestamp_millis());
    let noted = tokio::time::timeout(NOTE, ports.store.commit(vec![Write::Put { item, when }]));
    let reason = match noted.await {
        // Rejected: another delivery of the event failed later than this one.
        Ok(Ok(()) | Err(CommitError::Rejected(_))) => return,
        Ok(Err(error)) => error.to_string(),
        Err(_) => "the table did not answer".to_owned(),
    };
    // The table itself may be what failed. The log has the reason in any case.
    tracing::warn!(reason, "a failure could not be noted");
}
