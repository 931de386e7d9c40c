//! The world as a bench for stories.

use super::World;
use crate::bench::{Account, Bench, Flow, Parcel, Trouble};
use crate::stores::Faulty;
use chassis::task::Task;
use notifications::notification::Notice;
use serde_json::{Value, json};
use tests::client::CENTS;

impl Bench for World {
    type Store = Faulty;

    /// Deliveries; no story needs as many.
    const STEPS: usize = 1000;

    async fn sell(&mut self, kind: &str, stock: u64) -> String {
        self.sold += 1;
        let id = format!("{kind}-{}", self.sold);
        self.put(&id, stock, CENTS).await;
        self.settle().await;
        id
    }

    async fn get(&self, route: &str, id: &str) -> (u16, Value) {
        let answer = self.answer(route, id, &Value::Null).await;
        (answer.status, answer.body)
    }

    async fn post(&mut self, route: &str, id: &str, body: &Value) -> (u16, Value) {
        let answer = self.answer(route, id, body).await;
        self.publish();
        (answer.status, answer.body)
    }

    async fn step(&mut self) {
        self.deliver_next().await;
    }

    async fn settle(&mut self) {
        self.deliver_all().await;
    }

    async fn sweep(&mut self) -> u64 {
        self.remind_ahead(3600).await["nudged"].as_u64().unwrap()
    }

    async fn retry(&mut self, order: &str) -> bool {
        let input = json!({"task": "Retry", "order_id": order});
        let answer = self.compensator().run(serde_json::from_value(input).unwrap()).await.unwrap();
        self.publish();
        answer["recorded"].as_bool().unwrap()
    }

    fn trouble(&mut self, trouble: Trouble) {
        self.transit.troubles.push(trouble);
    }

    async fn heal(&mut self) {
        self.transit.troubles.clear();
        self.publish();
    }

    async fn table(&self, service: &str) -> Faulty {
        self.store(service).clone()
    }

    fn account(&self, order: &str) -> Account {
        self.provider.money(order)
    }

    fn parcel(&self, order: &str) -> Parcel {
        self.carrier.parcel(order)
    }

    fn notices(&self, order: &str) -> Vec<String> {
        let topic = self.topic.0.lock().unwrap();
        let notices = topic.iter().map(|(_, body)| serde_json::from_str::<Notice>(body).unwrap());
        let of_order = notices.filter(|notice| notice.order_id.to_string() == order);
        of_order.map(|notice| json!(notice.outcome)["kind"].as_str().unwrap().to_owned()).collect()
    }

    fn flows(&self, order: &str) -> Vec<Flow> {
        let flows = self.flows.lock().unwrap();
        flows.get(order).into_iter().flatten().map(|(_, flow)| flow.clone()).collect()
    }
}
