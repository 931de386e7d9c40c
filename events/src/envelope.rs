//! The envelope around every event, CloudEvents-shaped, and how it is read back from the bus.

use crate::{Event, EventId, reading};
use chrono::{DateTime, SubsecRound, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use uuid::Uuid;

/// Serialises a time as RFC 3339 in UTC with exactly three decimals, so that texts sort as times do.
pub mod millis {
    use chrono::{DateTime, SecondsFormat, Utc};
    use serde::{Deserialize, Deserializer, Serializer};

    /// `2026-11-20T09:30:00.125Z`
    #[must_use]
    pub fn text(time: &DateTime<Utc>) -> String {
        time.to_rfc3339_opts(SecondsFormat::Millis, true)
    }

    /// For `#[serde(with = "millis")]`.
    ///
    /// # Errors
    /// Only those of the serializer.
    pub fn serialize<S: Serializer>(time: &DateTime<Utc>, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&text(time))
    }

    /// For `#[serde(with = "millis")]`.
    ///
    /// # Errors
    /// When the text is not RFC 3339.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<DateTime<Utc>, D::Error> {
        DateTime::<Utc>::deserialize(from)
    }
}

/// Marks an event that was published again from the log, and for whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Replay {
    /// The replay run.
    pub id: Uuid,
    /// The one consumer it is addressed to; absent: all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consumer: Option<String>,
}

/// Who said what, when, about what, because of what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Metadata {
    /// Consumers deduplicate on this, never on EventBridge's own `id`, which changes on every publication.
    pub id: EventId,
    /// `quadrille.<service>`
    pub source: String,
    /// The event's name: `order.created`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The version of the data's shape.
    pub version: u32,
    /// The order id, or the product id for catalogue facts.
    pub subject: String,
    /// Position in the producer's history of this subject, from 1. A row that the producer only recorded has a
    /// number too and is never published, so numbers may be missing on the bus: order by it, wait for none.
    pub seq: u64,
    /// When it was committed, UTC, to the millisecond.
    #[serde(with = "millis")]
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub time: DateTime<Utc>,
    /// The same for everything that one request set off.
    pub correlation_id: Uuid,
    /// The event (or, for a first fact, the request) that led to this one.
    pub causation_id: Uuid,
    /// W3C trace context.
    pub traceparent: String,
    /// Present only on a replayed event.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub replay: Option<Replay>,
    /// Present only on an event that the sweeper publishes again because an answer to it is missing: the number of the
    /// reminder, from 1. A consumer that knows the event already publishes its answer again.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub nudge: Option<u32>,
}

/// An event as it travels: EventBridge's `detail`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// Everything a rule may match on.
    pub metadata: Metadata,
    /// The fact itself, in the shape its schema gives.
    pub data: Value,
}

/// Why an envelope could not be read. Always poison: a later delivery of the same bytes fails the same way. It stands in
/// logs and dead letters, so it names the place and what was expected there, and repeats no value of the data.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// The bytes are not an envelope.
    #[error("not an event envelope: {0}")]
    Envelope(String),
    /// A type or version that the reader does not take.
    #[error("{consumer} does not consume {kind} v{version}")]
    NotConsumed {
        /// Who does not take it.
        consumer: &'static str,
        /// The event's type.
        kind: String,
        /// The event's version.
        version: u32,
    },
    /// The data does not have the shape its type promises.
    #[error("{kind} v{version}: {reason}")]
    Data {
        /// The event's type.
        kind: String,
        /// The event's version.
        version: u32,
        /// What the reader missed.
        reason: String,
    },
}

impl Metadata {
    /// What the subject is called in logs and traces: nearly every event is about an order.
    #[must_use]
    pub fn subject_name(&self) -> &'static str {
        match self.kind.as_str() {
            kind if kind.starts_with("product.") => "product_id",
            kind if kind.starts_with("payment.circuit.") => "provider",
            _ => "order_id",
        }
    }
}

