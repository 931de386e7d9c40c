//! A stage that runs elsewhere as a bench for stories: on MiniStack (`.ci/ministack`), or in an account. It is reached as its
//! customers and operators reach it: through the API, the AWS CLI and the SDK; what happened to money and parcels stands in the
//! simulators' books. Nothing here can be stopped or delayed, so only stories that need no such trouble run.
//!
//! The environment names the stage; without it the tests are ignored: `STAGE`, `API` (the URL, without a slash at its end),
//! `TOKEN` (of `ada`, with every scope), `BOOKS` (the simulators' URL), and the region, credentials and `AWS_ENDPOINT_URL` of
//! the AWS CLI.

use crate::bench::{Account, Bench, Flow, Parcel, Trouble, call};
use crate::platform::{DESCRIPTION, run};
use crate::stories;
use aws::{
    dynamodb::DynamoStore,
    eventbridge::EventBus,
    invoke::invoke,
    sdk,
    sqs::{Queues, Received},
};
use chassis::inbox::delivery;
use chassis::outbox::envelope_of;
use chassis::ports::Bus;
use chassis::store::{EVENTS, Key, Store};
use events::{Envelope, catalogue::Subscription};
use futures_util::future::join_all;
use operator::dead_letters::Stage as OperatedStage;
use operator::redrive::{Fate, Meant};
use registry::{CONSUMES, SERVICES};
use serde_json::{Value, json};
use std::env;
use std::future::Future;
use std::process::Command;
use std::time::Duration;
use tests::client::{Client, order_of};

/// How long a product may take until orders can sell it. Functions start cold.
const TIMEOUT: Duration = Duration::from_secs(60);
/// How long a step is.
const STEP: Duration = Duration::from_millis(250);
/// How often in a row nothing may be missing: a reaction can commit an event between two readings.
const IDLE_CHECKS: u32 = 3;
/// How often the tables are looked at until that takes too long.
const CHECKS: u32 = 200;

pub struct Elsewhere {
    stage: String,
    api: Client,
    books: Client,
    sdk: sdk::SdkConfig,
    /// The orders that the story placed.
    placed: Vec<String>,
    /// How often their events are to be published again.
    copies: usize,
    /// How often they were.
    published_again: u64,
}

/// Waits for a future where a bench cannot: some of its methods are not async.
fn now<T>(future: impl Future<Output = T>) -> T {
    tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(future))
}

/// What the AWS CLI answers.
fn cli(arguments: &[&str]) -> Value {
    let endpoint = env::var("AWS_ENDPOINT_URL").map(|url| format!("--endpoint-url={url}"));
    let output =
        Command::new("aws").args(arguments).args(["--output", "json"]).args(endpoint).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}

fn given(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("{name} is not set: see tests/README.md"))
}

impl Elsewhere {
    async fn from_environment() -> Self {
        Self {
            stage: given("STAGE"),
            api: Client::new(given("API")).bearing(given("TOKEN")).checking(&DESCRIPTION),
            books: Client::new(given("BOOKS")),
            sdk: sdk::sdk_config().await,
            placed: Vec::new(),
            copies: 0,
            published_again: 0,
        }
    }

    fn named(&self, rest: &str) -> String {
        format!("{}-quadrille-{rest}", self.stage)
    }

    fn store(&self, service: &str) -> DynamoStore {
        DynamoStore::new(&self.sdk, self.named(service))
    }

    /// The events that a service published about an order, oldest first.
    async fn published(&self, service: &str, order: &str) -> Vec<Envelope> {
        let rows = self.rows(service, order, EVENTS).await;
        let published = rows.iter().filter(|row| row.text("kind").is_some_and(|kind| kind == "published"));
        published.map(|row| envelope_of(row).unwrap()).collect()
    }

    /// Publishes every event of the story's orders again: each service receives it twice.
    async fn publish_again(&mut self) {
        let bus = EventBus::new(&self.sdk, format!("{}-quadrille", self.stage));
        let events: Vec<_> = self.of_the_story().await.into_iter().map(|(_, event)| event).collect();
        bus.publish(&events).await.unwrap();
        self.published_again += 1;
    }

    /// The events about the story's orders, each with the order.
    async fn of_the_story(&self) -> Vec<(String, Envelope)> {
        let mut events = Vec::new();
        for order in &self.placed {
            for service in SERVICES {
                let published = self.published(service, order).await.into_iter();
                events.extend(published.map(|event| (order.clone(), event)));
            }
        }
        events
    }

    /// Waits until every consumer has received every event of the story's orders, and as often as it was published. The
    /// queues say nothing about that: stories beside this one use them too.
    async fn rest(&self) {
        let (mut idle, mut missing) = (0, Vec::new());
        for _ in 0..CHECKS {
            tokio::time::sleep(Duration::from_secs(1)).await;
            missing = self.undelivered().await;
            idle = if missing.is_empty() { idle + 1 } else { 0 };
            if idle == IDLE_CHECKS {
                return;
            }
        }
        panic!("on the stage {} still not delivered: {missing:?}", self.stage);
    }

