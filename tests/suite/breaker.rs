//! The circuit breaker, on both stores with workers that overlap, and on the real platform.

use crate::bench::Bench;
use crate::envelopes::envelope;
use crate::outside::MemoryBus;
use crate::platform::{Platform, on_platform, options, run};
use crate::stories::paid_with;
use chassis::outbox::Cause;
use chassis::ports::{Clock, RandomIds};
use chassis::reaction::{execute, react};
use chassis::store::{Item, MemoryStore};
use chassis::task::Task;
use chassis::{AggregateId, Attempt, Effects, Failure, Live, Ports, Store, Verdict};
use chrono::{DateTime, TimeDelta, Utc};
use events::{Currency, CustomerId, EventId, Money, OrderId};
use futures_util::future::join_all;
use hyper::Method;
use localstack::template::names;
use payments::breaker::THRESHOLD;
use payments::compensation::Compensator;
use payments::payment::{Bill, Capture, Message, Payment, PendingCharge};
use payments::provider::circuit_breaker::{CALLS, CircuitBreaker, REFUSED};
use payments::provider::{
    Attachment, CallError, ChargeStatus, Confirmation, Creation, PaymentMethod, PaymentProvider, Refund,
    RefundAttempt, RefundStatus,
};
use payments::reactor::Charges;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tests::client::{Answer, Client, order_of};
use tokio::sync::Notify;

/// How long the platform may take for anything here.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A provider that fails when the test says so, and counts its calls.
#[derive(Clone, Default)]
struct Gate {
    fails: Arc<AtomicBool>,
    calls: Arc<AtomicU32>,
}

impl Gate {
    fn called(&self) {
        self.calls.fetch_add(1, Ordering::SeqCst);
    }
}

impl PaymentProvider for Gate {
    async fn create_customer(&self, _: &CustomerId, _: u32) -> Result<Option<String>, CallError> {
        self.called();
        Ok(Some("cus".into()))
    }

    async fn attach(&self, _: &str, _: &str, _: &str) -> Result<Attachment, CallError> {
        self.called();
        Ok(Attachment::Unknown)
    }

    async fn create(&self, _: &Bill, _: &PaymentMethod, _: u32) -> Result<Creation, CallError> {
        self.called();
        Ok(Creation::Opened { intent: "pi".into() })
    }

    async fn confirm(&self, _: OrderId, _: &str, _: u32) -> Result<Confirmation, CallError> {
        self.called();
        // Longer than twenty workers need to reach the breaker's row, on a busy machine too.
        tokio::time::sleep(Duration::from_millis(400)).await;
        match self.fails.load(Ordering::SeqCst) {
            true => Err(CallError::Down("down".into())),
            false => Ok(Confirmation::Declined { code: "no".into() }),
        }
    }

    async fn look_up(&self, _: &str) -> Result<ChargeStatus, CallError> {
        self.called();
        Ok(ChargeStatus::Open)
    }

    async fn cancel(&self, _: &str, _: &str) -> Result<bool, CallError> {
        self.called();
        Ok(true)
    }

    async fn refund(
        &self,
        _: OrderId,
        _: &str,
        _: RefundAttempt,
    ) -> Result<Result<Refund, String>, CallError> {
        self.called();
        Ok(Err("no".into()))
    }

    async fn refund_status(&self, _: &str) -> Result<RefundStatus, CallError> {
        self.called();
        Ok(RefundStatus::Pending)
    }
}

#[derive(Clone, Default)]
struct Hands(Arc<AtomicI64>);

impl Clock for Hands {
    fn now(&self) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(self.0.load(Ordering::SeqCst))
    }
}

fn bill() -> Bill {
    Bill {
        order_id: OrderId(uuid::Uuid::now_v7()),
        customer_id: "ada".parse().unwrap(),
        amount: Money::new(500, Currency::USD),
        payment_method: None,
    }
}

