//! The services on memory stores under a bus that delivers in any order, more than once, and over
//! stores that fail before or after a commit. Everything follows from a seed.

use crate::outside::{Board, Depot, Till, Wire};
use chassis::aggregate::read_state;
use chassis::http::access::Auth;
use chassis::http::cursor::Cursors;
use chassis::http::{Api, Request};
use chassis::outbox::{EntryKind, envelope_of};
use chassis::ports::{Clock, Ids};
use chassis::store::{CommitError, EVENTS, INBOX, Indexed, Item, Key, MemoryStore, Store, Write};
use chassis::task::{Task, TaskError};
use chassis::{Consumer, Decider, Effects, EventHandler, Failure, Ports, Verdict};
use chrono::{DateTime, TimeDelta, Utc};
use events::payments::PaymentCompensationRequested;
use events::{Currency, Envelope, EventId, Metadata, catalogue};
use fulfillment::reactor::{Effort, Shipping};
use futures_util::future::join;
use inventory::api::ProductsApi;
use notifications::notification::Notice;
use notifications::reactor::Publishing;
use orders::http::OrdersApi;
use orders::reactor::Tracker;
use orders::saga::{Saga, Status, history};
use orders::sweeper::{Input, Sweeper};
use payments::compensation::Compensator;
use payments::provider::circuit_breaker::CircuitBreaker;
use payments::reactor::Charges;
use registry::SERVICES;
use rewards::points::Points;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use uuid::Uuid;

/// An envelope as it might arrive, for tests that need any.
pub fn envelope(kind: &str, version: u32, producer: &str, data: Value) -> Envelope {
    let metadata = Metadata {
        id: EventId(Uuid::from_u128(11)),
        source: events::source_of(producer),
        kind: kind.to_owned(),
        version,
        subject: "018f2b9e-7c1a-7d3e-9f00-4b6a1c2d3e4f".to_owned(),
        seq: 1,
        time: DateTime::UNIX_EPOCH,
        correlation_id: Uuid::from_u128(12),
        causation_id: Uuid::from_u128(13),
        traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned(),
        replay: None,
        nudge: None,
    };
    Envelope { metadata, data }
}

/// A small generator (SplitMix64): the same seed, the same run.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(n.max(1)).unwrap()).unwrap()
    }
}

/// Time and ids that repeat exactly.
#[derive(Default)]
struct Counter {
    millis: AtomicI64,
    ids: AtomicU64,
}

impl Clock for Counter {
    fn now(&self) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::milliseconds(self.millis.fetch_add(1, Ordering::SeqCst))
    }
}

impl Ids for Counter {
    fn fresh(&self) -> Uuid {
        Uuid::from_u128(u128::from(self.ids.fetch_add(1, Ordering::SeqCst)) + (7 << 76))
    }

    fn jitter(&self, _most: Duration) -> Duration {
        Duration::ZERO
    }
}

/// What is to go wrong with a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// Nothing is written.
    Before,
    /// Everything is written, and nobody hears of it.
    After,
}

/// A store whose `n`-th commit crashes.
#[derive(Clone, Default)]
pub struct Faulty {
    pub inner: MemoryStore,
    commits: Arc<AtomicU64>,
    plan: Arc<Mutex<Option<(u64, Crash)>>>,
}

impl Store for Faulty {
    async fn load(&self, key: &Key) -> Result<Option<Item>, Failure> {
        // Lets the other worker run in between, where there is one.
        tokio::task::yield_now().await;
        self.inner.load(key).await
    }

    async fn load_many(&self, keys: &[Key]) -> Result<Vec<Option<Item>>, Failure> {
        self.inner.load_many(keys).await
    }