    /// What a consumer has not received yet, or not often enough.
    async fn undelivered(&self) -> Vec<String> {
        let events = self.of_the_story().await;
        let taken = events.iter().flat_map(|(order, event)| {
            let kind = &event.metadata.kind;
            let consumes = move |of: &&(&str, &[Subscription])| of.1.iter().any(|one| one.kind == kind);
            CONSUMES.iter().filter(consumes).map(move |(consumer, _)| self.missing(consumer, order, event))
        });
        join_all(taken).await.into_iter().flatten().collect()
    }

    /// The event and its consumer, unless it was received as often as it was published. Notifications has an aggregate for
    /// each event, everyone else one for each order.
    async fn missing(&self, consumer: &str, order: &str, event: &Envelope) -> Option<String> {
        let id = event.metadata.id;
        let partition =
            if consumer == "notifications" { format!("notice#{id}") } else { format!("order#{order}") };
        let delivered = delivery(&self.store(consumer), &partition, id).await.unwrap();
        let received = delivered.is_some_and(|one| one.duplicates >= self.published_again);
        (!received).then(|| format!("{} of {order} to {consumer}", event.metadata.kind))
    }

    /// What stands in a book under this path.
    fn book(&self, path: &str) -> Value {
        now(self.books.get(path)).unwrap().body
    }
}

impl Bench for Elsewhere {
    type Store = DynamoStore;

    /// Five minutes: a message that failed comes back after its queue's visibility timeout.
    const STEPS: usize = 1200;

    async fn sell(&mut self, kind: &str, stock: u64) -> String {
        let id = format!("{kind}-{}", uuid::Uuid::new_v4().simple());
        self.api.sell(&id, stock, TIMEOUT).await.unwrap();
        id
    }

    async fn get(&self, route: &str, id: &str) -> (u16, Value) {
        call(&self.api, route, id, &Value::Null).await
    }

    async fn post(&mut self, route: &str, id: &str, body: &Value) -> (u16, Value) {
        let answered = call(&self.api, route, id, body).await;
        if let (202, Some(order)) = (answered.0, answered.1["order_id"].as_str()) {
            self.placed.push(order.to_owned());
        }
        answered
    }

    async fn step(&mut self) {
        tokio::time::sleep(STEP).await;
    }

    async fn settle(&mut self) {
        self.rest().await;
        for _ in 0..self.copies {
            self.publish_again().await;
            self.rest().await;
        }
    }

    async fn sweep(&mut self) -> u64 {
        let input = json!({"ahead_seconds": 3600});
        invoke(&self.sdk, &self.named("orders-sweeper"), &input).await.unwrap()["nudged"].as_u64().unwrap()
    }

    async fn retry(&mut self, order: &str) -> bool {
        let input = json!({"task": "Retry", "order_id": order});
        let answer = invoke(&self.sdk, &self.named("payments-compensator"), &input).await.unwrap();
        answer["recorded"].as_bool().unwrap()
    }

    fn trouble(&mut self, trouble: Trouble) {
        let Trouble::Repeated(_, copies) = trouble else { panic!("{trouble:?} cannot be made from outside") };
        self.copies = copies;
    }

    async fn heal(&mut self) {
        self.copies = 0;
    }

    async fn table(&self, service: &str) -> DynamoStore {
        self.store(service)
    }

    fn account(&self, order: &str) -> Account {
        let mut account = Account::default();
        let payments = self.book("/book");
        for payment in payments.as_object().unwrap().values().filter(|payment| payment["order_id"] == order) {
            let count = |name: &str| payment[name].as_u64().unwrap();
            account.calls += u32::try_from(count("calls")).unwrap();
            account.captures += usize::from(count("captured") > 0);
            account.captured += count("captured");
            account.refunded += count("refunded");
        }
        account
    }

    fn parcel(&self, order: &str) -> Parcel {
        let shipment = self.book("/carrier/book")[order].take();
        Parcel {
            calls: shipment["calls"].as_u64().and_then(|calls| u32::try_from(calls).ok()).unwrap_or_default(),
            taken: shipment["tracking_number"].is_string(),
            withdrawn: shipment["withdrawn"] == true,
        }
    }

    /// Each event about which there may be a message has a row in notifications' table once the topic has accepted it.
    fn notices(&self, order: &str) -> Vec<String> {
        now(async {
            let (table, mut notices) = (self.store("notifications"), Vec::new());
            for service in ["orders", "payments"] {
                for event in self.published(service, order).await {
                    let row = table.load(&Key::state(format!("notice#{}", event.metadata.id))).await.unwrap();
                    let kind = event.metadata.kind.to_uppercase().replace('.', "_");
                    notices.extend(row.map(|_| (event.metadata.time, kind)));
                }
            }
            notices.sort();
            notices.into_iter().map(|(_, kind)| kind).collect()
        })
    }

