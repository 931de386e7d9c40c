//! The real platform for tests: one stack in this process with the real service binaries, shared by all
//! tests that do not break it; and stacks of their own, as processes, for those that do.

use anyhow::Result;
use aws::{dynamodb::DynamoStore, eventbridge::EventBus, sqs::Queues};
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::config::Credentials;
use chassis::Store;
use contracts::openapi::{self, Description};
use localstack::aws::eventbridge::input_transformer::PipeData;
use localstack::outside::token_issuer as issuer;
use localstack::stack::{Options, Stack};
use operator::dead_letters::Stage as OperatedStage;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tests::client::Client;
use tests::invariants::{self, Report};
use tests::process::Process;
use tokio::runtime::Runtime;

/// The repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// The API's description: every answer that a test gets is held against it.
static DESCRIPTION: LazyLock<Arc<Description>> =
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
const UNTHROTTLED: [(&str, &str); 2] = [("RequestRate", "1000000"), ("RequestBurst", "1000000")];

/// Any free ports, in memory.
pub fn options(name: &str) -> Options {
    Options {
        infra: root().join("infra"),
        binaries: BINARIES.clone(),
        data: scratch(name),
        in_memory: true,
        fresh: false,
        api_port: 0,
        aws_port: 0,
        provider_port: 0,
        stage: "test".into(),
        pipe_data: PipeData::Object,
        no_auth: false,
        time_scale: 100,
        parameters: UNTHROTTLED.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        faults: Vec::new(),
    }
}

/// A running platform and its clients.
pub struct Platform {
    pub stack: Stack,
    pub api: Client,
    pub provider: Client,
}

impl Platform {
    pub async fn start(options: &Options) -> Result<Self> {
        let stack = Stack::start(options).await?;
        let token = stack.issuer.token("ada", issuer::SCOPES)?;
        let api = Client::new(&stack.api).bearing(token).checking(&DESCRIPTION);
        let provider = Client::new(&stack.provider_url);
        Ok(Self { stack, api, provider })
    }

    /// Lists a product under a name of its own and waits until orders can sell it.
    pub async fn product(&self, stock: u64) -> String {
        self.product_called("p", stock).await
    }

    /// As [`Platform::product`], under a name that begins with `kind`: it tells the carrier what to do.
    pub async fn product_called(&self, kind: &str, stock: u64) -> String {
        let id = format!("{kind}-{}", uuid::Uuid::new_v4().simple());
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        // A function that is still starting answers with a server error.
        while let Err(error) = self.api.list(&id, stock).await {
            assert!(std::time::Instant::now() < deadline, "{error:#}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.sellable(&id).await;
        id
    }

    async fn sellable(&self, id: &str) {
        let mut probe = tests::client::order_of(id, 1);
        probe["items"][0]["unit_price_cents"] = 1.into();
        for _ in 0..4000 {
            if self.api.post(&probe).await.unwrap().body["error"] == "PRICE_MISMATCH" {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("the price of {id} never reached orders");
    }

    /// The types of an order's events, as the API shows them.
    pub async fn events(&self, id: &str) -> Vec<String> {
        let order = self.api.order(id).await.unwrap();
        let types = order["events"].as_array().unwrap().iter();
        types.map(|event| event["type"].as_str().unwrap().to_owned()).collect()
    }

    /// I1 for these products, by the stock they started with, and I2 for these orders: both hold.
    pub async fn check(&self, products: &[(String, u64)], orders: &[String]) -> Report {
        let report = invariants::check(&self.api, &self.provider, products, orders).await.unwrap();
        assert_eq!(report.violations, Vec::<String>::new());
        report
    }

    /// What a service has told about an order, oldest first.
    pub async fn told(&self, service: &str, id: &str) -> Vec<String> {
        let table = self.table(&format!("test-{service}")).await;
        let rows = table.page(&format!("order#{id}"), "event#", None, 100).await.unwrap();
        rows.iter().map(|row| row.text("type").unwrap().to_owned()).collect()
    }

    /// What was published about an order, by kind, oldest first.
    pub fn notices(&self, id: &str) -> Vec<String> {
        let published = self.stack.topics.published("test-notifications.fifo").unwrap();
        let of_order = published.iter().filter(|message| message.group == id);
        let kind = |body: &str| {
            let notice: serde_json::Value = serde_json::from_str(body).unwrap();
            notice["kind"].as_str().unwrap().to_owned()
        };
        of_order.map(|message| kind(&message.message)).collect()
    }

    /// The SDK's configuration, in the administrator's name.
    pub async fn sdk(&self) -> SdkConfig {
        aws_config::defaults(BehaviorVersion::latest())
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .region(Region::new("us-east-1"))
            .endpoint_url(&self.stack.endpoint)
            .credentials_provider(Credentials::new("local", "local", None, None, "test"))
            .load()
            .await
    }

    /// A table, through the SDK.
    pub async fn table(&self, name: &str) -> DynamoStore {
        DynamoStore::new(&self.sdk().await, name)
    }

    /// The platform as an operator reaches it.
    pub async fn operated(&self) -> (OperatedStage<DynamoStore>, EventBus) {
        let sdk = self.sdk().await;
        let (queues, bus) = (Queues::new(&sdk), EventBus::new(&sdk, "test-quadrille".into()));
        let table = Box::new(move |name| DynamoStore::new(&sdk, name));
        (OperatedStage { name: "test".into(), queues, table }, bus)
    }

    /// The API in the name of a customer with these scopes.
    pub fn bearing(&self, customer: &str, scope: &str) -> Client {
        self.api.bearing(self.stack.issuer.token(customer, scope).unwrap())
    }

    /// How many rows a table holds.
    pub async fn rows(&self, table: &str) -> u64 {
        let body = serde_json::json!({"TableName": format!("test-{table}"), "Select": "COUNT"});
        let (status, answer) = self.stack.dynamodb.call("Scan", body.to_string().as_bytes());
        assert_eq!(status, 200, "{answer:?}");
        serde_json::from_slice::<serde_json::Value>(&answer).unwrap()["Count"].as_u64().unwrap()
    }
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

/// The platform as a process of its own, which can be killed.
pub fn process(data: &Path) -> Process {
    let unthrottled = UNTHROTTLED.map(|(name, value)| format!("--parameter={name}={value}"));
    let flags = ["--stage", "test", &unthrottled[0], &unthrottled[1]];
    Process::start(&BINARIES, &root().join("infra"), data, &flags).unwrap()
}