    async fn page(
        &self,
        pk: &str,
        prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Item>, Failure> {
        self.inner.page(pk, prefix, after, limit).await
    }

    async fn newest(
        &self,
        index: &'static str,
        partition: &str,
        before: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Indexed>, Failure> {
        self.inner.newest(index, partition, before, limit).await
    }

    async fn commit(&self, writes: Vec<Write>) -> Result<(), CommitError> {
        tokio::task::yield_now().await;
        let n = self.commits.fetch_add(1, Ordering::SeqCst);
        let plan = self.plan.lock().unwrap().filter(|(at, _)| *at == n).map(|(_, crash)| crash);
        let crashed = CommitError::Failed(Failure::Transient("crashed".into()));
        match plan {
            None => self.inner.commit(writes).await,
            Some(Crash::Before) => Err(crashed),
            Some(Crash::After) => self.inner.commit(writes).await.and(Err(crashed)),
        }
    }
}

/// The services, the bus between them, and a log of what happened.
pub struct World {
    ports: BTreeMap<&'static str, Ports<Faulty>>,
    clock: Arc<Counter>,
    till: Till,
    depot: Depot,
    board: Board,
    wire: Wire,
    /// What is on its way: to whom, and what.
    pub pending: Vec<(&'static str, Envelope)>,
    /// One line per delivery.
    pub log: Vec<String>,
}

/// How often the flow tries a refused refund again.
const RETRIES: u32 = 3;
/// Where fulfillment's letters go that were tried often enough.
pub const EXHAUSTED: &str = "fulfillment-exhausted";
/// Where requests to undo a charge go.
pub const FLOW: &str = "payment-compensation";

impl World {
    pub fn new() -> Self {
        let counter = Arc::new(Counter::default());
        let ports = || Ports {
            store: Faulty::default(),
            clock: Arc::clone(&counter) as Arc<dyn Clock>,
            ids: Arc::clone(&counter) as Arc<dyn Ids>,
        };
        Self {
            ports: SERVICES.iter().map(|service| (*service, ports())).collect(),
            clock: Arc::clone(&counter),
            till: Till::default(),
            depot: Depot::default(),
            board: Board::default(),
            wire: Wire::default(),
            pending: Vec::new(),
            log: Vec::new(),
        }
    }

    fn of(&self, service: &str) -> &Ports<Faulty> {
        let unknown = || panic!("{service} is not in services/registry: run `just bless`");
        self.ports.get(service).unwrap_or_else(unknown)
    }

    /// Lets time pass.
    pub fn advance(&self, seconds: i64) {
        self.clock.millis.fetch_add(seconds * 1000, Ordering::SeqCst);
    }

    /// Delivers everything that is pending and all that follows from it, once; what fails is lost.
    pub async fn run_down(&mut self) {
        while let Some((service, envelope)) = self.pending.pop() {
            let _ = self.deliver(service, &envelope).await;
        }
    }

    fn store(&self, service: &str) -> &Faulty {
        &self.of(service).store
    }

    /// Lets the `n`-th commit of a service from now on crash.
    pub fn crash(&self, service: &str, n: u64, how: Crash) {
        let store = self.store(service);
        let at = store.commits.load(Ordering::SeqCst) + n;
        *store.plan.lock().unwrap() = Some((at, how));
    }

    pub fn commits(&self, service: &str) -> u64 {
        self.store(service).commits.load(Ordering::SeqCst)
    }

    /// The types of everything that was published so far.
    pub fn all_published(&self) -> BTreeSet<String> {
        let rows = SERVICES.iter().flat_map(|service| self.store(service).inner.rows());
        let told = rows.filter(|row| EntryKind::Published.is_of(row));
        told.filter_map(|row| Some(row.text("type")?.to_owned())).collect()
    }

    /// What a pipe and the rules do: every told row goes to everybody who takes it.
    pub fn publish(&mut self) {
        for service in SERVICES {
            let rows = self.store(service).inner.take_inserted();
            let told = rows.iter().filter(|row| EntryKind::Published.is_of(row));
            told.for_each(|row| self.fan_out(&envelope_of(row).unwrap()));
        }
        let again: Vec<Envelope> = self.wire.0.lock().unwrap().drain(..).collect();
        again.iter().for_each(|envelope| self.fan_out(envelope));
    }

    fn fan_out(&mut self, envelope: &Envelope) {
        let entry = catalogue::entries().into_iter().find(|e| e.kind == envelope.metadata.kind).unwrap();
        self.pending.extend(entry.consumers.iter().map(|consumer| (*consumer, envelope.clone())));
        if envelope.is::<PaymentCompensationRequested>() {
            self.pending.push((FLOW, envelope.clone()));
        }
    }

    /// Reminds every step that has been silent for too long.
    pub async fn sweep(&mut self) -> Value {
        self.sweep_ahead(0).await
    }

    /// Reminds every step that will have been silent for too long in so many seconds.
    pub async fn sweep_ahead(&mut self, ahead_seconds: u32) -> Value {
        let sweeper = Sweeper { ports: self.of("orders").clone(), bus: self.wire.clone() };
        let swept = sweeper.run(Input { ahead_seconds }).await.unwrap();
        self.publish();
        swept
    }

    /// Inventory's HTTP API.
    pub fn products(&self) -> ProductsApi<Faulty> {
        ProductsApi { ports: self.of("inventory").clone(), currency: Currency::USD }
    }

    /// Lists a product; its events are on their way.
    pub async fn put(&mut self, id: &str, stock: u64, cents: u64) {
        let api = self.products();
        let body = json!({"name": id, "unit_price_cents": cents, "stock": stock}).to_string().into_bytes();
        let path = [("id".to_owned(), id.to_owned())].into();
        let request = Request { route: "PUT /products/{id}".into(), path, body, ..Request::default() };
        api.answer(request).await.unwrap();
        self.publish();
    }

    /// Lists a product at 100 and lets the price list know at once.
    pub async fn list(&mut self, id: &str, stock: u64) {
        self.put(id, stock, 100).await;
        while let Some((service, envelope)) = self.pending.pop() {
            self.deliver(service, &envelope).await.unwrap();
        }
    }

    /// Orders' HTTP API, open to everybody.
    pub fn api(&self) -> OrdersApi<Faulty> {
        let cursors = Cursors::new("test").unwrap();
        OrdersApi { ports: self.of("orders").clone(), stage: "test".into(), auth: Auth::Off, cursors }
    }

    /// Places an order; gives its id.
    pub async fn place(&mut self, body: &Value) -> String {
        let body = body.to_string().into_bytes();
        let correlation_id = self.of("orders").ids.fresh();
        let request = Request { route: "POST /orders".into(), body, correlation_id, ..Request::default() };
        let answer = self.api().answer(request).await;
        let id = answer.unwrap().body["order_id"].as_str().unwrap().to_owned();
        self.publish();
        id
    }

    /// Cancels an order in its customer's name; whether that was taken.
    pub async fn cancel(&mut self, order: &str) -> bool {
        let path = [("id".to_owned(), order.to_owned())].into();
        let request = Request { route: "POST /orders/{id}/cancel".into(), path, ..Request::default() };
        let taken = self.api().answer(request).await.is_ok();
        self.publish();
        taken
    }

    async fn react(&self, service: &str, envelope: &Envelope) -> Result<Verdict, Failure> {
        /// How a service reacts. One that needs nothing but its store has no line here: its `reactor::Reactions` call
        /// nobody. One that needs more, a carrier, gets a line.
        macro_rules! reaction {
            (orders) => {
                Tracker { ports: self.of(service).clone() }.handle(envelope).await
            };
            (inventory) => {
                self.answering(service, inventory::reactor::Reactions::default(), envelope).await
            };
            (fulfillment) => {
                self.answering(service, self.shipping(Effort::Ship), envelope).await
            };
            (payments) => {
                self.answering(service, Charges { circuit: self.circuit() }, envelope).await
            };
            (notifications) => {{
                let effects = Publishing { topic: self.board.clone() };
                Consumer::new(self.of(service).clone(), effects).handle(envelope).await
            }};
            ($service:ident) => {{
                let effects = registry::$service::reactor::Reactions::default();
                Consumer::new(self.of(service).clone(), effects).handle(envelope).await
            }};
        }
        macro_rules! by_name {
            ($($service:ident,)*) => {
                match service {
                    FLOW => self.flow(envelope).await,
                    EXHAUSTED => {
                        self.answering("fulfillment", self.shipping(Effort::GiveUp), envelope).await
                    }
                    $(stringify!($service) => reaction!($service),)*
                    unknown => panic!("{unknown} is not in services/registry: run `just bless`"),
                }
            };
        }
        registry::for_each_service!(by_name)
    }

    /// A service that answers reminders handles an event.
    async fn answering<E: Effects>(
        &self,
        service: &str,
        effects: E,
        envelope: &Envelope,
    ) -> Result<Verdict, Failure> {
        let consumer = Consumer::new(self.of(service).clone(), effects).answering(self.wire.clone());
        consumer.handle(envelope).await
    }

    fn shipping(&self, effort: Effort) -> Shipping<Depot> {
        Shipping { carrier: self.depot.clone(), effort }
    }

    fn circuit(&self) -> CircuitBreaker<Till, Faulty> {
        CircuitBreaker::new(self.till.clone(), self.of("payments").clone(), TimeDelta::minutes(1))
    }

    fn compensator(&self) -> Compensator<Faulty, Till, Wire> {
        let ports = self.of("payments").clone();
        Compensator { ports, bus: self.wire.clone(), circuit: self.circuit() }
    }

    /// The operator's verb for a refund that was refused for good.
    pub async fn retry(&mut self, order: &str) {
        let input = json!({"task": "Retry", "order_id": order});
        self.compensator().run(serde_json::from_value(input).unwrap()).await.unwrap();
        self.publish();
    }

    /// One task of the flow.
    pub async fn task(&self, task: &str, event: &Value) -> Result<Value, TaskError> {
        let input = json!({"task": task, "event": event, "attempt": 0});
        self.compensator().run(serde_json::from_value(input).unwrap()).await
    }

    /// What the state machine does with a request to undo a charge.
    async fn flow(&self, envelope: &Envelope) -> Result<Verdict, Failure> {
        let mut event = json!(envelope);
        let run = async |task: &str, event: &Value| {
            self.task(task, event).await.map_err(|error| Failure::Transient(error.message))
        };
        let refund = async |event: &Value| {
            for _ in 0..RETRIES {
                if let Ok(made) = run("Refund", event).await {
                    return Ok(made);
                }
            }
            run("Refund", event).await
        };
        loop {
            event["charge"] = run("LookUpCharge", &event).await?;
            let last = match event["charge"]["status"].as_str() {
                Some("CAPTURED") => match refund(&event).await {
                    Ok(_) => "RecordRefunded",
                    Err(refused) => {
                        event["escalation"] = json!({"error": refused.to_string()});
                        "RecordRefundFailed"
                    }
                },
                Some("REFUNDED") => "RecordRefunded",
                Some("VOIDED") => "RecordVoided",
                _ => {
                    event["void"] = run("VoidAtProvider", &event).await?;
                    continue;
                }
            };
            return run(last, &event).await.map(|_| Verdict::Applied);
        }
    }

    /// Two workers of a service get an event each at the same time; both have loaded before either commits.
    pub async fn deliver_at_once(&mut self, service: &'static str, events: [&Envelope; 2]) -> [Verdict; 2] {
        let (a, b) = join(self.react(service, events[0]), self.react(service, events[1])).await;
        self.publish();
        [a.unwrap(), b.unwrap()]
    }

    /// The same world again, going its own way from here.
    pub fn fork(&self) -> Self {
        let ports = |from: &Ports<Faulty>| {
            let inner = from.store.inner.fork();
            Ports { store: Faulty { inner, ..Faulty::default() }, ..from.clone() }
        };
        let till = Till(Arc::new(Mutex::new(self.till.0.lock().unwrap().clone())));
        let depot = Depot(Arc::new(Mutex::new(self.depot.0.lock().unwrap().clone())));
        let board = Board(Arc::new(Mutex::new(self.board.0.lock().unwrap().clone())));
        let ports = self.ports.iter().map(|(service, from)| (*service, ports(from))).collect();
        let (pending, log) = (self.pending.clone(), self.log.clone());
        let wire = Wire::default();
        Self { ports, clock: Arc::clone(&self.clock), till, depot, board, wire, pending, log }
    }

    /// The types of what a service has told about an order, oldest first.
    pub async fn told(&self, service: &str, order: &str) -> Vec<String> {
        let rows = self.store(service).page(&format!("order#{order}"), EVENTS, None, 100).await.unwrap();
        rows.iter().map(|row| row.text("type").unwrap().to_owned()).collect()
    }

    /// Deletes every inbox row, as TTL does after a week.
    pub fn expire_inboxes(&self) {
        for store in SERVICES.iter().map(|service| &self.store(service).inner) {
            let rows = store.rows().into_iter().map(|row| row.key);
            rows.filter(|key| key.sk.starts_with(INBOX)).for_each(|key| store.expire(&key));
        }
    }

    pub async fn deliver(&mut self, service: &'static str, envelope: &Envelope) -> Result<Verdict, Failure> {
        let outcome = self.react(service, envelope).await;
        let Metadata { kind, subject, .. } = &envelope.metadata;
        self.log.push(format!("{service} {kind} {subject} {outcome:?}"));
        self.publish();
        outcome
    }

    /// Delivers what is pending, in the dice's order; what fails stays pending, and about every third event
    /// is delivered once more later.
    pub async fn play(&mut self, dice: &mut Dice) {
        let mut repeats = 200;
        while !self.pending.is_empty() {
            let (service, envelope) = self.pending.swap_remove(dice.below(self.pending.len()));
            let failed = self.deliver(service, &envelope).await.is_err();
            let again = repeats > 0 && dice.below(3) == 0;
            repeats -= usize::from(again);
            if failed || again {
                self.pending.push((service, envelope));
            }
        }
    }

    pub async fn status(&self, order: &str) -> Status {
        self.order(order).await.status()
    }

    async fn order(&self, order: &str) -> Saga {
        let row = self.store("orders").load(&Key::state(format!("order#{order}"))).await.unwrap().unwrap();
        read_state(&row).unwrap().state
    }

    /// Units available, held and shipped.
    pub async fn stock(&self, product: &str) -> (u64, u64, u64) {
        let key = Key::state(format!("product#{product}"));
        let row = self.store("inventory").load(&key).await.unwrap().unwrap();
        let count = |name| row.count(name).unwrap();
        (count("available"), count("held"), count("shipped"))
    }

    /// The points that an order has brought and still brings.
    pub async fn points(&self, order: &str) -> u64 {
        let row = self.store("rewards").load(&Key::state(format!("order#{order}"))).await.unwrap();
        match row.map(|row| read_state::<Points>(&row).unwrap().state) {
            Some(Points::Granted { points, .. }) => points,
            _ => 0,
        }
    }

    /// How often the provider was asked for an order's charge.
    pub fn charges(&self, order: &str) -> u32 {
        self.till.0.lock().unwrap().get(&order.parse().unwrap()).map_or(0, |account| account.calls)
    }

    /// What was published about an order, by kind.
    pub fn notices(&self, order: &str) -> Vec<String> {
        let board = self.board.0.lock().unwrap();
        let notices = board.values().map(|body| serde_json::from_str::<Notice>(body).unwrap());
        let of_order = notices.filter(|notice| notice.order_id.to_string() == order);
        let mut kinds: Vec<String> =
            of_order.map(|notice| json!(notice.outcome)["kind"].as_str().unwrap().to_owned()).collect();
        kinds.sort();
        kinds
    }

    pub fn captured(&self, order: &str) -> u64 {
        let account = self.till.0.lock().unwrap().get(&order.parse().unwrap()).copied().unwrap_or_default();
        account.captured - account.refunded
    }

    /// I5: each order's event rows are gapless, and their fold is its stored state.
    pub async fn check_history(&self, order: &str) {
        let pk = format!("order#{order}");
        let rows = self.store("orders").page(&pk, EVENTS, None, 100).await.unwrap();
        let seqs: Vec<u64> = rows.iter().map(|row| row.count("seq").unwrap()).collect();
        assert_eq!(seqs, (1..=u64::try_from(rows.len()).unwrap()).collect::<Vec<_>>(), "gaps in {order}");
        let facts = rows.iter().map(|row| history::fact(&envelope_of(row).unwrap()).unwrap());
        let folded = facts.fold(Saga::default(), |saga, fact| saga.evolve(&fact));
        assert_eq!(folded, self.order(order).await, "{order} is not the fold of its history");
    }
}
