//! The parcel of one order: the pure core.
//!
//! Fulfillment commits the intent to ship before it calls the carrier, so that a crash in between leaves a state that says
//! "the carrier may have it". The carrier's answer comes back as a message.
//!
//! Each call is counted in the state before it is made. After [`MAX_TRIES`] without an answer fulfillment gives up, and
//! withdraws the parcel before it says so. How often a message was received does not matter: a receive that was throttled,
//! or failed at the table, asked the carrier nothing.

use chassis::{Decider, Refusal};
use chrono::{DateTime, Utc};
use events::OrderId;
use events::fulfillment::{FulfillmentFailed, FulfillmentShipped};
use events::inventory::StockLine;
use events::orders::Destination;
use serde::{Deserialize, Serialize};

/// A parcel: its contents and its destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parcel {
    pub order_id: OrderId,
    pub lines: Vec<StockLine>,
    /// Absent: the customer fetches it. Personal data: kept only until the parcel has left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Destination>,
}

/// After so many calls without an answer, half a minute apart, fulfillment gives a parcel up.
pub const MAX_TRIES: u32 = 20;
/// The code of an order that was given up because the carrier could not be reached.
pub const UNAVAILABLE: &str = "carrier_unavailable";

/// The code of an order whose address was forgotten before the carrier had it.
pub const ADDRESS_FORGOTTEN: &str = "address_forgotten";

/// What fulfillment knows about an order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "stage", rename_all = "snake_case")]
pub enum Shipment {
    /// Nothing.
    #[default]
    Unknown,
    /// The intent is committed: the carrier may have the parcel.
    Shipping {
        #[serde(flatten)]
        parcel: Parcel,
        /// How many calls were begun.
        #[serde(default = "one")]
        tries: u32,
    },
    /// It is not to be carried any more, for this reason; but an earlier call may have reached the carrier.
    Withdrawing { order_id: OrderId, code: String },
    /// The carrier has it.
    Shipped,
    /// The carrier will not take it, and has nothing of it.
    Failed,
    /// Cancelled before it was confirmed.
    Closed,
}

/// A parcel of before tries were counted may have been called for.
const fn one() -> u32 {
    1
}

/// What fulfillment decides on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// An order was confirmed.
    Confirmed(Parcel),
    /// An order was cancelled.
    Cancelled,
    /// The carrier took the parcel.
    Taken { carrier: String, tracking_number: String },
    /// The carrier does not take it. It may have taken it at an earlier call.
    Refused { code: String },
    /// It was withdrawn: the carrier has not taken it, and never will.
    Withdrawn,
}

/// What fulfillment decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// Fulfillment is about to call the carrier.
    Started(Parcel),
    /// Fulfillment is about to call it once more.
    Tried,
    /// Fulfillment is about to withdraw it.
    GivenUp {
        code: String,
    },
    Shipped(FulfillmentShipped),
    Failed(FulfillmentFailed),
    /// The order was cancelled before anything was shipped.
    Closed,
}

impl Decider for Shipment {
    type Message = Message;
    type Fact = Fact;

    fn decide(&self, message: &Message, _now: DateTime<Utc>) -> Result<Vec<Fact>, Refusal> {
        match (self, message) {
            (Self::Unknown, Message::Confirmed(parcel)) => Ok(vec![Fact::Started(parcel.clone())]),
            (Self::Unknown, Message::Cancelled) => Ok(vec![Fact::Closed]),
            (Self::Shipping { parcel, tries }, message) => shipping(parcel, *tries, message),
            (Self::Withdrawing { order_id, code }, message) => withdrawing(*order_id, code, message),
            // Orders cancels a confirmed order only after fulfillment has published that it failed.
            (Self::Shipped, Message::Cancelled) => Err(PAST_THE_PIVOT),
            // Fulfillment has published its "no", and there is nothing to undo.
            (Self::Failed, Message::Cancelled) => Ok(Vec::new()),
            (Self::Closed, _) => Err(Refusal::Stale("cancelled")),
            (Self::Unknown, _) => Err(Refusal::Illegal("an answer without a parcel")),
            (Self::Shipped | Self::Failed, _) => Err(Refusal::Stale("already answered")),
        }
    }

