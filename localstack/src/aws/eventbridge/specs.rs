//! Replays keep EventBridge's rules: who gets which events, in which order, and what is refused.

use super::api;
use super::bus::{Buses, Connections, PutEventsEntry};
use super::replays::Replays;
use super::service::Service;
use crate::aws::iam::{Caller, Iam};
use crate::aws::protocol::{Call, operations};
use crate::aws::sqs::Queues;
use crate::aws::stepfunctions::{Setup, StateMachines};
use crate::faults::Faults;
use crate::support::journal::{Journal, Wanted};
use crate::support::meter::Meter;
use crate::support::storage::Storage;
use crate::template::names;
use crate::template::resources::Model;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

/// 2026-11-21T09:30:00Z
const HALF_PAST: i64 = 1_795_253_400;

struct Bench {
    buses: Buses,
    replays: Replays,
    queues: Queues,
    journal: Journal,
}

fn rule(name: &str, replayed: bool) -> Value {
    json!({
        "Name": name, "EventBusName": "bus",
        "EventPattern": {"source": ["shop"], "replay-name": [{"exists": replayed}]},
        "Targets": [{"Id": "queue", "Arn": names::queue_arn(name)}],
    })
}

/// A bus with an archive, a rule for live events and two for replays, each with a queue; and a bus without any.
fn model() -> Model {
    let rules = [rule("live", false), rule("a", true), rule("b", true)];
    let queues = ["live", "a", "b"].map(|name| json!({ "QueueName": name }));
    let archive = json!({"ArchiveName": "kept", "SourceArn": names::bus_arn("bus")});
    Model {
        buses: serde_json::from_value(json!([{"Name": "bus"}, {"Name": "other"}])).unwrap(),
        rules: serde_json::from_value(json!(rules)).unwrap(),
        queues: serde_json::from_value(json!(queues)).unwrap(),
        archives: serde_json::from_value(json!([archive])).unwrap(),
        ..Model::default()
    }
}

impl Bench {
    fn start(path: Option<&Path>) -> Self {
        Self::of(path, &model())
    }

    fn of(path: Option<&Path>, model: &Model) -> Self {
        let storage = path.map_or_else(Storage::memory, |path| Storage::open(path).unwrap());
        let (journal, _) = Journal::open(&storage).unwrap();
        let queues = Queues::start(&model.queues, &journal).unwrap();
        let (functions, infra) = ([].into_iter().collect(), Path::new(""));
        let setup = Setup {
            functions: &functions,
            infra,
            time_scale: 1,
            journal: &journal,
            meter: &Meter::default(),
        };
        let (machines, faults) = (StateMachines::new(&[], &setup).unwrap(), Faults::default());
        let connections = Connections {
            queues: &queues,
            machines: &machines,
            journal: &journal,
            faults: &faults,
            meter: &Meter::default(),
        };
        let buses = Buses::start(model, &connections).unwrap();
        let replays = Replays::open(&buses, &journal);
        Self { buses, replays, queues, journal }
    }

    fn service(&self) -> Service {
        let (buses, replays) = (self.buses.clone(), self.replays.clone());
        Service { buses, replays, model: Arc::new(model()), since: 0 }
    }

    /// The answer, or the error's code and text.
    async fn call(&self, operation: &str, body: &Value) -> Result<Value, (&'static str, String)> {
        let (iam, body) = (Iam::default(), body.to_string());
        let call = Call { caller: &Caller::Administrator, iam: &iam, operation, body: body.as_bytes() };
        let answer = operations::answer(api::OPERATIONS, &self.service(), &call).await;
        let (_, answer) = answer.map_err(|error| (error.code, error.message))?;
        Ok(serde_json::from_slice(&answer).unwrap())
    }

    async fn describe(&self, name: &str) -> Value {
        self.call("DescribeReplay", &json!({ "ReplayName": name })).await.unwrap()
    }

    /// Waits until no replay is at work.
    async fn at_rest(&self) {
        while !self.replays.is_idle() {
            tokio::task::yield_now().await;
        }
    }

