//! Outward calls of the loop: how many one delivery may lead to, and that a replayed event leads to none.

use crate::envelopes::envelope;
use crate::outside::MemoryTopic;
use crate::platform::run;
use crate::seeded::Counter;
use crate::stores::{Crash, Faulty};
use chassis::outbox::OutboxEntry;
use chassis::ports::Topic;
use chassis::reaction::react;
use chassis::store::MemoryStore;
use chassis::{Aggregate, Attempt, Decider, Effects, Failure, Live, Ports, Reactor, Refusal, Verdict};
use chrono::{DateTime, Utc};
use events::{Envelope, Unreadable, envelope::Replay};
use notifications::reactor::Publishing;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
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

/// Counts what is published, and lets go through what the test allows.
#[derive(Clone, Default)]
struct Counted {
    ids: Arc<Mutex<Vec<String>>>,
    fails: Arc<AtomicBool>,
}

impl Topic for Counted {
    async fn publish(&self, _group: &str, id: &str, _body: String) -> Result<(), Failure> {
        if self.fails.load(Ordering::SeqCst) {
            return Err(Failure::Transient("no topic".into()));
        }
        self.ids.lock().unwrap().push(id.to_owned());
        Ok(())
    }
}

/// Guards: a message is published before it is committed that it was, and always under its event's id. A topic that fails leaves
/// no record of a message, a crash before the commit has it published again under the same id, and an event that is known is
/// published no more, however late it comes.
#[test]
fn a_message_is_recorded_once_the_topic_has_it() {
    run(async {
        let Ports { clock, ids, .. } = ports();
        let store = Faulty::new(MemoryStore::default(), Crash::Before);
        let (ports, topic) = (Ports { store, clock, ids }, Counted::default());
        let publishing = Publishing { topic: topic.clone() };
        let data = json!({"order_id": "018f2b9e-7c1a-7d3e-9f00-4b6a1c2d3e4f", "customer_id": "ada"});
        let event = envelope("order.confirmed", 1, "orders", data);
        let is_recorded = || ports.store.inner.rows().iter().any(|row| row.key.sk == "state");
        topic.fails.store(true, Ordering::SeqCst);
        // This delivery's one commit is the note of why it failed, and crashes.
        assert!(react(&ports, &publishing, &event).await.is_err());
        assert!(!is_recorded());
        topic.fails.store(false, Ordering::SeqCst);
        ports.store.crash(0, Crash::Before);
        assert!(react(&ports, &publishing, &event).await.is_err());
        assert!(!is_recorded());
        assert_eq!(react(&ports, &publishing, &event).await, Ok(Verdict::Applied));
        assert_eq!(react(&ports, &publishing, &event).await, Ok(Verdict::Duplicate));
        let id = event.metadata.id.to_string();
        assert_eq!(*topic.ids.lock().unwrap(), [id.clone(), id], "the crash's, and the one that is recorded");
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
