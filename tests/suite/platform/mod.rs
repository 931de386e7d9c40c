//! The real platform for tests: one stack in this process with the real service binaries, shared by all
//! tests that do not break it; and stacks of their own, as processes, for those that do.

mod bench;

use anyhow::Result;
use aws::{dynamodb::DynamoStore, eventbridge::EventBus, sqs::Queues};
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::config::Credentials;
use contracts::openapi::{self, Description};
use events::OrderId;
use localstack::aws::lambda::Mode;
use localstack::outside::token_issuer::{self as issuer, Dialect};
use localstack::stack::{Options, Stack};
use localstack::terminal::Terminal;
use operator::dead_letters::Stage as OperatedStage;
use operator::redrive::{Fate, Meant};
use serde_json::Value;
use std::collections::BTreeMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tests::client::{Client, order_of};
use tests::invariants::{self, Report};
use tests::process::Process;
use tokio::runtime::Runtime;

/// The repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// The API's description: every answer that a test gets is held against it.
pub static DESCRIPTION: LazyLock<Arc<Description>> =
    LazyLock::new(|| Arc::new(Description::new(openapi::read(&root().join("contracts")).unwrap())));

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

/// The folder with the service binaries, built on first use exactly as this test was.
pub static BINARIES: LazyLock<PathBuf> = LazyLock::new(|| {
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "--workspace", "--bins"]).current_dir(root());
    if !cfg!(debug_assertions) {
        build.arg("--release");
    }
    assert!(build.status().unwrap().success(), "the binaries do not build");
    let test = std::env::current_exe().unwrap();
    test.ancestors().nth(2).unwrap().to_path_buf()
});