    /// Puts an event on the bus; `n` is its detail, `seconds` its time after half past.
    fn put(&self, n: usize, seconds: i64) {
        let entry = PutEventsEntry {
            source: "shop".into(),
            detail_type: "sold".into(),
            detail: json!({ "n": n }).to_string(),
            time: DateTime::from_timestamp(HALF_PAST + seconds, 0).unwrap(),
            resources: vec!["beans".into()],
        };
        self.buses.put("bus", &entry).unwrap();
    }

    /// The events of a queue, in its order.
    async fn events(&self, queue: &str) -> Vec<Value> {
        let queue = self.queues.get(queue).unwrap();
        let mut events = Vec::new();
        while queue.depth().0 > 0 {
            let received = queue.receive(10).await;
            events.extend(
                received.iter().map(|received| serde_json::from_str(&received.message.body).unwrap()),
            );
            assert!(received.iter().all(|received| queue.delete(&received.receipt)));
        }
        events
    }

    fn depths(&self) -> [usize; 3] {
        ["live", "a", "b"].map(|queue| self.queues.get(queue).unwrap().depth().0)
    }
}

/// A replay of ten minutes to the rule `a`.
fn request(name: &str) -> Value {
    json!({
        "ReplayName": name, "Description": "once more",
        "EventSourceArn": names::arn("events", "archive/kept"),
        "EventStartTime": HALF_PAST, "EventEndTime": HALF_PAST + 600,
        "Destination": {"Arn": names::bus_arn("bus"), "FilterArns": [names::rule_arn("bus", "a")]},
    })
}

fn numbers(events: &[Value]) -> Vec<u64> {
    events.iter().map(|event| event["detail"]["n"].as_u64().unwrap()).collect()
}

/// Guards: FilterArns, the mark, and the archive's own rule. A replayed event is the archived one with its replay's name; the
/// rules that are named get it, and it is not archived once more.
#[tokio::test]
async fn a_replay_reaches_the_rules_that_it_names() {
    let bench = Bench::start(None);
    bench.put(1, 0);
    let live = bench.events("live").await;
    let started = bench.call("StartReplay", &request("first")).await.unwrap();
    assert_eq!(started["State"], "STARTING");
    assert_eq!(started["ReplayArn"], names::arn("events", "replay/first"));
    bench.at_rest().await;
    assert_eq!(bench.depths(), [0, 1, 0]);
    let mut replayed = bench.events("a").await;
    assert_eq!(replayed[0].as_object_mut().unwrap().remove("replay-name"), Some("first".into()));
    assert_eq!(replayed, live);

    let mut all = request("second");
    all["Destination"].as_object_mut().unwrap().remove("FilterArns");
    bench.call("StartReplay", &all).await.unwrap();
    bench.at_rest().await;
    assert_eq!(bench.depths(), [0, 1, 1]);
    let window = (HALF_PAST, HALF_PAST + 600);
    let kept = Wanted { archive: "kept".into(), window, after: None, limit: 10 };
    assert_eq!(bench.journal.archived(&kept).len(), 1);

    let described = bench.describe("first").await;
    assert_eq!(described["State"], "COMPLETED");
    assert_eq!(described["Destination"], request("first")["Destination"]);
    assert_eq!(described["EventLastReplayedTime"].as_f64(), Some(HALF_PAST as f64));
    assert!(described["ReplayEndTime"].as_f64() >= described["ReplayStartTime"].as_f64());
}

/// Guards: the retention of an archive. What is older than its days is not replayed any more.
#[tokio::test]
async fn an_archive_forgets_after_its_days() {
    let mut model = model();
    model.archives[0].retention_days = Some(1);
    let bench = Bench::of(None, &model);
    let now = Utc::now().timestamp();
    for (n, ago) in [(1, 25 * 3600), (2, 23 * 3600)] {
        bench.put(n, now - ago - HALF_PAST);
    }
    let mut request = request("all");
    request["EventStartTime"] = (now - 3 * 86_400).into();
    request["EventEndTime"] = now.into();
    bench.call("StartReplay", &request).await.unwrap();
    bench.at_rest().await;
    assert_eq!(numbers(&bench.events("a").await), [2]);
}

