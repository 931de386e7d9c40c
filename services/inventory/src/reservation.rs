//! What inventory holds for one order: the pure core.
//!
//! Not the core but the conditional decrement that commits a hold decides whether enough is available; when the database
//! refuses that write, the loop decides on [`Message::Short`] instead.

use chassis::{Decider, Refusal};
use chrono::{DateTime, Utc};
use events::OrderId;
use events::inventory::{InventoryReleased, InventoryReservationFailed, InventoryReserved, StockLine};
use serde::{Deserialize, Serialize};

/// What inventory knows about an order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "stage", rename_all = "snake_case")]
pub enum Reservation {
    /// Nothing.
    #[default]
    Unknown,
    /// These lines are held, one per product.
    Held { lines: Vec<StockLine> },
    /// Inventory could not hold a line, and published that.
    Failed,
    /// What was held has left.
    Shipped,
    /// What was held is free again; also the tombstone of an order cancelled before inventory knew it.
    Released,
}

/// What inventory decides on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// An order was created, with one line per product.
    Created { order_id: OrderId, lines: Vec<StockLine> },
    /// The database refused to hold a line.
    Short(InventoryReservationFailed),
    /// An order was cancelled.
    Cancelled { order_id: OrderId },
    /// Its goods have left.
    Shipped,
}

/// What inventory decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    Reserved(InventoryReserved),
    Failed(InventoryReservationFailed),
    Released(InventoryReleased),
    /// These lines have left. Fulfillment has published that already.
    Shipped(Vec<StockLine>),
}

impl Decider for Reservation {
    type Message = Message;
    type Fact = Fact;

    fn decide(&self, message: &Message, _now: DateTime<Utc>) -> Result<Vec<Fact>, Refusal> {
        match (self, message) {
            (Self::Unknown, Message::Created { order_id, lines }) => {
                let lines = lines.clone();
                Ok(vec![Fact::Reserved(InventoryReserved { order_id: *order_id, lines })])
            }
            (Self::Unknown, Message::Short(failed)) => Ok(vec![Fact::Failed(failed.clone())]),
            (Self::Unknown, Message::Cancelled { order_id }) => Ok(vec![released(*order_id, &[])]),
            (Self::Held { lines }, Message::Cancelled { order_id }) => Ok(vec![released(*order_id, lines)]),
            (Self::Held { lines }, Message::Shipped) => Ok(vec![Fact::Shipped(lines.clone())]),
            // Orders confirms only what is held, and fulfillment ships only what is confirmed.
            (Self::Unknown | Self::Failed | Self::Released, Message::Shipped) => {
                Err(Refusal::Illegal("shipped without being held"))
            }
            (Self::Shipped, Message::Cancelled { .. }) => Err(Refusal::Illegal("shipped already")),
            // Inventory has published its "no", and there is nothing to undo.
            (Self::Failed, Message::Cancelled { .. }) => Ok(Vec::new()),
            (Self::Released, Message::Cancelled { .. }) => Err(Refusal::Stale("already released")),
            (Self::Released, _) => Err(Refusal::Stale("cancelled before it could be held")),
            (_, _) => Err(Refusal::Stale("already answered")),
        }
    }

    fn evolve(self, fact: &Fact) -> Self {
        match fact {
            Fact::Reserved(reserved) => Self::Held { lines: reserved.lines.clone() },
            Fact::Failed(_) => Self::Failed,
            Fact::Released(_) => Self::Released,
            Fact::Shipped(_) => Self::Shipped,
        }
    }
}

fn released(order_id: OrderId, lines: &[StockLine]) -> Fact {
    Fact::Released(InventoryReleased { order_id, lines: lines.to_vec() })
}

#[cfg(test)]
mod specs {
    use super::*;
    use events::inventory::ReservationFailure;
    use uuid::Uuid;

    type Spec = chassis::spec::Spec<Reservation>;

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
        Fact::Reserved(InventoryReserved { order_id: order_id(), lines: lines() })
    }

    fn released(lines: &[StockLine]) -> Fact {
        super::released(order_id(), lines)
    }

    #[test]
    fn an_order_is_held_once() {
        Spec::given([]).when(created()).then([held()]);
        Spec::given([held()]).when(created()).refused(Refusal::Stale("already answered"));
    }

    #[test]
    fn a_short_line_is_a_fact_and_the_final_word() {
        let failed = || Fact::Failed(short());
        Spec::given([]).when(Message::Short(short())).then([failed()]);
        Spec::given([failed()]).when(cancelled()).then([]);
        Spec::given([failed()]).when(created()).refused(Refusal::Stale("already answered"));
    }

    #[test]
    fn what_is_held_is_released_once() {
        Spec::given([held()]).when(cancelled()).then([released(&lines())]);
        let over = Spec::given([held(), released(&lines())]);
        over.when(cancelled()).refused(Refusal::Stale("already released"));
    }

    /// Guards: I1 past the pivot. What has left is neither held nor released again.
    #[test]
    fn what_is_held_leaves_once() {
        let shipped = || Fact::Shipped(lines());
        Spec::given([held()]).when(Message::Shipped).then([shipped()]);
        let gone = Spec::given([held(), shipped()]);
        gone.when(Message::Shipped).refused(Refusal::Stale("already answered"));
        gone.when(cancelled()).refused(Refusal::Illegal("shipped already"));
        for before in [vec![], vec![Fact::Failed(short())], vec![held(), released(&lines())]] {
            let refused = Refusal::Illegal("shipped without being held");
            Spec::given(before).when(Message::Shipped).refused(refused);
        }
    }

    /// Guards: the tombstone. Without it, the late `order.created` would hold stock for a dead order.
    #[test]
    fn cancelled_before_created_closes_the_door() {
        Spec::given([]).when(cancelled()).then([released(&[])]);
        let late = Refusal::Stale("cancelled before it could be held");
        Spec::given([released(&[])]).when(created()).refused(late);
    }
}
