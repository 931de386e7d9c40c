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
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A call that waits for no disk is answered sooner.
const SOON: Duration = Duration::from_millis(200);

/// A folder with a store whose disk can be stopped, and a state machine.
struct Bench {
    folder: TempDir,
    storage: Storage,
    is_stopped: Arc<AtomicBool>,
}

impl Bench {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let definition = json!({"StartAt": "A", "States": {
            "A": {"Type": "Wait", "Seconds": 3000, "Next": "B"}, "B": {"Type": "Succeed"}}});
        std::fs::write(folder.path().join("wait.json"), definition.to_string()).unwrap();
        let is_stopped = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&is_stopped);
        let fsync = Box::new(move |_: &_, _: &_| {
            while stopped.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(1));
            }
            Ok(())
        });
        let storage = Storage::open_with(&folder.path().join("store"), fsync).unwrap();
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
    let guard = Guard { pages: false, connections: 10, bodies: http::BODIES };
    tokio::spawn(http::serve(listener, guard, move |request| simulators.clone().answer(request)));
    port
}

/// Everything that promises something, on a disk that can be stopped.
struct Stage {
    database: Database,
    sqs: sqs::Service,
    events: eventbridge::Service,
    sns: sns::Service,
    states: stepfunctions::Service,
    /// The port of the simulators.
    simulated: u16,
    bench: Bench,
}

impl Stage {
    async fn new() -> Self {
        let (bench, model, meter) = (Bench::new(), model(), Meter::default());
        let (journal, _) = Journal::open(&bench.storage).unwrap();
        let database = Database::start(&bench.storage, &model.tables).unwrap();
        let queues = Queues::start(&model.queues, &journal).unwrap();
        let (functions, faults) = ([].into_iter().collect(), Faults::default());
        let (infra, journal, meter) = (bench.folder.path(), &journal, &meter);
        let setup = Setup { functions: &functions, infra, time_scale: 1, journal, meter };
        let machines = StateMachines::new(&model.machines, &setup).unwrap();
        let (queues, machines) = (&queues, &machines);
        let connections = Connections { queues, machines, journal, faults: &faults, meter };
        let buses = Buses::start(&model, &connections).unwrap();
        let replays = Replays::open(&buses, journal);
        let topics = Topics::start((&model.topics, &model.subscriptions), queues, journal, meter).unwrap();
        let simulated = simulators(journal).await;
        let model = Arc::new(model);
        let (policies, moves, endpoint) = (Vec::new(), Moves::default(), "http://local".to_owned());
        Self {
            database,
            sqs: sqs::Service { queues: queues.clone(), policies, moves, endpoint },
            events: eventbridge::Service { buses, replays, model: Arc::clone(&model), since: 0 },
            sns: sns::Service { topics, model },
            states: stepfunctions::Service { machines: machines.clone(), since: 0 },
            simulated,
            bench,
        }
    }

    async fn row(&self, operation: &str, body: &Value) -> String {
        let body = body.to_string();
        let request = Request::read(operation, body.as_bytes()).unwrap();
        let (status, answer) = self.database.answer(&request).await;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        if status == 200 { answer } else { format!("error {answer}") }
    }

    async fn queue(&self, operation: &str, members: &Value) -> String {
        let mut body = json!({"QueueUrl": names::queue_url("http://local", "live")});
        body.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        asked(sqs::api::OPERATIONS, &self.sqs, operation, &body).await
    }

    /// The receipt of a message that is received.
    async fn receipt(&self) -> String {
        let received: Value = serde_json::from_str(&self.queue("ReceiveMessage", &json!({})).await).unwrap();
        received["Messages"][0]["ReceiptHandle"].as_str().unwrap().to_owned()
    }

    async fn event(&self, operation: &str, body: &Value) -> String {
        asked(eventbridge::api::OPERATIONS, &self.events, operation, body).await
    }

    async fn execution(&self, operation: &str, body: &Value) -> String {
        asked(stepfunctions::api::OPERATIONS, &self.states, operation, body).await
    }

    /// A call of SNS: a form.
    async fn topic(&self, operation: &str, members: &[(&str, &str)]) -> String {
        let mut form = form_urlencoded::Serializer::new(format!("Action={operation}"));
        form.append_pair("TopicArn", &names::arn("sns", "topic.fifo")).extend_pairs(members);
        let (form, iam) = (form::read(form.finish().as_bytes()).unwrap(), Iam::default());
        let call = Call { caller: &Caller::Administrator, iam: &iam, operation, body: &form.body };
        let answer = operations::answer(sns::api::OPERATIONS, &self.sns, &call).await;
        answer.map_or_else(|error| format!("error {}", error.message), |_| String::new())
    }

    async fn waits(&self, what: &str, call: impl Future<Output = String>) {
        self.bench.waits(what, call).await;
    }
}

fn row(id: &str) -> Value {
    json!({"TableName": "rows", "Item": {"PK": {"S": id}}})
}

fn key(id: &str) -> Value {
    json!({"TableName": "rows", "Key": {"PK": {"S": id}}})
}