/// Guards: the disk. What an archive forgets is deleted, and what it keeps is not.
#[tokio::test]
async fn what_an_archive_forgets_is_deleted() {
    let mut model = model();
    let now = Utc::now();
    for (days, left) in [(Some(1), 2), (None, 4)] {
        model.archives[0].retention_days = days;
        let bench = Bench::of(None, &model);
        for (n, ago) in [(1, 49 * 3600), (2, 25 * 3600), (3, 23 * 3600), (4, 0)] {
            bench.put(n, now.timestamp() - ago - HALF_PAST);
        }
        bench.replays.forget(now);
        let window = (0, now.timestamp() + 60);
        let kept = Wanted { archive: "kept".into(), window, after: None, limit: 10 };
        assert_eq!(bench.journal.archived(&kept).len(), left);
    }
}

/// Guards: the window, which does not hold its end, and the order: the minutes are in order whatever the order of the archive,
/// and the events of a minute are not.
#[tokio::test]
async fn a_replay_goes_minute_by_minute() {
    let bench = Bench::start(None);
    let minutes = [9, 2, 0, 5];
    for (n, minute) in minutes.iter().cycle().take(240).enumerate() {
        bench.put(n, minute * 60 + i64::try_from(n % 60).unwrap());
    }
    [-1, 600].iter().for_each(|outside| bench.put(1000, *outside));
    bench.call("StartReplay", &request("all")).await.unwrap();
    bench.at_rest().await;
    let seen = bench.events("a").await;
    let minute = |event: &Value| event["time"].as_str().unwrap()[..16].to_owned();
    assert_eq!(seen.len(), 240);
    assert!(seen.iter().map(minute).is_sorted());
    assert!(!seen.iter().map(|event| event["time"].as_str().unwrap()).is_sorted());
    assert_eq!(numbers(&seen).into_iter().collect::<BTreeSet<_>>(), (0..240).collect());
}

/// Guards: what AWS refuses is refused, under its name.
#[tokio::test]
async fn what_cannot_be_replayed_is_refused() {
    let bench = Bench::start(None);
    let refused: [(&str, Value, &str); 14] = [
        ("/ReplayName", "".into(), "ValidationException"),
        ("/ReplayName", "n".repeat(65).into(), "ValidationException"),
        ("/ReplayName", "a b".into(), "ValidationException"),
        ("/Description", "d".repeat(513).into(), "ValidationException"),
        ("/EventSourceArn", names::arn("events", "archive/lost").into(), "ValidationException"),
        ("/EventSourceArn", "kept".into(), "ValidationException"),
        ("/EventEndTime", HALF_PAST.into(), "ValidationException"),
        ("/EventStartTime", 1e18.into(), "ValidationException"),
        ("/EventStartTime", "2026-11-21T09:30:00Z".into(), "SerializationException"),
        ("/Destination/Arn", names::bus_arn("nowhere").into(), "ResourceNotFoundException"),
        ("/Destination/Arn", names::bus_arn("other").into(), "ValidationException"),
        ("/Destination/Arn", "bus".into(), "ValidationException"),
        ("/Destination/FilterArns/0", names::rule_arn("bus", "c").into(), "ResourceNotFoundException"),
        ("/Destination/FilterArns/0", names::rule_arn("other", "a").into(), "ValidationException"),
    ];
    for (place, value, code) in refused {
        let mut request = request("refused");
        *request.pointer_mut(place).unwrap() = value.clone();
        let error = bench.call("StartReplay", &request).await.unwrap_err();
        assert_eq!(error.0, code, "{place} {value}: {}", error.1);
    }
    let mut other = request("refused");
    other["Destination"] = json!({"Arn": names::bus_arn("other")});
    let error = bench.call("StartReplay", &other).await.unwrap_err();
    assert!(error.1.contains("Cross event bus replay is not permitted."), "{error:?}");
    for operation in ["DescribeReplay", "CancelReplay"] {
        let error = bench.call(operation, &json!({"ReplayName": "refused"})).await.unwrap_err();
        assert_eq!(error, ("ResourceNotFoundException", "Replay refused does not exist.".into()));
    }
    let both = json!({"NamePrefix": "r", "State": "RUNNING"});
    for list in [both, json!({"Limit": 0}), json!({"Limit": 101}), json!({"NamePrefix": ""})] {
        assert_eq!(bench.call("ListReplays", &list).await.unwrap_err().0, "ValidationException", "{list}");
    }
}

