//! What a sender wrote into a body stays out of logs, of the rows that say why a delivery failed, and of the
//! operator's list of dead letters.

use crate::platform::{Platform, options, run};
use chassis::aggregate::read_state;
use chassis::store::{Item, Key};
use events::catalogue::{self, Entry};
use localstack::stack::Options;
use registry::SERVICES;
use serde_json::{Map, Value, json};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

const TIMEOUT: Duration = Duration::from_secs(60);
/// What must not be found.
const SECRET: &str = "4-Privet-Drive";

/// An event with the secret in every field of its data.
fn event(entry: &Entry) -> Value {
    let mut envelope = crate::envelopes::envelope(entry.kind, entry.version, entry.producer, Value::Null);
    envelope.metadata.id = events::EventId(uuid::Uuid::new_v4());
    let schema = (entry.schema)();
    let names = schema["properties"].as_object().unwrap().keys();
    let mut data: Map<String, Value> = names.map(|name| (name.clone(), SECRET.into())).collect();
    // Its subject is checked before the rest of it.
    data.insert("order_id".into(), envelope.metadata.subject.clone().into());
    envelope.data = data.into();
    json!(envelope)
}

/// What a service may find in its queue: its events with data of a wrong shape, and what is no event at all.
fn bodies(service: &str) -> Vec<String> {
    let entries = catalogue::entries();
    let consumed = entries.iter().filter(|entry| entry.consumers.contains(&service));
    let mut details: Vec<Value> = consumed.map(event).collect();
    for pointer in
        ["/metadata", "/metadata/id", "/metadata/seq", "/metadata/version", "/metadata/time", "/data"]
    {
        let mut garbled = details[0].clone();
        *garbled.pointer_mut(pointer).unwrap() = SECRET.into();
        details.push(garbled);
    }
    details.push(SECRET.into());
    let wrapped = details.into_iter().map(|detail| json!({ "detail": detail }).to_string());
    wrapped
        .chain([SECRET.to_owned(), json!(SECRET).to_string(), json!({SECRET: SECRET}).to_string()])
        .collect()
}

/// Hands functions a task that they cannot read; gives what they report.
async fn fail_tasks(platform: &Platform) -> String {
    let mut reports = Vec::new();
    for (function, task) in [
        ("test-quadrille-orders-sweeper", json!({ "ahead_seconds": SECRET })),
        ("test-quadrille-payments-compensator", json!({ "task": SECRET })),
    ] {
        let function = platform.stack.functions.get(function).unwrap();
        reports.push(function.invoke(task.to_string().into()).await.unwrap_err().to_string());
    }
    reports.join("\n")
}

/// Guards: a state row that cannot be read is named by its key.
#[test]
fn a_broken_state_row_is_not_repeated() {
    let data = json!({ "known": SECRET }).to_string();
    let row = Item::new(Key::state("order#1")).with("version", 1).with("seq", 1).with("data", data);
    let failure = read_state::<orders::saga::Saga>(&row).unwrap_err().to_string();
    assert!(failure.starts_with("poison: order#1/state: ") && !failure.contains(SECRET), "{failure}");
}

/// Sends what no service can read to every queue, and waits until it has failed for the last time; gives how many did.
async fn fail(platform: &Platform) -> usize {
    let queue = |name: String| platform.stack.queues.get(&name).unwrap();
    for service in SERVICES {
        let inbox = queue(format!("test-quadrille-{service}-events"));
        bodies(service).iter().for_each(|body| drop(inbox.send(body)));
    }
    let deadline = Instant::now() + TIMEOUT;
    let busy = |service: &&&str| queue(format!("test-quadrille-{service}-events")).depth() != (0, 0);
    while let Some(service) = SERVICES.iter().find(busy) {
        assert!(Instant::now() < deadline, "{service} has not given up");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    platform.dead_letters().iter().map(|(_, depth)| depth).sum()
}

/// The rows by which a service notes why deliveries failed, as the table holds them.
fn failures(platform: &Platform, service: &str) -> Vec<String> {
    let body = json!({"TableName": format!("test-quadrille-{service}")}).to_string();
    let (status, answer) = platform.stack.dynamodb.call("Scan", body.as_bytes());
    assert_eq!(status, 200);
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    let rows = answer["Items"].as_array().unwrap().iter();
    rows.filter(|row| row["sk"]["S"] == "failure").map(Value::to_string).collect()
}

fn logs(folder: &Path) -> String {
    let files = fs::read_dir(folder.join("logs")).unwrap();
    files.map(|file| fs::read_to_string(file.unwrap().path()).unwrap()).collect()
}

/// Guards: errors name a place and a type, and no value. Whatever cannot be read, on any queue and at the API, leaves
/// nothing of what it holds behind, except in the message itself.
#[test]
fn nothing_repeats_a_value_of_a_body() {
    run(async {
        let options = Options { in_memory: false, fresh: true, ..options("secrecy") };
        let platform = Platform::start(&options).await.unwrap();
        let order =
            json!({"customer_id": SECRET, "items": SECRET, "shipping_address": SECRET, SECRET: SECRET});
        for body in [order.to_string(), format!("{{\"{SECRET}\": 1, \"{SECRET}\": 1}}"), SECRET.to_owned()] {
            let answer = platform.api.send(hyper::Method::POST, "/orders", body).await.unwrap();
            assert_eq!(answer.status, 400);
        }
        let (failed, tasks) = (fail(&platform).await, fail_tasks(&platform).await);
        let (stage, _) = platform.operated().await;
        let list = stage.list(chrono::Utc::now()).await.unwrap();
        let rows: Vec<String> = SERVICES.iter().flat_map(|service| failures(&platform, service)).collect();
        let logs = logs(&options.data);
        // There was enough to look at.
        assert!(failed >= 10 * SERVICES.len() && list.len() >= failed, "{failed}: {list:#?}");
        assert!(rows.len() >= SERVICES.len() && logs.matches("delivery failed").count() >= failed);
        assert!(list.iter().any(|one| one.reason.contains("metadata.seq: expected u64")), "{list:#?}");
        let list = format!("{list:#?}");
        for (what, text) in
            [("dead letters", list), ("rows", rows.join("\n")), ("tasks", tasks), ("logs", logs)]
        {
            let found = text.lines().find(|line| line.contains(SECRET));
            assert_eq!(found, None, "{what} repeat a value");
        }
    });
}
