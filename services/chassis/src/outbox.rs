//! The transactional outbox: facts become event rows in the transaction of the state, and the pipe publishes those rows.
//! The rows are the event log at the same time; no service ever changes or deletes one.

use crate::digest::sealed;
use crate::failure::Failure;
use crate::store::{AggregateId, EVENTS, Item, Key, Store, every_row};
use crate::trace::TraceContext;
use chrono::{DateTime, Utc};
use events::{Envelope, Event, EventId, MAX_EVENT_BYTES, Metadata, envelope::millis, source_of};
use serde_json::Value;
use uuid::Uuid;

/// Whether the pipe publishes an event row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// The service's own fact.
    Published,
    /// What the service keeps in its history only: events of other services, and private facts.
    Recorded,
}

impl EntryKind {
    /// The row's `kind`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Recorded => "recorded",
        }
    }

    /// Whether a row is of this kind.
    #[must_use]
    pub fn is_of(self, row: &Item) -> bool {
        row.text("kind") == Some(self.as_str())
    }
}

/// One entry for the event log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxEntry {
    /// Whether the pipe publishes it.
    pub kind: EntryKind,
    /// The event's type.
    pub event: String,
    /// The version of its shape.
    pub version: u32,
    /// Its data, an object.
    pub data: Value,
    /// The service that published it.
    pub producer: String,
    /// For an event of another service, its id.
    pub learned_from: Option<EventId>,
}

impl OutboxEntry {
    /// An event of this service.
    pub fn published<E: Event>(event: &E) -> Self {
        Self {
            kind: EntryKind::Published,
            event: E::TYPE.to_owned(),
            version: E::VERSION,
            // An event that JSON cannot hold becomes null, which `event_rows` refuses.
            data: serde_json::to_value(event).unwrap_or_default(),
            producer: E::PRODUCER.to_owned(),
            learned_from: None,
        }
    }

    /// An event of another service, as this one learned it.
    pub fn recorded<E: Event>(event: &E, from: EventId) -> Self {
        Self { kind: EntryKind::Recorded, learned_from: Some(from), ..Self::published(event) }
    }

    /// A fact of `service` that stays in its history.
    pub fn private(service: &str, event: &str, data: Value) -> Self {
        Self {
            kind: EntryKind::Recorded,
            event: event.to_owned(),
            version: 1,
            data,
            producer: service.to_owned(),
            learned_from: None,
        }
    }
}

/// What led to the facts of a commit; the ids of their events derive from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A request. Its first fact takes the fresh id.
    Request {
        /// A fresh UUIDv7.
        fresh: EventId,
        /// The request's own id, the same for everything that it sets off.
        correlation_id: Uuid,
        /// Its span.
        span: TraceContext,
    },
    /// An event that the service reacts to.
    Event {
        /// Its id.
        id: EventId,
        /// What led to it.
        causation_id: Uuid,
        /// The id of the request that set everything off.
        correlation_id: Uuid,
        /// The W3C trace context that it came with.
        traceparent: String,
    },
}

impl Cause {
    /// A request that just arrived, perhaps in the trace of its client; `fresh` is a UUIDv7.
    #[must_use]
    pub fn request(fresh: Uuid, correlation_id: Uuid, client: Option<TraceContext>) -> Self {
        let span = TraceContext::of_request(correlation_id, client);
        Self::Request { fresh: EventId(fresh), correlation_id, span }
    }

    /// The id of the request that set everything off.
    #[must_use]
    pub const fn correlation_id(&self) -> Uuid {
        match self {
            Self::Request { correlation_id, .. } | Self::Event { correlation_id, .. } => *correlation_id,
        }
    }

    /// The span of the service's work on it.
    #[must_use]
    pub fn span(&self, service: &str) -> TraceContext {
        match self {
            Self::Request { span, .. } => *span,
            Self::Event { id, correlation_id, traceparent, .. } => {
                let parent = traceparent.parse();
                let parent = parent.unwrap_or_else(|_| TraceContext::of_request(*correlation_id, None));
                parent.of_reaction(service, *id)
            }
        }
    }

    /// The trace context of an entry: the span in which its event was published.
    fn traceparent(&self, service: &str, entry: &OutboxEntry) -> String {
        match self {
            Self::Event { traceparent, .. } if entry.learned_from.is_some() => traceparent.clone(),
            _ => self.span(service).to_string(),
        }
    }

