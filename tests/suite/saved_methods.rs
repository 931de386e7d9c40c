//! Saved payment methods: one customer at the provider, nothing attached to any other, and orders that are charged to what was
//! saved.

use crate::outside::{Line, MemoryProvider, Mishap};
use crate::platform::{Platform, on_platform, options, process, run, scratch};
use crate::seeded::Counter;
use crate::stores::{Crash, Faulty};
use crate::stories::paid_with;
use chassis::aggregate::load;
use chassis::http::access::Auth;
use chassis::http::{Api, Request, Response};
use chassis::store::{Condition, Item, Key, MemoryStore, Store, Write};
use chassis::{Loaded, Ports};
use chrono::TimeDelta;
use futures_util::future::join_all;
use hyper::Method;
use localstack::faults::Fault;
use payments::api::CustomersApi;
use payments::customer::{self, Customer};
use payments::provider::PaymentProvider;
use payments::provider::circuit_breaker::CircuitBreaker;
use payments::provider::stripe::Stripe;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tests::client::{Answer, Client, order_of};

const TIMEOUT: Duration = Duration::from_secs(30);
const CUSTOMER: &str = "orders:read orders:write";

/// Payments' API over a store and the simulator in memory.
struct Desk<S> {
    api: CustomersApi<MemoryProvider, S>,
    line: Line,
    store: S,
    clock: Arc<Counter>,
}

impl<S: Store> Desk<S> {
    fn new(store: S) -> Self {
        let clock = Arc::new(Counter::default());
        Self::with(store, Line::new(Arc::clone(&clock)), clock)
    }

    fn with(store: S, line: Line, clock: Arc<Counter>) -> Self {
        let ports =
            Ports { store: store.clone(), clock: Arc::clone(&clock) as _, ids: Arc::clone(&clock) as _ };
        let circuit = CircuitBreaker::new(Stripe(line.clone()), ports.clone(), TimeDelta::minutes(1));
        Self { api: CustomersApi { ports, circuit, auth: Auth::Off }, line, store, clock }
    }

    async fn put(&self, customer: &str, method: &str) -> Response {
        let request = Request {
            route: "PUT /customers/{id}/payment-method".into(),
            path: [("id".to_owned(), customer.to_owned())].into(),
            body: json!({ "payment_method": method }).to_string().into_bytes(),
            ..Request::default()
        };
        self.api.answer(request).await.unwrap_or_else(Response::from)
    }

    fn go_wrong(&self, mishap: Option<Mishap>) {
        *self.line.mishaps.lock().unwrap() = mishap.into_iter().collect();
    }

    /// The provider's customers, and those of them that have a method.
    fn customers(&self) -> (usize, BTreeSet<String>) {
        let account = self.line.account();
        (
            account.customers.len(),
            account.methods.into_values().filter_map(|method| method.customer).collect(),
        )
    }

    async fn known(&self, customer: &str) -> Customer {
        let id = customer::id(&customer.parse().unwrap());
        let loaded: Loaded<Customer> = load(&self.store, &id).await.unwrap();
        loaded.state
    }

    /// What is saved belongs to the customer that is committed, and no other has a method.
    async fn check(&self, customer: &str) {
        let known = self.known(customer).await;
        let (method, owner) = (known.payment_method().unwrap(), known.provider_id().unwrap());
        assert_eq!(self.line.account().methods[method].customer.as_deref(), Some(owner));
        assert_eq!(self.customers().1, BTreeSet::from([owner.to_owned()]));
    }
}

fn retry_after(answer: &Response) -> u64 {
    let header = answer.headers.iter().find(|(name, _)| *name == "retry-after");
    header.unwrap_or_else(|| panic!("{answer:?}")).1.parse().unwrap()
}

/// Guards: the committed id and the idempotency key. Requests one after the other and at the same time make one customer.
#[test]
fn any_number_of_requests_make_one_customer() {
    run(async {
        let desk = Desk::new(MemoryStore::default());
        desk.go_wrong(Some(Mishap::Slow("/customers")));
        let at_once = join_all((0..8).map(|_| desk.put("ada", "pm_card_visa"))).await;
        assert!(at_once.iter().all(|answer| answer.status == 201), "{at_once:?}");
        desk.go_wrong(None);
        // A day later the provider has forgotten the key.
        desk.clock.advance(2 * 24 * 3600);
        let again = desk.put("ada", "pm_card_visa").await;
        let saved = again.body["payment_method"].as_str().unwrap().to_owned();
        assert_eq!((again.status, &again.body["customer_id"]), (200, &json!("ada")));
        // The same method once more: it is attached already.
        let same = desk.put("ada", &saved).await;
        assert_eq!((same.status, &same.body), (200, &again.body));
        assert_eq!(desk.customers().0, 1);
        desk.check("ada").await;
    });
}

