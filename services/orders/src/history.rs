//! An order's event rows read back as the facts they were: its state is their fold.

use crate::reactor::{ADDRESSED, news};
use crate::tracker::Fact;
use chassis::Failure;
use events::orders::{OrderCancelled, OrderCompensated, OrderConfirmed, OrderCreated};
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
        OrderConfirmed::TYPE => Fact::Confirmed { told: envelope.data()?, at },
        OrderCancelled::TYPE => Fact::Cancelled { told: envelope.data()?, at },
        OrderCompensated::TYPE => Fact::Compensated { told: envelope.data()?, at },
        _ => Fact::Learned { event_id: envelope.metadata.id, news: news(envelope)?, at },
    })
}
