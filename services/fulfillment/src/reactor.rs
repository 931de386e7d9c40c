//! Which events fulfillment consumes and publishes, and how it calls the carrier.

use crate::carrier::Carrier;
use crate::shipment::{Fact, Message, Parcel, Shipment};
use crate::subscriptions::{Cancelled, Confirmed};
use chassis::outbox::OutboxEntry;
use chassis::{Aggregate, Attempt, Effects, Failure, Reactor, Verdict};
use events::orders::{OrderCancelled, OrderConfirmed};
use events::{Envelope, Unreadable};

impl Aggregate for Shipment {
    const SERVICE: &'static str = "fulfillment";

    fn event(fact: &Fact) -> Option<OutboxEntry> {
        match fact {
            Fact::Shipped(shipped) => Some(OutboxEntry::published(shipped)),
            Fact::Failed(failed) => Some(OutboxEntry::published(failed)),
            Fact::Started(_) | Fact::Closed => None,
        }
    }

    fn starts_aggregate(message: &Message) -> bool {
        matches!(message, Message::Confirmed(_))
    }
}

impl Reactor for Shipment {
    fn read(envelope: &Envelope) -> Result<Message, Unreadable> {
        if envelope.is::<OrderConfirmed>() {
            let Confirmed { order_id, lines, shipping_address } = envelope.view()?;
            return Ok(Message::Confirmed(Parcel { order_id, lines, address: shipping_address }));
        }
        if envelope.is::<OrderCancelled>() {
            return envelope.view::<Cancelled>().map(|_| Message::Cancelled);
        }
        Err(envelope.not_consumed_by(Self::SERVICE))
    }

    fn verdict(&self, facts: &[Fact]) -> Verdict {
        if facts.contains(&Fact::Closed) { Verdict::Early } else { Verdict::Applied }
    }
}

/// What fulfillment asks of the carrier for a pending parcel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// To take it.
    Ship,
    /// To withdraw it, after so many attempts, unless it has taken it by now.
    GiveUp,
}

/// Calls the carrier.
pub struct Shipping<C> {
    pub carrier: C,
    pub effort: Effort,
}

impl<C: Carrier> Effects for Shipping<C> {
    type Reactor = Shipment;
    type Call = Parcel;

    fn pending_call(shipment: &Shipment) -> Option<Parcel> {
        shipment.pending_parcel().cloned()
    }

    async fn perform(&self, parcel: Parcel, _attempt: Attempt) -> Result<Message, Failure> {
        match self.effort {
            Effort::Ship => self.carrier.ship(&parcel).await,
            Effort::GiveUp => self.carrier.withdraw(parcel.order_id).await,
        }
    }
}