/// Guards: a call without an answer is repeated under its key; its customer is found again.
#[test]
fn a_lost_answer_makes_no_second_customer() {
    run(async {
        let desk = Desk::new(MemoryStore::default());
        desk.go_wrong(Some(Mishap::NoAnswer("/customers")));
        let lost = desk.put("ada", "pm_card_visa").await;
        assert_eq!((lost.status, &lost.body["error"]), (503, &json!("PAYMENT_PROVIDER_UNAVAILABLE")));
        desk.go_wrong(Some(Mishap::NoAnswer("/attach")));
        assert_eq!(desk.put("ada", "pm_card_visa").await.status, 503);
        assert_eq!(desk.known("ada").await.payment_method(), None);
        desk.go_wrong(None);
        assert_eq!(desk.put("ada", "pm_card_visa").await.status, 201);
        assert_eq!(desk.customers().0, 1);
        desk.check("ada").await;
    });
}

/// Guards: a failure that the provider repeats under a key for a day does not keep a customer from saving for a day.
#[test]
fn a_saved_failure_is_not_repeated_for_a_day() {
    run(async {
        let desk = Desk::new(MemoryStore::default());
        desk.go_wrong(Some(Mishap::FailsAfterwards("/customers")));
        assert_eq!(desk.put("ada", "pm_card_visa").await.status, 503);
        desk.go_wrong(None);
        assert_eq!(desk.put("ada", "pm_card_visa").await.status, 201);
        desk.check("ada").await;
        desk.go_wrong(Some(Mishap::FailsAfterwards("/attach")));
        assert_eq!(desk.put("ada", "pm_card_visa").await.status, 503);
        desk.go_wrong(None);
        assert_eq!(desk.put("ada", "pm_card_visa").await.status, 200);
        desk.check("ada").await;
    });
}

/// The row of a customer that has this one at the provider.
fn row_of(customer: &str, provider_id: &str) -> Item {
    let state = Customer::Registered { id: provider_id.to_owned(), key: 0, payment_method: None };
    let row = Item::new(Key::state(format!("customer#{customer}"))).with("version", 1).with("seq", 0);
    row.with("data", json!(state).to_string())
}

/// Guards: a method is attached to the customer that is committed. Another request has created another customer and was
/// faster to commit; the one of this request stays empty.
#[test]
fn of_two_customers_the_committed_one_gets_the_method() {
    run(async {
        let clock = Arc::new(Counter::default());
        let line = Line::new(Arc::clone(&clock));
        let other = Stripe(line.clone()).create_customer(&"ada".parse().unwrap(), 7).await.unwrap().unwrap();
        let faster = Write::Put { item: row_of("ada", &other), when: Condition::Absent };
        let store = MemoryStore::default();
        let desk =
            Desk::with(Faulty::new(store.clone(), Crash::WriteFirst(faster)), line, Arc::clone(&clock));
        assert_eq!(desk.put("ada", "pm_card_visa").await.status, 201);
        assert_eq!(desk.known("ada").await.provider_id(), Some(other.as_str()));
        assert_eq!(desk.customers().0, 2);
        desk.check("ada").await;
    });
}

/// Guards: the customer is committed before anything is attached to it. A function that dies in that commit leaves a customer
/// without a method.
#[test]
fn nothing_is_attached_before_the_customer_is_committed() {
    run(async {
        let desk = Desk::new(Faulty::new(MemoryStore::default(), Crash::SilentCommit));
        let put = desk.put("ada", "pm_card_visa");
        assert!(tokio::time::timeout(Duration::from_millis(200), put).await.is_err());
        assert_eq!(desk.customers(), (1, BTreeSet::new()));
        assert_eq!(desk.put("ada", "pm_card_visa").await.status, 201);
        desk.check("ada").await;
    });
}

/// Guards: a customer that the provider has deleted is not the end; the next request makes another one.
#[test]
fn a_customer_that_the_provider_has_deleted_is_made_anew() {
    run(async {
        let deleted = row_of("ada", "cus_deleted");
        let desk = Desk::new(MemoryStore::of([deleted]));
        assert_eq!(desk.put("ada", "pm_card_visa").await.status, 503);
        assert_eq!(desk.put("ada", "pm_card_visa").await.status, 201);
        desk.check("ada").await;
    });
}