    fn evolve(self, fact: &Fact) -> Self {
        match fact {
            Fact::Started(parcel) => Self::Shipping { parcel: parcel.clone(), tries: 1 },
            Fact::Tried => self.tried(),
            Fact::GivenUp { code } => self.given_up(code),
            Fact::Shipped(_) => Self::Shipped,
            Fact::Failed(_) => Self::Failed,
            Fact::Closed => Self::Closed,
        }
    }
}

impl Shipment {
    fn tried(self) -> Self {
        match self {
            Self::Shipping { parcel, tries } => Self::Shipping { parcel, tries: tries.saturating_add(1) },
            before => before,
        }
    }

    fn given_up(self, code: &str) -> Self {
        match self {
            Self::Shipping { parcel, .. } => {
                Self::Withdrawing { order_id: parcel.order_id, code: code.to_owned() }
            }
            before => before,
        }
    }
}

const PAST_THE_PIVOT: Refusal = Refusal::Illegal("past the pivot");

/// What follows while the carrier may have the parcel.
fn shipping(parcel: &Parcel, tries: u32, message: &Message) -> Result<Vec<Fact>, Refusal> {
    let order_id = parcel.order_id;
    match message {
        Message::Confirmed(_) if tries < MAX_TRIES => Ok(vec![Fact::Tried]),
        Message::Confirmed(_) => Ok(vec![Fact::GivenUp { code: UNAVAILABLE.to_owned() }]),
        // The answer to the only call is the last word. Any other may hide that an earlier one, whose answer was lost, was
        // taken.
        Message::Refused { code } if tries <= 1 => Ok(vec![failed(order_id, code)]),
        Message::Refused { code } => Ok(vec![Fact::GivenUp { code: code.clone() }]),
        Message::Withdrawn => Ok(vec![failed(order_id, UNAVAILABLE)]),
        Message::Taken { carrier, tracking_number } => Ok(vec![shipped(order_id, carrier, tracking_number)]),
        Message::Cancelled => Err(PAST_THE_PIVOT),
    }
}

/// What follows until it is certain that the carrier has it or never will.
fn withdrawing(order_id: OrderId, code: &str, message: &Message) -> Result<Vec<Fact>, Refusal> {
    match message {
        // Delivered again, or the answer to an older call: the withdrawal is still pending.
        Message::Confirmed(_) | Message::Refused { .. } => Ok(Vec::new()),
        Message::Withdrawn => Ok(vec![failed(order_id, code)]),
        Message::Taken { carrier, tracking_number } => Ok(vec![shipped(order_id, carrier, tracking_number)]),
        Message::Cancelled => Err(PAST_THE_PIVOT),
    }
}

fn shipped(order_id: OrderId, carrier: &str, tracking_number: &str) -> Fact {
    let (carrier, tracking_number) = (carrier.to_owned(), tracking_number.to_owned());
    Fact::Shipped(FulfillmentShipped { order_id, carrier, tracking_number })
}

fn failed(order_id: OrderId, code: &str) -> Fact {
    Fact::Failed(FulfillmentFailed { order_id, code: code.to_owned() })
}

#[cfg(test)]
mod specs {
    use super::*;
    use events::orders::SealedAddress;
    use serde_json::json;
    use uuid::Uuid;

    type Spec = chassis::spec::Spec<Shipment>;

    const ANSWERED: Refusal = Refusal::Stale("already answered");

    fn order_id() -> OrderId {
        OrderId(Uuid::from_u128(1))
    }

    fn parcel() -> Parcel {
        let sealed_address = SealedAddress("TjEgQnlyb24=".into());
        let address = Destination::Sealed { sealed_address };
        let lines = vec![StockLine { product_id: "beans".parse().unwrap(), quantity: 2 }];
        Parcel { order_id: order_id(), lines, address: Some(address) }
    }

    fn confirmed() -> Message {
        Message::Confirmed(parcel())
    }

    fn taken() -> Message {
        Message::Taken { carrier: "Parcels".into(), tracking_number: "P1".into() }
    }

    fn refused() -> Message {
        Message::Refused { code: "prohibited_goods".into() }
    }

    fn started() -> Fact {
        Fact::Started(parcel())
    }

    fn given_up(code: &str) -> Fact {
        Fact::GivenUp { code: code.into() }
    }

    fn shipped() -> Fact {
        Fact::Shipped(FulfillmentShipped {
            order_id: order_id(),
            carrier: "Parcels".into(),
            tracking_number: "P1".into(),
        })
    }

    fn failed() -> Fact {
        Fact::Failed(FulfillmentFailed { order_id: order_id(), code: "prohibited_goods".into() })
    }

