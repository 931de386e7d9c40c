//! What is acknowledged is on disk: no call that promises something is answered while the disk has not synced it.

use crate::aws::dynamodb::{Database, Request};
use crate::aws::eventbridge::bus::{Buses, Connections};
use crate::aws::eventbridge::{self, Replays};
use crate::aws::iam::{Caller, Iam};
use crate::aws::protocol::operations::Operations;
use crate::aws::protocol::{Call, form, operations};
use crate::aws::sns::{self, Topics};
use crate::aws::sqs::{self, Queues, moves::Moves};
use crate::aws::stepfunctions::{self, Setup, StateMachines};
use crate::faults::Faults;
use crate::outside::simulators::Simulators;
use crate::support::http::{self, Guard};
use crate::support::journal::Journal;
use crate::support::meter::Meter;
use crate::support::storage::Storage;
use crate::template::names;
use crate::template::resources::Model;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A call that waits for no disk is answered sooner.
const SOON: Duration = Duration::from_millis(200);

/// A folder with a store whose disk can be stopped, and a state machine; deleted at the end.
struct Bench {
    folder: PathBuf,
    storage: Storage,
    is_stopped: Arc<AtomicBool>,
}

impl Bench {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("acknowledging-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&folder).unwrap();
        let definition = json!({"StartAt": "A", "States": {
            "A": {"Type": "Wait", "Seconds": 3000, "Next": "B"}, "B": {"Type": "Succeed"}}});
        std::fs::write(folder.join("wait.json"), definition.to_string()).unwrap();
        let is_stopped = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&is_stopped);
        let fsync = Box::new(move |_: &_, _: &_| {
            while stopped.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(1));
            }
            Ok(())
        });
        let storage = Storage::open_with(&folder.join("store"), fsync).unwrap();
        Self { folder, storage, is_stopped }
    }

    /// The call is answered when the disk goes on, and not before.
    async fn waits(&self, what: &str, call: impl Future<Output = String>) {
        self.storage.flush().await;
        self.is_stopped.store(true, Ordering::SeqCst);
        let mut call = Box::pin(call);
        let early = tokio::time::timeout(SOON, &mut call).await;
        self.is_stopped.store(false, Ordering::SeqCst);
        assert!(early.is_err(), "{what} was answered before it was synced: {early:?}");
        let answer = call.await;
        assert!(!answer.starts_with("error"), "{what}: {answer}");
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.storage.close();
        std::fs::remove_dir_all(&self.folder).unwrap();
    }
}

