//! How holding maps to what inventory takes, tells and writes.

use crate::holding::{self, Fact, Holding, Message};
use crate::product;
use crate::subscriptions::{Cancelled, Created, Shipped};
use chassis::reaction::SideWrite;
use chassis::store::Rejected;
use chassis::telling::Entry;
use chassis::{Core, Failure, Reactor, Verdict, Write};
use events::fulfillment::FulfillmentShipped;
use events::inventory::{
    InventoryReleased, InventoryReservationFailed, InventoryReserved, ReservationFailure, StockLine,
};
use events::orders::{OrderCancelled, OrderCreated};
use events::{Envelope, OrderId, Unreadable};
use std::convert::Infallible;

/// Inventory's reaction.
pub struct Inventory;

impl Reactor for Inventory {
    const SERVICE: &'static str = "inventory";
    type State = Holding;
    type Message = Message;
    type Fact = Fact;
    type Call = Infallible;
    const CORE: Core<Self::State, Message, Fact> = Core { decide: holding::decide, evolve: holding::evolve };

    fn read(envelope: &Envelope) -> Result<Message, Unreadable> {
        if envelope.is::<OrderCreated>() {
            let Created { order_id, lines } = envelope.view()?;
            return Ok(Message::Created { order_id, lines: stock_lines(lines) });
        }
        if envelope.is::<OrderCancelled>() {
            return Ok(Message::Cancelled { order_id: envelope.view::<Cancelled>()?.order_id });
        }
        if envelope.is::<FulfillmentShipped>() {
            return envelope.view::<Shipped>().map(|_| Message::Shipped);
        }
        Err(envelope.not_consumed_by(Self::SERVICE))
    }

    fn opens(message: &Message) -> bool {
        matches!(message, Message::Created { .. })
    }

    fn tell(fact: &Fact) -> Option<Entry> {
        match fact.clone() {
            Fact::Held { order_id, lines } => Some(Entry::told(&InventoryReserved { order_id, lines })),
            Fact::Refused(failed) => Some(Entry::told(&failed)),
            Fact::Released { order_id, lines } => Some(Entry::told(&InventoryReleased { order_id, lines })),
            Fact::Shipped(_) => None,
        }
    }

    fn side_writes(fact: &Fact) -> Vec<SideWrite<Message>> {
        match fact {
            Fact::Held { order_id, lines } => {
                lines.iter().map(|line| hold(*order_id, line.clone())).collect()
            }
            Fact::Released { lines, .. } => lines.iter().map(|line| move_held(line, "available")).collect(),
            Fact::Shipped(lines) => lines.iter().map(|line| move_held(line, "shipped")).collect(),
            Fact::Refused(_) => Vec::new(),
        }
    }

    fn verdict(before: &Holding, facts: &[Fact]) -> Verdict {
        match (before, facts) {
            (Holding::Unknown, [Fact::Released { .. }]) => Verdict::Early,
            _ => Verdict::Applied,
        }
    }

    async fn perform(&self, call: Infallible, _first: bool) -> Result<Message, Failure> {
        match call {}
    }
}

/// One line per product: the same product on two lines is summed before anything is held.
fn stock_lines(lines: Vec<StockLine>) -> Vec<StockLine> {
    let mut sums: Vec<StockLine> = Vec::with_capacity(lines.len());
    for StockLine { product_id, quantity } in lines {
        match sums.iter_mut().find(|line| line.product_id == product_id) {
            Some(line) => line.quantity = line.quantity.saturating_add(quantity),
            None => sums.push(StockLine { product_id, quantity }),
        }
    }
    sums
}

/// Moves a line from available to held; the database refuses when too little is available.
fn hold(order_id: OrderId, line: StockLine) -> SideWrite<Message> {
    let quantity = i64::from(line.quantity);
    let write = Write::Adjust {
        key: product::key(&line.product_id),
        by: vec![("available", -quantity), ("held", quantity)],
    };
    let refused = move |rejected: Rejected| {
        let available = rejected.current.as_ref().map(|row| row.count("available").unwrap_or(0));
        Message::Short(InventoryReservationFailed {
            order_id,
            reason: match available {
                Some(_) => ReservationFailure::InsufficientStock,
                None => ReservationFailure::UnknownProduct,
            },
            product_id: line.product_id.clone(),
            requested: u64::from(line.quantity),
            available: available.unwrap_or(0),
        })
    };
    SideWrite { write, refused: Some(Box::new(refused)) }
}

/// Moves a line from held back to available, or on to shipped.
fn move_held(line: &StockLine, to: &'static str) -> SideWrite<Message> {
    let quantity = i64::from(line.quantity);
    let write =
        Write::Adjust { key: product::key(&line.product_id), by: vec![(to, quantity), ("held", -quantity)] };
    SideWrite { write, refused: None }
}