impl Envelope {
    /// Reads a `detail`.
    ///
    /// # Errors
    /// [`Unreadable::Envelope`] when it is not one.
    pub fn read(mut detail: Value) -> Result<Self, Unreadable> {
        // The data is the bulk of it: moved, not copied.
        let data = detail.get_mut("data").map(Value::take);
        let mut envelope: Self = reading::read(&detail).map_err(|e| Unreadable::Envelope(e.to_string()))?;
        envelope.data = data.unwrap_or_default();
        if !envelope.data.is_object() {
            return Err(Unreadable::Envelope("data: expected an object".into()));
        }
        let about = envelope.data.get("order_id").and_then(Value::as_str);
        if about.is_some_and(|order_id| order_id != envelope.metadata.subject) {
            let reason = "its subject is another order than its data".to_owned();
            return Err(Unreadable::Envelope(reason));
        }
        Ok(envelope)
    }

    /// Whether this is an `E`.
    #[must_use]
    pub fn is<E: Event>(&self) -> bool {
        self.metadata.kind == E::TYPE && self.metadata.version == E::VERSION
    }

    /// The error of a service that does not take this type or version.
    #[must_use]
    pub fn not_consumed_by(&self, consumer: &'static str) -> Unreadable {
        let Metadata { kind, version, .. } = &self.metadata;
        Unreadable::NotConsumed { consumer, kind: kind.clone(), version: *version }
    }

    /// The data as `E`.
    ///
    /// # Errors
    /// [`Unreadable::Data`] when the fields are not those of `E`.
    pub fn data<E: Event>(&self) -> Result<E, Unreadable> {
        self.view()
    }

    /// The part of the data that a reader is interested in.
    ///
    /// # Errors
    /// [`Unreadable::Data`] when a field of the view is missing or is something else.
    pub fn view<V: DeserializeOwned>(&self) -> Result<V, Unreadable> {
        reading::read(&self.data).map_err(|e| Unreadable::Data {
            kind: self.metadata.kind.clone(),
            version: self.metadata.version,
            reason: e.to_string(),
        })
    }
}

/// `time` cut to the precision of the wire, so that what is kept and what is published are equal.
#[must_use]
pub fn to_millis(time: DateTime<Utc>) -> DateTime<Utc> {
    time.trunc_subsecs(3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn detail(data: &Value) -> Value {
        json!({"metadata": {
            "id": "018f0000-0000-7000-8000-000000000001", "source": "quadrille.inventory",
            "type": "product.counted", "version": 1, "subject": "beans", "seq": 1,
            "time": "2026-11-20T09:30:00.120Z", "correlation_id": "018f0000-0000-7000-8000-000000000002",
            "causation_id": "018f0000-0000-7000-8000-000000000003",
            "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        }, "data": data})
    }

    /// Guards: the bus has one shape: data is an object, version and seq are integers.
    #[test]
    fn texts_in_the_place_of_objects_and_numbers_are_refused() {
        let object = json!({"product_id": "beans", "available": 3, "held": 0});
        assert!(Envelope::read(detail(&object)).is_ok());
        let refused = |change: fn(&mut Value)| {
            let mut detail = detail(&object);
            change(&mut detail);
            assert!(matches!(Envelope::read(detail), Err(Unreadable::Envelope(_))));
        };
        refused(|detail| detail["data"] = detail["data"].to_string().into());
        refused(|detail| detail["data"] = Value::Null);
        refused(|detail| detail["metadata"]["seq"] = "1".into());
        refused(|detail| detail["metadata"]["version"] = "1".into());
    }

    /// Guards: an event is filed under the order it is about.
    #[test]
    fn subject_and_order_id_have_to_agree() {
        let data = json!({"order_id": "018f0000-0000-7000-8000-00000000000f", "lines": []});
        assert!(matches!(Envelope::read(detail(&data)), Err(Unreadable::Envelope(_))));
    }

    #[test]
    fn an_envelope_round_trips_to_the_byte() {
        let detail = detail(&json!({"product_id": "beans", "available": 3, "held": 0}));
        let back = serde_json::to_value(Envelope::read(detail.clone()).unwrap()).unwrap();
        assert_eq!(back.to_string(), detail.to_string());
    }

    #[test]
    fn unknown_fields_are_ignored_and_missing_ones_named() {
        let extra = json!({"product_id": "beans", "available": 3, "held": 0, "colour": "brown"});
        assert!(Envelope::read(detail(&extra)).unwrap().data::<crate::inventory::ProductCounted>().is_ok());
        let short = json!({"product_id": "beans", "available": 3});
        let error = Envelope::read(detail(&short)).unwrap().data::<crate::inventory::ProductCounted>();
        assert!(error.unwrap_err().to_string().contains("held"));
    }
}
