//! Consuming events from a service's queue, one at a time.

use crate::aggregate::{Aggregate, load};
use crate::effects::Effects;
use crate::failure::Failure;
use crate::inbox::Verdict;
use crate::outbox::last_published;
use crate::ports::{Bus, NoBus, Ports};
use crate::reaction::react;
use crate::reactor::Reactor;
use crate::store::{AggregateId, Store};
use crate::versions::pass_over;
use events::Envelope;
use std::future::Future;

/// Handles events, one at a time.
pub trait EventHandler: Send + Sync + 'static {
    /// The service's name, for logs.
    const SERVICE: &'static str;

    /// Handles one event.
    fn handle(&self, envelope: &Envelope) -> impl Future<Output = Result<Verdict, Failure>> + Send;
}

/// A service's consumer: it reacts to each event. One that has a bus also publishes its answer again when a reminder asks
/// about an event that it knows.
pub struct Consumer<E, S, B = NoBus> {
    ports: Ports<S>,
    effects: E,
    answers: Option<B>,
}

impl<E: Effects, S: Store> Consumer<E, S> {
    /// A consumer that only reacts.
    pub const fn new(ports: Ports<S>, effects: E) -> Self {
        Self { ports, effects, answers: None }
    }

    /// A consumer that answers reminders on this bus.
    pub fn answering<B: Bus>(self, bus: B) -> Consumer<E, S, B> {
        Consumer { ports: self.ports, effects: self.effects, answers: Some(bus) }
    }
}

impl<E: Effects, S: Store, B: Bus> EventHandler for Consumer<E, S, B> {
    const SERVICE: &'static str = E::Reactor::SERVICE;

    async fn handle(&self, envelope: &Envelope) -> Result<Verdict, Failure> {
        let id = E::Reactor::id(&envelope.metadata);
        if let Some(verdict) = pass_over(&self.ports, Self::SERVICE, envelope, &id).await? {
            return Ok(verdict);
        }
        let verdict = react(&self.ports, &self.effects, envelope).await?;
        let is_known =
            matches!(verdict, Verdict::Duplicate | Verdict::Stale | Verdict::Refused | Verdict::Contradicted);
        if let (Some(bus), Some(_), true) = (&self.answers, envelope.metadata.nudge, is_known) {
            let answer = last_answer::<E::Reactor, S>(&self.ports.store, &id).await?;
            bus.publish(answer.as_slice()).await?;
        }
        Ok(verdict)
    }
}

/// The event that answers for an aggregate as it stands, as the service published it last.
///
/// # Errors
/// A [`Failure`] when the store does not answer.
pub async fn last_answer<R: Reactor, S: Store>(
    store: &S,
    id: &AggregateId,
) -> Result<Option<Envelope>, Failure> {
    let loaded = load::<R, S>(store, id).await?;
    last_published(store, id, loaded.state.last_answer()).await
}
