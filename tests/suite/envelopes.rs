//! An envelope as it might arrive, for tests that need any.

use chrono::DateTime;
use events::{Envelope, EventId, Metadata};
use serde_json::Value;
use uuid::Uuid;

pub fn envelope(kind: &str, version: u32, producer: &str, data: Value) -> Envelope {
    let metadata = Metadata {
        id: EventId(Uuid::from_u128(11)),
        source: events::source_of(producer),
        kind: kind.to_owned(),
        version,
        subject: "018f2b9e-7c1a-7d3e-9f00-4b6a1c2d3e4f".to_owned(),
        seq: 1,
        time: DateTime::UNIX_EPOCH,
        correlation_id: Uuid::from_u128(12),
        causation_id: Uuid::from_u128(13),
        traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned(),
        replay: None,
        nudge: None,
    };
    Envelope { metadata, data }
}
