//! Which events notifications consumes, and how it publishes messages about them.

use crate::notification::{Fact, Message, Notice, Notification, Outcome};
use crate::subscriptions::{Cancelled, Confirmed, Failed, Fulfilled, Refunded};
use chassis::aggregate::read_state;
use chassis::audit::{Audited, Kind};
use chassis::outbox::OutboxEntry;
use chassis::ports::Topic;
use chassis::store::Item;
use chassis::{Aggregate, AggregateId, Attempt, Effects, Failure, Live, Reactor};
use events::orders::{OrderCancelled, OrderConfirmed, OrderFailed, OrderFulfilled};
use events::payments::PaymentRefunded;
use events::{Envelope, Metadata, Unreadable};
use serde_json::json;

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
    Err(envelope.not_consumed_by(Notification::SERVICE))
}

impl Aggregate for Notification {
    const SERVICE: &'static str = "notifications";

    fn event(_fact: &Fact) -> Option<OutboxEntry> {
        None
    }

    fn facts(&self, event: &Envelope) -> Result<Vec<Fact>, Unreadable> {
        Err(event.not_consumed_by(Self::SERVICE))
    }

    /// It publishes no event, so none determines anything.
    fn visible(&self) -> String {
        String::new()
    }

    fn starts_aggregate(message: &Message) -> bool {
        matches!(message, Message::Happened(_))
    }
}

impl Reactor for Notification {
    fn read(envelope: &Envelope) -> Result<Message, Unreadable> {
        notice(envelope).map(Message::Happened)
    }

    fn id(metadata: &Metadata) -> AggregateId {
        AggregateId::new("notice", metadata.id)
    }
}

/// Publishes messages on a topic.
pub struct Publishing<T> {
    pub topic: T,
}

impl<T: Topic> Effects for Publishing<T> {
    type Reactor = Notification;
    type Call = Notice;

    fn pending_call(notification: &Notification) -> Option<Notice> {
        if let Notification::Publishing(notice) = notification { Some(notice.clone()) } else { None }
    }

    async fn perform(&self, notice: Notice, _attempt: Attempt, _live: Live) -> Result<Message, Failure> {
        let (group, id) = (notice.order_id.to_string(), notice.event_id.to_string());
        self.topic.publish(&group, &id, json!(notice).to_string()).await?;
        Ok(Message::Published)
    }
}

fn is_publishing(row: &Item) -> bool {
    let state = read_state::<Notification>(row).map(|loaded| loaded.state);
    matches!(state, Ok(Notification::Publishing(_)))
}

/// What an audit compares.
pub const AUDITED: Audited = Audited {
    kinds: &[Kind::by_events::<Notification>("notice").waiting(is_publishing)],
    views: &[],
    inbox: <Notification as Reactor>::id,
};
