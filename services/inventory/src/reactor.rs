//! Which events inventory consumes and publishes, and the stock that it moves.

use crate::product;
use crate::reservation::{Fact, Message, Reservation};
use crate::subscriptions::{Cancelled, Created, Shipped};
use chassis::aggregate::SideWrite;
use chassis::audit::{Audited, Kind};
use chassis::outbox::OutboxEntry;
use chassis::store::{Rejected, Write};
use chassis::{Aggregate, NoEffects, Reactor, Verdict};
use events::fulfillment::FulfillmentShipped;
use events::inventory::{
    InventoryReleased, InventoryReservationFailed, InventoryReserved, ReservationFailure, StockLine,
};
use events::orders::{OrderCancelled, OrderCreated};
use events::{Envelope, OrderId, Unreadable};

/// Inventory makes no outward calls.
pub type Reactions = NoEffects<Reservation>;

impl Aggregate for Reservation {
    const SERVICE: &'static str = "inventory";

    fn event(fact: &Fact) -> Option<OutboxEntry> {
        match fact {
            Fact::Reserved(reserved) => Some(OutboxEntry::published(reserved)),
            Fact::Failed(failed) => Some(OutboxEntry::published(failed)),
            Fact::Released(released) => Some(OutboxEntry::published(released)),
            Fact::Shipped(_) => None,
        }
    }

    fn facts(&self, event: &Envelope) -> Result<Vec<Fact>, Unreadable> {
        if event.is::<InventoryReserved>() {
            return Ok(vec![Fact::Reserved(event.data()?)]);
        }
        if event.is::<InventoryReservationFailed>() {
            return Ok(vec![Fact::Failed(event.data()?)]);
        }
        if event.is::<InventoryReleased>() {
            return Ok(vec![Fact::Released(event.data()?)]);
        }
        Err(event.not_consumed_by(Self::SERVICE))
    }

    /// That goods have left is fulfillment's event, and not in inventory's own.
    fn visible(&self) -> String {
        let answer = match self {
            Self::Unknown => "no answer",
            Self::Held { .. } | Self::Shipped => "reserved",
            Self::Failed => "not reserved",
            Self::Released => "released",
        };
        answer.into()
    }

    fn side_writes(fact: &Fact) -> Vec<SideWrite<Message>> {
        match fact {
            Fact::Reserved(reserved) => {
                reserved.lines.iter().map(|line| hold(reserved.order_id, line.clone())).collect()
            }
            Fact::Released(released) => {
                released.lines.iter().map(|line| move_held(line, "available")).collect()
            }
            Fact::Shipped(lines) => lines.iter().map(|line| move_held(line, "shipped")).collect(),
            Fact::Failed(_) => Vec::new(),
        }
    }

    fn starts_aggregate(message: &Message) -> bool {
        matches!(message, Message::Created { .. })
    }
}

impl Reactor for Reservation {
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

    fn verdict(&self, facts: &[Fact]) -> Verdict {
        match (self, facts) {
            (Self::Unknown, [Fact::Released(_)]) => Verdict::Early,
            _ => Verdict::Applied,
        }
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
    let short = move |rejected: Rejected| {
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
    SideWrite { write, otherwise: Some(Box::new(short)) }
}

/// Moves a line from held back to available, or on to shipped.
fn move_held(line: &StockLine, to: &'static str) -> SideWrite<Message> {
    let quantity = i64::from(line.quantity);
    let write =
        Write::Adjust { key: product::key(&line.product_id), by: vec![(to, quantity), ("held", -quantity)] };
    SideWrite { write, otherwise: None }
}

/// What an audit compares.
pub const AUDITED: Audited = Audited {
    kinds: &[Kind::by_events::<Reservation>("order"), Kind::by_commands::<product::Product>("product")],
    views: &[],
    inbox: <Reservation as Reactor>::id,
};
