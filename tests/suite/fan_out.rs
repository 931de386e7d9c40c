//! How events leave a table, by a pipe and by the relay that may stand in its place: the shape on the bus, records that
//! cannot be read, entries that the bus refuses, functions that die. Each test runs both ways.

use crate::platform::{Platform, copy, options, root, run, scratch};
use crate::stories::losses::a_pipe_stands_still_and_an_event_is_lost;
use crate::stories::outcomes::an_order_is_reserved_charged_confirmed_and_shipped;
use chassis::outbox::{Cause, Context, OutboxEntry, event_rows};
use chassis::store::{AggregateId, Condition, Item, Store, Write};
use chrono::DateTime;
use localstack::aws::lambda::Mode;
use localstack::faults::Fault;
use localstack::stack::Options;
use serde_json::{Value, json};
use std::process::Command;
use std::time::{Duration, Instant};
use tests::client::order_of;
use uuid::Uuid;

const TIMEOUT: Duration = Duration::from_secs(60);
const WAYS: [&str; 2] = ["pipe", "relay"];
const DEAD_LETTERS: &str = "test-quadrille-rewards-outbox-dlq";

/// A queue with everything that the bus gets, in the order in which it gets it. It is none that the platform waits for.
const SPY: &str = r#"
Parameters:
  Stage: {Type: String, Default: dev}
Resources:
  Everything:
    Type: AWS::Events::Rule
    Properties:
      Name: !Sub "${Stage}-quadrille-spy"
      EventBusName: !Sub "${Stage}-quadrille"
      EventPattern: {source: [{prefix: "quadrille."}]}
      Targets: [{Id: spy, Arn: !GetAtt Queue.Arn}]
  Queue:
    Type: AWS::SQS::Queue
    Properties: {QueueName: !Sub "${Stage}-quadrille-spy-dlq"}
  Policy:
    Type: AWS::SQS::QueuePolicy
    Properties:
      Queues: [!Ref Queue]
      PolicyDocument:
        Version: "2012-10-17"
        Statement:
          - Effect: Allow
            Principal: {Service: events.amazonaws.com}
            Action: sqs:SendMessage
            Resource: !GetAtt Queue.Arn
"#;

/// A platform whose events leave this way, with a spy on its bus, and with these changes in the template of rewards.
async fn platform(name: &str, way: &str, changes: &[(&str, &str)]) -> Platform {
    platform_with(options(name), name, way, changes).await
}

