//! How the tracker maps to what orders takes and tells, and the one queue that brings it all.

use crate::deadlines::Nudge;
use crate::tracker::{self, Fact, Message, News, Order, Status};
use crate::{admission, prices};
use chassis::batch::Consumer;
use chassis::telling::{Entry, Kind};
use chassis::{Attr, Core, Failure, Ports, Reactor, Store, Verdict, react};
use events::envelope::millis;
use events::fulfillment::{FulfillmentFailed, FulfillmentShipped};
use events::inventory::{InventoryReleased, InventoryReservationFailed, InventoryReserved, ProductListed};
use events::payments::{
    PaymentCharged, PaymentDeclined, PaymentRefundFailed, PaymentRefunded, PaymentUnavailable, PaymentVoided,
};
use events::{Envelope, Event, EventId, Unreadable};
use serde_json::{Value, json};
use std::convert::Infallible;

/// Orders' reaction to what the other services say about orders.
pub struct Tracker;

/// The type of the row that keeps an order's address. Recorded only: no rule and no pipe lets it out.
pub const ADDRESSED: &str = "order.addressed";

/// The type of the row that keeps a reminder. Recorded only.
pub const NUDGED: &str = "order.nudged";

/// The index of orders that wait for a step, by the time at which it is overdue.
pub const OVERDUE: &str = "overdue";

/// Over how many partitions that index is spread.
pub const SHARDS: u128 = 8;

/// The partition of the orders that wait for an operator.
pub const FAILED: &str = "failed";

/// The index of orders by customer and time.
pub const BY_CUSTOMER: &str = "customer";

/// What an envelope says about an order, if orders takes it.
///
/// # Errors
/// [`Unreadable`] for a type that orders does not take or data that is not of its shape.
pub fn news(envelope: &Envelope) -> Result<News, Unreadable> {
    match envelope.metadata.kind.as_str() {
        InventoryReserved::TYPE => envelope.data().map(News::Reserved),
        InventoryReservationFailed::TYPE => envelope.data().map(News::ReservationFailed),
        InventoryReleased::TYPE => envelope.data().map(News::Released),
        PaymentCharged::TYPE => envelope.data().map(News::Charged),
        PaymentDeclined::TYPE => envelope.data().map(News::Declined),
        PaymentUnavailable::TYPE => envelope.data().map(News::Unavailable),
        PaymentVoided::TYPE => envelope.data().map(News::Voided),
        PaymentRefunded::TYPE => envelope.data().map(News::Refunded),
        PaymentRefundFailed::TYPE => envelope.data().map(News::RefundFailed),
        FulfillmentShipped::TYPE => envelope.data().map(News::Shipped),
        FulfillmentFailed::TYPE => envelope.data().map(News::FulfillmentFailed),
        _ => Err(envelope.not_consumed_by(Tracker::SERVICE)),
    }
}

fn recorded(news: &News, from: EventId) -> Entry {
    match news {
        News::Reserved(said) => Entry::recorded(said, from),
        News::ReservationFailed(said) => Entry::recorded(said, from),
        News::Released(said) => Entry::recorded(said, from),
        News::Charged(said) => Entry::recorded(said, from),
        News::Declined(said) => Entry::recorded(said, from),
        News::Unavailable(said) => Entry::recorded(said, from),
        News::Voided(said) => Entry::recorded(said, from),
        News::Refunded(said) => Entry::recorded(said, from),
        News::RefundFailed(said) => Entry::recorded(said, from),
        News::Shipped(said) => Entry::recorded(said, from),
        News::FulfillmentFailed(said) => Entry::recorded(said, from),
    }
}

/// A row of orders' own that nobody is told.
fn kept(event: &str, data: Value) -> Entry {
    Entry {
        kind: Kind::Recorded,
        event: event.into(),
        version: 1,
        data,
        producer: Tracker::SERVICE.into(),
        learned_from: None,
    }
}

impl Reactor for Tracker {
    const SERVICE: &'static str = "orders";
    type State = Order;
    type Message = Message;
    type Fact = Fact;
    type Call = Infallible;
    const CORE: Core<Self::State, Message, Fact> = Core { decide: tracker::decide, evolve: tracker::evolve };

    fn read(envelope: &Envelope) -> Result<Message, Unreadable> {
        Ok(Message::Heard { event_id: envelope.metadata.id, news: news(envelope)? })
    }

    fn tell(fact: &Fact) -> Option<Entry> {
        Some(match fact {
            Fact::Created { order, .. } => Entry::told(order),
            Fact::Addressed(address) => kept(ADDRESSED, json!(address)),
            Fact::Nudged(Nudge { step, .. }) => kept(NUDGED, json!({ "step": step })),
            Fact::Learned { event_id, news, .. } => recorded(news, *event_id),
            Fact::Confirmed { told, .. } => Entry::told(told),
            Fact::Fulfilled { told, .. } => Entry::told(told),
            Fact::Cancelled { told, .. } => Entry::told(told),
            Fact::Compensated { told, .. } => Entry::told(told),
            Fact::Failed { told, .. } => Entry::told(told),
        })
    }

    fn index(state: &Order) -> Vec<(&'static str, Attr)> {
        let mut index = vec![("status", state.status().as_str().into())];
        if let Some(created) = &state.created {
            // The id makes two orders of one millisecond different places in the list.
            let at = format!("{}#{}", millis::text(&created.mark.at), created.what.order_id);
            index.push((BY_CUSTOMER, created.what.customer_id.as_str().into()));
            index.push(("customer_at", at.into()));
            let shard = created.what.order_id.0.as_u128() % SHARDS;
            let waits = state.deadline().map(|(_, deadline)| (shard.to_string(), deadline));
            // What only an operator can end lies in a partition of its own, which nobody sweeps.
            let failed = state.failed.filter(|_| state.status() == Status::Failed);
            let waits = waits.or(failed.map(|mark| (FAILED.to_owned(), mark.at)));
            if let Some((partition, at)) = waits {
                index.push((OVERDUE, partition.into()));
                index.push(("overdue_at", millis::text(&at).into()));
            }
        }
        index
    }

    fn verdict(before: &Order, facts: &[Fact]) -> Verdict {
        let success =
            |fact: &Fact| matches!(fact, Fact::Learned { news: News::Reserved(_) | News::Charged(_), .. });
        match facts {
            _ if before.created.is_none() => Verdict::Early,
            _ if before.cancelled.is_some() && facts.iter().any(success) => Verdict::LateCompensated,
            _ => Verdict::Applied,
        }
    }

    async fn perform(&self, call: Infallible, _first: bool) -> Result<Message, Failure> {
        match call {}
    }
}

/// Everything that comes through orders' queue: news of sagas, and prices.
pub struct Inbox<S> {
    /// The ports.
    pub ports: Ports<S>,
}

impl<S: Store> Consumer for Inbox<S> {
    const NAME: &'static str = Tracker::SERVICE;

    async fn take(&self, envelope: &Envelope) -> Result<Verdict, Failure> {
        if envelope.is::<ProductListed>() {
            return prices::project(&self.ports, envelope).await;
        }
        if let Some(view) = admission::read(envelope)? {
            return prices::commit(&self.ports, envelope, view).await;
        }
        react(&self.ports, &Tracker, envelope).await
    }
}
