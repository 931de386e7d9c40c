//! Outward calls of the loop: how many one delivery may lead to.

use crate::envelopes::envelope;
use crate::platform::run;
use crate::seeded::Counter;
use chassis::outbox::OutboxEntry;
use chassis::reaction::react;
use chassis::store::MemoryStore;
use chassis::{Aggregate, Attempt, Decider, Effects, Failure, Ports, Reactor, Refusal};
use chrono::{DateTime, Utc};
use events::{Envelope, Unreadable};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

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

    async fn perform(&self, _call: (), _attempt: Attempt) -> Result<(), Failure> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

/// Guards: the bound of outward calls. It is looked at before a call is made, and the error says that, and of whom.
#[test]
fn a_delivery_makes_two_calls_at_most_and_says_so() {
    run(async {
        let (counter, calls) = (Arc::new(Counter::default()), Calls::default());
        let store = MemoryStore::default();
        let ports = Ports { store, clock: Arc::clone(&counter) as _, ids: counter };
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