/// Guards: ten replays at a time, names that are used once, and what can be cancelled.
#[tokio::test]
async fn there_are_ten_replays_at_a_time_and_each_has_a_name_of_its_own() {
    let bench = Bench::start(None);
    bench.put(1, 0);
    // None of them runs before the test waits for something.
    for n in 0..10 {
        bench.call("StartReplay", &request(&format!("r{n}"))).await.unwrap();
    }
    assert_eq!(bench.call("StartReplay", &request("r10")).await.unwrap_err().0, "LimitExceededException");
    let cancelled = bench.call("CancelReplay", &json!({"ReplayName": "r3"})).await.unwrap();
    assert_eq!(cancelled["State"], "CANCELLING");
    bench.at_rest().await;
    assert_eq!(bench.depths(), [1, 9, 0]);
    let described = bench.describe("r3").await;
    assert_eq!(
        (&described["State"], &described["EventLastReplayedTime"]),
        (&json!("CANCELLED"), &Value::Null)
    );
    for name in ["r3", "r4"] {
        let error = bench.call("CancelReplay", &json!({ "ReplayName": name })).await.unwrap_err();
        assert_eq!(error.0, "IllegalStatusException");
        let again = bench.call("StartReplay", &request(name)).await.unwrap_err();
        assert_eq!(again, ("ResourceAlreadyExistsException", format!("Replay {name} already exists.")));
    }
    let names = |list: &Value| -> Vec<String> {
        let replays = list["Replays"].as_array().unwrap().iter();
        replays.map(|replay| replay["ReplayName"].as_str().unwrap().to_owned()).collect()
    };
    let first = bench.call("ListReplays", &json!({"Limit": 6, "State": "COMPLETED"})).await.unwrap();
    assert_eq!(names(&first), ["r0", "r1", "r2", "r4", "r5", "r6"]);
    let next = json!({"NextToken": first["NextToken"], "State": "COMPLETED"});
    let next = bench.call("ListReplays", &next).await.unwrap();
    assert_eq!(
        (names(&next), &next["NextToken"]),
        (vec!["r7".into(), "r8".into(), "r9".into()], &Value::Null)
    );
}

/// Guards: a replay survives a restart: it goes on behind the last event that it gave away.
#[test]
fn a_replay_goes_on_after_a_restart() {
    // So many that it is not through while its start waits for the disk.
    const LONG: usize = 3000;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
    // When its runtime ends, so does the replay: before the journal is waited for, which leaves it time to go on.
    let bench = runtime().block_on(async {
        let bench = Bench::start(Some(&path));
        (0..LONG).for_each(|n| bench.put(n, i64::try_from(n % 600).unwrap()));
        bench.call("StartReplay", &request("long")).await.unwrap();
        while bench.depths()[1] == 0 {
            tokio::task::yield_now().await;
        }
        assert!(!bench.replays.is_idle() && bench.depths()[1] < LONG);
        bench
    });
    runtime().block_on(bench.journal.flush());
    drop(bench);
    runtime().block_on(async {
        let bench = Bench::start(Some(&path));
        assert_eq!(bench.describe("long").await["State"], "RUNNING");
        bench.replays.resume();
        bench.at_rest().await;
        let seen = numbers(&bench.events("a").await);
        assert_eq!((seen.len(), BTreeSet::from_iter(seen).len()), (LONG, LONG));
    });
}

