//! A process for each invocation at a time, as on Lambda: frozen in between, more of them when more is to do, and none left
//! when the platform is gone. `LAMBDA=classic cargo test` runs all other stories in this way too.

use crate::platform::{BINARIES, Platform, on_classic_platform, options, root, run, scratch};
use crate::stories::{cancelling, outcomes};
use aws_sdk_lambda::types::InvocationType;
use futures_util::future::join_all;
use hyper::Method;
use localstack::aws::lambda::Mode;
use localstack::faults::Fault;
use localstack::stack::Options;
use std::process::Command;
use std::time::{Duration, Instant};
use tests::client::order_of;
use tests::process::Process;

const TIMEOUT: Duration = Duration::from_secs(60);

#[test]
fn an_order_is_fulfilled() {
    on_classic_platform(async |platform| {
        outcomes::an_order_is_reserved_charged_confirmed_and_shipped(&mut { platform }).await;
    });
}

#[test]
fn a_declined_payment_is_compensated() {
    on_classic_platform(async |platform| {
        outcomes::a_declined_payment_is_compensated_and_the_stock_is_back(&mut { platform }).await;
    });
}

#[test]
fn what_is_cancelled_late_is_undone() {
    on_classic_platform(async |platform| {
        cancelling::what_comes_after_the_cancellation_is_undone(&mut { platform }).await;
    });
}

/// Guards: an environment works on one invocation at a time, and is used again. Requests that follow each other have one
/// process; three that wait at the same time have three.
#[test]
fn a_request_that_waits_has_a_process_for_itself() {
    run(async {
        let options = Options { lambda: Mode::Classic, ..options("one-each") };
        let platform = Platform::start(&options).await.unwrap();
        let api = platform.stack.functions.get("test-quadrille-orders-api").unwrap();
        let product = platform.product(10).await;
        for _ in 0..5 {
            platform.api.get("/health").await.unwrap();
        }
        assert_eq!(api.environments(), (1, 1), "cold starts, and processes");
        platform.stack.faults.set(Fault::Stop { pipe: platform.reader("orders") }).unwrap();
        let headers = [("content-type", "application/json"), ("prefer", "wait=1")];
        let order = order_of(&product, 1).to_string();
        let waiting =
            (0..3).map(|_| platform.api.send_with(Method::POST, "/orders", &headers, order.clone()));
        for answer in join_all(waiting).await {
            assert_eq!(answer.unwrap().status, 202);
        }
        assert_eq!(api.environments(), (3, 3));
    });
}

/// Guards: a dry run runs nothing, and an event is answered before its function has run.
#[test]
fn a_dry_run_runs_nothing() {
    run(async {
        let options = Options { lambda: Mode::Classic, ..options("dry-run") };
        let platform = Platform::start(&options).await.unwrap();
        let api = platform.stack.functions.get("test-quadrille-orders-api").unwrap();
        let client = aws_sdk_lambda::Client::new(&platform.sdk().await);
        let invoke = async |kind: InvocationType| {
            let call = client.invoke().function_name("test-quadrille-orders-api").invocation_type(kind);
            call.send().await.unwrap().status_code()
        };
        assert_eq!((invoke(InvocationType::DryRun).await, api.environments()), (204, (0, 0)));
        assert_eq!(invoke(InvocationType::Event).await, 202);
        platform.stack.settle(TIMEOUT).await.unwrap();
        assert_eq!(api.environments().0, 1);
    });
}

/// Guards: what rests is frozen, and no process is left when the platform is killed; a frozen one could not notice it by itself.
#[test]
fn frozen_processes_die_with_the_platform() {
    run(async {
        let flags = ["--stage", "test", "--in-memory", "--lambda", "classic"];
        let platform = Process::start(&BINARIES, &root().join("infra"), &scratch("frozen"), &flags).unwrap();
        platform.api.sell("beans", 10, TIMEOUT).await.unwrap();
        let id = platform.api.place(&order_of("beans", 1)).await.unwrap();
        platform.api.ended(&id, TIMEOUT).await.unwrap();
        let children = processes().into_iter().filter(|process| process.parent == platform.id());
        let children: Vec<u32> = children.map(|process| process.id).collect();
        let is_frozen = |process: &Child| children.contains(&process.id) && process.state.starts_with('T');
        until(|| processes().iter().filter(|process| is_frozen(process)).count() >= 5).await;
        platform.kill().unwrap();
        let lives = |process: &Child| children.contains(&process.id) && !process.state.starts_with('Z');
        until(|| !processes().iter().any(lives)).await;
    });
}

async fn until(is_true: impl Fn() -> bool) {
    let deadline = Instant::now() + TIMEOUT;
    while !is_true() {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A process of this machine.
struct Child {
    id: u32,
    parent: u32,
    state: String,
}

fn processes() -> Vec<Child> {
    let listed = Command::new("ps").args(["-A", "-o", "pid=,ppid=,stat="]).output().unwrap();
    let text = String::from_utf8(listed.stdout).unwrap();
    let child = |line: &str| {
        let mut words = line.split_whitespace();
        let (id, parent) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        Some(Child { id, parent, state: words.next()?.to_owned() })
    };
    text.lines().filter_map(child).collect()
}
