//! A bench: somewhere the whole system runs, so that a story can be told once and tried everywhere. There are three:
//! the [`World`](crate::world::World) in memory, the real [`Platform`](crate::platform::Platform), and a stage
//! [`Elsewhere`](crate::elsewhere::Elsewhere).

use chassis::aggregate::read_state;
use chassis::inbox::{Delivered, deliveries};
use chassis::store::{EVENTS, Item, Key, Store, every_row};
use hyper::Method;
use localstack::aws::stepfunctions::{self, Execution};
use orders::saga::Status;
use registry::sales::books::Books;
use rewards::points::Points;
use serde_json::Value;
use tests::client::Client;

/// What goes wrong from now on, until [`Bench::heal`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Every event arrives so many times more, at this service or at all.
    Repeated(Option<&'static str>, usize),
    /// The last event on its way to this service arrives first.
    Reversed(&'static str),
    /// Events arrive at this service late: when everything else that they lead to has happened.
    Late(&'static str),
    /// The next event of this type never arrives at this service.
    Lost(&'static str, &'static str),
    /// What this service publishes stays in its outbox.
    Stopped(&'static str),
}

/// An order in the payment provider's book.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// How often the provider was called to charge.
    pub calls: u32,
    /// How often it took money.
    pub captures: usize,
    /// Minor units.
    pub captured: u64,
    /// Minor units.
    pub refunded: u64,
}

/// An order in the carrier's book.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parcel {
    /// How often the carrier was called to ship.
    pub calls: u32,
    pub taken: bool,
    /// The carrier will never take it.
    pub withdrawn: bool,
}

/// One execution of the state machine that undoes a charge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// The errors after which it tried a task again.
    pub retried: Vec<String>,
    pub succeeded: bool,
}

impl Flow {
    /// What a story sees of an execution. That a refund is watched for days is no retry, and no failure.
    pub fn of(execution: &Execution) -> Self {
        let retried = execution.history.iter().filter(|event| event.what == "retried");
        let errors = retried.filter_map(|event| event.error.clone());
        Self {
            retried: errors.filter(|error| error != "StillStands").collect(),
            succeeded: execution.status != stepfunctions::Status::Failed,
        }
    }
}

/// Calls a route, `GET /orders/{id}`; JSON null stands for no body.
pub async fn call(api: &Client, route: &str, id: &str, body: &Value) -> (u16, Value) {
    let (method, path) = route.split_once(' ').unwrap();
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    let answer = api.send(method, &path.replace("{id}", id), body).await.unwrap();
    (answer.status, answer.body)
}

/// What a story may do and see. A bench implements the first part; the rest follows from it.
pub trait Bench {
    /// A service's table.
    type Store: Store;

    /// How many steps [`Bench::until`] waits at most.
    const STEPS: usize;

    /// Lists a product at [`CENTS`](tests::client::CENTS) a unit, under a new name that begins with `kind`, and waits
    /// until orders can sell it.
    async fn sell(&mut self, kind: &str, stock: u64) -> String;

    /// Calls a route that only reads; gives the status and the body.
    async fn get(&self, route: &str, id: &str) -> (u16, Value);

    /// Calls a route; gives the status and the body.
    async fn post(&mut self, route: &str, id: &str, body: &Value) -> (u16, Value);

    /// Lets a little happen: one delivery, or a moment.
    async fn step(&mut self);

    /// Returns once nothing is on its way any more.
    ///
    /// # Panics
    /// When that takes too long.
    async fn settle(&mut self);

    /// Has the sweeper remind every step that will be overdue within the hour; gives how many it reminded.
    async fn sweep(&mut self) -> u64;

    /// The operator's verb for a refund that was refused for good; whether payments took it.
    async fn retry(&mut self, order: &str) -> bool;

    fn trouble(&mut self, trouble: Trouble);

    /// Ends all trouble. What was late arrives before anything that is published from now on.
    async fn heal(&mut self);

    async fn table(&self, service: &str) -> Self::Store;

    fn account(&self, order: &str) -> Account;

    fn parcel(&self, order: &str) -> Parcel;

    /// What the customer was notified of, by kind, oldest first.
    fn notices(&self, order: &str) -> Vec<String>;

    /// The executions that undid the order's charge.
    fn flows(&self, order: &str) -> Vec<Flow>;

    /// Places an order; gives its id.
    async fn place(&mut self, order: &Value) -> String {
        let (status, body) = self.post("POST /orders", "", order).await;
        assert_eq!(status, 202, "{order}: {body}");
        body["order_id"].as_str().unwrap().to_owned()
    }

    /// Cancels an order in its customer's name; whether orders took that.
    async fn cancel(&mut self, order: &str) -> bool {
        let (status, body) = self.post("POST /orders/{id}/cancel", order, &Value::Null).await;
        assert!([202, 409].contains(&status), "cancelling {order}: {status} {body}");
        status == 202
    }