/// Guards: a request field that AWS has is read, or it is refused like one that it does not have. The fields are those of the
/// service model, <https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_Operations.html>.
#[tokio::test]
async fn every_request_field_is_read_or_refused() {
    let bench = Bench::start(None);
    let entry = json!({"EventBusName": "bus", "Source": "shop", "DetailType": "sold", "Detail": "{}",
        "Resources": ["beans"], "Time": HALF_PAST});
    let list = |filter: &str, value: &str| json!({filter: value, "NextToken": "a", "Limit": 1});
    let whole = [
        ("PutEvents", json!({"Entries": [entry]})),
        ("StartReplay", request("whole")),
        ("DescribeReplay", json!({"ReplayName": "whole"})),
        ("CancelReplay", json!({"ReplayName": "whole"})),
        ("ListReplays", list("NamePrefix", "w")),
        ("ListReplays", list("State", "RUNNING")),
        ("ListReplays", list("EventSourceArn", "arn:aws:events:us-east-1:000000000000:archive/kept")),
    ];
    for (operation, request) in whole {
        bench.call(operation, &request).await.unwrap();
        let mut strange = request.clone();
        strange["Colour"] = "red".into();
        assert_eq!(
            bench.call(operation, &strange).await.unwrap_err().0,
            "SerializationException",
            "{operation}"
        );
    }
    let mut traced = entry.clone();
    traced["TraceHeader"] = "Root=1".into();
    for request in [json!({"Entries": [traced]}), json!({"Entries": [entry], "EndpointId": "abcde.veo"})] {
        assert_eq!(bench.call("PutEvents", &request).await.unwrap_err().0, "SerializationException");
    }
    let mut inside = request("inside");
    inside["Destination"]["Colour"] = "red".into();
    assert_eq!(bench.call("StartReplay", &inside).await.unwrap_err().0, "SerializationException");
}

/// Guards: a role's policies decide about replays too.
#[tokio::test]
async fn a_function_may_not_replay() {
    let bench = Bench::start(None);
    let (iam, caller) = (Iam::default(), Caller::Role("arn:aws:iam::000000000000:role/r".into()));
    for operation in ["StartReplay", "DescribeReplay", "CancelReplay", "ListReplays"] {
        let body = match operation {
            "StartReplay" => request("mine"),
            "ListReplays" => json!({}),
            _ => json!({"ReplayName": "mine"}),
        };
        let body = body.to_string();
        let call = Call { caller: &caller, iam: &iam, operation, body: body.as_bytes() };
        let error = operations::answer(api::OPERATIONS, &bench.service(), &call).await.unwrap_err();
        assert_eq!(error.code, "AccessDeniedException", "{operation}");
    }
    assert!(bench.replays.all().is_empty());
}

/// Guards: a replay and its name are forgotten after 90 days, on disk too.
#[test]
fn a_replay_is_forgotten_after_ninety_days() {
    let bench = Bench::start(None);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        bench.call("StartReplay", &request("old")).await.unwrap();
        bench.at_rest().await;
        let age = |days: i64| bench.replays.age("old", Utc::now() - chrono::TimeDelta::days(days));
        age(89);
        assert_eq!(
            bench.call("StartReplay", &request("old")).await.unwrap_err().0,
            "ResourceAlreadyExistsException"
        );
        age(91);
        assert_eq!(bench.journal.records::<Value>("replay/").len(), 1);
        bench.replays.forget(Utc::now());
        assert_eq!(bench.journal.records::<Value>("replay/").len(), 0);
        bench.call("StartReplay", &request("old")).await.unwrap();
    });
}