/// Guards: the circuit breaker in front of these calls too. One customer's failures count once a minute; those of five open
/// the circuit, and then no call is made for any customer.
#[test]
fn an_open_circuit_is_503_without_a_call() {
    run(async {
        let desk = Desk::new(MemoryStore::default());
        desk.go_wrong(Some(Mishap::NoAnswer("/customers")));
        for _ in 0..10 {
            let down = desk.put("ada", "pm_card_visa").await;
            assert_eq!((down.status, retry_after(&down)), (503, 1));
        }
        for customer in ["bob", "cyd", "dan", "eve"] {
            assert_eq!(desk.put(customer, "pm_card_visa").await.status, 503);
        }
        desk.go_wrong(None);
        let open = desk.put("fay", "pm_card_visa").await;
        assert_eq!((open.status, &open.body["error"]), (503, &json!("PAYMENT_PROVIDER_UNAVAILABLE")));
        assert!(retry_after(&open) > 50, "{open:?}");
        assert_eq!(desk.customers().0, 5);
        desk.clock.advance(61);
        assert_eq!(desk.put("fay", "pm_card_visa").await.status, 201);
    });
}

/// Guards: no card number, and nothing that could be another path at the provider, gets past the reader.
#[test]
fn only_an_id_of_a_payment_method_is_taken() {
    run(async {
        let desk = Desk::new(MemoryStore::default());
        let long = format!("pm_{}", "x".repeat(253));
        for (bad, rule) in [
            ("4242424242424242", "token"),
            ("pm_4242424242424242", "token"),
            ("pm_4242_4242_4242_4242", "token"),
            ("card_1", "format"),
            ("PM_1", "format"),
            ("pm_", "format"),
            ("pm_1/../../customers", "format"),
            ("pm_1?x", "format"),
            ("pm_ä", "token"),
            ("", "length"),
            (&long, "length"),
        ] {
            let answer = desk.put("ada", bad).await;
            let errors = answer.body["errors"].as_array().unwrap();
            let named: Vec<_> = errors.iter().map(|error| (&error["field"], &error["rule"])).collect();
            assert_eq!(
                (answer.status, named),
                (400, vec![(&json!("payment_method"), &json!(rule))]),
                "{bad}"
            );
        }
        assert_eq!((desk.customers().0, desk.store.rows().len()), (0, 0));
    });
}

fn path(customer: &str) -> String {
    format!("/customers/{customer}/payment-method")
}

async fn put(client: &Client, customer: &str, method: &str) -> Answer {
    let body = json!({ "payment_method": method }).to_string();
    client.send(Method::PUT, &path(customer), body).await.unwrap()
}

/// Saves a method; gives the provider's id of it.
async fn save(client: &Client, customer: &str, method: &str) -> String {
    let answer = put(client, customer, method).await;
    assert!([200, 201].contains(&answer.status), "{}", answer.body);
    answer.body["payment_method"].as_str().unwrap().to_owned()
}

/// A customer that no other test knows.
fn someone(name: &str) -> String {
    format!("{name}-{}", uuid::Uuid::new_v4().simple())
}

/// An order of one unit for a customer, without a payment method.
fn plain(customer: &str, product: &str) -> Value {
    json!({"customer_id": customer, "items": [{"product_id": product, "quantity": 1}]})
}

/// The provider's id of a customer, as payments has it.
async fn provider_id(platform: &Platform, customer: &str) -> String {
    let id = customer::id(&customer.parse().unwrap());
    let known: Loaded<Customer> = load(&platform.table("test-quadrille-payments").await, &id).await.unwrap();
    known.state.provider_id().unwrap().to_owned()
}

/// An object of the provider.
async fn object(provider: &Client, path: &str) -> Value {
    provider.bearing("sk_test_anyone").get(&format!("/v1/{path}")).await.unwrap().body
}

/// What an order was charged to: the provider's customer and its method.
async fn charged_to(platform: &Platform, order: &str) -> (Value, Value) {
    let records = platform.stack.provider.records();
    let (intent, _) = records.iter().find(|(_, record)| record.order_id.as_deref() == Some(order)).unwrap();
    let intent = object(&platform.provider, &format!("payment_intents/{intent}")).await;
    (intent["customer"].clone(), intent["payment_method"].clone())
}

