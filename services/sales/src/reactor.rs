//! The shell around the books: an event is read, and booked in every open generation, in one transaction with the inbox.

use crate::books::{Books, Message};
use crate::generations::Generations;
use crate::sale::{Cancelled, Confirmed, SaleEvent};
use crate::subscriptions;
use chassis::audit::{Audited, Kind};
use chassis::inbox;
use chassis::outbox::Cause;
use chassis::reaction::{Executed, execute, receive};
use chassis::versions::pass_over;
use chassis::{Aggregate, AggregateId, EventHandler, Failure, Ports, Store, Verdict};
use events::orders::{OrderCancelled, OrderConfirmed};
use events::{Envelope, Metadata, OrderId};

/// What an event means for sales: which order, and what happened to it.
///
/// # Errors
/// [`Failure::Poison`] for a type that sales does not consume, data that is not of its shape, or lines that have no sum.
pub fn read(envelope: &Envelope) -> Result<(OrderId, SaleEvent), Failure> {
    let day = envelope.metadata.time.date_naive();
    if envelope.is::<OrderConfirmed>() {
        let subscriptions::Confirmed { order_id, lines } = envelope.view()?;
        let sale =
            Confirmed::of(day, &lines).map_err(|rule| Failure::Poison(format!("{order_id}: {rule}")))?;
        return Ok((order_id, SaleEvent::Confirmed(sale)));
    }
    if envelope.is::<OrderCancelled>() {
        let subscriptions::Cancelled { order_id, reason } = envelope.view()?;
        return Ok((order_id, SaleEvent::Cancelled(Cancelled { day, reason: reason.code })));
    }
    Err(envelope.not_consumed_by(Books::SERVICE).into())
}

/// The order that an event is about.
fn id(metadata: &Metadata) -> AggregateId {
    AggregateId::new("order", &metadata.subject)
}

/// What an audit sees of sales.
pub const AUDITED: Audited = Audited { kinds: &[Kind::by_events::<Books>("order")], views: &[], inbox: id };

/// Books what comes through the queue.
pub struct Bookkeeper<S> {
    pub ports: Ports<S>,
}

impl<S: Store> EventHandler for Bookkeeper<S> {
    const SERVICE: &'static str = Books::SERVICE;

    async fn handle(&self, envelope: &Envelope) -> Result<Verdict, Failure> {
        let outcome = self.book(envelope).await;
        if let Err(failure) = &outcome {
            inbox::note_failure(&self.ports, &envelope.metadata, failure).await;
        }
        outcome
    }
}

impl<S: Store> Bookkeeper<S> {
    async fn book(&self, envelope: &Envelope) -> Result<Verdict, Failure> {
        let (ports, metadata) = (&self.ports, &envelope.metadata);
        let id = id(metadata);
        if let Some(verdict) = pass_over(ports, Self::SERVICE, envelope, &id).await? {
            return Ok(verdict);
        }
        let (order_id, event) = read(envelope)?;
        let generations = Generations::load(&ports.store).await?;
        let message = Message { order_id, event, live: generations.live, generations: generations.open() };
        receive::<Books, S>(ports, metadata, &id, message).await
    }
}

/// Books an event of the log in the generation that is being built; whether it was new there.
///
/// # Errors
/// A [`Failure`].
pub async fn rebook<S: Store>(
    ports: &Ports<S>,
    generations: &Generations,
    envelope: &Envelope,
) -> Result<bool, Failure> {
    let (order_id, event) = read(envelope)?;
    let id = AggregateId::order(order_id);
    let message = Message { order_id, event, live: generations.live, generations: vec![generations.next()] };
    let cause = Cause::from(&envelope.metadata);
    Ok(matches!(execute::<Books, S>(ports, &id, message, &cause).await?, Executed::Done(_)))
}
