//! What stands outside the services, in memory: a payment provider, a carrier, a topic and the bus. They behave as the
//! simulators of the local stack do, by the same payment methods and products.

use crate::bench::{Account, Parcel};
use crate::seeded::Counter;
use chassis::Failure;
use chassis::http::client::{Answer, Method, StatusCode};
use chassis::ports::{Bus, Clock, Topic};
use events::orders::Address;
use events::{Envelope, OrderId};
use fulfillment::carrier::Carrier;
use fulfillment::shipment::{self, Message};
use localstack::outside::payment_provider::account::{self as simulator, Account as Simulated, Fate};
use localstack::outside::payment_provider::objects::Intent;
use payments::provider::CallError;
use payments::provider::stripe::{self, Stripe, Transport};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

fn no_answer() -> Failure {
    Failure::Transient("no answer".into())
}

/// What goes wrong on the line to the provider, for calls whose path ends so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mishap {
    /// A call that changes something is done, and its answer is lost.
    NoAnswer(&'static str),
    /// The provider fails once, before it does anything, and repeats that answer for the key.
    Fails(&'static str),
    /// A call that changes something is done, and the provider answers that it failed, now and at every repetition.
    FailsAfterwards(&'static str),
    /// The provider captures another amount than it was asked for, in minor units.
    Captures(u64),
    /// The answer takes a while, in which others go on.
    Slow(&'static str),
}

/// The provider in memory: the local stack's simulator, without HTTP.
pub type MemoryProvider = Stripe<Line>;

/// The line to the simulator.
#[derive(Clone)]
pub struct Line {
    account: Arc<Mutex<Simulated>>,
    clock: Arc<Counter>,
    pub mishaps: Arc<Mutex<Vec<Mishap>>>,
}

impl Line {
    pub fn new(clock: Arc<Counter>) -> Self {
        Self { account: Arc::default(), clock, mishaps: Arc::default() }
    }

    /// What the simulator keeps.
    pub fn account(&self) -> Simulated {
        self.account.lock().unwrap().clone()
    }

    pub fn fork(&self) -> Self {
        Self { account: Arc::new(Mutex::new(self.account())), ..self.clone() }
    }

    fn fate(&self, method: &Method, path: &str) -> Fate {
        let mut mishaps = self.mishaps.lock().unwrap();
        let afterwards =
            |mishap: &Mishap| matches!(mishap, Mishap::FailsAfterwards(end) if path.ends_with(end));
        if method == Method::POST && mishaps.iter().any(afterwards) {
            return Fate::FailsAfterwards;
        }
        let fails = |mishap: &Mishap| matches!(mishap, Mishap::Fails(end) if path.ends_with(end));
        match mishaps.iter().position(fails) {
            Some(place) => {
                mishaps.remove(place);
                Fate::Fails
            }
            None => Fate::Answered,
        }
    }

    /// An order's money, of all its intents.
    pub fn money(&self, order: &str) -> Account {
        let (mut sum, account) = (Account::default(), self.account());
        let of_order = |intent: &&Intent| intent.metadata.get("order_id").is_some_and(|id| id == order);
        for intent in account.intents.values().filter(of_order) {
            sum.calls += intent.calls;
            sum.captures += usize::from(intent.captured() > 0);
            sum.captured += intent.captured();
            sum.refunded += account.refunded(intent);
        }
        sum
    }
}

impl Transport for Line {
    async fn send(&self, call: stripe::Call) -> Result<Answer, CallError> {
        let (path, query) = call.path.split_once('?').unwrap_or((&call.path, ""));
        let mishaps = self.mishaps.lock().unwrap().clone();
        let reply = {
            let mut account = self.account.lock().unwrap();
            let sent = simulator::Call {
                method: call.method.as_str(),
                path,
                query,
                idempotency_key: call.idempotency_key.as_deref(),
                form: &call.form,
            };
            let reply = account.answer(&sent, self.clock.now().timestamp(), self.fate(&call.method, path));
            account.take_changes();
            reply
        };
        if mishaps.iter().any(|mishap| matches!(mishap, Mishap::Slow(end) if path.ends_with(end))) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let mut reply = reply;
        for mishap in &mishaps {
            if let Mishap::Captures(amount) = mishap
                && reply.body["status"] == "succeeded"
            {
                reply.body["amount_received"] = (*amount).into();
            }
        }
        let is_lost = call.method == Method::POST
            && mishaps.iter().any(|mishap| matches!(mishap, Mishap::NoAnswer(end) if path.ends_with(end)));
        if reply.is_lost || is_lost {
            return Err(CallError::Down("no answer".into()));
        }
        let answer = Answer::new(StatusCode::from_u16(reply.status).unwrap(), reply.body);
        Ok(if reply.is_replayed { answer.replayed() } else { answer })
    }
}

/// What the carrier in memory knows of one order: how often it was called, and its answer.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    calls: u32,
    answer: Option<Message>,
    address: Option<Address>,
}

/// A carrier in memory: it knows parcels by their order. It knows the products of the simulator, and two more: it takes
/// `carrier-silent…` and never answers, and `carrier-denies…` without an answer, and refuses every later call for it.
#[derive(Clone, Debug, Default)]
pub struct MemoryCarrier(pub Arc<Mutex<BTreeMap<OrderId, Asked>>>);

impl MemoryCarrier {
    pub fn parcel(&self, order: &str) -> Parcel {
        let asked = self.0.lock().unwrap().get(&order.parse().unwrap()).cloned().unwrap_or_default();
        Parcel {
            calls: asked.calls,
            taken: matches!(asked.answer, Some(Message::Taken { .. })),
            withdrawn: matches!(asked.answer, Some(Message::Withdrawn)),
        }
    }

    /// Where the parcel of an order went.
    pub fn address(&self, order: OrderId) -> Option<Address> {
        self.0.lock().unwrap().get(&order)?.address.clone()
    }

    pub fn fork(&self) -> Self {
        Self(Arc::new(Mutex::new(self.0.lock().unwrap().clone())))
    }
}

impl Carrier for MemoryCarrier {
    async fn ship(&self, parcel: &shipment::Parcel, address: Option<&Address>) -> Result<Message, Failure> {
        let is = |kind: &str| parcel.lines.iter().any(|line| line.product_id.as_str().starts_with(kind));
        let mut parcels = self.0.lock().unwrap();
        let asked = parcels.entry(parcel.order_id).or_default();
        asked.calls += 1;
        asked.address = address.cloned();
        if is("carrier-down") || (is("carrier-flaky") && asked.calls <= 2) {
            return Err(Failure::Transient("the carrier is away".into()));
        }
        let answer = if is("unshippable") {
            Message::Refused { code: "prohibited_goods".into() }
        } else {
            let tracking_number = format!("M{}", parcel.order_id);
            Message::Taken { carrier: "Memory Parcels".into(), tracking_number }
        };
        let answer = match asked.answer.get_or_insert(answer).clone() {
            Message::Taken { .. } if is("carrier-denies") && asked.calls > 1 => {
                return Ok(Message::Refused { code: "unknown_address".into() });
            }
            answer => answer,
        };
        if is("carrier-silent") || ((is("carrier-lost-answer") || is("carrier-denies")) && asked.calls == 1) {
            return Err(no_answer());
        }
        Ok(answer)
    }

    async fn withdraw(&self, order_id: OrderId) -> Result<Message, Failure> {
        let mut parcels = self.0.lock().unwrap();
        let asked = parcels.entry(order_id).or_default();
        let taken = asked.answer.take().filter(|answer| matches!(answer, Message::Taken { .. }));
        Ok(asked.answer.insert(taken.unwrap_or(Message::Withdrawn)).clone())
    }
}

/// A topic in memory: it publishes a message once for its id. Ids and bodies, oldest first.
#[derive(Clone, Debug, Default)]
pub struct MemoryTopic(pub Arc<Mutex<Vec<(String, String)>>>);

impl MemoryTopic {
    pub fn fork(&self) -> Self {
        Self(Arc::new(Mutex::new(self.0.lock().unwrap().clone())))
    }
}

impl Topic for MemoryTopic {
    async fn publish(&self, _group: &str, id: &str, body: String) -> Result<(), Failure> {
        let mut published = self.0.lock().unwrap();
        if published.iter().all(|(known, _)| known != id) {
            published.push((id.to_owned(), body));
        }
        Ok(())
    }
}

/// The bus, for events that are published again.
#[derive(Clone, Default)]
pub struct MemoryBus(pub Arc<Mutex<Vec<Envelope>>>);

impl Bus for MemoryBus {
    async fn publish(&self, events: &[Envelope]) -> Result<(), Failure> {
        self.0.lock().unwrap().extend_from_slice(events);
        Ok(())
    }
}
