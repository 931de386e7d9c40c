//! What is booked for one order, in each generation: the aggregate. It publishes nothing.

use crate::counters;
use crate::sale::{Booking, Sale, SaleEvent};
use chassis::aggregate::SideWrite;
use chassis::outbox::OutboxEntry;
use chassis::{Aggregate, Decider, Refusal};
use chrono::{DateTime, Utc};
use events::{Envelope, OrderId, Unreadable};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The sale of one order, by generation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Books(pub BTreeMap<u32, Sale>);

/// An event about an order, and where it is to be booked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub order_id: OrderId,
    pub event: SaleEvent,
    /// The generation that reports show.
    pub live: u32,
    /// Those in which the event is booked: a delivery's are all that are open, a rebuild's the one that it builds.
    pub generations: Vec<u32>,
}

/// A booking in one generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    pub order_id: OrderId,
    pub generation: u32,
    /// Generations before this one are not needed any more.
    pub live: u32,
    pub booking: Booking,
}

impl Decider for Books {
    type Message = Message;
    type Fact = Fact;

    fn decide(&self, message: &Message, _now: DateTime<Utc>) -> Result<Vec<Fact>, Refusal> {
        let Message { order_id, event, live, generations } = message;
        let (mut facts, mut refused) = (Vec::new(), Refusal::Stale("no generation is open"));
        for generation in generations {
            match self.0.get(generation).unwrap_or(&Sale::default()).book(event) {
                Ok(booking) => {
                    let (order_id, generation, live) = (*order_id, *generation, *live);
                    facts.push(Fact { order_id, generation, live, booking });
                }
                Err(refusal) => refused = refusal,
            }
        }
        if facts.is_empty() { Err(refused) } else { Ok(facts) }
    }

    fn evolve(mut self, fact: &Fact) -> Self {
        self.0.retain(|generation, _| *generation >= fact.live);
        let sale = self.0.remove(&fact.generation).unwrap_or_default();
        self.0.insert(fact.generation, sale.after(&fact.booking));
        self
    }
}

impl Aggregate for Books {
    const SERVICE: &'static str = "sales";

    fn event(_fact: &Fact) -> Option<OutboxEntry> {
        None
    }

    fn facts(&self, event: &Envelope) -> Result<Vec<Fact>, Unreadable> {
        Err(event.not_consumed_by(Self::SERVICE))
    }

    /// It publishes no event, so none determines anything: `quadrille rebuild --dry-run` compares its counters with the log.
    fn visible(&self) -> String {
        String::new()
    }

    /// A confirmation, unless a rebuild reads it: the order has a row then.
    fn starts_aggregate(message: &Message) -> bool {
        matches!(message.event, SaleEvent::Confirmed(_)) && message.generations.contains(&message.live)
    }

    fn side_writes(fact: &Fact) -> Vec<SideWrite<Message>> {
        let writes = counters::writes(fact.order_id, fact.generation, &fact.booking);
        writes.into_iter().map(|write| SideWrite { write, otherwise: None }).collect()
    }
}

#[cfg(test)]
mod specs {
    use super::*;
    use crate::sale::samples::{cancelled, confirmed};
    use uuid::Uuid;

    type Spec = chassis::spec::Spec<Books>;

    fn message(event: SaleEvent, live: u32, generations: &[u32]) -> Message {
        Message { order_id: OrderId(Uuid::from_u128(1)), event, live, generations: generations.to_vec() }
    }

    fn sold(generation: u32, live: u32) -> Fact {
        let booking = Booking::Sold(confirmed(1));
        Fact { order_id: OrderId(Uuid::from_u128(1)), generation, live, booking }
    }

    /// Guards: while a generation is built, a delivery books in both, and in each once.
    #[test]
    fn each_generation_is_booked_once() {
        let confirmed = || SaleEvent::Confirmed(confirmed(1));
        Spec::given([]).when(message(confirmed(), 1, &[1, 2])).then([sold(1, 1), sold(2, 1)]);
        Spec::given([sold(1, 1)]).when(message(confirmed(), 1, &[1, 2])).then([sold(2, 1)]);
        Spec::given([sold(1, 1)]).when(message(confirmed(), 1, &[2])).then([sold(2, 1)]);
        let again = Spec::given([sold(1, 1), sold(2, 1)]).when(message(confirmed(), 1, &[1, 2]));
        again.refused(Refusal::Stale("already booked as sold"));
    }

    /// Guards: a row does not grow with every rebuild, and a delivery that read the row of generations before a swap drops
    /// nothing that is live.
    #[test]
    fn only_generations_before_the_live_one_are_dropped() {
        let kept = |facts: [Fact; 3]| Spec::given(facts).state().0.keys().copied().collect::<Vec<_>>();
        assert_eq!(kept([sold(1, 1), sold(2, 1), sold(3, 2)]), [2, 3]);
        assert_eq!(kept([sold(2, 2), sold(3, 2), sold(1, 1)]), [1, 2, 3]);
    }

    /// Guards: whatever the order of arrival, and however often each comes, the state and the sums are the same.
    #[test]
    fn every_order_of_arrival_leads_to_one_state_and_the_same_sums() {
        use chassis::store::{MemoryStore, Store};
        use futures_util::FutureExt;
        let (sold, cancelled) = (SaleEvent::Confirmed(confirmed(1)), SaleEvent::Cancelled(cancelled(2)));
        let deliveries = [[&sold, &cancelled], [&cancelled, &sold]];
        let twice =
            deliveries.iter().flat_map(|first| deliveries.iter().map(|then| [*first, *then].concat()));
        let mut outcomes = twice.map(|deliveries| {
            let (store, mut books) = (MemoryStore::default(), Books::default());
            for event in deliveries {
                let message = message(event.clone(), 1, &[1]);
                for fact in books.decide(&message, DateTime::UNIX_EPOCH).unwrap_or_default() {
                    let writes = Books::side_writes(&fact).into_iter().map(|side| side.write).collect();
                    store.commit(writes).now_or_never().unwrap().unwrap();
                    books = books.evolve(&fact);
                }
            }
            (books, store.rows())
        });
        let first = outcomes.next().unwrap();
        assert_eq!(first.1.len(), 3 + 4, "a day of sales, and one on which they are taken back");
        assert!(outcomes.all(|outcome| outcome == first));
    }
}