/// Guards: "acknowledged" means synced, for rows, also those that are only shown.
#[tokio::test(flavor = "multi_thread")]
async fn no_row_is_acknowledged_before_it_is_synced() {
    let stage = Stage::new().await;
    let mut updated = key("a");
    updated["UpdateExpression"] = "SET n = :n".into();
    updated["ExpressionAttributeValues"] = json!({":n": {"N": "1"}});
    let batch = json!({"RequestItems": {"rows": [{"PutRequest": {"Item": {"PK": {"S": "c"}}}}]}});
    let transaction = json!({"TransactItems": [{"Put": row("d")}]});
    for (operation, body) in [
        ("PutItem", &row("a")),
        ("UpdateItem", &updated),
        ("DeleteItem", &key("a")),
        ("BatchWriteItem", &batch),
        ("TransactWriteItems", &transaction),
    ] {
        stage.waits(operation, stage.row(operation, body)).await;
    }
    // Another caller's write, which this one would be shown.
    let shown = async {
        let _ = stage.database.call("PutItem", row("b").to_string().as_bytes());
        stage.row("GetItem", &key("b")).await
    };
    stage.waits("GetItem", shown).await;
}

/// Guards: "acknowledged" means synced, for messages: those that are sent, and those that are deleted.
#[tokio::test(flavor = "multi_thread")]
async fn no_message_is_acknowledged_before_it_is_synced() {
    let stage = Stage::new().await;
    let entries = json!({"Entries": [{"Id": "1", "MessageBody": "y"}, {"Id": "2", "MessageBody": "z"}]});
    stage.waits("SendMessage", stage.queue("SendMessage", &json!({"MessageBody": "x"}))).await;
    stage.waits("SendMessageBatch", stage.queue("SendMessageBatch", &entries)).await;
    let receipt = json!({"ReceiptHandle": stage.receipt().await});
    stage.waits("DeleteMessage", stage.queue("DeleteMessage", &receipt)).await;
    let entries = json!({"Entries": [{"Id": "1", "ReceiptHandle": stage.receipt().await}]});
    stage.waits("DeleteMessageBatch", stage.queue("DeleteMessageBatch", &entries)).await;
    stage.waits("PurgeQueue", stage.queue("PurgeQueue", &json!({}))).await;
    let one = [("Message", "x"), ("MessageGroupId", "g"), ("MessageDeduplicationId", "1")];
    stage.waits("Publish", stage.topic("Publish", &one)).await;
    let names = ["Id", "Message", "MessageGroupId", "MessageDeduplicationId"];
    let names = names.map(|name| format!("PublishBatchRequestEntries.member.1.{name}"));
    let batch: Vec<_> = names.iter().map(String::as_str).zip(["1", "y", "g", "2"]).collect();
    stage.waits("PublishBatch", stage.topic("PublishBatch", &batch)).await;
}

/// Guards: "acknowledged" means synced, for events, replays, executions, and what the simulators of the world outside have done.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_else_is_acknowledged_before_it_is_synced() {
    let stage = Stage::new().await;
    let event =
        json!({"Entries": [{"EventBusName": "bus", "Source": "shop", "DetailType": "sold", "Detail": "{}"}]});
    stage.waits("PutEvents", stage.event("PutEvents", &event)).await;
    let replay = json!({"ReplayName": "all", "EventSourceArn": names::arn("events", "archive/kept"),
        "EventStartTime": 0, "EventEndTime": 60, "Destination": {"Arn": names::bus_arn("bus")}});
    stage.waits("StartReplay", stage.event("StartReplay", &replay)).await;

    let start = json!({"stateMachineArn": names::state_machine_arn("wait"), "name": "one", "input": "{}"});
    stage.waits("StartExecution", stage.execution("StartExecution", &start)).await;
    let stop = json!({"executionArn": names::arn("states", "execution:wait:one")});
    stage.waits("StopExecution", stage.execution("StopExecution", &stop)).await;

    let intent =
        "amount=500&currency=usd&payment_method_types[]=card&payment_method=pm_card_visa&confirm=true";
    stage.waits("a charge", sent(stage.simulated, "POST", "/v1/payment_intents", intent)).await;
    stage.waits("a shipment", sent(stage.simulated, "PUT", "/carrier/shipments/a", "{}")).await;
}

/// Guards: a caller that goes away while the disk syncs, as a function does that is killed. What it wrote stays written, so the readers of
/// the stream are woken.
#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_goes_away_leaves_nobody_asleep() {
    let stage = Stage::new().await;
    let written = stage.database.written("rows").unwrap();
    stage.bench.is_stopped.store(true, Ordering::SeqCst);
    assert!(tokio::time::timeout(SOON, stage.row("PutItem", &row("a"))).await.is_err());
    let woken = tokio::time::timeout(SOON, written.notified()).await;
    stage.bench.is_stopped.store(false, Ordering::SeqCst);
    assert!(woken.is_ok(), "the record waits for the next write");
}

/// Guards: a stack that ends. What comes after its storage is closed is lost, and nobody is answered that it is safe.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_acknowledged_after_the_end() {
    let stage = Stage::new().await;
    stage.bench.storage.close();
    assert!(tokio::time::timeout(SOON, stage.row("PutItem", &row("a"))).await.is_err());
}