    #[test]
    fn a_confirmed_order_is_shipped_once() {
        Spec::given([]).when(confirmed()).then([started()]);
        Spec::given([started()]).when(confirmed()).then([Fact::Tried]);
        Spec::given([started()]).when(taken()).then([shipped()]);
        Spec::given([started(), shipped()]).when(confirmed()).refused(ANSWERED);
        Spec::given([started(), shipped()]).when(refused()).refused(ANSWERED);
    }

    #[test]
    fn a_refusal_is_a_fact_and_the_final_word() {
        Spec::given([started()]).when(refused()).then([failed()]);
        Spec::given([started(), failed()]).when(Message::Cancelled).then([]);
        Spec::given([started(), failed()]).when(taken()).refused(ANSWERED);
    }

    /// Guards: money and goods. A refusal of a later call may hide a parcel that an earlier one brought on its way.
    #[test]
    fn a_refusal_of_a_later_call_is_no_last_word() {
        let again = [started(), Fact::Tried];
        Spec::given(again.clone()).when(refused()).then([given_up("prohibited_goods")]);
        let withdrawing = [again.to_vec(), vec![given_up("prohibited_goods")]].concat();
        Spec::given(withdrawing.clone()).when(refused()).then([]);
        Spec::given(withdrawing.clone()).when(confirmed()).then([]);
        Spec::given(withdrawing.clone()).when(taken()).then([shipped()]);
        Spec::given(withdrawing).when(Message::Withdrawn).then([failed()]);
    }

    /// Guards: giving up. Calls are counted before they are made; after the last one the parcel is withdrawn.
    #[test]
    fn after_so_many_calls_it_is_given_up() {
        let mut tries = vec![started()];
        tries.extend((1..MAX_TRIES).map(|_| Fact::Tried));
        Spec::given(tries[..tries.len() - 1].to_vec()).when(confirmed()).then([Fact::Tried]);
        Spec::given(tries.clone()).when(confirmed()).then([given_up(UNAVAILABLE)]);
        Spec::given(tries.clone()).when(taken()).then([shipped()]);
        tries.push(given_up(UNAVAILABLE));
        let code = UNAVAILABLE.to_owned();
        let gone = Fact::Failed(FulfillmentFailed { order_id: order_id(), code });
        Spec::given(tries.clone()).when(Message::Withdrawn).then([gone]);
        Spec::given(tries).when(Message::Cancelled).refused(Refusal::Illegal("past the pivot"));
    }

    /// A parcel that was on its way before tries were counted and addresses sealed is read as one that the carrier may have.
    #[test]
    fn a_state_of_before_is_read() {
        let address =
            json!({"name": "Ada", "line1": "1 Row", "city": "Oslo", "postal_code": "1", "country": "NO"});
        let clear = Destination::Clear(serde_json::from_value(address.clone()).unwrap());
        for (kept, address) in [(json!(null), None), (address, Some(clear))] {
            let before = json!({"stage": "shipping", "order_id": order_id(), "lines": parcel().lines, "address": kept});
            let read: Shipment = serde_json::from_value(before).unwrap();
            assert_eq!(read, Shipment::Shipping { parcel: Parcel { address, ..parcel() }, tries: 1 });
        }
    }

    /// Guards: the pivot. A cancellation does not give up what the carrier may have.
    #[test]
    fn nothing_is_cancelled_past_the_pivot() {
        let past = Refusal::Illegal("past the pivot");
        Spec::given([started()]).when(Message::Cancelled).refused(past);
        Spec::given([started(), shipped()]).when(Message::Cancelled).refused(past);
    }

    /// Guards: the tombstone. A confirmation that comes after the cancellation ships nothing.
    #[test]
    fn cancelled_first_closes_the_door() {
        Spec::given([]).when(Message::Cancelled).then([Fact::Closed]);
        Spec::given([Fact::Closed]).when(confirmed()).refused(Refusal::Stale("cancelled"));
    }

    /// Guards: personal data. An address is kept only until the parcel has left, or is not to leave any more.
    #[test]
    fn an_address_is_forgotten_when_it_is_over() {
        for over in [shipped(), failed(), given_up("prohibited_goods")] {
            let shipment = Spec::given([started(), over]);
            assert!(!serde_json::to_string(shipment.state()).unwrap().contains("TjEg"));
        }
    }
}