/// A folder for one test's data, empty.
pub fn scratch(name: &str) -> PathBuf {
    let folder = BINARIES.join("quadrille-tests").join(format!("{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Copies a folder with everything in it.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() { copy(&path, &target) } else { std::fs::copy(&path, &target).map(drop).unwrap() }
    }
}

/// Tests ask more often than a stage lets them.
const UNTHROTTLED: [(&str, &str); 4] = [
    ("RequestRate", "1000000"),
    ("RequestBurst", "1000000"),
    ("OpenRequestRate", "1000000"),
    ("OpenRequestBurst", "1000000"),
];

/// How events leave the tables: the variable `FAN_OUT`, `pipe` without it.
fn fan_out() -> String {
    std::env::var("FAN_OUT").unwrap_or_else(|_| "pipe".into())
}

fn parameters() -> BTreeMap<String, String> {
    let unthrottled = UNTHROTTLED.map(|(name, value)| (name, value.to_owned()));
    let all = unthrottled.into_iter().chain([("FanOut", fan_out())]);
    all.map(|(name, value)| (name.to_owned(), value)).collect()
}

/// How functions are run: `LAMBDA=classic cargo test` runs the suite in the other way.
fn mode() -> Mode {
    let named = std::env::var("LAMBDA").unwrap_or_else(|_| "shared".into());
    clap::ValueEnum::from_str(&named, false).expect("LAMBDA is shared or classic")
}

/// Any free ports, in memory.
pub fn options(name: &str) -> Options {
    Options {
        infra: root().join("infra"),
        binaries: BINARIES.clone(),
        data: scratch(name),
        in_memory: true,
        fresh: false,
        seed: false,
        api_port: 0,
        aws_port: 0,
        provider_port: 0,
        stage: "test".into(),
        no_auth: false,
        issuer: Dialect::Plain,
        time_scale: 100,
        lambda: mode(),
        account_concurrency: 1000,
        parameters: parameters(),
        faults: Vec::new(),
        meter: false,
        terminal: Terminal::default(),
    }
}

/// How long a product may take until orders can sell it.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A running platform and its clients.
pub struct Platform {
    pub stack: Stack,
    /// How events leave the tables: `pipe` or `relay`.
    fan_out: String,
    pub api: Client,
    pub provider: Client,
}

/// The configuration of an SDK that finds AWS at an endpoint.
pub async fn sdk_at(endpoint: &str) -> SdkConfig {
    aws_config::defaults(BehaviorVersion::latest())
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .region(Region::new("us-east-1"))
        .endpoint_url(endpoint)
        .credentials_provider(Credentials::new("local", "local", None, None, "test"))
        .load()
        .await
}

impl Platform {
    pub async fn start(options: &Options) -> Result<Self> {
        let stack = Stack::start(options).await?;
        let token = stack.issuer.token("ada", issuer::SCOPES)?;
        let api = Client::new(&stack.api).bearing(token).checking(&DESCRIPTION);
        let provider = Client::new(&stack.provider_url);
        let fan_out = options.parameters["FanOut"].clone();
        Ok(Self { stack, fan_out, api, provider })
    }

    /// Lists a product under a name of its own and waits until orders can sell it.
    pub async fn product(&self, stock: u64) -> String {
        self.product_called("p", stock).await
    }

    /// As [`Platform::product`], under a name that begins with `kind`, by which the carrier decides what to do.
    pub async fn product_called(&self, kind: &str, stock: u64) -> String {
        let id = format!("{kind}-{}", uuid::Uuid::new_v4().simple());
        self.api.sell(&id, stock, TIMEOUT).await.unwrap();
        id
    }

    /// The name of what reads the stream of a service's table: its pipe, or the function that relays in its place.
    pub fn reader(&self, service: &str) -> String {
        let relays = self.fan_out == "relay";
        format!("test-quadrille-{service}{}", if relays { "-relay" } else { "" })
    }

    /// I1 for these products, by the stock they started with, and I2 for these orders: both hold.
    pub async fn check(&self, products: &[(String, u64)], orders: &[String]) -> Report {
        let report = invariants::check(&self.api, &self.provider, products, orders).await.unwrap();
        assert_eq!(report.violations, Vec::<String>::new());
        report
    }

    /// The SDK's configuration, in the administrator's name.
    pub async fn sdk(&self) -> SdkConfig {
        sdk_at(&self.stack.endpoint).await
    }

    /// A table, through the SDK.
    pub async fn table(&self, name: &str) -> DynamoStore {
        DynamoStore::new(&self.sdk().await, name)
    }

    /// The platform as an operator reaches it.
    pub async fn operated(&self) -> (OperatedStage<DynamoStore>, EventBus) {
        let sdk = self.sdk().await;
        let (queues, bus) = (Queues::new(&sdk), EventBus::new(&sdk, "test-quadrille".into()));
        (OperatedStage::new("test", queues, move |name| DynamoStore::new(&sdk, name)), bus)
    }

    /// The id of the customer that the issuer gives a subject.
    pub fn customer(&self, subject: &str) -> String {
        self.stack.issuer.customer(subject)
    }

    /// An order of `quantity` units for the customer `ada`, under the id that the issuer gives her.
    pub fn order_of(&self, product: &str, quantity: u64) -> Value {
        let mut order = order_of(product, quantity);
        order["customer_id"] = self.customer("ada").into();
        order
    }

    /// The API in the name of a customer with these scopes.
    pub fn bearing(&self, customer: &str, scope: &str) -> Client {
        self.api.bearing(self.stack.issuer.token(customer, scope).unwrap())
    }

    /// How many rows a table holds.
    pub async fn rows(&self, table: &str) -> u64 {
        let body = serde_json::json!({"TableName": format!("test-quadrille-{table}"), "Select": "COUNT"});
        let (status, answer) = self.stack.dynamodb.call("Scan", body.to_string().as_bytes());
        assert_eq!(status, 200, "{answer:?}");
        serde_json::from_slice::<Value>(&answer).unwrap()["Count"].as_u64().unwrap()
    }
}

/// Redrives the dead letters of a queue, or those of one order in it; the fate of each.
pub async fn redriven(
    stage: &OperatedStage<DynamoStore>,
    queue: &str,
    order: Option<OrderId>,
    bus: &EventBus,
) -> Vec<Fate> {
    let mut fates = Vec::new();
    let done = stage.redrive(&Meant::Of(queue.into(), order), bus, |fate| fates.push(fate)).await;
    done.unwrap();
    fates
}

/// Runs a test on the shared runtime.
pub fn run<T>(test: impl Future<Output = T>) -> T {
    RUNTIME.block_on(test)
}

/// Runs a test against the shared platform.
pub fn on_platform<T>(test: impl AsyncFnOnce(&Platform) -> T) -> T {
    static SHARED: LazyLock<Platform> =
        LazyLock::new(|| RUNTIME.block_on(Platform::start(&options("shared"))).unwrap());
    let platform = &*SHARED;
    run(test(platform))
}

/// Runs a test against a shared platform whose functions work on one event at a time.
pub fn on_classic_platform<T>(test: impl AsyncFnOnce(&Platform) -> T) -> T {
    static SHARED: LazyLock<Platform> = LazyLock::new(|| {
        let options = Options { lambda: Mode::Classic, ..options("classic") };
        RUNTIME.block_on(Platform::start(&options)).unwrap()
    });
    let platform = &*SHARED;
    run(test(platform))
}

/// Runs a story against the shared platform.
pub fn in_peace(_name: &str, story: impl AsyncFnOnce(&Platform)) {
    on_platform(story);
}

/// Runs a story against a platform of its own, where it may make trouble; no event may become a dead letter.
pub fn in_trouble(name: &str, story: impl AsyncFnOnce(&Platform)) {
    run(async {
        let platform = Platform::start(&options(name)).await.unwrap();
        story(&platform).await;
        assert_eq!(platform.dead_letters(), []);
    });
}

/// The platform as a process of its own, which can be killed.
pub fn process(data: &Path) -> Process {
    let mode = if mode() == Mode::Classic { "classic" } else { "shared" };
    let mut flags: Vec<String> = ["--stage", "test", "--lambda", mode].map(str::to_owned).into();
    flags.extend(parameters().iter().map(|(name, value)| format!("--parameter={name}={value}")));
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    Process::start(&BINARIES, &root().join("infra"), data, &flags).unwrap()
}