/// A detail whose objects and arrays nest so deep.
fn deep(levels: usize) -> String {
    format!("{{\"a\\\"[\":{}{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1))
}

/// Guards: what matches a detail with patterns calls itself for each level, and the stack lives on.
#[tokio::test]
async fn a_deep_detail_is_malformed() {
    let bench = Bench::start(None);
    let entry = |detail: String| json!({"EventBusName": "bus", "Source": "shop", "DetailType": "sold", "Detail": detail});
    let entries = json!({"Entries": [entry(deep(100)), entry(deep(101)), entry(deep(100_000))]});
    let answer = bench.call("PutEvents", &entries).await.unwrap();
    assert!(answer["Entries"][0]["EventId"].is_string(), "{answer}");
    assert!((1..3).all(|at| answer["Entries"][at]["ErrorCode"] == "MalformedDetail"), "{answer}");
}

/// Guards: a pattern that is tried is read by what calls itself for each level, and the stack lives on.
#[tokio::test]
async fn a_deep_pattern_is_no_pattern() {
    let bench = Bench::start(None);
    let event = json!({"id": "1", "account": "1", "source": "shop", "time": "2026-11-21T09:30:00Z",
        "region": "r", "resources": [], "detail-type": "sold", "detail": {}});
    let tried = |pattern: String| json!({"EventPattern": pattern, "Event": event.to_string()});
    for depth in [200, 1_000_000] {
        let refused = bench.call("TestEventPattern", &tried("[".repeat(depth))).await.unwrap_err();
        assert_eq!(refused.0, "InvalidEventPatternException");
    }
    let sold = tried(json!({"source": ["shop"]}).to_string());
    assert_eq!(bench.call("TestEventPattern", &sold).await.unwrap()["Result"], true);
}

/// Guards: a call that one entry's bus denies delivers none of them, so that it can be repeated.
#[tokio::test]
async fn a_denied_call_delivers_nothing() {
    let bench = Bench::start(None);
    let allowed = json!({"AssumeRolePolicyDocument": {}, "Policies": [{"PolicyName": "p", "PolicyDocument": {
        "Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": "events:PutEvents", "Resource": names::bus_arn("bus")}]}}]});
    let role = "arn:aws:iam::000000000000:role/r".to_owned();
    let roles = std::collections::BTreeMap::from([(role.clone(), serde_json::from_value(allowed).unwrap())]);
    let (iam, caller) = (Iam::new(&roles).unwrap(), Caller::Role(role));
    let entry =
        |bus: &str| json!({"EventBusName": bus, "Source": "shop", "DetailType": "sold", "Detail": "{}"});
    let put = async |entries: Value| {
        let body = json!({ "Entries": entries }).to_string();
        let call = Call { caller: &caller, iam: &iam, operation: "PutEvents", body: body.as_bytes() };
        operations::answer(api::OPERATIONS, &bench.service(), &call).await.map_err(|error| error.code)
    };
    assert_eq!(put(json!([entry("bus"), entry("other")])).await.unwrap_err(), "AccessDeniedException");
    assert_eq!(bench.events("live").await.len(), 0);
    assert!(put(json!([entry("bus")])).await.is_ok());
    let mut timeless = entry("bus");
    timeless["Time"] = 1e300.into();
    assert_eq!(put(json!([timeless])).await.unwrap_err(), "ValidationException");
    assert_eq!(bench.events("live").await.len(), 1);
}

/// Guards: an entry that EventBridge refuses fails with its error, alone.
#[tokio::test]
async fn an_entry_that_is_refused_fails_alone() {
    let bench = Bench::start(None);
    let entry = |field: &str, value: Value| {
        let mut entry =
            json!({"EventBusName": "bus", "Source": "shop", "DetailType": "sold", "Detail": "{}"});
        entry[field] = value;
        entry
    };
    let refused = [
        (entry("Source", Value::Null), "InvalidArgument"),
        (entry("Source", "".into()), "InvalidArgument"),
        (entry("Source", "aws.shop".into()), "NotAuthorizedForSourceException"),
        (entry("DetailType", Value::Null), "InvalidArgument"),
        (entry("DetailType", "".into()), "InvalidArgument"),
        (entry("Detail", Value::Null), "InvalidArgument"),
        (entry("Detail", "[]".into()), "MalformedDetail"),
        (entry("EventBusName", "nowhere".into()), "ResourceNotFoundException"),
    ];
    let mut entries: Vec<Value> = refused.iter().map(|(entry, _)| entry.clone()).collect();
    entries.push(entry("Source", "shop".into()));
    let answer = bench.call("PutEvents", &json!({ "Entries": entries })).await.unwrap();
    assert_eq!(answer["FailedEntryCount"], refused.len());
    for (at, (entry, code)) in refused.iter().enumerate() {
        assert_eq!(answer["Entries"][at]["ErrorCode"], *code, "{entry}");
    }
    assert!(answer["Entries"][refused.len()]["EventId"].is_string());
    assert_eq!(bench.events("live").await.len(), 1);
}
