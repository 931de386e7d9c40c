//! The real platform as a bench for stories.

use super::Platform;
use crate::bench::{Account, Bench, Flow, Parcel, Trouble, call};
use aws::dynamodb::DynamoStore;
use localstack::aws::lambda::InvokeError;
use localstack::faults::Fault;
use operator::dead_letters::source;
use serde_json::{Value, json};
use std::time::Duration;

/// How long the platform may take to come to rest.
const TIMEOUT: Duration = Duration::from_secs(60);
/// How long a step is.
const STEP: Duration = Duration::from_millis(10);
/// How long an event is late, and for how long events are gathered that arrive in reverse.
const LATE_MILLIS: u64 = 1000;

impl Platform {
    /// Calls a function as an operator does.
    pub async fn invoke(&self, function: &str, input: &Value) -> Value {
        let function = self.stack.functions.get(function).unwrap();
        loop {
            match function.invoke(input.to_string().into()).await {
                // It runs on its schedule just now.
                Err(InvokeError::Throttled(_)) => tokio::time::sleep(STEP).await,
                answer => return serde_json::from_slice(&answer.unwrap()).unwrap(),
            }
        }
    }

    /// How many messages lie in dead-letter queues, by queue.
    pub fn dead_letters(&self) -> Vec<(String, usize)> {
        let queues = self.stack.queues.all();
        let depths = queues.iter().map(|queue| (queue.name.clone(), queue.depth().0));
        depths.filter(|(name, depth)| source(name).is_some() && *depth > 0).collect()
    }
}

fn queue(service: &str) -> String {
    format!("test-quadrille-{service}-events")
}

fn fault(platform: &Platform, trouble: &Trouble) -> Fault {
    let millis = LATE_MILLIS;
    match *trouble {
        Trouble::Repeated(service, times) => {
            Fault::Duplicate { queue: service.map(queue), times: u32::try_from(times).unwrap() }
        }
        Trouble::Reversed(service) => Fault::Reverse { queue: Some(queue(service)), millis },
        Trouble::Late(service) => Fault::Delay { queue: Some(queue(service)), millis },
        Trouble::Lost(service, event) => {
            Fault::Drop { queue: Some(queue(service)), event: Some(event.to_owned()), times: 1 }
        }
        Trouble::Stopped(service) => Fault::Stop { pipe: platform.reader(service) },
    }
}

impl Bench for &Platform {
    type Store = DynamoStore;

    const STEPS: usize = 6000;

    async fn sell(&mut self, kind: &str, stock: u64) -> String {
        self.product_called(kind, stock).await
    }

    async fn get(&self, route: &str, id: &str) -> (u16, Value) {
        call(&self.api, route, id, &Value::Null).await
    }

    async fn post(&mut self, route: &str, id: &str, body: &Value) -> (u16, Value) {
        call(&self.api, route, id, body).await
    }

    async fn step(&mut self) {
        tokio::time::sleep(STEP).await;
    }

    async fn settle(&mut self) {
        self.stack.settle(TIMEOUT).await.unwrap();
    }

    async fn sweep(&mut self) -> u64 {
        let swept = self.invoke("test-quadrille-orders-sweeper", &json!({"ahead_seconds": 3600})).await;
        swept["nudged"].as_u64().unwrap()
    }

    async fn retry(&mut self, order: &str) -> bool {
        let input = json!({"task": "Retry", "order_id": order});
        self.invoke("test-quadrille-payments-compensator", &input).await["recorded"].as_bool().unwrap()
    }

    fn trouble(&mut self, trouble: Trouble) {
        self.stack.faults.set(fault(self, &trouble)).unwrap();
    }

    async fn heal(&mut self) {
        let is_late = |fault: &Fault| matches!(fault, Fault::Delay { .. });
        if self.stack.faults.all().iter().any(is_late) {
            tokio::time::sleep(Duration::from_millis(LATE_MILLIS)).await;
        }
        self.stack.faults.clear();
    }

    async fn table(&self, service: &str) -> DynamoStore {
        Platform::table(self, &format!("test-quadrille-{service}")).await
    }

    fn account(&self, order: &str) -> Account {
        let mut account = Account::default();
        let payments = self.stack.provider.records();
        for payment in payments.values().filter(|payment| payment.order_id.as_deref() == Some(order)) {
            account.calls += payment.calls;
            account.captures += usize::from(payment.captured > 0);
            account.captured += payment.captured;
            account.refunded += payment.refunded;
        }
        account
    }

    fn parcel(&self, order: &str) -> Parcel {
        let shipment = self.stack.carrier.shipments().get(order).cloned().unwrap_or_default();
        Parcel {
            calls: shipment.calls,
            taken: shipment.tracking_number.is_some(),
            withdrawn: shipment.withdrawn,
        }
    }

    fn notices(&self, order: &str) -> Vec<String> {
        let published = self.stack.topics.published("test-quadrille-notifications.fifo").unwrap();
        let kind = |body: &str| {
            let notice: Value = serde_json::from_str(body).unwrap();
            notice["kind"].as_str().unwrap().to_owned()
        };
        let of_order = published.iter().filter(|message| message.group == order);
        of_order.map(|message| kind(&message.message)).collect()
    }

    fn flows(&self, order: &str) -> Vec<Flow> {
        let executions = self.stack.machines.all();
        let of_order = executions.iter().filter(|execution| execution.input["data"]["order_id"] == order);
        of_order.map(Flow::of).collect()
    }
}
