//! Concurrency has limits: the account's, a function's own, a mapping's. What is throttled comes again, and nothing is given
//! up because of it. And time has limits: a table that does not answer is reported before Lambda stops the function.

use crate::platform::{Platform, options, run};
use anyhow::Result;
use futures_util::future::join_all;
use localstack::faults::Fault;
use localstack::stack::Options;
use serde_json::json;
use std::time::{Duration, Instant};
use tests::client::{Client, order_of};

const TIMEOUT: Duration = Duration::from_secs(60);

/// What a call gives once it is not throttled.
async fn patiently<T>(call: impl AsyncFn() -> Result<T>) -> T {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        match call().await {
            Ok(answer) => return answer,
            Err(error) => assert!(Instant::now() < deadline, "{error:#}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Places an order and waits for its end.
async fn ended(api: &Client, product: &str) -> String {
    let id = patiently(async || api.place(&order_of(product, 1)).await).await;
    let ended = async || api.ended(&id, Duration::from_secs(1)).await;
    patiently(ended).await["status"].as_str().unwrap().to_owned()
}

/// Guards: an account in which two invocations run at a time throttles most of what its pollers begin, and still every order
/// ends as it should, without a dead letter.
#[test]
fn an_account_of_two_ends_every_order() {
    run(async {
        let mut options = Options { account_concurrency: 2, time_scale: 10, ..options("account-of-two") };
        // Such an account can reserve nothing.
        let none = ["ApiConcurrency", "SweeperConcurrency"].map(|name| (name.to_owned(), "0".to_owned()));
        options.parameters.extend(none);
        let platform = Platform::start(&options).await.unwrap();
        // A throttled request has none of the answers that the API describes.
        let token = platform.stack.issuer.token("ada", localstack::outside::token_issuer::SCOPES).unwrap();
        let api = Client::new(&platform.stack.api).bearing(token);
        patiently(async || api.sell("beans", 100, Duration::from_secs(1)).await).await;
        let statuses = join_all((0..10).map(|_| ended(&api, "beans"))).await;
        assert_eq!(statuses, vec!["FULFILLED"; 10]);
        platform.stack.settle(TIMEOUT).await.unwrap();
        assert_eq!(platform.dead_letters(), []);
    });
}

/// Guards: a reservation that AWS refuses stops the start.
#[test]
fn a_reservation_that_aws_refuses_stops_the_start() {
    run(async {
        let options = Options { account_concurrency: 10, ..options("account-of-ten") };
        let error = Platform::start(&options).await.err().unwrap().to_string();
        assert!(error.contains("at least 100") && error.contains("SweeperConcurrency"), "{error}");
    });
}

/// Guards: a throttled batch comes again, a throttled request is 503, a throttled sweep makes no dead letter, and a throttled
/// task uses up none of the tries that its state machine has for failures.
#[test]
fn what_is_throttled_comes_again() {
    run(async {
        let platform = Platform::start(&options("throttled")).await.unwrap();
        let product = platform.product_called("unshippable", 10).await;
        let throttle = |function: &str, times| {
            let function = Some(format!("test-quadrille-{function}"));
            platform.stack.faults.set(Fault::ThrottleFunction { function, times }).unwrap();
        };
        throttle("inventory-reactor", 6);
        throttle("orders-sweeper", 3);
        throttle("payments-compensator", 9);
        let id = platform.api.place(&order_of(&product, 1)).await.unwrap();
        assert_eq!(platform.api.ended(&id, TIMEOUT).await.unwrap()["status"], "COMPENSATED");
        let unused = |fault: &&Fault| !matches!(fault, Fault::ThrottleFunction { times: 0, .. });
        let deadline = Instant::now() + TIMEOUT;
        while platform.stack.faults.all().iter().any(|fault| unused(&fault)) {
            assert!(Instant::now() < deadline, "{:?}", platform.stack.faults.all());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        throttle("orders-api", 1);
        let answer = Client::new(&platform.stack.api).get("/health").await.unwrap();
        assert_eq!((answer.status, answer.body), (503, json!({"message": "Service Unavailable"})));
        assert_eq!(platform.dead_letters(), []);
    });
}

/// Guards: a table that hangs is reported: the function says which messages failed and why, and Lambda does not stop it.
#[test]
fn a_table_that_hangs_is_reported_and_not_timed_out() {
    run(async {
        let options = options("hanging");
        let platform = Platform::start(&options).await.unwrap();
        let product = platform.product(10).await;
        let name = "test-quadrille-inventory-reactor";
        let inventory = platform.stack.functions.get(name).unwrap();
        let ended = || {
            let (started, there) = inventory.environments();
            started - u64::try_from(there).unwrap()
        };
        let before = ended();
        // Two attempts at the reservation, one at the note of why that failed, and one at the next delivery.
        platform.stack.faults.set(Fault::Hang { function: name.into(), times: 4 }).unwrap();
        let id = platform.api.place(&order_of(&product, 1)).await.unwrap();
        assert_eq!(platform.api.ended(&id, TIMEOUT).await.unwrap()["status"], "FULFILLED");
        let log = std::fs::read_to_string(options.data.join(format!("logs/{name}.log"))).unwrap();
        let failed = log.lines().find(|line| line.contains("delivery failed")).unwrap();
        assert!(failed.contains("timeout (") && failed.contains(&id), "{failed}");
        assert_eq!(ended(), before, "Lambda stopped the function");
    });
}
