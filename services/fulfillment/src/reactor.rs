//! How shipping maps to what fulfillment takes, tells and calls.

use crate::shipping::{self, Fact, Message, Parcel, Shipment};
use crate::subscriptions::{Cancelled, Confirmed};
use chassis::telling::Entry;
use chassis::{Core, Failure, Reactor, Verdict};
use events::fulfillment::{FulfillmentFailed, FulfillmentShipped};
use events::orders::{OrderCancelled, OrderConfirmed};
use events::{Envelope, OrderId, Unreadable};
use std::future::Future;

/// The carrier, as far as fulfillment calls it. Both answer [`Message::Taken`] or [`Message::Refused`].
pub trait Carrier: Send + Sync + 'static {
    /// Has a parcel carried. It is known by its order: the call may be repeated and ships once.
    fn ship(&self, parcel: &Parcel) -> impl Future<Output = Result<Message, Failure>> + Send;

    /// Makes sure that an order's parcel will never be taken, not even by a call that is still on its way; says so, or
    /// that it has been taken already.
    fn withdraw(&self, order_id: OrderId) -> impl Future<Output = Result<Message, Failure>> + Send;
}

/// How a due parcel is dealt with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// The carrier is asked to take it.
    Ship,
    /// It was asked often enough: whatever it has not taken by now is withdrawn.
    GiveUp,
}

/// Fulfillment's reaction.
pub struct Fulfillment<C> {
    /// Who carries.
    pub carrier: C,
    /// Whether it still is asked to.
    pub effort: Effort,
}

impl<C: Carrier> Reactor for Fulfillment<C> {
    const SERVICE: &'static str = "fulfillment";
    type State = Shipment;
    type Message = Message;
    type Fact = Fact;
    type Call = Parcel;
    const CORE: Core<Self::State, Message, Fact> =
        Core { decide: shipping::decide, evolve: shipping::evolve };

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

    fn opens(message: &Message) -> bool {
        matches!(message, Message::Confirmed(_))
    }

    fn tell(fact: &Fact) -> Option<Entry> {
        match fact.clone() {
            Fact::Shipped { order_id, carrier, tracking_number } => {
                Some(Entry::told(&FulfillmentShipped { order_id, carrier, tracking_number }))
            }
            Fact::Failed { order_id, code } => Some(Entry::told(&FulfillmentFailed { order_id, code })),
            Fact::Started(_) | Fact::Closed => None,
        }
    }

    fn verdict(before: &Shipment, facts: &[Fact]) -> Verdict {
        match (before, facts) {
            (Shipment::Unknown, [Fact::Closed]) => Verdict::Early,
            _ => Verdict::Applied,
        }
    }

    fn due_call(state: &Shipment) -> Option<Parcel> {
        shipping::due(state).cloned()
    }

    async fn perform(&self, parcel: Parcel, _first: bool) -> Result<Message, Failure> {
        match self.effort {
            Effort::Ship => self.carrier.ship(&parcel).await,
            Effort::GiveUp => self.carrier.withdraw(parcel.order_id).await,
        }
    }
}
