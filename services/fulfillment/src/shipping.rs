//! The parcel of one order: the pure core.
//!
//! That it is to be shipped is committed before the carrier is called, so that a crash in between leaves a state that
//! says "the carrier may have it". What the carrier answers comes back as a message.

use chassis::Refusal;
use chrono::{DateTime, Utc};
use events::OrderId;
use events::inventory::StockLine;
use events::orders::Address;
use serde::{Deserialize, Serialize};

/// What is to be carried where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parcel {
    /// The order.
    pub order_id: OrderId,
    /// What is in it.
    pub lines: Vec<StockLine>,
    /// Where to; absent: the customer fetches it. Personal data: kept only until the parcel has left.
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
    Taken {
        /// Its name.
        carrier: String,
        /// Its number for the parcel.
        tracking_number: String,
    },
    /// The carrier will never take it.
    Refused {
        /// The carrier's code.
        code: String,
    },
}

/// What fulfillment decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// The carrier is about to be asked.
    Started(Parcel),
    /// The carrier took it.
    Shipped {
        /// The order.
        order_id: OrderId,
        /// Its name.
        carrier: String,
        /// Its number for the parcel.
        tracking_number: String,
    },
    /// It will not be carried.
    Failed {
        /// The order.
        order_id: OrderId,
        /// The carrier's code.
        code: String,
    },
    /// The door is closed before anything was shipped.
    Closed,
}

/// Decides what a message means for a parcel.
///
/// # Errors
/// [`Refusal`] for what the shipment is already past, or what cannot be.
pub fn decide(shipment: &Shipment, message: &Message, _now: DateTime<Utc>) -> Result<Vec<Fact>, Refusal> {
    match (shipment, message) {
        (Shipment::Unknown, Message::Confirmed(parcel)) => Ok(vec![Fact::Started(parcel.clone())]),
        (Shipment::Unknown, Message::Cancelled) => Ok(vec![Fact::Closed]),
        // Delivered again: the call is still due.
        (Shipment::Shipping(_), Message::Confirmed(_)) => Ok(Vec::new()),
        (Shipment::Shipping(parcel), Message::Taken { carrier, tracking_number }) => {
            let (carrier, tracking_number) = (carrier.clone(), tracking_number.clone());
            Ok(vec![Fact::Shipped { order_id: parcel.order_id, carrier, tracking_number }])
        }
        (Shipment::Shipping(parcel), Message::Refused { code }) => {
            Ok(vec![Fact::Failed { order_id: parcel.order_id, code: code.clone() }])
        }
        // Orders cancels what it confirmed only after fulfillment has said that it failed.
        (Shipment::Shipping(_) | Shipment::Shipped, Message::Cancelled) => {
            Err(Refusal::Illegal("past the pivot"))
        }
        // Its "no" was its final word.
        (Shipment::Failed, Message::Cancelled) => Ok(Vec::new()),
        (Shipment::Closed, _) => Err(Refusal::Stale("cancelled")),
        (Shipment::Unknown, _) => Err(Refusal::Illegal("an answer without a parcel")),
        (Shipment::Shipped | Shipment::Failed, _) => Err(Refusal::Stale("already answered")),
    }
}

/// The shipment after a fact.
#[must_use]
pub fn evolve(_shipment: Shipment, fact: &Fact) -> Shipment {
    match fact {
        Fact::Started(parcel) => Shipment::Shipping(parcel.clone()),
        Fact::Shipped { .. } => Shipment::Shipped,
        Fact::Failed { .. } => Shipment::Failed,
        Fact::Closed => Shipment::Closed,
    }
}

/// The parcel about which the carrier has to be asked, if there is one.
#[must_use]
pub const fn due(shipment: &Shipment) -> Option<&Parcel> {
    match shipment {
        Shipment::Shipping(parcel) => Some(parcel),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

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
        Fact::Shipped { order_id: order_id(), carrier: "Parcels".into(), tracking_number: "P1".into() }
    }

    fn failed() -> Fact {
        Fact::Failed { order_id: order_id(), code: "prohibited_goods".into() }
    }

    #[track_caller]
    #[allow(clippy::needless_pass_by_value, reason = "reads as given, when, then")]
    fn spec(given: &[Fact], when: Message, then: Result<Vec<Fact>, Refusal>) {
        let shipment = given.iter().fold(Shipment::default(), evolve);
        assert_eq!(decide(&shipment, &when, DateTime::UNIX_EPOCH), then);
    }

    #[test]
    fn a_confirmed_order_is_shipped_once() {
        spec(&[], confirmed(), Ok(vec![started()]));
        spec(&[started()], confirmed(), Ok(vec![]));
        spec(&[started()], taken(), Ok(vec![shipped()]));
        spec(&[started(), shipped()], confirmed(), Err(ANSWERED));
        spec(&[started(), shipped()], refused(), Err(ANSWERED));
    }

    #[test]
    fn a_refusal_is_a_fact_and_the_final_word() {
        spec(&[started()], refused(), Ok(vec![failed()]));
        spec(&[started(), failed()], Message::Cancelled, Ok(vec![]));
        spec(&[started(), failed()], taken(), Err(ANSWERED));
    }

    /// Guards: the pivot. What the carrier may have is not given up by somebody else's word.
    #[test]
    fn nothing_is_cancelled_past_the_pivot() {
        let past = Err(Refusal::Illegal("past the pivot"));
        spec(&[started()], Message::Cancelled, past.clone());
        spec(&[started(), shipped()], Message::Cancelled, past);
    }

    /// Guards: the tombstone. A confirmation that comes after the cancellation ships nothing.
    #[test]
    fn cancelled_first_closes_the_door() {
        spec(&[], Message::Cancelled, Ok(vec![Fact::Closed]));
        spec(&[Fact::Closed], confirmed(), Err(Refusal::Stale("cancelled")));
    }

    /// Guards: personal data. An address is kept only until the parcel has left, or never will.
    #[test]
    fn an_address_is_forgotten_when_it_is_over() {
        for over in [shipped(), failed()] {
            let shipment = evolve(evolve(Shipment::Unknown, &started()), &over);
            assert!(!serde_json::to_string(&shipment).unwrap().contains("Byron"));
        }
    }
}
