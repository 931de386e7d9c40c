//! An operator stops and starts pipes, and replays the bus's archive for one consumer: by the AWS SDK, as on AWS.

use crate::platform::{Platform, options, run};
use aws_sdk_eventbridge::error::ProvideErrorMetadata;
use aws_sdk_eventbridge::primitives::DateTime;
use aws_sdk_eventbridge::types::{ReplayDestination, ReplayState};
use aws_sdk_pipes::types::{PipeState, RequestedPipeState};
use localstack::faults::Fault;
use localstack::stack::Options;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tests::client::order_of;

const TIMEOUT: Duration = Duration::from_secs(60);
const ORDERS: &str = "test-quadrille-orders";
const ACCOUNT: &str = "arn:aws:events:us-east-1:000000000000";

/// A platform whose events leave in this way, whatever the other tests use.
fn by(way: &str, name: &str) -> Options {
    let mut options = options(name);
    options.parameters.insert("FanOut".into(), way.into());
    options
}

pub fn piped(name: &str) -> Options {
    by("pipe", name)
}

async fn status(platform: &Platform, id: &str) -> String {
    let (_, order) = crate::bench::call(&platform.api, "GET /orders/{id}", id, &Value::Null).await;
    order["status"].as_str().unwrap().to_owned()
}

pub async fn pipes(platform: &Platform) -> aws_sdk_pipes::Client {
    aws_sdk_pipes::Client::new(&platform.sdk().await)
}

