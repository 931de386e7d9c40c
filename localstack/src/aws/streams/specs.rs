//! A reader of a stream that is switched off and on, and the calls that do it.

use super::api::{self, Mappings};
use super::record::Record;
use super::shard::{Connections, Outcome, Policy, Reader, Shard, Source};
use super::switch::State;
use crate::aws::dynamodb::Database;
use crate::aws::protocol::ApiError;
use crate::aws::sqs::Queues;
use crate::faults::Faults;
use crate::support::journal::Journal;
use crate::template::names;
use crate::template::resources::EventSourceMapping;
use http_body_util::BodyExt;
use hyper::Method;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

/// Notes what it is given, and fails as long as it is to.
#[derive(Default)]
struct Notes {
    fails: AtomicBool,
    tries: AtomicU32,
    given: Mutex<Vec<Value>>,
}

impl Reader for Notes {
    async fn hand_over(&self, batch: &[Record]) -> Outcome {
        self.tries.fetch_add(1, Ordering::SeqCst);
        if self.fails.load(Ordering::SeqCst) {
            return Outcome::Failed("it is to fail".into());
        }
        self.given.lock().unwrap().extend(batch.iter().map(key));
        Outcome::Done
    }

    fn head(&self, _condition: &str, _tries: u32) -> Value {
        json!({})
    }
}

fn key(record: &Record) -> Value {
    let mut record: Value = serde_json::from_str(&record.json).unwrap();
    record["dynamodb"]["Keys"]["pk"]["S"].take()
}

fn database() -> Database {
    let table = json!({
        "TableName": "rows", "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
        "StreamSpecification": {"StreamViewType": "NEW_IMAGE"},
    });
    Database::start(None, &[serde_json::from_value(table).unwrap()]).unwrap()
}

fn put(database: &Database, key: &str) {
    let body = json!({"TableName": "rows", "Item": {"pk": {"S": key}}}).to_string();
    assert_eq!(database.call("PutItem", body.as_bytes()).0, 200);
}

fn shard(database: &Database) -> Arc<Shard> {
    let (journal, _) = Journal::open(None).unwrap();
    let queues = Queues::start(&[], &[], &journal).unwrap();
    let connections = Connections {
        database,
        queues: &queues,
        journal: &journal,
        positions: &HashMap::new(),
        switches: &BTreeMap::new(),
        faults: &Faults::default(),
        time_scale: 1000,
    };
    let policy = Policy { batch_size: 2, retries: -1, max_age_seconds: -1, bisects: false };
    let stream = &names::stream_arn("rows");
    let source = Source { name: "reader", stream, filter: None, policy, dead_letters: None };
    Arc::new(Shard::new(&source, &connections).unwrap())
}

async fn until(what: impl Fn() -> bool) {
    while !what() {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
}

/// Guards: a reader that is switched off leaves the batch that it cannot settle, and forgets it; it reads the stream again when
/// it is switched on, and what the stream has forgotten by then is lost.
#[tokio::test]
async fn what_was_read_and_not_settled_is_read_again() {
    let (database, notes) = (database(), Arc::new(Notes::default()));
    let shard = shard(&database);
    let (runs, reads) = (Arc::clone(&shard), Arc::clone(&notes));
    tokio::spawn(async move { runs.run(&*reads).await });
    let turn = async |off| {
        shard.switch().turn(off).await.unwrap();
        let state = if off { State::Stopped } else { State::Running };
        until(|| shard.switch().state().1 == state).await;
    };
    notes.fails.store(true, Ordering::SeqCst);
    ["a", "b", "c"].iter().for_each(|key| put(&database, key));
    until(|| notes.tries.load(Ordering::SeqCst) > 2).await;
    turn(true).await;
    let tries = notes.tries.load(Ordering::SeqCst);
    put(&database, "d");
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    assert!(shard.is_idle() && notes.tries.load(Ordering::SeqCst) == tries);

    turn(false).await;
    until(|| notes.tries.load(Ordering::SeqCst) > tries).await;
    turn(true).await;
    database.forget("rows").unwrap();
    database.sweep();
    notes.fails.store(false, Ordering::SeqCst);
    put(&database, "e");
    turn(false).await;
    until(|| shard.is_idle()).await;
    assert_eq!(*notes.given.lock().unwrap(), ["e"]);
}

async fn call(method: Method, path: &str, query: &str, body: &Value, allowed: bool) -> (u16, Value) {
    let queue = json!({"EventSourceArn": names::queue_arn("q"), "FunctionName": "f", "BatchSize": 10});
    let queue: EventSourceMapping = serde_json::from_value(queue).unwrap();
    let mappings = Mappings { streams: Vec::new(), queues: vec![queue] };
    let allow = |_: &str, _: &str| {
        if allowed { Ok(()) } else { Err(ApiError::new("AccessDeniedException", "not you")) }
    };
    let answer = api::answer(&mappings, (&method, path, query), body.to_string().as_bytes(), allow).await;
    let (status, kind) = (answer.status().as_u16(), answer.headers().get("x-amzn-errortype").cloned());
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    let kind = kind.map(|kind| kind.to_str().unwrap().into());
    (status, kind.unwrap_or_else(|| serde_json::from_slice(&body).unwrap()))
}

/// Guards: a request field that Lambda has is read or refused, and what there is not is not found. The fields are those of
/// the service model.
#[tokio::test]
async fn every_request_field_is_read_or_refused() {
    let list = async |query: &str| call(Method::GET, "/", query, &Value::Null, true).await;
    let (status, found) =
        list("FunctionName=f&EventSourceArn=arn:aws:sqs:us-east-1:000000000000:q&MaxItems=1").await;
    assert_eq!((status, &found["EventSourceMappings"][0]["State"]), (200, &json!("Enabled")));
    assert_eq!(list("Marker=zzz").await, (200, json!({"EventSourceMappings": []})));
    for refused in ["MaxItems=0", "MaxItems=x", "Colour=red"] {
        assert_eq!(list(refused).await, (400, json!("InvalidParameterValueException")), "{refused}");
    }
    let update = async |body: Value| call(Method::PUT, "/x", "", &body, true).await;
    assert_eq!(update(json!({"Enabled": false})).await, (404, json!("ResourceNotFoundException")));
    let fields = [
        "FunctionName",
        "BatchSize",
        "FilterCriteria",
        "MaximumBatchingWindowInSeconds",
        "DestinationConfig",
        "MaximumRecordAgeInSeconds",
        "BisectBatchOnFunctionError",
        "MaximumRetryAttempts",
        "ParallelizationFactor",
        "SourceAccessConfigurations",
        "TumblingWindowInSeconds",
        "FunctionResponseTypes",
        "ScalingConfig",
        "AmazonManagedKafkaEventSourceConfig",
        "SelfManagedKafkaEventSourceConfig",
        "DocumentDBEventSourceConfig",
        "KMSKeyArn",
        "MetricsConfig",
        "LoggingConfig",
        "ProvisionedPollerConfig",
    ];
    for field in fields {
        let body = json!({"Enabled": false, field: 1});
        assert_eq!(update(body).await, (400, json!("InvalidParameterValueException")), "{field}");
    }
    for (method, path) in [(Method::GET, "/"), (Method::PUT, "/x")] {
        assert_eq!(call(method, path, "", &json!({}), false).await, (403, json!("AccessDeniedException")));
    }
}
