//! The points of one order: the pure core.

use chassis::{Decider, Refusal};
use chrono::{DateTime, Utc};
use events::rewards::{RewardsGranted, RewardsRevoked};
use events::{CustomerId, Money, OrderId};
use serde::{Deserialize, Serialize};

/// Minor units that bring one point.
const CENTS_A_POINT: u64 = 100;

/// What rewards knows about an order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "stage", rename_all = "snake_case")]
pub enum Points {
    /// Nothing.
    #[default]
    Unknown,
    /// The customer has these points.
    Granted { customer_id: CustomerId, points: u64 },
    /// Rewards took them back; also the tombstone of an order cancelled before it was confirmed.
    Closed,
}

/// What rewards decides on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// An order was confirmed, with `total` captured.
    Confirmed {
        order_id: OrderId,
        customer_id: CustomerId,
        total: Money,
    },
    Cancelled(OrderId),
}

/// What rewards decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    Granted(RewardsGranted),
    Revoked(RewardsRevoked),
    /// The order was cancelled before it brought any points.
    Closed,
}

impl Decider for Points {
    type Message = Message;
    type Fact = Fact;

    fn decide(&self, message: &Message, _now: DateTime<Utc>) -> Result<Vec<Fact>, Refusal> {
        match (self, message) {
            (Self::Unknown, Message::Confirmed { order_id, customer_id, total }) => {
                let (customer_id, points) = (customer_id.clone(), total.amount / CENTS_A_POINT);
                Ok(vec![Fact::Granted(RewardsGranted { order_id: *order_id, customer_id, points })])
            }
            (Self::Unknown, Message::Cancelled(_)) => Ok(vec![Fact::Closed]),
            (Self::Granted { customer_id, points }, Message::Cancelled(order_id)) => {
                let (customer_id, points) = (customer_id.clone(), *points);
                Ok(vec![Fact::Revoked(RewardsRevoked { order_id: *order_id, customer_id, points })])
            }
            (Self::Granted { .. }, Message::Confirmed { .. }) => Err(Refusal::Stale("already granted")),
            (Self::Closed, _) => Err(Refusal::Stale("cancelled")),
        }
    }

    fn evolve(self, fact: &Fact) -> Self {
        match fact {
            Fact::Granted(RewardsGranted { customer_id, points, .. }) => {
                Self::Granted { customer_id: customer_id.clone(), points: *points }
            }
            Fact::Revoked(_) | Fact::Closed => Self::Closed,
        }
    }
}

#[cfg(test)]
mod specs {
    use super::*;
    use events::Currency;
    use uuid::Uuid;

    type Spec = chassis::spec::Spec<Points>;

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
        Fact::Granted(RewardsGranted { order_id: order_id(), customer_id: ada(), points })
    }

    fn revoked(points: u64) -> Fact {
        Fact::Revoked(RewardsRevoked { order_id: order_id(), customer_id: ada(), points })
    }

    #[test]
    fn every_whole_hundred_brings_a_point() {
        Spec::given([]).when(confirmed(3299)).then([granted(32)]);
        Spec::given([]).when(confirmed(99)).then([granted(0)]);
    }

    /// Guards: I8. Rewards grants points once, and takes back once what it granted.
    #[test]
    fn points_come_and_go_once() {
        Spec::given([granted(32)]).when(confirmed(3299)).refused(Refusal::Stale("already granted"));
        Spec::given([granted(32)]).when(cancelled()).then([revoked(32)]);
        Spec::given([granted(32), revoked(32)]).when(cancelled()).refused(Refusal::Stale("cancelled"));
    }

    /// Guards: the tombstone. A confirmation that comes after the cancellation grants nothing.
    #[test]
    fn cancelled_first_closes_the_door() {
        Spec::given([]).when(cancelled()).then([Fact::Closed]);
        Spec::given([Fact::Closed]).when(confirmed(3299)).refused(Refusal::Stale("cancelled"));
        Spec::given([granted(1), revoked(1)]).when(confirmed(3299)).refused(Refusal::Stale("cancelled"));
    }
}
