//! An order's event rows read back as the facts they were: its state is their fold, now and at any earlier time.

use super::Saga;
use super::known::{ADDRESSED, Known, NUDGED, Noted, ParticipantEvent, RECONCILED};
use chassis::outbox::envelope_of;
use chassis::store::Item;
use chassis::{Decider, Failure, Loaded};
use chrono::{DateTime, Utc};
use events::{Envelope, Metadata, Unreadable};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The fact that an event row stands for.
///
/// # Errors
/// [`Unreadable`] for a row that orders never writes.
pub fn fact(envelope: &Envelope) -> Result<Noted, Unreadable> {
    let at = envelope.metadata.time;
    if let Some(own) = Known::read_own(envelope)? {
        return Ok(Noted::own(own, at));
    }
    Ok(match envelope.metadata.kind.as_str() {
        ADDRESSED => Noted::own(Known::Addressed(read(envelope, &envelope.data)?), at),
        NUDGED => Noted::own(Known::Nudged(read(envelope, &envelope.data["step"])?), at),
        RECONCILED => Noted::own(Known::Reconciled, at),
        _ => Noted::received(ParticipantEvent::read(envelope)?, envelope.metadata.id, at),
    })
}

fn read<T: DeserializeOwned>(envelope: &Envelope, data: &Value) -> Result<T, Unreadable> {
    let Metadata { kind, version, .. } = &envelope.metadata;
    let reason = |e: serde_json::Error| e.to_string();
    T::deserialize(data).map_err(|e| Unreadable::Data {
        kind: kind.clone(),
        version: *version,
        reason: reason(e),
    })
}

/// How far back to look: until whichever comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Until {
    /// Everything committed by this time.
    pub time: Option<DateTime<Utc>>,
    /// The first so many events.
    pub version: Option<u64>,
}

impl Until {
    fn includes(self, envelope: &Envelope) -> bool {
        self.time.is_none_or(|time| envelope.metadata.time <= time)
            && self.version.is_none_or(|version| envelope.metadata.seq <= version)
    }
}

/// The order as it was: the fold of its event rows, oldest first, up to there.
///
/// # Errors
/// As [`fact`].
pub fn fold(rows: &[Item], until: Until) -> Result<Loaded<Saga>, Failure> {
    let mut past = Loaded::<Saga>::default();
    for row in rows {
        let envelope = envelope_of(row)?;
        if !until.includes(&envelope) {
            break;
        }
        past.state = past.state.evolve(&fact(&envelope)?);
        past.seq = envelope.metadata.seq;
    }
    Ok(past)
}