/// Waits until a pipe is in a state.
pub async fn is(pipes: &aws_sdk_pipes::Client, pipe: &str, wanted: PipeState) {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        let described = pipes.describe_pipe().name(pipe).send().await.unwrap();
        if described.current_state() == Some(&wanted) {
            return;
        }
        assert!(Instant::now() < deadline, "{described:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub async fn stop(pipes: &aws_sdk_pipes::Client, pipe: &str) {
    let stopped = pipes.stop_pipe().name(pipe).send().await.unwrap();
    assert_eq!(stopped.desired_state(), Some(&RequestedPipeState::Stopped));
    is(pipes, pipe, PipeState::Stopped).await;
}

/// Guards: StopPipe and StartPipe. A stopped pipe reads nothing, also after a restart, and goes on where it stood.
#[test]
fn a_stopped_pipe_goes_on_where_it_stood() {
    run(async {
        let options = Options { in_memory: false, ..piped("stopped") };
        let platform = Platform::start(&options).await.unwrap();
        let product = platform.product(5).await;
        platform.stack.settle(TIMEOUT).await.unwrap();
        let client = pipes(&platform).await;
        stop(&client, ORDERS).await;
        let id = platform.api.place(&order_of(&product, 1)).await.unwrap();
        platform.stack.settle(TIMEOUT).await.unwrap();
        assert_eq!(status(&platform, &id).await, "PENDING");
        let again = client.stop_pipe().name(ORDERS).send().await.unwrap_err();
        assert_eq!(again.code(), Some("ConflictException"));
        drop(platform);

        let platform = Platform::start(&options).await.unwrap();
        platform.stack.settle(TIMEOUT).await.unwrap();
        assert_eq!(status(&platform, &id).await, "PENDING");
        let client = pipes(&platform).await;
        let started = client.start_pipe().name(ORDERS).send().await.unwrap();
        assert_eq!(started.desired_state(), Some(&RequestedPipeState::Running));
        is(&client, ORDERS, PipeState::Running).await;
        assert_eq!(platform.api.ended(&id, TIMEOUT).await.unwrap()["status"], "FULFILLED");
        let again = client.start_pipe().name(ORDERS).send().await.unwrap_err();
        assert_eq!(again.code(), Some("ConflictException"));
    });
}

/// Guards: UpdateEventSourceMapping. A relay is stopped by its mapping, and goes on where it stood.
#[test]
fn a_disabled_relay_goes_on_where_it_stood() {
    run(async {
        let platform = Platform::start(&by("relay", "disabled")).await.unwrap();
        let product = platform.product(5).await;
        platform.stack.settle(TIMEOUT).await.unwrap();
        let client = aws_sdk_lambda::Client::new(&platform.sdk().await);
        let listed = client.list_event_source_mappings().function_name("test-quadrille-orders-relay");
        let listed = listed.send().await.unwrap();
        let [mapping] = listed.event_source_mappings() else { panic!("{listed:?}") };
        assert_eq!((mapping.state(), mapping.batch_size()), (Some("Enabled"), Some(20)));
        let id = mapping.uuid().unwrap();
        for _ in 0..2 {
            client.update_event_source_mapping().uuid(id).enabled(false).send().await.unwrap();
            platform.stack.settle(TIMEOUT).await.unwrap();
        }
        let order = platform.api.place(&order_of(&product, 1)).await.unwrap();
        platform.stack.settle(TIMEOUT).await.unwrap();
        assert_eq!(status(&platform, &order).await, "PENDING");
        client.update_event_source_mapping().uuid(id).enabled(true).send().await.unwrap();
        assert_eq!(platform.api.ended(&order, TIMEOUT).await.unwrap()["status"], "FULFILLED");
        // Whatever else a mapping has is declared in a template, and a queue's mapping cannot be switched here.
        let larger = client.update_event_source_mapping().uuid(id).batch_size(5).send().await.unwrap_err();
        assert_eq!(larger.code(), Some("InvalidParameterValueException"));
        let listed = client.list_event_source_mappings().function_name("test-quadrille-orders-reactor");
        let listed = listed.send().await.unwrap();
        let id = listed.event_source_mappings()[0].uuid().unwrap();
        let queue = client.update_event_source_mapping().uuid(id).enabled(false).send().await.unwrap_err();
        assert_eq!(queue.code(), Some("ResourceNotFoundException"));
    });
}

/// Guards: the calls that only look. Pipes are listed by name and state, page by page, and described as they are declared.
#[test]
fn pipes_are_listed_and_described() {
    run(async {
        let platform = Platform::start(&piped("listed")).await.unwrap();
        let client = pipes(&platform).await;
        stop(&client, ORDERS).await;
        let names = async |state: PipeState| -> Vec<String> {
            let pages = client.list_pipes().name_prefix("test-").current_state(state).limit(2);
            let listed = pages.into_paginator().items().send().collect::<Result<Vec<_>, _>>().await.unwrap();
            listed.iter().map(|pipe| pipe.name().unwrap().to_owned()).collect()
        };
        assert_eq!(names(PipeState::Stopped).await, [ORDERS]);
        let services = ["fulfillment", "inventory", "payments", "rewards"];
        assert_eq!(names(PipeState::Running).await, services.map(|name| format!("test-quadrille-{name}")));
        let described = client.describe_pipe().name(ORDERS).send().await.unwrap();
        let source = described.source_parameters().unwrap().dynamo_db_stream_parameters().unwrap();
        assert_eq!(source.batch_size(), Some(10));
        assert!(described.target_parameters().unwrap().input_template().unwrap().contains("metadata"));
        let nowhere = client.describe_pipe().name("nowhere").send().await.unwrap_err();
        assert_eq!(nowhere.code(), Some("NotFoundException"));
        let nowhere = client.stop_pipe().name("nowhere").send().await.unwrap_err();
        assert_eq!(nowhere.code(), Some("NotFoundException"));
    });
}

/// Guards: the stream's memory. What a stopped pipe has not read when the stream forgets it is lost without a trace; what
/// comes later is carried.
#[test]
fn a_stopped_pipe_loses_what_the_stream_forgets() {
    run(async {
        let platform = Platform::start(&piped("forgotten")).await.unwrap();
        let product = platform.product(5).await;
        platform.stack.settle(TIMEOUT).await.unwrap();
        let client = pipes(&platform).await;
        stop(&client, ORDERS).await;
        let lost = platform.api.place(&order_of(&product, 1)).await.unwrap();
        platform.stack.faults.set(Fault::ForgetStream { table: ORDERS.into() }).unwrap();
        assert_eq!(platform.stack.faults.all(), []);
        let found = platform.api.place(&order_of(&product, 1)).await.unwrap();
        client.start_pipe().name(ORDERS).send().await.unwrap();
        assert_eq!(platform.api.ended(&found, TIMEOUT).await.unwrap()["status"], "FULFILLED");
        platform.stack.settle(TIMEOUT).await.unwrap();
        assert_eq!(status(&platform, &lost).await, "PENDING");
        assert_eq!(platform.dead_letters(), []);
    });
}

/// How often events reached a consumer once more.
fn duplicates(platform: &Platform, service: &str) -> u64 {
    let body = json!({"TableName": format!("test-quadrille-{service}")}).to_string();
    let (status, answer) = platform.stack.dynamodb.call("Scan", body.as_bytes());
    assert_eq!(status, 200);
    let found: Value = serde_json::from_slice(&answer).unwrap();
    let rows = found["Items"].as_array().unwrap().iter();
    let inbox = rows.filter(|row| row["sk"]["S"].as_str().is_some_and(|sk| sk.starts_with("inbox#")));
    inbox.filter_map(|row| row["duplicates"]["N"].as_str()).map(|n| n.parse::<u64>().unwrap()).sum()
}

/// Guards: the archive's rules. A replay of the archive reaches the consumer whose rule it names, and it alone; to that one
/// every event is a duplicate, and nothing is archived once more.
#[test]
fn the_archive_is_replayed_for_one_consumer() {
    run(async {
        let platform = Platform::start(&piped("archive")).await.unwrap();
        let product = platform.product(5).await;
        let id = platform.api.place(&order_of(&product, 1)).await.unwrap();
        assert_eq!(platform.api.ended(&id, TIMEOUT).await.unwrap()["status"], "FULFILLED");
        platform.stack.settle(TIMEOUT).await.unwrap();
        let client = aws_sdk_eventbridge::Client::new(&platform.sdk().await);
        let mut seen = Vec::new();
        for (n, consumer) in ["rewards", "inventory", "inventory"].into_iter().enumerate() {
            let rule = format!("{ACCOUNT}:rule/test-quadrille/test-quadrille-{consumer}-archive");
            let bus = format!("{ACCOUNT}:event-bus/test-quadrille");
            let destination = ReplayDestination::builder().arn(bus).filter_arns(rule).build().unwrap();
            let name = format!("quadrille-{n}");
            let replay = client.start_replay().replay_name(&name).destination(destination);
            let replay = replay.event_source_arn(format!("{ACCOUNT}:archive/test-quadrille"));
            let replay = replay.event_start_time(DateTime::from_secs(0));
            let end = chrono::Utc::now().timestamp() + 60;
            replay.event_end_time(DateTime::from_secs(end)).send().await.unwrap();
            platform.stack.settle(TIMEOUT).await.unwrap();
            let described = client.describe_replay().replay_name(&name).send().await.unwrap();
            assert_eq!(described.state(), Some(&ReplayState::Completed));
            assert!(described.event_last_replayed_time().is_some());
            let services = ["orders", "rewards", "inventory", "fulfillment", "payments", "notifications"];
            seen.push(services.map(|service| duplicates(&platform, service)));
        }
        // Rewards takes order.confirmed, inventory order.created, order.confirmed and fulfillment.shipped.
        let inventory = seen[1][2];
        assert_eq!(seen[0], [0, 1, 0, 0, 0, 0]);
        assert!(inventory >= 2, "{seen:?}");
        assert_eq!(seen[1..], [[0, 1, inventory, 0, 0, 0], [0, 1, 2 * inventory, 0, 0, 0]]);
        assert_eq!(status(&platform, &id).await, "FULFILLED");
        assert_eq!(platform.dead_letters(), []);
    });
}