    fn flows(&self, order: &str) -> Vec<Flow> {
        let machines = cli(&["stepfunctions", "list-state-machines"])["stateMachines"].take();
        let name = self.named("payment-compensation");
        let machine = machines.as_array().unwrap().iter().find(|machine| machine["name"] == *name).unwrap();
        let arn = machine["stateMachineArn"].as_str().unwrap();
        let executions =
            cli(&["stepfunctions", "list-executions", "--state-machine-arn", arn])["executions"].take();
        let arns = executions.as_array().unwrap().iter().map(|one| one["executionArn"].as_str().unwrap());
        arns.filter_map(|arn| flow(arn, order)).collect()
    }
}

/// The execution, if it is the order's.
fn flow(arn: &str, order: &str) -> Option<Flow> {
    let execution = cli(&["stepfunctions", "describe-execution", "--execution-arn", arn]);
    let input: Value = serde_json::from_str(execution["input"].as_str()?).ok()?;
    let history = cli(&["stepfunctions", "get-execution-history", "--execution-arn", arn])["events"].take();
    let error =
        |event: &Value| event["lambdaFunctionFailedEventDetails"]["error"].as_str().map(str::to_owned);
    let retried = history.as_array()?.iter().filter_map(error).filter(|error| error != "StillStands");
    let succeeded = execution["status"] != "FAILED";
    (input["data"]["order_id"] == order).then(|| Flow { retried: retried.collect(), succeeded })
}

/// Makes a test of each story.
macro_rules! stories_elsewhere {
    ($($module:ident { $($story:ident,)* })*) => {$($(
        #[test]
        #[ignore = "needs a stage elsewhere: .ci/ministack, tests/README.md"]
        fn $story() {
            run(async {
                let mut bench = Elsewhere::from_environment().await;
                stories::$module::$story(&mut bench).await;
            });
        }
    )*)*};
}

stories_elsewhere! {
    outcomes {
        an_order_is_reserved_charged_confirmed_and_shipped,
        a_declined_payment_is_compensated_and_the_stock_is_back,
        too_large_an_order_is_cancelled_and_says_why,
        a_second_line_that_is_short_leaves_the_first_untouched,
        what_no_carrier_takes_is_given_back,
    }
    cancelling {
        a_cancellation_at_any_moment,
    }
    market {
        every_event_twice,
    }
    charging {
        a_lost_answer_is_one_capture,
    }
    shipping {
        a_carrier_that_fails_for_a_moment_is_called_again,
    }
}

/// What was paid goes back through Step Functions: one execution, which nothing failed.
#[test]
#[ignore = "needs a stage elsewhere: .ci/ministack, tests/README.md"]
fn a_refund_is_an_execution_of_the_state_machine() {
    run(async {
        let mut bench = Elsewhere::from_environment().await;
        let anvil = bench.sell("unshippable", 10).await;
        let id = bench.place(&order_of(&anvil, 4)).await;
        assert_eq!(bench.ended(&id).await["status"], "COMPENSATED");
        assert_eq!(bench.flows(&id), [Flow { retried: Vec::new(), succeeded: true }]);
        assert_eq!(bench.kept(&id), 0);
    });
}

/// A dead letter goes back to the queue that it came from, and the service says what it made of it.
#[test]
#[ignore = "needs a stage elsewhere: .ci/ministack, tests/README.md"]
fn a_dead_letter_is_redriven() {
    run(async {
        let mut bench = Elsewhere::from_environment().await;
        let beans = bench.sell("beans", 10).await;
        let id = bench.place(&order_of(&beans, 1)).await;
        assert_eq!(bench.ended(&id).await["status"], "FULFILLED");
        let created = bench.published("orders", &id).await.remove(0);
        let queues = Queues::new(&bench.sdk);
        let name = bench.named("inventory-events-dlq");
        let url = queues.list(&name).await.unwrap().remove(&name).unwrap();
        let body = json!({"detail-type": "order.created", "detail": created}).to_string();
        let (id_of_message, receipt) = (String::new(), String::new());
        let dead = Received { id: id_of_message, receipt, body, sent_at: None, error: None, group: None };
        queues.send_again(&url, &dead).await.unwrap();
        let (sdk, bus) = (bench.sdk.clone(), EventBus::new(&bench.sdk, format!("{}-quadrille", bench.stage)));
        let stage = OperatedStage::new(&*bench.stage, queues, move |name| DynamoStore::new(&sdk, name));
        let mut fates: Vec<Fate> = Vec::new();
        let meant = Meant::Of(name.clone(), Some(id.parse().unwrap()));
        stage.redrive(&meant, &bus, |fate| fates.push(fate)).await.unwrap();
        assert!(fates.len() == 1 && fates[0].is_well, "{fates:?}");
        // The verdict that was there already is as good as the one that this delivery gets in a moment.
        let came = async |bench: &Elsewhere| bench.duplicates("inventory", &id).await == 1;
        bench.until("the delivery", came).await;
        assert_eq!(bench.stock(&beans).await, (9, 0, 1));
    });
}
