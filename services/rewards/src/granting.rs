//! The points of one order: the pure core.

use chassis::Refusal;
use chrono::{DateTime, Utc};
use events::{CustomerId, Money, OrderId};
use serde::{Deserialize, Serialize};

/// Minor units that bring one point.
const CENTS_A_POINT: u64 = 100;

/// What rewards knows about an order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "stage", rename_all = "snake_case")]
pub enum Grant {
    /// Nothing.
    #[default]
    Unknown,
    /// The customer has these points.
    Granted {
        /// Who has them.
        customer_id: CustomerId,
        /// How many.
        points: u64,
    },
    /// They were taken back; also the tombstone of an order cancelled before it was confirmed.
    Closed,
}

/// What rewards decides on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// An order was confirmed.
    Confirmed {
        /// The order.
        order_id: OrderId,
        /// Who placed it.
        customer_id: CustomerId,
        /// What was captured.
        total: Money,
    },
    /// It was cancelled.
    Cancelled(OrderId),
}

/// What rewards decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// Points are granted.
    Granted {
        /// The order.
        order_id: OrderId,
        /// Who gets them.
        customer_id: CustomerId,
        /// How many.
        points: u64,
    },
    /// Points are taken back.
    Revoked {
        /// The order.
        order_id: OrderId,
        /// Who had them.
        customer_id: CustomerId,
        /// How many.
        points: u64,
    },
    /// The door is closed before anything was granted.
    Closed,
}

/// Decides what a message means for an order's points.
///
/// # Errors
/// [`Refusal::Stale`] for what is already known, or comes after the order was given up.
pub fn decide(grant: &Grant, message: &Message, _now: DateTime<Utc>) -> Result<Vec<Fact>, Refusal> {
    match (grant, message) {
        (Grant::Unknown, Message::Confirmed { order_id, customer_id, total }) => {
            let (customer_id, points) = (customer_id.clone(), total.amount / CENTS_A_POINT);
            Ok(vec![Fact::Granted { order_id: *order_id, customer_id, points }])
        }
        (Grant::Unknown, Message::Cancelled(_)) => Ok(vec![Fact::Closed]),
        (Grant::Granted { customer_id, points }, Message::Cancelled(order_id)) => {
            let (customer_id, points) = (customer_id.clone(), *points);
            Ok(vec![Fact::Revoked { order_id: *order_id, customer_id, points }])
        }
        (Grant::Granted { .. }, Message::Confirmed { .. }) => Err(Refusal::Stale("already granted")),
        (Grant::Closed, _) => Err(Refusal::Stale("cancelled")),
    }
}

/// The points after a fact.
#[must_use]
pub fn evolve(_grant: Grant, fact: &Fact) -> Grant {
    match fact {
        Fact::Granted { customer_id, points, .. } => {
            Grant::Granted { customer_id: customer_id.clone(), points: *points }
        }
        Fact::Revoked { .. } | Fact::Closed => Grant::Closed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use events::Currency;
    use uuid::Uuid;

    fn order_id() -> OrderId {
        OrderId(Uuid::from_u128(1))
    }

    fn ada() -> CustomerId {
        "ada".parse().unwrap()
    }

    fn confirmed(cents: u64) -> Message {
        let total = Money::new(cents, Currency::USD);
        Message::Confirmed { order_id: order_id(), customer_id: ada(), total }
    }

    fn cancelled() -> Message {
        Message::Cancelled(order_id())
    }

    fn granted(points: u64) -> Fact {
        Fact::Granted { order_id: order_id(), customer_id: ada(), points }
    }

    fn revoked(points: u64) -> Fact {
        Fact::Revoked { order_id: order_id(), customer_id: ada(), points }
    }

    #[track_caller]
    #[allow(clippy::needless_pass_by_value, reason = "reads as given, when, then")]
    fn spec(given: &[Fact], when: Message, then: Result<Vec<Fact>, Refusal>) {
        let grant = given.iter().fold(Grant::default(), evolve);
        assert_eq!(decide(&grant, &when, DateTime::UNIX_EPOCH), then);
    }

    #[test]
    fn every_whole_hundred_brings_a_point() {
        spec(&[], confirmed(3299), Ok(vec![granted(32)]));
        spec(&[], confirmed(99), Ok(vec![granted(0)]));
    }

    /// Guards: I8. Points are granted once, and taken back once, by what was granted.
    #[test]
    fn points_come_and_go_once() {
        spec(&[granted(32)], confirmed(3299), Err(Refusal::Stale("already granted")));
        spec(&[granted(32)], cancelled(), Ok(vec![revoked(32)]));
        spec(&[granted(32), revoked(32)], cancelled(), Err(Refusal::Stale("cancelled")));
    }

    /// Guards: the tombstone. A confirmation that comes after the cancellation grants nothing.
    #[test]
    fn cancelled_first_closes_the_door() {
        spec(&[], cancelled(), Ok(vec![Fact::Closed]));
        spec(&[Fact::Closed], confirmed(3299), Err(Refusal::Stale("cancelled")));
        spec(&[granted(1), revoked(1)], confirmed(3299), Err(Refusal::Stale("cancelled")));
    }
}
