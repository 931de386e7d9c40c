//! How notices map to what notifications takes and publishes.

use crate::notices::{self, Fact, Message, Notice, Outcome, Telling};
use crate::subscriptions::{Cancelled, Confirmed, Failed, Fulfilled, Refunded};
use chassis::ports::Topic;
use chassis::telling::Entry;
use chassis::{Core, Failure, Reactor};
use events::orders::{OrderCancelled, OrderConfirmed, OrderFailed, OrderFulfilled};
use events::payments::PaymentRefunded;
use events::{Envelope, Metadata, Unreadable};
use serde_json::json;

/// Notifications' reaction.
pub struct Notifications<T> {
    /// Where messages are published.
    pub topic: T,
}

/// The message that an event makes.
fn notice(envelope: &Envelope) -> Result<Notice, Unreadable> {
    let id = envelope.metadata.id;
    if envelope.is::<OrderConfirmed>() {
        let Confirmed { order_id, customer_id } = envelope.view()?;
        return Ok(Notice::new(id, order_id, Some(customer_id), Outcome::OrderConfirmed));
    }
    if envelope.is::<OrderFulfilled>() {
        let Fulfilled { order_id, customer_id, carrier, tracking_number } = envelope.view()?;
        let outcome = Outcome::OrderFulfilled { carrier, tracking_number };
        return Ok(Notice::new(id, order_id, Some(customer_id), outcome));
    }
    if envelope.is::<OrderCancelled>() {
        let Cancelled { order_id, customer_id, reason } = envelope.view()?;
        return Ok(Notice::new(id, order_id, Some(customer_id), Outcome::OrderCancelled { reason }));
    }
    if envelope.is::<PaymentRefunded>() {
        let Refunded { order_id, customer_id, amount } = envelope.view()?;
        return Ok(Notice::new(id, order_id, customer_id, Outcome::PaymentRefunded { amount }));
    }
    if envelope.is::<OrderFailed>() {
        let Failed { order_id, customer_id } = envelope.view()?;
        return Ok(Notice::new(id, order_id, Some(customer_id), Outcome::OrderFailed));
    }
    Err(envelope.not_consumed_by("notifications"))
}

impl<T: Topic> Reactor for Notifications<T> {
    const SERVICE: &'static str = "notifications";
    type State = Telling;
    type Message = Message;
    type Fact = Fact;
    type Call = Notice;
    const CORE: Core<Self::State, Message, Fact> = Core { decide: notices::decide, evolve: notices::evolve };

    fn read(envelope: &Envelope) -> Result<Message, Unreadable> {
        notice(envelope).map(Message::Happened)
    }

    fn partition(metadata: &Metadata) -> String {
        format!("notice#{}", metadata.id)
    }

    fn opens(message: &Message) -> bool {
        matches!(message, Message::Happened(_))
    }

    fn tell(_fact: &Fact) -> Option<Entry> {
        None
    }

    fn due_call(state: &Telling) -> Option<Notice> {
        if let Telling::Publishing(notice) = state { Some(notice.clone()) } else { None }
    }

    async fn perform(&self, notice: Notice, _first: bool) -> Result<Message, Failure> {
        let (group, id) = (notice.order_id.to_string(), notice.event_id.to_string());
        self.topic.publish(&group, &id, json!(notice).to_string()).await?;
        Ok(Message::Published)
    }
}