fn model() -> Model {
    let queues = json!([{"QueueName": "live"}, {"QueueName": "notes.fifo", "FifoQueue": true}]);
    let subscription = json!({"TopicArn": names::arn("sns", "topic.fifo"), "Protocol": "sqs",
        "Endpoint": names::queue_arn("notes.fifo"), "RawMessageDelivery": true});
    let rule = json!({"Name": "live", "EventBusName": "bus", "EventPattern": {"source": ["shop"]},
        "Targets": [{"Id": "live", "Arn": names::queue_arn("live")}]});
    let table = json!({"TableName": "rows", "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{"AttributeName": "PK", "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": "PK", "KeyType": "HASH"}]});
    let archive = json!({"ArchiveName": "kept", "SourceArn": names::bus_arn("bus")});
    let machine = json!({"StateMachineName": "wait", "StateMachineType": "STANDARD",
        "DefinitionS3Location": "wait.json", "RoleArn": "role"});
    Model {
        queues: serde_json::from_value(queues).unwrap(),
        topics: serde_json::from_value(json!([{"TopicName": "topic.fifo", "FifoTopic": true}])).unwrap(),
        subscriptions: serde_json::from_value(json!([subscription])).unwrap(),
        buses: serde_json::from_value(json!([{"Name": "bus"}])).unwrap(),
        archives: serde_json::from_value(json!([archive])).unwrap(),
        rules: serde_json::from_value(json!([rule])).unwrap(),
        tables: serde_json::from_value(json!([table])).unwrap(),
        machines: serde_json::from_value(json!([machine])).unwrap(),
        ..Model::default()
    }
}

/// The text of an answer.
async fn asked<S: Sync>(operations: &Operations<S>, service: &S, operation: &str, body: &Value) -> String {
    let (iam, body) = (Iam::default(), body.to_string());
    let call = Call { caller: &Caller::Administrator, iam: &iam, operation, body: body.as_bytes() };
    match operations::answer(operations, service, &call).await {
        Ok((_, answer)) => String::from_utf8_lossy(&answer).into_owned(),
        Err(error) => format!("error {}: {}", error.code, error.message),
    }
}

/// What a port answers with 200.
async fn sent(port: u16, method: &str, path: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nauthorization: Bearer sk_test_x\r\n\
         connection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    answer
}

async fn simulators(journal: &Journal) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let simulators = Simulators::new(journal, &Faults::default(), 1);
    let guard = Guard { pages: false, connections: 10 };
    tokio::spawn(http::serve(listener, guard, move |request| simulators.clone().answer(request)));
    port
}

/// Guards: "acknowledged" means synced, for every kind of promise: rows, also those that are only shown, messages, events, replays, what is published, executions,
/// and what the simulators of the world outside have done.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_acknowledged_before_it_is_synced() {
    let (bench, model, meter) = (Bench::new(), model(), Meter::default());
    let (journal, _) = Journal::open(&bench.storage).unwrap();
    let database = Database::start(&bench.storage, &model.tables).unwrap();
    let queues = Queues::start(&model.queues, &journal).unwrap();
    let functions = [].into_iter().collect();
    let setup = Setup {
        functions: &functions,
        infra: &bench.folder,
        time_scale: 1,
        journal: &journal,
        meter: &meter,
    };
    let machines = StateMachines::new(&model.machines, &setup).unwrap();
    let faults = Faults::default();
    let connections = Connections {
        queues: &queues,
        machines: &machines,
        journal: &journal,
        faults: &faults,
        meter: &meter,
    };
    let buses = Buses::start(&model, &connections).unwrap();
    let replays = Replays::open(&buses, &journal);
    let topics = Topics::start((&model.topics, &model.subscriptions), &queues, &journal, &meter).unwrap();
    let simulated = simulators(&journal).await;
    let model = Arc::new(model);

    let row = json!({"TableName": "rows", "Item": {"PK": {"S": "a"}}}).to_string();
    let put = Request::read("PutItem", row.as_bytes()).unwrap();
    let put = async { String::from_utf8_lossy(&database.answer(&put).await.1).into_owned() };
    bench.waits("PutItem", put).await;

    // Another caller's write, which this one would be shown.
    let read = json!({"TableName": "rows", "Key": {"PK": {"S": "b"}}}).to_string();
    let shown = async {
        let _ = database.call("PutItem", row.replace("\"a\"", "\"b\"").as_bytes());
        let read = Request::read("GetItem", read.as_bytes()).unwrap();
        String::from_utf8_lossy(&database.answer(&read).await.1).into_owned()
    };
    bench.waits("GetItem", shown).await;

    let (policies, moves, endpoint) = (Vec::new(), Moves::default(), "http://local".to_owned());
    let sqs = sqs::Service { queues: queues.clone(), policies, moves, endpoint };
    let message = json!({"QueueUrl": names::queue_url("http://local", "live"), "MessageBody": "x"});
    bench.waits("SendMessage", asked(sqs::api::OPERATIONS, &sqs, "SendMessage", &message)).await;

    let events = eventbridge::Service { buses, replays, model: Arc::clone(&model), since: 0 };
    let event =
        json!({"Entries": [{"EventBusName": "bus", "Source": "shop", "DetailType": "sold", "Detail": "{}"}]});
    bench.waits("PutEvents", asked(eventbridge::api::OPERATIONS, &events, "PutEvents", &event)).await;

    let replay = json!({"ReplayName": "all", "EventSourceArn": names::arn("events", "archive/kept"),
        "EventStartTime": 0, "EventEndTime": 60, "Destination": {"Arn": names::bus_arn("bus")}});
    bench.waits("StartReplay", asked(eventbridge::api::OPERATIONS, &events, "StartReplay", &replay)).await;

    let sns = sns::Service { topics, model };
    let mut publish = form_urlencoded::Serializer::new("Action=Publish".to_owned());
    publish.append_pair("TopicArn", &names::arn("sns", "topic.fifo")).append_pair("Message", "x");
    publish.append_pair("MessageGroupId", "g").append_pair("MessageDeduplicationId", "1");
    let publish = form::read(publish.finish().as_bytes()).unwrap();
    let iam = Iam::default();
    let call = Call { caller: &Caller::Administrator, iam: &iam, operation: "Publish", body: &publish.body };
    let published = async {
        let answer = operations::answer(sns::api::OPERATIONS, &sns, &call).await;
        answer.map_or_else(|error| format!("error {}", error.message), |_| String::new())
    };
    bench.waits("Publish", published).await;

    let states = stepfunctions::Service { machines, since: 0 };
    let start = json!({"stateMachineArn": names::state_machine_arn("wait"), "input": "{}"});
    bench
        .waits("StartExecution", asked(stepfunctions::api::OPERATIONS, &states, "StartExecution", &start))
        .await;

    let intent =
        "amount=500&currency=usd&payment_method_types[]=card&payment_method=pm_card_visa&confirm=true";
    bench.waits("a charge", sent(simulated, "POST", "/v1/payment_intents", intent)).await;
    bench.waits("a shipment", sent(simulated, "PUT", "/carrier/shipments/a", "{}")).await;
}
