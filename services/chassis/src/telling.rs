//! From a fact to an event row: the row is the outbox and the event log at once.

use crate::{Failure, Item, Key};
use chrono::{DateTime, Utc};
use events::{Envelope, Event, EventId, MAX_EVENT_BYTES, Metadata, envelope::millis, source_of};
use serde_json::Value;
use uuid::Uuid;

/// Whether an event row is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The service's own fact: the pipe publishes it.
    Published,
    /// What it learned from another service: part of its history, never published again.
    Recorded,
}

impl Kind {
    /// The row's `kind`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Recorded => "recorded",
        }
    }
}

/// One entry for the event log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Published or recorded.
    pub kind: Kind,
    /// The event's type.
    pub event: String,
    /// The version of its shape.
    pub version: u32,
    /// Its data.
    pub data: Value,
    /// The service that told it.
    pub producer: String,
    /// For a recorded entry, the id of the event it came from.
    pub learned_from: Option<EventId>,
}

impl Entry {
    /// An event of this service.
    ///
    /// # Panics
    /// Never: event types hold no maps with keys that are not text.
    pub fn told<E: Event>(event: &E) -> Self {
        Self {
            kind: Kind::Published,
            event: E::TYPE.to_owned(),
            version: E::VERSION,
            data: serde_json::to_value(event).unwrap_or_default(),
            producer: E::PRODUCER.to_owned(),
            learned_from: None,
        }
    }

    /// An event of another service, as this one learned it.
    pub fn recorded<E: Event>(event: &E, from: EventId) -> Self {
        Self { kind: Kind::Recorded, learned_from: Some(from), ..Self::told(event) }
    }
}

/// What led to the facts about to be told, and so what their ids derive from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// The event reacted to, or the request.
    pub id: EventId,
    /// True for a request: its first fact takes a fresh id, `id` itself.
    pub is_request: bool,
    /// What led to the event reacted to; for a request, the request.
    pub origin: Uuid,
    /// The same for everything one request sets off.
    pub correlation_id: Uuid,
    /// W3C trace context, handed on.
    pub traceparent: String,
}

impl Cause {
    /// A request that just arrived; `fresh` is a UUIDv7.
    #[must_use]
    pub fn request(fresh: Uuid, correlation_id: Uuid, traceparent: Option<String>) -> Self {
        let traceparent = traceparent.unwrap_or_else(|| new_trace(correlation_id, fresh));
        Self { id: EventId(fresh), is_request: true, origin: correlation_id, correlation_id, traceparent }
    }

    /// What led to an entry: for what is told, the event or request reacted to; for what is recorded, whatever led
    /// to that event itself.
    const fn causation(&self, entry: &Entry) -> Uuid {
        if self.is_request || entry.learned_from.is_some() { self.origin } else { self.id.0 }
    }

    fn fact_id(&self, service: &str, ordinal: usize) -> EventId {
        if self.is_request && ordinal == 0 { self.id } else { EventId::derived(self.id, service, ordinal) }
    }
}

impl From<&Metadata> for Cause {
    fn from(metadata: &Metadata) -> Self {
        Self {
            id: metadata.id,
            is_request: false,
            origin: metadata.causation_id,
            correlation_id: metadata.correlation_id,
            traceparent: metadata.traceparent.clone(),
        }
    }
}

/// A sampled root trace: <https://www.w3.org/TR/trace-context/#traceparent-header>.
fn new_trace(trace: Uuid, span: Uuid) -> String {
    // The low half of a UUIDv7 is its random part; all-zero span ids are illegal, and it is never all zero.
    format!("00-{:032x}-{:016x}-01", trace.as_u128(), span.as_u64_pair().1)
}

