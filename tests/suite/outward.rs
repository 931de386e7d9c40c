//! Outward calls of the loop: how many one delivery may lead to, and that a replayed event leads to none.

use crate::envelopes::envelope;
use crate::outside::MemoryTopic;
use crate::platform::run;
use crate::seeded::Counter;
use chassis::outbox::OutboxEntry;
use chassis::reaction::react;
use chassis::store::MemoryStore;
use chassis::{Aggregate, Attempt, Decider, Effects, Failure, Live, Ports, Reactor, Refusal, Verdict};
use chrono::{DateTime, Utc};
use events::{Envelope, Unreadable, envelope::Replay};
use notifications::reactor::Publishing;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use uuid::Uuid;

/// Whatever it learns, it asks again.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Insatiable {
    answers: u32,
}

impl Decider for Insatiable {
    type Message = ();
    type Fact = ();

    fn decide(&self, _message: &(), _now: DateTime<Utc>) -> Result<Vec<()>, Refusal> {
        Ok(vec![()])
    }

    fn evolve(self, _fact: &()) -> Self {
        Self { answers: self.answers + 1 }
    }
}

impl Aggregate for Insatiable {
    const SERVICE: &'static str = "insatiable";

    fn event(_fact: &()) -> Option<OutboxEntry> {
        None
    }

    fn facts(&self, _event: &Envelope) -> Result<Vec<()>, Unreadable> {
        Ok(Vec::new())
    }

    fn visible(&self) -> String {
        String::new()
    }
}

impl Reactor for Insatiable {
    fn read(_envelope: &Envelope) -> Result<(), Unreadable> {
        Ok(())
    }
}

#[derive(Clone, Default)]
struct Calls(Arc<AtomicUsize>);

impl Effects for Calls {
    type Reactor = Insatiable;
    type Call = ();

    fn pending_call(_state: &Insatiable) -> Option<()> {
        Some(())
    }

    async fn perform(&self, _call: (), _attempt: Attempt, _live: Live) -> Result<(), Failure> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

fn ports() -> Ports<MemoryStore> {
    let counter = Arc::new(Counter::default());
    Ports { store: MemoryStore::default(), clock: Arc::clone(&counter) as _, ids: counter }
}

/// Guards: `Effects::CALLS`. A service that calls leaves a replayed event alone: no call, and nothing written, so that the
/// same event is still news when it comes live. What it knows already is a duplicate.
#[test]
fn a_replayed_event_calls_nothing_and_leaves_nothing() {
    run(async {
        let (ports, topic) = (ports(), MemoryTopic::default());
        let publishing = Publishing { topic: topic.clone() };
        let id = "018f2b9e-7c1a-7d3e-9f00-4b6a1c2d3e4f";
        let data = json!({"order_id": id, "customer_id": "ada"});
        let live = envelope("order.confirmed", 1, "orders", data);
        let mut replayed = live.clone();
        replayed.metadata.replay = Some(Replay { id: Uuid::nil(), consumer: None });
        assert_eq!(react(&ports, &publishing, &replayed).await, Ok(Verdict::Replayed));
        assert_eq!((ports.store.rows().len(), topic.0.lock().unwrap().len()), (0, 0));
        assert_eq!(react(&ports, &publishing, &live).await, Ok(Verdict::Applied));
        assert_eq!(react(&ports, &publishing, &replayed).await, Ok(Verdict::Duplicate));
        assert_eq!(topic.0.lock().unwrap().len(), 1);
    });
}

/// Guards: the bound of outward calls. It is looked at before a call is made, and the error says that, and of whom.
#[test]
fn a_delivery_makes_two_calls_at_most_and_says_so() {
    run(async {
        let (ports, calls) = (ports(), Calls::default());
        let event = envelope("order.created", 1, "orders", json!({}));
        let failure = react(&ports, &calls, &event).await.unwrap_err();
        let id = format!("order#{}", event.metadata.subject);
        assert_eq!(
            failure.to_string(),
            format!("transient: {id} asks for more than 2 outward calls in one delivery")
        );
        assert_eq!(calls.0.load(Ordering::SeqCst), 2);
    });
}
