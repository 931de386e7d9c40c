//! What inventory holds for one order: the pure core.
//!
//! Whether enough is available is not decided here but by the conditional decrement that commits a hold;
//! the refusal of that write comes back as [`Message::Short`].

use chassis::Refusal;
use chrono::{DateTime, Utc};
use events::OrderId;
use events::inventory::{InventoryReservationFailed, StockLine};
use serde::{Deserialize, Serialize};

/// What inventory knows about an order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "stage", rename_all = "snake_case")]
pub enum Holding {
    /// Nothing.
    #[default]
    Unknown,
    /// These lines are held.
    Held {
        /// One line per product.
        lines: Vec<StockLine>,
    },
    /// Nothing could be held, and that was said.
    Refused,
    /// What was held has left.
    Shipped,
    /// What was held is free again; also the tombstone of an order cancelled before it was known.
    Released,
}

/// What inventory decides on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// An order was created.
    Created {
        /// The order.
        order_id: OrderId,
        /// One line per product.
        lines: Vec<StockLine>,
    },
    /// The database refused to hold a line.
    Short(InventoryReservationFailed),
    /// An order was cancelled.
    Cancelled {
        /// The order.
        order_id: OrderId,
    },
    /// Its goods have left.
    Shipped,
}

/// What inventory decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// Every line is held.
    Held {
        /// The order.
        order_id: OrderId,
        /// What is held.
        lines: Vec<StockLine>,
    },
    /// Nothing is held.
    Refused(InventoryReservationFailed),
    /// Nothing is held any more.
    Released {
        /// The order.
        order_id: OrderId,
        /// What was held until now.
        lines: Vec<StockLine>,
    },
    /// These lines have left; nobody has to be told.
    Shipped(Vec<StockLine>),
}

/// Decides what a message means for an order.
///
/// # Errors
/// [`Refusal::Stale`] for what the holding is already past.
pub fn decide(holding: &Holding, message: &Message, _now: DateTime<Utc>) -> Result<Vec<Fact>, Refusal> {
    match (holding, message) {
        (Holding::Unknown, Message::Created { order_id, lines }) => {
            Ok(vec![Fact::Held { order_id: *order_id, lines: lines.clone() }])
        }
        (Holding::Unknown, Message::Short(failed)) => Ok(vec![Fact::Refused(failed.clone())]),
        (Holding::Unknown, Message::Cancelled { order_id }) => {
            Ok(vec![Fact::Released { order_id: *order_id, lines: Vec::new() }])
        }
        (Holding::Held { lines }, Message::Cancelled { order_id }) => {
            Ok(vec![Fact::Released { order_id: *order_id, lines: lines.clone() }])
        }
        (Holding::Held { lines }, Message::Shipped) => Ok(vec![Fact::Shipped(lines.clone())]),
        // Only what is held is confirmed, and only what is confirmed is shipped.
        (Holding::Unknown | Holding::Refused | Holding::Released, Message::Shipped) => {
            Err(Refusal::Illegal("shipped without being held"))
        }
        (Holding::Shipped, Message::Cancelled { .. }) => Err(Refusal::Illegal("shipped already")),
        // Its "no" was its final word.
        (Holding::Refused, Message::Cancelled { .. }) => Ok(Vec::new()),
        (Holding::Released, Message::Cancelled { .. }) => Err(Refusal::Stale("already released")),
        (Holding::Released, _) => Err(Refusal::Stale("cancelled before it could be held")),
        (_, _) => Err(Refusal::Stale("already answered")),
    }
}

/// The holding after a fact.
#[must_use]
pub fn evolve(_holding: Holding, fact: &Fact) -> Holding {
    match fact {
        Fact::Held { lines, .. } => Holding::Held { lines: lines.clone() },
        Fact::Refused(_) => Holding::Refused,
        Fact::Released { .. } => Holding::Released,
        Fact::Shipped(_) => Holding::Shipped,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use events::inventory::ReservationFailure;
    use uuid::Uuid;

    fn order_id() -> OrderId {
        OrderId(Uuid::from_u128(1))
    }

    fn lines() -> Vec<StockLine> {
        vec![StockLine { product_id: "beans".parse().unwrap(), quantity: 2 }]
    }

    fn created() -> Message {
        Message::Created { order_id: order_id(), lines: lines() }
    }

    fn cancelled() -> Message {
        Message::Cancelled { order_id: order_id() }
    }

    fn short() -> InventoryReservationFailed {
        InventoryReservationFailed {
            order_id: order_id(),
            reason: ReservationFailure::InsufficientStock,
            product_id: "beans".parse().unwrap(),
            requested: 2,
            available: 1,
        }
    }

    fn held() -> Fact {
        Fact::Held { order_id: order_id(), lines: lines() }
    }

    fn released(lines: Vec<StockLine>) -> Fact {
        Fact::Released { order_id: order_id(), lines }
    }

    /// Given facts, when a message, then facts or a refusal.
    #[track_caller]
    #[allow(clippy::needless_pass_by_value, reason = "reads as given, when, then")]
    fn spec(given: &[Fact], when: &Message, then: Result<Vec<Fact>, Refusal>) {
        let holding = given.iter().fold(Holding::default(), evolve);
        assert_eq!(decide(&holding, when, DateTime::UNIX_EPOCH), then);
    }

    #[test]
    fn an_order_is_held_once() {
        spec(&[], &created(), Ok(vec![held()]));
        spec(&[held()], &created(), Err(Refusal::Stale("already answered")));
    }

    #[test]
    fn a_short_line_is_a_fact_and_the_final_word() {
        spec(&[], &Message::Short(short()), Ok(vec![Fact::Refused(short())]));
        spec(&[Fact::Refused(short())], &cancelled(), Ok(vec![]));
        spec(&[Fact::Refused(short())], &created(), Err(Refusal::Stale("already answered")));
    }

    #[test]
    fn what_is_held_is_released_once() {
        spec(&[held()], &cancelled(), Ok(vec![released(lines())]));
        spec(&[held(), released(lines())], &cancelled(), Err(Refusal::Stale("already released")));
    }

    /// Guards: I1 past the pivot. What has left is neither held nor released again.
    #[test]
    fn what_is_held_leaves_once() {
        let shipped = Fact::Shipped(lines());
        spec(&[held()], &Message::Shipped, Ok(vec![shipped.clone()]));
        spec(&[held(), shipped.clone()], &Message::Shipped, Err(Refusal::Stale("already answered")));
        spec(&[held(), shipped], &cancelled(), Err(Refusal::Illegal("shipped already")));
        for before in [vec![], vec![Fact::Refused(short())], vec![held(), released(lines())]] {
            spec(&before, &Message::Shipped, Err(Refusal::Illegal("shipped without being held")));
        }
    }

    /// Guards: the tombstone. Without it, the late `order.created` would hold stock for a dead order.
    #[test]
    fn cancelled_before_created_closes_the_door() {
        spec(&[], &cancelled(), Ok(vec![released(vec![])]));
        let late = Err(Refusal::Stale("cancelled before it could be held"));
        spec(&[released(vec![])], &created(), late);
    }
}
