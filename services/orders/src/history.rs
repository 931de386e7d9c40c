//! An order's event rows read back as the facts they were: its state is their fold, now and at any earlier time.

use crate::deadlines::{Nudge, Step};
use crate::reactor::{ADDRESSED, NUDGED, news};
use crate::tracker::{self, Fact, Order};
use chassis::reaction::Loaded;
use chassis::telling::envelope_of;
use chassis::{Failure, Item};
use chrono::{DateTime, Utc};
use events::orders::{
    OrderCancelled, OrderCompensated, OrderConfirmed, OrderCreated, OrderFailed, OrderFulfilled,
};
use events::{Envelope, Event};

/// The fact that an event row stands for.
///
/// # Errors
/// [`Failure::Poison`] for a row that orders never writes.
pub fn fact(envelope: &Envelope) -> Result<Fact, Failure> {
    let at = envelope.metadata.time;
    Ok(match envelope.metadata.kind.as_str() {
        OrderCreated::TYPE => Fact::Created { order: envelope.data()?, at },
        ADDRESSED => {
            let address = serde_json::from_value(envelope.data.clone());
            Fact::Addressed(address.map_err(|e| Failure::Poison(format!("{ADDRESSED}: {e}")))?)
        }
        NUDGED => {
            let step = serde_json::from_value::<Step>(envelope.data["step"].clone());
            let step = step.map_err(|e| Failure::Poison(format!("{NUDGED}: {e}")))?;
            Fact::Nudged(Nudge { step, at })
        }
        OrderConfirmed::TYPE => Fact::Confirmed { told: envelope.data()?, at },
        OrderFulfilled::TYPE => Fact::Fulfilled { told: envelope.data()?, at },
        OrderCancelled::TYPE => Fact::Cancelled { told: envelope.data()?, at },
        OrderCompensated::TYPE => Fact::Compensated { told: envelope.data()?, at },
        OrderFailed::TYPE => Fact::Failed { told: envelope.data()?, at },
        _ => Fact::Learned { event_id: envelope.metadata.id, news: news(envelope)?, at },
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
pub fn fold(rows: &[Item], until: Until) -> Result<Loaded<Order>, Failure> {
    let mut known = Loaded::<Order>::default();
    for row in rows {
        let envelope = envelope_of(row)?;
        if !until.includes(&envelope) {
            break;
        }
        known.state = tracker::evolve(known.state, &fact(&envelope)?);
        known.seq = envelope.metadata.seq;
    }
    Ok(known)
}
