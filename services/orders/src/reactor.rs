//! Which events orders consumes and publishes, the indexes of its state rows, and the one queue that brings it all.

use crate::projections::{admission, prices};
use crate::saga::history;
use crate::saga::known::{Known, Noted, ParticipantEvent};
use crate::saga::{Message, Saga, Status, measures};
use chassis::audit::{Audited, Kind, View};
use chassis::digest::fingerprint;
use chassis::metrics::Sample;
use chassis::outbox::OutboxEntry;
use chassis::projection::project;
use chassis::reaction::react;
use chassis::store::{Attr, Store, overdue};
use chassis::versions::pass_over;
use chassis::{Aggregate, AggregateId, EventHandler, Failure, NoEffects, Ports, Reactor, Verdict};
use events::envelope::millis;
use events::orders::{OrderCancelled, OrderCreated, OrderFailed};
use events::{Envelope, Metadata, Unreadable};

/// The index of orders by customer and time.
pub const BY_CUSTOMER: &str = "customer";

impl Aggregate for Saga {
    const SERVICE: &'static str = "orders";

    fn event(fact: &Noted) -> Option<OutboxEntry> {
        fact.entry()
    }

    /// Every fact of an order has its row, so one stands for one.
    fn facts(&self, event: &Envelope) -> Result<Vec<Noted>, Unreadable> {
        history::fact(event).map(|fact| vec![fact])
    }

    /// All of it: the fingerprint differs where anything does.
    fn visible(&self) -> String {
        let all = serde_json::to_string(self).unwrap_or_default();
        format!("{} with {} facts, {}", self.status().as_str(), self.timeline().len(), fingerprint(&all))
    }

    fn starts_aggregate(message: &Message) -> bool {
        matches!(message, Message::Place { .. })
    }

    fn index(&self) -> Vec<(&'static str, Attr)> {
        let mut index = vec![("status", self.status().as_str().into())];
        if let (Some(noted), Some(placed)) = (self.noted::<OrderCreated>(), self.event::<OrderCreated>()) {
            // The id makes two orders of one millisecond different places in the list.
            let at = format!("{}#{}", millis::text(&noted.at), placed.order_id);
            index.push((BY_CUSTOMER, placed.customer_id.as_str().into()));
            index.push(("customer_at", at.into()));
            let waits = self.deadline().map(|(_, at)| (overdue::shard(placed.order_id), at));
            let ended = self.reconciliation().map(|at| (overdue::ended(placed.order_id), at));
            // What only an operator can end lies in a partition of its own, which the sweeper leaves alone.
            let failed = self.noted::<OrderFailed>().filter(|_| self.status() == Status::Failed);
            let waits = waits.or(ended).or(failed.map(|noted| (overdue::FAILED.to_owned(), noted.at)));
            if let Some((partition, at)) = waits {
                index.push((overdue::INDEX, partition.into()));
                index.push(("overdue_at", millis::text(&at).into()));
            }
        }
        index
    }

    fn measured(&self, facts: &[Noted]) -> Vec<Sample> {
        measures::of(self, facts)
    }
}

impl Reactor for Saga {
    fn read(envelope: &Envelope) -> Result<Message, Unreadable> {
        let event = ParticipantEvent::read(envelope)?;
        Ok(Message::Received { event_id: envelope.metadata.id, event })
    }

    fn verdict(&self, facts: &[Noted]) -> Verdict {
        let is_success = |fact: &Noted| {
            use ParticipantEvent::{Charged, Reserved};
            matches!(fact.what, Known::Received(Reserved(_) | Charged(_)))
        };
        if !self.knows::<OrderCreated>() {
            Verdict::Early
        } else if self.knows::<OrderCancelled>() && facts.iter().any(is_success) {
            Verdict::LateCompensated
        } else {
            Verdict::Applied
        }
    }
}

/// Everything that comes through orders' queue: events of sagas, prices, and the circuit breaker's events.
pub struct Tracker<S> {
    pub ports: Ports<S>,
}

/// What an event is about: a product, the provider, or an order.
fn about(metadata: &Metadata) -> AggregateId {
    let kind = match metadata.kind.as_str() {
        kind if kind.starts_with("product.") => "product",
        kind if kind.starts_with("payment.circuit.") => "breaker",
        _ => return Saga::id(metadata),
    };
    AggregateId::new(kind, &metadata.subject)
}

impl<S: Store> EventHandler for Tracker<S> {
    const SERVICE: &'static str = Saga::SERVICE;

    async fn handle(&self, envelope: &Envelope) -> Result<Verdict, Failure> {
        let id = about(&envelope.metadata);
        if let Some(verdict) = pass_over(&self.ports, Self::SERVICE, envelope, &id).await? {
            return Ok(verdict);
        }
        let view = match prices::view(envelope)? {
            Some(view) => Some(view),
            None => admission::view(envelope)?,
        };
        match view {
            Some(view) => project(&self.ports, envelope, view).await,
            None => react(&self.ports, &NoEffects::<Saga>::default(), envelope).await,
        }
    }
}

/// What an audit compares.
pub const AUDITED: Audited = Audited {
    kinds: &[Kind::by_commands::<Saga>("order")],
    views: &[View { name: "product", row: prices::view }, View { name: "breaker", row: admission::view }],
    inbox: about,
};