/// Guards: the flow asks the breaker too. While the circuit is open each of its calls is put off by name, and the
/// provider is left alone; when the pause is over, the flow may be the probe.
#[test]
fn undoing_waits_for_the_circuit() {
    run(async {
        let (gate, hands) = (Gate::default(), Hands::default());
        let ports =
            Ports { store: MemoryStore::default(), clock: Arc::new(hands.clone()), ids: Arc::new(RandomIds) };
        let circuit = || CircuitBreaker::new(gate.clone(), ports.clone(), TimeDelta::minutes(1));
        let bill = bill();
        let order_id = bill.order_id;
        let opened = Message::Opened { intent: "pi".into() };
        for message in
            [Message::Created(bill), Message::Reserved(order_id), opened, Message::Cancelled(order_id)]
        {
            let cause = Cause::request(uuid::Uuid::now_v7(), uuid::Uuid::now_v7(), None);
            execute::<Payment, _>(&ports, &AggregateId::order(order_id), message, &cause).await.unwrap();
        }
        gate.fails.store(true, Ordering::SeqCst);
        let charges = Charges { circuit: circuit(), store: ports.store.clone(), fallback: Some("pm".into()) };
        for _ in 0..5 {
            assert!(charges.perform(charge(Some("pi")), Attempt::First, Live::command()).await.is_err());
        }
        let compensator = Compensator { ports: ports.clone(), bus: MemoryBus::default(), circuit: circuit() };
        let data = json!({"order_id": order_id, "payment_id": order_id, "generation": 1});
        let mut event = json!(envelope("payment.compensation.requested", 1, "payments", data));
        event["metadata"]["subject"] = json!(order_id);
        event["charge"] = json!({"status": "REFUNDING", "refund": "re"});
        let task = async |event: &Value, task: &str| {
            let input = json!({"task": task, "event": event, "attempt": 0});
            compensator.run(serde_json::from_value(input).unwrap()).await
        };
        for name in ["LookUpCharge", "VoidAtProvider", "Refund", "FollowRefund", "WatchRefund"] {
            assert_eq!(task(&event, name).await.unwrap_err().name, "CircuitOpen", "{name}");
        }
        assert_eq!(gate.calls.load(Ordering::SeqCst), 5);
        hands.0.fetch_add(61, Ordering::SeqCst);
        assert_eq!(task(&event, "LookUpCharge").await.unwrap(), json!({"status": "OPEN"}));
        assert_eq!(gate.calls.load(Ordering::SeqCst), 6);
        // Guards: the flow calls nothing for a replayed event, should one ever start it.
        event["metadata"]["replay"] = json!({"id": uuid::Uuid::nil()});
        assert_eq!(task(&event, "Refund").await.unwrap_err().name, "Poison");
        assert_eq!(gate.calls.load(Ordering::SeqCst), 6);
    });
}

fn charge(intent: Option<&str>) -> PendingCharge {
    PendingCharge { bill: bill(), intent: intent.map(str::to_owned), tries: 1 }
}

/// All workers at once; how many of them were let through.
async fn all<S: Store>(workers: &[Charges<Gate, S>], gate: &Gate) -> u32 {
    let before = gate.calls.load(Ordering::SeqCst);
    let outcomes = join_all(
        workers.iter().map(|worker| worker.perform(charge(Some("pi")), Attempt::First, Live::command())),
    )
    .await;
    let through = gate.calls.load(Ordering::SeqCst) - before;
    let is_refused = |outcome: &&Result<Message, Failure>| match outcome {
        Err(failure) => failure.to_string().contains("the circuit is open"),
        Ok(_) => false,
    };
    let refused = outcomes.iter().filter(is_refused).count();
    assert_eq!(refused + usize::try_from(through).unwrap(), workers.len(), "{outcomes:?}");
    through
}

/// Guards: while the circuit is open a charge that has not begun ends, and one that may have captured waits.
async fn while_open<S: Store>(worker: &Charges<Gate, S>) {
    let first = worker.perform(charge(None), Attempt::First, Live::command()).await;
    assert!(matches!(first, Ok(Message::Unavailable { .. })), "nothing can have been captured: {first:?}");
    let later = worker.perform(charge(Some("pi")), Attempt::First, Live::command()).await;
    assert!(matches!(later, Err(Failure::Transient(_))), "what may have captured is not given up: {later:?}");
}

/// Guards: the lease. Twenty workers that overlap send one probe; its failure opens the circuit again, two successes
/// close it, and while it is open no worker calls. The row is made by its first update.
async fn one_probe<S: Store>(store: S) {
    let (gate, hands) = (Gate::default(), Hands::default());
    let ports = Ports { store, clock: Arc::new(hands.clone()), ids: Arc::new(RandomIds) };
    let workers: Vec<_> =
        (0..20).map(|_| CircuitBreaker::new(gate.clone(), ports.clone(), TimeDelta::minutes(1))).collect();
    let workers: Vec<_> = workers
        .into_iter()
        .map(|circuit| Charges { circuit, store: ports.store.clone(), fallback: Some("pm".into()) })
        .collect();
    let pass = |seconds: i64| hands.0.fetch_add(seconds, Ordering::SeqCst);
    gate.fails.store(true, Ordering::SeqCst);
    for _ in 0..5 {
        assert!(workers[0].perform(charge(Some("pi")), Attempt::First, Live::command()).await.is_err());
    }
    assert_eq!(all(&workers, &gate).await, 0, "open");
    while_open(&workers[1]).await;
    pass(61);
    assert_eq!(all(&workers, &gate).await, 1, "half open");
    assert_eq!(all(&workers, &gate).await, 0, "the probe failed: open again");
    gate.fails.store(false, Ordering::SeqCst);
    pass(61);
    assert_eq!(all(&workers, &gate).await, 1, "one success is not enough");
    assert_eq!(all(&workers, &gate).await, 1, "one at a time");
    assert_eq!(all(&workers, &gate).await, 20, "closed");
}