    /// The order as its customer sees it.
    async fn order(&self, order: &str) -> Value {
        let (status, body) = self.get("GET /orders/{id}", order).await;
        assert_eq!(status, 200, "order {order}: {body}");
        body
    }

    async fn status(&self, order: &str) -> Status {
        serde_json::from_value(self.order(order).await["status"].take()).unwrap()
    }

    /// The types of the order's events, as its customer sees them.
    async fn events(&self, order: &str) -> Vec<String> {
        let order = self.order(order).await;
        let events = order["events"].as_array().unwrap().iter();
        events.map(|event| event["type"].as_str().unwrap().to_owned()).collect()
    }

    /// The order's steps and deliveries, as an operator sees them.
    async fn saga(&self, order: &str) -> Value {
        let (status, body) = self.get("GET /orders/{id}/saga", order).await;
        assert_eq!(status, 200, "saga {order}: {body}");
        body
    }

    /// Units available, held and shipped.
    async fn stock(&self, product: &str) -> (u64, u64, u64) {
        let (status, body) = self.get("GET /products/{id}", product).await;
        assert_eq!(status, 200, "product {product}: {body}");
        let count = |name: &str| body[name].as_u64().unwrap();
        (count("available"), count("held"), count("shipped"))
    }

    /// What is kept of an order's money.
    fn kept(&self, order: &str) -> u64 {
        let Account { captured, refunded, .. } = self.account(order);
        captured.checked_sub(refunded).unwrap()
    }

    /// The rows of an order in a service's table, in the order of their sort keys.
    async fn rows(&self, service: &str, order: &str, prefix: &str) -> Vec<Item> {
        every_row(&self.table(service).await, &format!("order#{order}"), prefix).await.unwrap()
    }

    /// The types of the event rows that a service has of an order, oldest first.
    async fn history(&self, service: &str, order: &str) -> Vec<String> {
        let rows = self.rows(service, order, EVENTS).await;
        rows.iter().map(|row| row.text("type").unwrap().to_owned()).collect()
    }

    /// Each event about an order that a service has received, with the verdict on it.
    async fn verdicts(&self, service: &str, order: &str) -> Vec<(String, String)> {
        let delivered = self.deliveries(service, order).await.into_iter();
        delivered.map(|one| (one.kind, one.verdict.as_str().to_owned())).collect()
    }

    /// What a service remembers of the events about an order that were delivered to it.
    async fn deliveries(&self, service: &str, order: &str) -> Vec<Delivered> {
        deliveries(&self.rows(service, order, "").await).unwrap().into_values().collect()
    }

    /// How often events about an order were delivered to a service that knew them.
    async fn duplicates(&self, service: &str, order: &str) -> u64 {
        self.deliveries(service, order).await.iter().map(|one| one.duplicates).sum()
    }

    /// The points that an order has brought and still brings.
    async fn points(&self, order: &str) -> u64 {
        let state = Key::state(format!("order#{order}"));
        let row = self.table("rewards").await.load(&state).await.unwrap();
        match row.map(|row| read_state::<Points>(&row).unwrap().state) {
            Some(Points::Granted { points, .. }) => points,
            _ => 0,
        }
    }

    /// What an order has brought and still brings, as sales has booked it.
    async fn revenue(&self, order: &str) -> u64 {
        let state = Key::state(format!("order#{order}"));
        let row = self.table("sales").await.load(&state).await.unwrap();
        let books = row.map(|row| read_state::<Books>(&row).unwrap().state).unwrap_or_default();
        let live = books.0.into_values().next_back().unwrap_or_default();
        live.confirmed.filter(|_| live.cancelled.is_none()).map_or(0, |sale| sale.cents())
    }

    /// What the customer was notified of, in the order of the alphabet: for stories that leave the order open.
    fn sorted_notices(&self, order: &str) -> Vec<String> {
        let mut notices = self.notices(order);
        notices.sort();
        notices
    }

    /// Waits until something holds.
    ///
    /// # Panics
    /// When it does not hold after [`Bench::STEPS`] steps.
    async fn until(&mut self, what: &str, holds: impl AsyncFn(&Self) -> bool) {
        for _ in 0..Self::STEPS {
            if holds(self).await {
                return;
            }
            self.step().await;
        }
        panic!("not in {} steps: {what}", Self::STEPS);
    }

    /// The order once nothing more happens to it by itself.
    async fn ended(&mut self, order: &str) -> Value {
        use Status::{Cancelling, Confirmed, Pending};
        let has_ended =
            async |bench: &Self| ![Pending, Confirmed, Cancelling].contains(&bench.status(order).await);
        self.until(&format!("the end of order {order}"), has_ended).await;
        self.order(order).await
    }
}