/// Guards: an order without a method is charged to the saved one, with the provider's customer; a saved method is used any
/// number of times; an order may name it, and may name another one.
#[test]
fn orders_are_charged_to_what_was_saved() {
    on_platform(async |platform| {
        let (product, ada) = (platform.product(10).await, someone("ada"));
        let client = platform.bearing(&ada, CUSTOMER);
        assert_eq!(client.get(&path(&ada)).await.unwrap().status, 404);
        let first = put(&client, &ada, "pm_card_mastercard").await;
        assert_eq!((first.status, &first.body["customer_id"]), (201, &json!(ada)));
        let saved = save(&client, &ada, "pm_card_visa").await;
        let shown = client.get(&path(&ada)).await.unwrap();
        assert_eq!((shown.status, &shown.body["payment_method"]), (200, &json!(saved)));
        let customer = provider_id(platform, &ada).await;
        for order in [plain(&ada, &product), plain(&ada, &product), paid_with(&saved, plain(&ada, &product))]
        {
            let id = client.place(&order).await.unwrap();
            assert_eq!(client.ended(&id, TIMEOUT).await.unwrap()["status"], "FULFILLED");
            assert_eq!(charged_to(platform, &id).await, (json!(customer), json!(saved)));
        }
        let earlier = first.body["payment_method"].clone();
        let other = paid_with(earlier.as_str().unwrap(), plain(&ada, &product));
        let id = client.place(&other).await.unwrap();
        assert_eq!(client.ended(&id, TIMEOUT).await.unwrap()["status"], "FULFILLED");
        assert_eq!(charged_to(platform, &id).await, (json!(customer), earlier));
        // A method without a customer is fine too.
        let id = client.place(&paid_with("pm_card_visa", plain(&ada, &product))).await.unwrap();
        assert_eq!(client.ended(&id, TIMEOUT).await.unwrap()["status"], "FULFILLED");
        assert_eq!(charged_to(platform, &id).await.0, json!(customer));
    });
}

#[track_caller]
fn refused(answer: &Answer, status: u16, error: &str, rule: &str) {
    let named = &answer.body["errors"][0];
    assert_eq!((answer.status, &answer.body["error"]), (status, &json!(error)), "{}", answer.body);
    assert_eq!((&named["field"], &named["rule"]), (&json!("payment_method"), &json!(rule)));
}

/// Guards: no customer saves or is charged with another's method.
#[test]
fn a_foreign_method_is_refused() {
    on_platform(async |platform| {
        let (product, ada, bob) = (platform.product(10).await, someone("ada"), someone("bob"));
        let (of_ada, of_bob) = (platform.bearing(&ada, CUSTOMER), platform.bearing(&bob, CUSTOMER));
        let method = save(&of_ada, &ada, "pm_card_visa").await;
        let answers = [
            (put(&of_bob, &bob, &method).await, "unusable"),
            (put(&of_bob, &bob, "pm_missing").await, "unknown"),
        ];
        for (answer, rule) in answers {
            refused(&answer, 422, "PAYMENT_METHOD_REFUSED", rule);
        }
        assert_eq!(of_bob.get(&path(&bob)).await.unwrap().status, 404);
        // Bob has a customer at the provider, cyd has none.
        let cyd = someone("cyd");
        for (customer, client) in [(&bob, &of_bob), (&cyd, &platform.bearing(&cyd, CUSTOMER))] {
            let id = client.place(&paid_with(&method, plain(customer, &product))).await.unwrap();
            let ended = client.ended(&id, TIMEOUT).await.unwrap();
            assert_eq!(ended["failure_reason"], "PAYMENT_DECLINED", "{ended}");
        }
    });
}

/// Guards: the provider verifies the card when it attaches it. A card that it declines is not saved, and what was saved stays.
#[test]
fn a_declined_card_is_not_saved() {
    on_platform(async |platform| {
        let ada = someone("ada");
        let client = platform.bearing(&ada, CUSTOMER);
        for (method, code) in [
            ("pm_card_visa_chargeDeclined", "generic_decline"),
            ("pm_card_visa_chargeDeclinedInsufficientFunds", "insufficient_funds"),
        ] {
            let answer = put(&client, &ada, method).await;
            refused(&answer, 402, "PAYMENT_METHOD_DECLINED", "declined");
            assert_eq!(answer.body["decline_code"], code);
        }
        assert_eq!(client.get(&path(&ada)).await.unwrap().status, 404);
        let saved = save(&client, &ada, "pm_card_visa").await;
        put(&client, &ada, "pm_card_visa_chargeDeclined").await;
        assert_eq!(client.get(&path(&ada)).await.unwrap().body["payment_method"], json!(saved));
    });
}