#[test]
fn one_probe_in_memory() {
    run(one_probe(MemoryStore::default()));
}

#[test]
fn one_probe_on_dynamodb() {
    run(async {
        let platform = Platform::start(&options("breaker-row")).await.unwrap();
        one_probe(platform.table("test-quadrille-payments").await).await;
    });
}

/// Guards: admission. After five failures orders are refused with the time to come again, nothing is written for
/// them, and the provider is left alone.
#[test]
fn while_the_provider_is_down_no_order_is_taken_and_it_is_not_asked() {
    run(async {
        let platform = Platform::start(&options("breaker")).await.unwrap();
        let product = platform.product(100).await;
        let calls = || -> u32 { platform.stack.provider.records().values().map(|record| record.calls).sum() };
        let refused = open_circuit(&platform, &paid_with("pm_sim_error", order_of(&product, 1))).await;
        assert_eq!(refused.body["error"], "PAYMENT_PROVIDER_UNAVAILABLE");
        let seconds = refused.body["retry_after_seconds"].as_u64().unwrap();
        assert!((50..=60).contains(&seconds), "{seconds}");
        assert_eq!(refused.headers["retry-after"], seconds.to_string().as_str());
        // The orders that opened the circuit end first.
        platform.stack.settle(TIMEOUT).await.unwrap();
        let (rows, before) = (platform.rows("orders").await, calls());
        for _ in 0..20 {
            assert_eq!(platform.api.post(&order_of(&product, 1)).await.unwrap().status, 503);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!((platform.rows("orders").await, calls()), (rows, before));
        assert!(before >= 5);
    });
}

/// Places an order as soon as the circuit lets it; gives its id.
async fn admitted(platform: &Platform, order: &Value) -> String {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        let answer = platform.api.post(order).await.unwrap();
        if answer.status == 202 {
            return answer.body["order_id"].as_str().unwrap().to_owned();
        }
        assert!(Instant::now() < deadline, "not admitted: {}", answer.body);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Places orders whose charge fails until the circuit is open and orders refuses the next one; gives that answer.
async fn open_circuit(platform: &Platform, failing: &Value) -> Answer {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        let answer = platform.api.post(failing).await.unwrap();
        if answer.status == 503 {
            return answer;
        }
        assert!(Instant::now() < deadline, "the circuit never opened");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Guards: the lease on the real binaries. Twenty orders at once when the pause is over send one probe, whose failure opens
/// the circuit again; then two that go well close it, and payments charges every order again.
#[test]
fn the_whole_circle_on_the_platform() {
    run(async {
        let mut options = options("circle");
        options.parameters.insert("CircuitOpenSeconds".into(), "10".into());
        let platform = Platform::start(&options).await.unwrap();
        let product = platform.product(1000).await;
        let calls = || -> u32 { platform.stack.provider.records().values().map(|record| record.calls).sum() };
        let order = |method: &str| paid_with(method, order_of(&product, 1));
        open_circuit(&platform, &order("pm_sim_error")).await;
        // Earlier failures wait in the queue for the end of the pause too: they become dead letters first.
        platform.stack.settle(TIMEOUT).await.unwrap();
        let opened = calls();
        assert!(opened >= 5);
        let admitted = async |method: &str| admitted(&platform, &order(method)).await;
        let mut ids = vec![admitted("pm_sim_error").await];
        let failing = order("pm_sim_error");
        let more = join_all((0..19).map(|_| platform.api.post(&failing))).await;
        ids.extend(more.into_iter().filter_map(|a| Some(a.unwrap().body["order_id"].as_str()?.to_owned())));
        platform.stack.settle(TIMEOUT).await.unwrap();
        // An intent is created and confirmed: either may be the probe.
        assert!((1..=2).contains(&(calls() - opened)), "one order probes: {} calls", calls() - opened);
        for _ in 0..2 {
            let id = admitted("pm_card_visa").await;
            assert_eq!(platform.api.ended(&id, TIMEOUT).await.unwrap()["status"], "FULFILLED");
        }
        let good = order("pm_card_visa");
        let placed = join_all((0..20).map(|_| platform.api.place(&good))).await;
        for id in placed {
            let ended = platform.api.ended(&id.unwrap(), TIMEOUT).await.unwrap();
            assert_eq!(ended["status"], "FULFILLED");
        }
    });
}

/// Guards: an order counts once a minute, and twice in a row. One whose charge always fails is tried more often than the
/// breaker takes failures, in a shop in which nothing else happens; the next order is admitted and charged.
#[test]
fn one_order_that_always_fails_does_not_close_a_quiet_shop() {
    run(async {
        let platform = Platform::start(&options("quiet")).await.unwrap();
        let product = platform.product(100).await;
        let failing = platform.api.place(&paid_with("pm_sim_error", order_of(&product, 1))).await.unwrap();
        let deadline = Instant::now() + TIMEOUT;
        while (&platform).account(&failing).calls <= u32::try_from(THRESHOLD).unwrap() {
            assert!(Instant::now() < deadline, "{:?}", (&platform).account(&failing));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let good = platform.api.place(&order_of(&product, 1)).await.unwrap();
        assert_eq!(platform.api.ended(&good, TIMEOUT).await.unwrap()["status"], "FULFILLED");
    });
}

/// Guards: a key that the provider refuses is no decline and no outage. It is counted, for the alarm; the order waits, and
/// others are admitted.
#[test]
fn a_refused_key_sounds_an_alarm_and_declines_nothing() {
    run(async {
        let mut options = options("refused-key");
        // The carrier's key, which the provider does not know.
        let other = names::secret_arn("test-quadrille-fulfillment-carrier");
        options.parameters.insert("ProviderSecretArn".into(), other);
        let platform = Platform::start(&options).await.unwrap();
        let product = platform.product(100).await;
        let orders = join_all(
            (0..THRESHOLD).map(|_| async { platform.api.place(&order_of(&product, 1)).await.unwrap() }),
        );
        let orders = orders.await;
        platform.stack.settle(TIMEOUT).await.unwrap();
        let log =
            std::fs::read_to_string(options.data.join("logs/test-quadrille-payments-reactor.log")).unwrap();
        let counted = |line: &str| {
            let line: Value = serde_json::from_str(line).unwrap_or_default();
            line[CALLS.name] == 1 && line["outcome"] == REFUSED
        };
        assert!(log.lines().any(counted), "{log}");
        for id in &orders {
            assert_eq!(platform.api.order(id).await.unwrap()["status"], "PENDING");
        }
        let dead = platform.dead_letters();
        assert!(dead.contains(&("test-quadrille-payments-events-dlq".into(), THRESHOLD)), "{dead:?}");
        platform.api.place(&order_of(&product, 1)).await.unwrap();
    });
}

/// Gives a secret of the platform a new text, as an operator does.
async fn put_secret(platform: &Platform, name: &str, text: &str) -> Answer {
    let token = uuid::Uuid::new_v4();
    let put = json!({"SecretId": name, "SecretString": text, "ClientRequestToken": token});
    let headers = [
        ("authorization", "AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/secretsmanager/aws4_request"),
        ("x-amz-target", "secretsmanager.PutSecretValue"),
    ];
    let aws = Client::new(&platform.stack.endpoint);
    aws.send_with(Method::POST, "/", &headers, put.to_string()).await.unwrap()
}

/// Guards: a new key that an operator puts reaches functions that run already: the order that the old key could not charge
/// goes on.
#[test]
fn a_new_key_reaches_warm_functions() {
    run(async {
        let (name, mut options) = ("test-quadrille-fulfillment-carrier", options("new-key"));
        // The carrier's key, which the provider does not know.
        options.parameters.insert("ProviderSecretArn".into(), names::secret_arn(name));
        let platform = Platform::start(&options).await.unwrap();
        let product = platform.product(1).await;
        let order = platform.api.place(&order_of(&product, 1)).await.unwrap();
        let log = options.data.join("logs/test-quadrille-payments-reactor.log");
        // There is no log until the function starts.
        let refused = || std::fs::read_to_string(&log).unwrap_or_default().contains(REFUSED);
        let deadline = Instant::now() + TIMEOUT;
        while !refused() {
            assert!(Instant::now() < deadline, "the provider refused nothing");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(put_secret(&platform, name, "sk_test_new").await.status, 200);
        assert_eq!(platform.api.ended(&order, TIMEOUT).await.unwrap()["status"], "FULFILLED");
    });
}

/// Guards: a decline is an answer. Any number of them opens nothing.
#[test]
fn declines_open_nothing() {
    on_platform(async |platform| {
        let product = platform.product(100).await;
        let declined = paid_with("pm_card_visa_chargeDeclined", order_of(&product, 1));
        for _ in 0..8 {
            let headers = [("content-type", "application/json"), ("prefer", "wait=10")];
            let answer =
                platform.api.send_with(Method::POST, "/orders", &headers, declined.to_string()).await;
            assert_eq!(answer.unwrap().body["error"], json!("PAYMENT_DECLINED"));
        }
        platform.api.place(&order_of(&product, 1)).await.unwrap();
    });
}

/// Calls of two deliveries that overlap: the first meets an open circuit while the second confirms, in this order.
#[derive(Clone, Default)]
struct Overlap {
    second_confirms: Arc<Notify>,
    first_is_over: Arc<Notify>,
    asked: Arc<AtomicU32>,
    refused: Arc<AtomicBool>,
}

/// Waits for the other delivery; one that never comes fails the test instead of hanging it.
async fn soon(other: impl Future<Output = ()>) {
    tokio::time::timeout(Duration::from_secs(20), other).await.unwrap();
}

impl Effects for Overlap {
    type Reactor = Payment;
    type Call = PendingCharge;

    fn pending_call(payment: &Payment) -> Option<PendingCharge> {
        payment.pending_charge()
    }

    async fn perform(
        &self,
        charge: PendingCharge,
        _attempt: Attempt,
        _live: Live,
    ) -> Result<Message, Failure> {
        if charge.intent.is_none() && self.asked.fetch_add(1, Ordering::SeqCst) == 0 {
            soon(self.second_confirms.notified()).await;
            self.refused.store(true, Ordering::SeqCst);
            return Ok(Message::Unavailable { retry_after_seconds: 60 });
        }
        if charge.intent.is_none() {
            return Ok(Message::Opened { intent: "pi".into() });
        }
        // The first again, once it has seen that there is an intent: its circuit is still open.
        if self.refused.load(Ordering::SeqCst) {
            return Err(Failure::Transient("the circuit is open".into()));
        }
        self.second_confirms.notify_one();
        soon(self.first_is_over.notified()).await;
        let amount = charge.bill.amount;
        Ok(Message::Captured(Capture { intent: "pi".into(), charge_id: "ch".into(), amount }))
    }
}

/// Waits until the row of a payment shows that its charge is on its way.
async fn charging(store: &MemoryStore) {
    let is_charging = |row: &Item| row.text("data").unwrap_or_default().contains("\"charging\"");
    for _ in 0..10_000 {
        if store.rows().iter().any(is_charging) {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("the charge never began: {:#?}", store.rows());
}

/// Guards: `unavailable` counts only while there is no intent. Once a second delivery may confirm one, the first must not
/// publish that payments never called the provider: orders would cancel the order with its money captured.
#[test]
fn a_delivery_never_reports_an_uncalled_provider_while_another_calls_it() {
    run(async {
        let provider = Overlap::default();
        let ports = Ports::system(MemoryStore::default());
        let order_id = "018f2b9e-7c1a-7d3e-9f00-4b6a1c2d3e4f";
        let total = json!({"amount": 500, "currency": "USD"});
        let created = json!({"order_id": order_id, "customer_id": "ada", "total": total});
        let mut created = envelope("order.created", 1, "orders", created);
        let reserved = json!({"order_id": order_id, "lines": []});
        let reserved = envelope("inventory.reserved", 1, "inventory", reserved);
        created.metadata.id = EventId(uuid::Uuid::from_u128(21));
        react(&ports, &provider, &created).await.unwrap();
        // The same order.created once more, as another event: its inbox row does not stand in the way.
        created.metadata.id = EventId(uuid::Uuid::from_u128(22));
        let first = async {
            let outcome = react(&ports, &provider, &reserved).await;
            provider.first_is_over.notify_one();
            outcome
        };
        let second = async {
            charging(&ports.store).await;
            react(&ports, &provider, &created).await
        };
        let (first, second) = tokio::join!(first, second);
        assert!(matches!(first, Err(Failure::Transient(_))), "{first:?}");
        assert_eq!(second, Ok(Verdict::Applied));
        let rows = ports.store.rows();
        let published: Vec<&str> = rows.iter().filter_map(|row| row.text("type")).collect();
        assert!(published.contains(&"payment.charged"), "{published:?}");
        assert!(!published.contains(&"payment.unavailable"), "{published:?}");
    });
}