async fn platform_with(mut options: Options, name: &str, way: &str, changes: &[(&str, &str)]) -> Platform {
    let name = format!("{name}-{way}");
    let infra = scratch(&format!("{name}-infra"));
    copy(&root().join("infra"), &infra);
    std::fs::write(infra.join("spy.yaml"), SPY).unwrap();
    let path = infra.join("rewards.yaml");
    let mut text = std::fs::read_to_string(&path).unwrap();
    for (from, to) in changes {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    std::fs::write(path, text).unwrap();
    options.parameters.insert("FanOut".into(), way.into());
    Platform::start(&Options { infra, data: scratch(&name), ..options }).await.unwrap()
}

/// What the bus got since the last call: whole events.
async fn seen(platform: &Platform) -> Vec<Value> {
    let queue = platform.stack.queues.get("test-quadrille-spy-dlq").unwrap();
    let mut seen = Vec::new();
    while queue.depth().0 > 0 {
        for received in queue.receive(10).await {
            seen.push(serde_json::from_str(&received.message.body).unwrap());
            queue.delete(&received.receipt);
        }
    }
    seen
}

/// The numbers of the events about `subject`, in the order in which the bus got them.
fn numbers(seen: &[Value], subject: &str) -> Vec<u64> {
    let metadata = seen.iter().map(|event| &event["detail"]["metadata"]);
    metadata.filter(|metadata| metadata["subject"] == subject).map(|m| m["seq"].as_u64().unwrap()).collect()
}

/// Event rows of rewards about `subject`, as rewards would write them. No service consumes them.
fn rows(subject: &str, kinds: &[&str]) -> Vec<Item> {
    let entry = |kind: &&str| OutboxEntry {
        kind: chassis::outbox::EntryKind::Published,
        ..OutboxEntry::private("rewards", kind, json!({"note": "say \"hi\"", "n": 1}))
    };
    let entries: Vec<OutboxEntry> = kinds.iter().map(entry).collect();
    let cause = Cause::request(Uuid::new_v4(), Uuid::from_u128(1), None);
    let context = Context { cause: &cause, now: DateTime::UNIX_EPOCH };
    event_rows("rewards", &entries, &AggregateId::new("test", subject), 1, &context).unwrap()
}

/// Commits rows to the table of rewards, one after the other, while its stream stands still; they are one batch then.
async fn commit_together(platform: &Platform, rows: Vec<Item>) {
    platform.stack.settle(TIMEOUT).await.unwrap();
    platform.stack.faults.set(Fault::Stop { pipe: platform.reader("rewards") }).unwrap();
    commit(platform, rows).await;
    let faults: Vec<Fault> = platform.stack.faults.all();
    platform.stack.faults.clear();
    for fault in faults.into_iter().filter(|fault| !matches!(fault, Fault::Stop { .. })) {
        platform.stack.faults.set(fault).unwrap();
    }
}

async fn commit(platform: &Platform, rows: Vec<Item>) {
    let table = platform.table("test-quadrille-rewards").await;
    for item in rows {
        table.commit(vec![Write::Put { item, when: Condition::Absent }]).await.unwrap();
    }
}

/// Waits until `done` holds.
async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + TIMEOUT;
    while !done() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Both ways, on platforms of their own.
fn both_ways(test: impl AsyncFn(&'static str)) {
    run(async {
        for way in WAYS {
            test(way).await;
        }
    });
}

/// Guards: the promise of the contracts. On the bus, `data` is an object that its event's schema accepts, and the metadata are
/// those of their schema, integers included. The head of the event says the same as its metadata.
#[test]
fn every_event_on_the_bus_has_the_shape_of_the_contracts() {
    let schema = |path: &str| -> Value {
        serde_json::from_str(&std::fs::read_to_string(root().join("contracts").join(path)).unwrap()).unwrap()
    };
    both_ways(async |way| {
        let platform = platform("shape", way, &[]).await;
        let product = platform.product(5).await;
        let id = platform.api.place(&order_of(&product, 1)).await.unwrap();
        assert_eq!(platform.api.ended(&id, TIMEOUT).await.unwrap()["status"], "FULFILLED");
        platform.stack.settle(TIMEOUT).await.unwrap();
        let seen = seen(&platform).await;
        assert!(seen.len() >= 8, "{way}: {}", seen.len());
        for event in seen {
            let metadata = &event["detail"]["metadata"];
            let data = schema(&format!("{}/v1.schema.json", metadata["type"].as_str().unwrap()));
            assert!(jsonschema::is_valid(&schema("metadata/v1.schema.json"), metadata), "{way}: {event}");
            assert!(jsonschema::is_valid(&data, &event["detail"]["data"]), "{way}: {event}");
            assert!(metadata["version"].is_u64() && metadata["seq"].is_u64(), "{way}: {event}");
            assert_eq!(event["detail"].as_object().unwrap().len(), 2, "{way}: {event}");
            assert_eq!((&event["source"], &event["detail-type"]), (&metadata["source"], &metadata["type"]));
            assert_eq!(event["resources"], json!([metadata["subject"]]));
            assert_eq!(event["time"].as_str().unwrap()[..19], metadata["time"].as_str().unwrap()[..19]);
        }
    });
}

/// Guards: halving a batch that fails. A record that cannot be read fails alone, ends as a pointer among the dead letters, and
/// what lies before and after it in the same batch is published in its order.
#[test]
fn a_record_that_cannot_be_read_fails_alone() {
    both_ways(async |way| {
        let changes = [
            ("MaximumRetryAttempts: 185\n          Max", "MaximumRetryAttempts: 2\n          Max"),
            ("MaximumRetryAttempts: 185\n      Max", "MaximumRetryAttempts: 2\n      Max"),
        ];
        let platform = platform("unreadable", way, &changes).await;
        let mut rows = rows("a", &["rewards.granted"; 6]);
        rows[3].attrs.remove("data");
        commit_together(&platform, rows).await;
        let dead = platform.stack.queues.get(DEAD_LETTERS).unwrap();
        until(way, || dead.depth() == (1, 0)).await;
        platform.stack.settle(TIMEOUT).await.unwrap();
        assert_eq!(numbers(&seen(&platform).await, "a"), [1, 2, 3, 5, 6], "{way}");
        let pointer: Value = serde_json::from_str(&dead.receive(1).await[0].message.body).unwrap();
        let place = &pointer["DDBStreamBatchInfo"];
        assert_eq!(
            (&place["batchSize"], &place["startSequenceNumber"]),
            (&json!(1), &place["endSequenceNumber"])
        );
        let head = if way == "pipe" { &pointer["context"] } else { &pointer["requestContext"] };
        assert_eq!(head["condition"], "RetryAttemptsExhausted", "{way}: {pointer}");
    });
}

/// Guards: the result of every entry. What the bus refuses is published by the next try. The pipe repeats the refused record;
/// the relay repeats it and all after it, and nothing before it.
#[test]
fn what_the_bus_refuses_is_published_by_the_next_try() {
    both_ways(async |way| {
        let platform = platform("refused", way, &[]).await;
        let event = Some("order.created".to_owned());
        platform.stack.faults.set(Fault::Refuse { event, times: 1 }).unwrap();
        commit_together(&platform, rows("a", &["rewards.granted", "order.created", "rewards.revoked"])).await;
        platform.stack.settle(TIMEOUT).await.unwrap();
        let expected: &[u64] = if way == "pipe" { &[1, 3, 2] } else { &[1, 3, 2, 3] };
        assert_eq!(numbers(&seen(&platform).await, "a"), expected, "{way}");
    });
}

/// Guards: a batch whose function dies is tried again.
#[test]
fn a_function_that_dies_gets_its_batch_again() {
    both_ways(async |way| {
        // In the classic way a function that rests has no process, or a stopped one; the dial's `kill` ends those.
        let options = Options { lambda: Mode::Shared, ..options("dying-way") };
        let platform = platform_with(options, "dying-way", way, &[]).await;
        platform.stack.settle(TIMEOUT).await.unwrap();
        let handler = if way == "pipe" { "outbox" } else { "relay" };
        let function = platform.stack.functions.get(&format!("test-quadrille-rewards-{handler}")).unwrap();
        // Stopped in the middle of its work, whatever the machine's speed.
        let pid = function.pid().unwrap().to_string();
        assert!(Command::new("kill").args(["-STOP", &pid]).status().unwrap().success());
        commit(&platform, rows("a", &["rewards.granted"; 2])).await;
        until(way, || !function.is_idle()).await;
        assert!(Command::new("kill").args(["-KILL", &pid]).status().unwrap().success());
        platform.stack.settle(TIMEOUT).await.unwrap();
        assert_eq!(numbers(&seen(&platform).await, "a"), [1, 2], "{way}");
        assert_eq!(platform.stack.queues.get(DEAD_LETTERS).unwrap().depth(), (0, 0));
    });
}

/// Guards: a record older than the template allows is not published any more.
#[test]
fn a_record_that_is_too_old_is_given_up() {
    both_ways(async |way| {
        let changes = [("MaximumRecordAgeInSeconds: 82800", "MaximumRecordAgeInSeconds: 100")];
        let platform = platform("old", way, &changes).await;
        platform.stack.settle(TIMEOUT).await.unwrap();
        platform.stack.faults.set(Fault::Stop { pipe: platform.reader("rewards") }).unwrap();
        commit(&platform, rows("a", &["rewards.granted"; 3])).await;
        tokio::time::sleep(Duration::from_millis(2500)).await;
        platform.stack.faults.clear();
        let dead = platform.stack.queues.get(DEAD_LETTERS).unwrap();
        until(way, || dead.depth() == (1, 0)).await;
        assert_eq!(numbers(&seen(&platform).await, "a"), Vec::<u64>::new(), "{way}");
    });
}

/// Guards: the relay does what the pipe does. All other stories run this way with `FAN_OUT=relay`.
#[test]
fn stories_are_the_same_with_relays() {
    run(async {
        let platform = platform("stories", "relay", &[]).await;
        an_order_is_reserved_charged_confirmed_and_shipped(&mut &platform).await;
        a_pipe_stands_still_and_an_event_is_lost(&mut &platform).await;
        let dead: Vec<_> = platform.dead_letters();
        let real = dead.iter().filter(|(name, _)| !name.ends_with("spy-dlq"));
        assert_eq!(real.count(), 0, "{dead:?}");
    });
}