/// Guards: a customer reaches its own methods only; people who run the shop reach all.
#[test]
fn another_caller_is_refused() {
    on_platform(async |platform| {
        let (ada, bob) = (someone("ada"), platform.bearing("bob", CUSTOMER));
        for answer in [put(&bob, &ada, "pm_card_visa").await, bob.get(&path(&ada)).await.unwrap()] {
            assert_eq!((answer.status, &answer.body["error"]), (403, &json!("FORBIDDEN")));
        }
        let operator = platform.bearing("ops", "orders:read orders:write orders:operate");
        assert_eq!(operator.get(&path(&ada)).await.unwrap().status, 404);
        assert_eq!(put(&operator, &ada, "pm_card_visa").await.status, 201);
        assert_eq!(operator.get(&path(&ada)).await.unwrap().status, 200);
        assert_eq!(bob.get(&path(&ada)).await.unwrap().status, 403);
    });
}

/// Guards: the committed customer, on the real tables. Of many requests at the same time the last to commit wins, and every
/// method belongs to the customer that is kept.
#[test]
fn many_requests_at_once_leave_one_customer_and_a_method_of_its_own() {
    on_platform(async |platform| {
        let ada = someone("ada");
        let client = platform.bearing(&ada, CUSTOMER);
        let answers = join_all((0..12).map(|_| put(&client, &ada, "pm_card_visa"))).await;
        let methods: Vec<&Value> = answers.iter().map(|answer| &answer.body["payment_method"]).collect();
        assert!(answers.iter().all(|answer| [200, 201].contains(&answer.status)), "{methods:?}");
        let saved = client.get(&path(&ada)).await.unwrap().body["payment_method"].take();
        assert!(methods.contains(&&saved), "{saved} of {methods:?}");
        let customer = provider_id(platform, &ada).await;
        for method in methods {
            let method =
                object(&platform.provider, &format!("payment_methods/{}", method.as_str().unwrap())).await;
            assert_eq!(method["customer"], json!(customer));
        }
    });
}

/// Guards: an outage is 503 with a time to come again, counts against the provider, and nothing of it stays.
#[test]
fn while_the_provider_is_down_nothing_is_saved() {
    run(async {
        let platform = Platform::start(&options("saving")).await.unwrap();
        let down = |answer: &Answer| {
            assert_eq!((answer.status, &answer.body["error"]), (503, &json!("PAYMENT_PROVIDER_UNAVAILABLE")));
            answer.headers["retry-after"].to_str().unwrap().parse::<u32>().unwrap()
        };
        platform.stack.faults.set(Fault::Provider { times: 1 }).unwrap();
        assert_eq!(down(&put(&platform.api, "ada", "pm_card_visa").await), 1);
        assert_eq!(platform.api.get(&path("ada")).await.unwrap().status, 404);
        assert_eq!(put(&platform.api, "ada", "pm_card_visa").await.status, 201);
        platform.stack.faults.set(Fault::Provider { times: 5 }).unwrap();
        for customer in ["bob", "cyd", "dan", "eve", "fay"] {
            down(&put(&platform.api, customer, "pm_card_visa").await);
        }
        assert!(down(&put(&platform.api, "gus", "pm_card_visa").await) > 30);
        // Orders learns of it, too: it is one circuit.
        let product = order_of("nothing", 1);
        let deadline = tokio::time::Instant::now() + TIMEOUT;
        while platform.api.post(&product).await.unwrap().status != 503 {
            assert!(tokio::time::Instant::now() < deadline, "orders never learned of the open circuit");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(platform.api.get(&path("ada")).await.unwrap().status, 200);
    });
}

/// Guards: what was acknowledged is on disk, at payments and at the provider.
#[test]
fn a_saved_method_survives_the_platform() {
    run(async {
        let data = scratch("saved");
        let platform = process(&data);
        platform.api.sell("kept", 10, TIMEOUT).await.unwrap();
        let saved = save(&platform.api, "ada", "pm_card_visa").await;
        platform.kill().unwrap();
        let platform = process(&data);
        let shown = platform.api.get(&path("ada")).await.unwrap();
        assert_eq!(shown.body["payment_method"], json!(saved));
        let id = platform.api.place(&plain("ada", "kept")).await.unwrap();
        assert_eq!(platform.api.ended(&id, TIMEOUT).await.unwrap()["status"], "FULFILLED");
        let book = platform.provider.get("/book").await.unwrap().body;
        let intents = book.as_object().unwrap().iter();
        let (intent, _) = intents.into_iter().find(|(_, record)| record["order_id"] == json!(id)).unwrap();
        let intent = object(&platform.provider, &format!("payment_intents/{intent}")).await;
        assert_eq!(intent["payment_method"], json!(saved));
    });
}
