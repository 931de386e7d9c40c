//! Which events notifications consumes, and how it publishes messages about them.

use crate::notification::{Notice, Notification, Outcome, Published};
use crate::subscriptions::{Cancelled, Confirmed, Failed, Fulfilled, Refunded};
use chassis::audit::{Audited, Kind};
use chassis::outbox::OutboxEntry;
use chassis::ports::Topic;
use chassis::{Aggregate, AggregateId, Attempt, Effects, Failure, Live, Reactor};
use events::orders::{OrderCancelled, OrderConfirmed, OrderFailed, OrderFulfilled};
use events::payments::PaymentRefunded;
use events::{Envelope, Metadata, Unreadable};
use serde_json::json;
use std::convert::Infallible;

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

    fn event(_fact: &Published) -> Option<OutboxEntry> {
        None
    }

    fn facts(&self, event: &Envelope) -> Result<Vec<Published>, Unreadable> {
        Err(event.not_consumed_by(Self::SERVICE))
    }

    /// It publishes no event, so none determines anything.
    fn visible(&self) -> String {
        String::new()
    }
}

impl Reactor for Notification {
    fn read(envelope: &Envelope) -> Result<Notice, Unreadable> {
        notice(envelope)
    }

    fn id(metadata: &Metadata) -> AggregateId {
        AggregateId::new("notice", metadata.id)
    }
}

/// Publishes messages on a topic, before it is committed that the topic has them. After a crash in between the event comes
/// again, and its message is published again under the same id: within five minutes the topic drops it, later the mailer does.
pub struct Publishing<T> {
    pub topic: T,
}

impl<T: Topic> Effects for Publishing<T> {
    type Reactor = Notification;
    type Call = Infallible;

    async fn carry_out(&self, facts: &[Published], _live: Live) -> Result<(), Failure> {
        for Published(notice) in facts {
            let (group, id) = (notice.order_id.to_string(), notice.event_id.to_string());
            self.topic.publish(&group, &id, json!(notice).to_string()).await?;
        }
        Ok(())
    }

    fn pending_call(_notification: &Notification) -> Option<Infallible> {
        None
    }

    async fn perform(&self, call: Infallible, _attempt: Attempt, _live: Live) -> Result<Notice, Failure> {
        match call {}
    }
}

/// What an audit compares.
pub const AUDITED: Audited = Audited {
    kinds: &[Kind::by_events::<Notification>("notice")],
    views: &[],
    inbox: <Notification as Reactor>::id,
};