/// The event rows for `entries` about one subject, numbered from `first_seq`.
///
/// # Errors
/// [`Failure::Poison`] when one is larger than [`MAX_EVENT_BYTES`].
pub fn event_rows(
    entries: &[Entry],
    (pk, subject): (&str, &str),
    first_seq: u64,
    (service, cause, now): (&str, &Cause, DateTime<Utc>),
) -> Result<Vec<Item>, Failure> {
    let mut rows = Vec::with_capacity(entries.len());
    for (ordinal, entry) in entries.iter().enumerate() {
        let data = entry.data.to_string();
        if data.len() > MAX_EVENT_BYTES {
            return Err(Failure::Poison(format!("{} is larger than {MAX_EVENT_BYTES} bytes", entry.event)));
        }
        let seq = first_seq.saturating_add(u64::try_from(ordinal).unwrap_or(u64::MAX));
        let id = entry.learned_from.unwrap_or_else(|| cause.fact_id(service, ordinal));
        rows.push(
            Item::new(Key::event(pk, seq))
                .with("kind", entry.kind.as_str())
                .with("id", id.to_string())
                .with("source", source_of(&entry.producer))
                .with("type", entry.event.as_str())
                .with("version", i64::from(entry.version))
                .with("subject", subject)
                .with("seq", i64::try_from(seq).unwrap_or(i64::MAX))
                .with("time", millis::text(&now))
                .with("correlation_id", cause.correlation_id.to_string())
                .with("causation_id", cause.causation(entry).to_string())
                .with("traceparent", cause.traceparent.as_str())
                .with("data", data),
        );
    }
    Ok(rows)
}

/// An event row read back.
///
/// # Errors
/// [`Failure::Poison`] when the row is not one.
pub fn envelope_of(row: &Item) -> Result<Envelope, Failure> {
    let missing = |name: &str| Failure::Poison(format!("{}: no usable {name:?}", row.key));
    let text = |name: &str| row.text(name).ok_or_else(|| missing(name));
    let uuid = |name: &str| text(name)?.parse::<Uuid>().map_err(|_| missing(name));
    let time = DateTime::parse_from_rfc3339(text("time")?).map_err(|_| missing("time"))?;
    let version = row.count("version").and_then(|n| u32::try_from(n).ok());
    Ok(Envelope {
        metadata: Metadata {
            id: EventId(uuid("id")?),
            source: text("source")?.to_owned(),
            kind: text("type")?.to_owned(),
            version: version.ok_or_else(|| missing("version"))?,
            subject: text("subject")?.to_owned(),
            seq: row.count("seq").ok_or_else(|| missing("seq"))?,
            time: time.with_timezone(&Utc),
            correlation_id: uuid("correlation_id")?,
            causation_id: uuid("causation_id")?,
            traceparent: text("traceparent")?.to_owned(),
            replay: None,
            nudge: None,
        },
        data: serde_json::from_str(text("data")?).map_err(|_| missing("data"))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn entry(size: usize) -> Entry {
        Entry {
            kind: Kind::Published,
            event: "order.created".into(),
            version: 1,
            data: json!({"note": "x".repeat(size)}),
            producer: "orders".into(),
            learned_from: None,
        }
    }

    fn rows(entries: &[Entry]) -> Result<Vec<Item>, Failure> {
        let cause = Cause::request(Uuid::from_u128(9), Uuid::from_u128(1), None);
        event_rows(entries, ("order#1", "1"), 4, ("orders", &cause, DateTime::UNIX_EPOCH))
    }

    /// Guards: rows are gapless from the given number, and the first fact of a request takes its fresh id.
    #[test]
    fn rows_are_numbered_without_gaps_and_read_back() {
        let rows = rows(&[entry(1), entry(2)]).unwrap();
        let back: Vec<Envelope> = rows.iter().map(|row| envelope_of(row).unwrap()).collect();
        assert_eq!(back.iter().map(|e| e.metadata.seq).collect::<Vec<_>>(), [4, 5]);
        assert_eq!(back[0].metadata.id, EventId(Uuid::from_u128(9)));
        assert_ne!(back[1].metadata.id, back[0].metadata.id);
    }

    /// Guards: the 64 KiB limit is checked before anything is committed.
    #[test]
    fn too_large_an_event_is_refused() {
        assert!(matches!(rows(&[entry(MAX_EVENT_BYTES)]), Err(Failure::Poison(_))));
    }
}
