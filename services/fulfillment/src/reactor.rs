//! Which events fulfillment consumes and publishes, and how it calls the carrier.

use crate::carrier::Carrier;
use crate::shipment::{ADDRESS_FORGOTTEN, Fact, Message, Parcel, Shipment};
use crate::subscriptions::{Cancelled, Confirmed};
use chassis::audit::{Audited, Kind};
use chassis::keys::{Keys, NotOpened};
use chassis::outbox::OutboxEntry;
use chassis::{Aggregate, Attempt, Effects, Failure, Live, Reactor, Store, Verdict};
use events::fulfillment::{FulfillmentFailed, FulfillmentShipped};
use events::orders::{Destination, OrderCancelled, OrderConfirmed};
use events::{Envelope, OrderId, Unreadable};

impl Aggregate for Shipment {
    const SERVICE: &'static str = "fulfillment";

    fn event(fact: &Fact) -> Option<OutboxEntry> {
        match fact {
            Fact::Shipped(shipped) => Some(OutboxEntry::published(shipped)),
            Fact::Failed(failed) => Some(OutboxEntry::published(failed)),
            Fact::Started(_) | Fact::Tried | Fact::GivenUp { .. } | Fact::Closed => None,
        }
    }

    fn facts(&self, event: &Envelope) -> Result<Vec<Fact>, Unreadable> {
        if event.is::<FulfillmentShipped>() {
            return Ok(vec![Fact::Shipped(event.data()?)]);
        }
        if event.is::<FulfillmentFailed>() {
            return Ok(vec![Fact::Failed(event.data()?)]);
        }
        Err(event.not_consumed_by(Self::SERVICE))
    }

    fn visible(&self) -> String {
        let answer = match self {
            Self::Shipped => "shipped",
            Self::Failed => "failed",
            Self::Unknown | Self::Shipping { .. } | Self::Withdrawing { .. } | Self::Closed => "no answer",
        };
        answer.into()
    }

    fn starts_aggregate(message: &Message) -> bool {
        matches!(message, Message::Confirmed(_))
    }
}

impl Reactor for Shipment {
    fn read(envelope: &Envelope) -> Result<Message, Unreadable> {
        if envelope.is::<OrderConfirmed>() {
            let Confirmed { order_id, lines, shipping_address, sealed_address } = envelope.view()?;
            let address = Destination::of(sealed_address, shipping_address);
            return Ok(Message::Confirmed(Parcel { order_id, lines, address }));
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

/// What fulfillment asks of the carrier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// To take a parcel.
    Ship(Parcel),
    /// Never to take it, unless it has.
    Withdraw(OrderId),
}

/// Calls the carrier, for which it opens addresses.
pub struct Shipping<C, S> {
    pub carrier: C,
    pub keys: Keys<S>,
}

impl<C: Carrier, S: Store> Shipping<C, S> {
    /// Opens a parcel's address just before the call, so that no row ever has it. One that was forgotten meanwhile is the "no" of
    /// fulfillment itself.
    async fn ship(&self, parcel: &Parcel) -> Result<Message, Failure> {
        let address = match &parcel.address {
            None => return self.carrier.ship(parcel, None).await,
            Some(Destination::Clear(address)) => address.clone(),
            Some(Destination::Sealed { sealed_address }) => match self.keys.of(parcel.order_id).await? {
                None => return Ok(Message::Refused { code: ADDRESS_FORGOTTEN.to_owned() }),
                Some(key) => key.open(parcel.order_id, sealed_address).map_err(not_opened)?,
            },
        };
        self.carrier.ship(parcel, Some(&address)).await
    }
}

fn not_opened(error: NotOpened) -> Failure {
    Failure::Poison(error.to_string())
}

impl<C: Carrier, S: Store> Effects for Shipping<C, S> {
    type Reactor = Shipment;
    type Call = Call;

    fn pending_call(shipment: &Shipment) -> Option<Call> {
        match shipment {
            Shipment::Shipping { parcel, .. } => Some(Call::Ship(parcel.clone())),
            Shipment::Withdrawing { order_id, .. } => Some(Call::Withdraw(*order_id)),
            Shipment::Unknown | Shipment::Shipped | Shipment::Failed | Shipment::Closed => None,
        }
    }

    async fn perform(&self, call: Call, _attempt: Attempt, _live: Live) -> Result<Message, Failure> {
        match call {
            Call::Ship(parcel) => self.ship(&parcel).await,
            Call::Withdraw(order_id) => self.carrier.withdraw(order_id).await,
        }
    }
}

/// What an audit compares.
pub const AUDITED: Audited =
    Audited { kinds: &[Kind::by_events::<Shipment>("order")], views: &[], inbox: <Shipment as Reactor>::id };
