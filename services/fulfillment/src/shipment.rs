//! The parcel of one order: the pure core.
//!
//! Fulfillment commits the intent to ship before it calls the carrier, so that a crash in between leaves a state that says
//! "the carrier may have it". The carrier's answer comes back as a message.

use chassis::{Decider, Refusal};
use chrono::{DateTime, Utc};
use events::OrderId;
use events::fulfillment::{FulfillmentFailed, FulfillmentShipped};
use events::inventory::StockLine;
use events::orders::Address;
use serde::{Deserialize, Serialize};

/// A parcel: its contents and its destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parcel {
    pub order_id: OrderId,
    pub lines: Vec<StockLine>,
    /// Absent: the customer fetches it. Personal data: kept only until the parcel has left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Address>,
}

/// What fulfillment knows about an order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "stage", rename_all = "snake_case")]
pub enum Shipment {
    /// Nothing.
    #[default]
    Unknown,
    /// The intent is committed: the carrier may have the parcel.
    Shipping(Parcel),
    /// The carrier has it.
    Shipped,
    /// The carrier will not take it, and has nothing of it.
    Failed,
    /// Cancelled before it was confirmed.
    Closed,
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
    /// The carrier will never take it.
    Refused { code: String },
}

/// What fulfillment decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// Fulfillment is about to call the carrier.
    Started(Parcel),
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
            // Delivered again: the call is still pending.
            (Self::Shipping(_), Message::Confirmed(_)) => Ok(Vec::new()),
            (Self::Shipping(parcel), Message::Taken { carrier, tracking_number }) => {
                let (carrier, tracking_number) = (carrier.clone(), tracking_number.clone());
                let order_id = parcel.order_id;
                Ok(vec![Fact::Shipped(FulfillmentShipped { order_id, carrier, tracking_number })])
            }
            (Self::Shipping(parcel), Message::Refused { code }) => {
                let (order_id, code) = (parcel.order_id, code.clone());
                Ok(vec![Fact::Failed(FulfillmentFailed { order_id, code })])
            }
            // Orders cancels a confirmed order only after fulfillment has published that it failed.
            (Self::Shipping(_) | Self::Shipped, Message::Cancelled) => {
                Err(Refusal::Illegal("past the pivot"))
            }
            // Fulfillment has published its "no", and there is nothing to undo.
            (Self::Failed, Message::Cancelled) => Ok(Vec::new()),
            (Self::Closed, _) => Err(Refusal::Stale("cancelled")),
            (Self::Unknown, _) => Err(Refusal::Illegal("an answer without a parcel")),
            (Self::Shipped | Self::Failed, _) => Err(Refusal::Stale("already answered")),
        }
    }

    fn evolve(self, fact: &Fact) -> Self {
        match fact {
            Fact::Started(parcel) => Self::Shipping(parcel.clone()),
            Fact::Shipped(_) => Self::Shipped,
            Fact::Failed(_) => Self::Failed,
            Fact::Closed => Self::Closed,
        }
    }
}

impl Shipment {
    /// The parcel about which fulfillment has to call the carrier, if there is one.
    #[must_use]
    pub const fn pending_parcel(&self) -> Option<&Parcel> {
        if let Self::Shipping(parcel) = self { Some(parcel) } else { None }
    }
}

#[cfg(test)]
mod specs {
    use super::*;
    use uuid::Uuid;

    type Spec = chassis::spec::Spec<Shipment>;

    const ANSWERED: Refusal = Refusal::Stale("already answered");

    fn order_id() -> OrderId {
        OrderId(Uuid::from_u128(1))
    }

    fn parcel() -> Parcel {
        let address = Address {
            name: "Ada".into(),
            line1: "1 Byron St".into(),
            line2: None,
            city: "London".into(),
            postal_code: "N1".into(),
            country: "GB".into(),
        };
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
        Spec::given([started()]).when(confirmed()).then([]);
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

    /// Guards: personal data. An address is kept only until the parcel has left, or never will.
    #[test]
    fn an_address_is_forgotten_when_it_is_over() {
        for over in [shipped(), failed()] {
            let shipment = Spec::given([started(), over]);
            assert!(!serde_json::to_string(shipment.state()).unwrap().contains("Byron"));
        }
    }
}