    /// What led to an entry: for an event of this service, the event or request that it reacted to; for an event of
    /// another service, what led to that event.
    const fn causation(&self, entry: &OutboxEntry) -> Uuid {
        match self {
            Self::Request { correlation_id, .. } => *correlation_id,
            Self::Event { causation_id, .. } if entry.learned_from.is_some() => *causation_id,
            Self::Event { id, .. } => id.0,
        }
    }

    /// The id of the fact number `ordinal` of a commit, whose entry in the log of `pk` has the number `seq`.
    fn fact_id(&self, service: &str, pk: &str, (seq, ordinal): (u64, usize)) -> EventId {
        match self {
            Self::Request { fresh, .. } if ordinal == 0 => *fresh,
            Self::Request { fresh: id, .. } | Self::Event { id, .. } => {
                EventId::derived(*id, service, pk, seq)
            }
        }
    }
}

impl From<&Metadata> for Cause {
    fn from(metadata: &Metadata) -> Self {
        Self::Event {
            id: metadata.id,
            causation_id: metadata.causation_id,
            correlation_id: metadata.correlation_id,
            traceparent: metadata.traceparent.clone(),
        }
    }
}

/// Why and when facts are committed.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// What led to them.
    pub cause: &'a Cause,
    /// When.
    pub now: DateTime<Utc>,
}

/// The event rows for `entries` of one aggregate, numbered from `first_seq`.
///
/// # Errors
/// [`Failure::Poison`] when one's data is no object, or has more than [`MAX_EVENT_BYTES`].
pub fn event_rows(
    service: &str,
    entries: &[OutboxEntry],
    id: &AggregateId,
    first_seq: u64,
    context: &Context<'_>,
) -> Result<Vec<Item>, Failure> {
    let places = (first_seq..).zip(0..);
    places.zip(entries).map(|(place, entry)| event_row(service, entry, id, place, context)).collect()
}

fn event_row(
    service: &str,
    entry: &OutboxEntry,
    id: &AggregateId,
    place: (u64, usize),
    Context { cause, now }: &Context<'_>,
) -> Result<Item, Failure> {
    let data = entry.data.to_string();
    if !entry.data.is_object() || data.len() > MAX_EVENT_BYTES {
        let rule =
            format!("{} must have an object of at most {MAX_EVENT_BYTES} bytes as its data", entry.event);
        return Err(Failure::Poison(rule));
    }
    let event_id = entry.learned_from.unwrap_or_else(|| cause.fact_id(service, &id.pk, place));
    let row = Item::new(Key::event(&id.pk, place.0))
        .with("kind", entry.kind.as_str())
        .with("id", event_id.to_string())
        .with("source", source_of(&entry.producer))
        .with("type", entry.event.as_str())
        .with("version", i64::from(entry.version))
        .with("subject", id.subject.as_str())
        .with("seq", i64::try_from(place.0).unwrap_or(i64::MAX))
        .with("time", millis::text(now))
        .with("correlation_id", cause.correlation_id().to_string())
        .with("causation_id", cause.causation(entry).to_string())
        .with("traceparent", cause.traceparent(service, entry))
        .with("data", data);
    Ok(sealed(row, &[]))
}

/// The last event of this type that the aggregate published; of any type when `kind` is none.
///
/// # Errors
/// A [`Failure`] when the store does not answer.
pub async fn last_published<S: Store>(
    store: &S,
    id: &AggregateId,
    kind: Option<&str>,
) -> Result<Option<Envelope>, Failure> {
    let rows = every_row(store, &id.pk, EVENTS).await?;
    let mut published = rows.iter().filter(|row| EntryKind::Published.is_of(row));
    let last = published.rfind(|row| kind.is_none() || row.text("type") == kind);
    last.map(envelope_of).transpose()
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
        data: serde_json::from_str(text("data")?)
            .ok()
            .filter(Value::is_object)
            .ok_or_else(|| missing("data"))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn entry(size: usize) -> OutboxEntry {
        OutboxEntry {
            kind: EntryKind::Published,
            event: "order.created".into(),
            version: 1,
            data: json!({"note": "x".repeat(size)}),
            producer: "orders".into(),
            learned_from: None,
        }
    }

    fn rows(entries: &[OutboxEntry]) -> Result<Vec<Item>, Failure> {
        let cause = Cause::request(Uuid::from_u128(9), Uuid::from_u128(1), None);
        let context = Context { cause: &cause, now: DateTime::UNIX_EPOCH };
        event_rows("orders", entries, &AggregateId::new("order", 1), 4, &context)
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
