//! The HTTP API as clients use it: idempotency, waiting, cancelling, lists, and how an order was before.

use crate::bench::Bench;
use crate::platform::{Platform, copy, in_trouble, on_platform, options, root, run, scratch};
use crate::stores::{Crash, Faulty};
use crate::world::World;
use chassis::http::access::Auth;
use chassis::http::cursor::Cursors;
use chassis::http::{Api, Request, Response};
use chassis::ports::Ports;
use chrono::TimeDelta;
use futures_util::future::join_all;
use hyper::Method;
use localstack::faults::Fault;
use localstack::stack::Options;
use orders::http::OrdersApi;
use serde_json::{Value, json};
use std::fs;
use std::time::{Duration, Instant};
use tests::client::{Answer, Client, order_of};

const TIMEOUT: Duration = Duration::from_secs(20);

async fn post_under(api: &Client, key: &str, body: &Value) -> Answer {
    let headers = [("content-type", "application/json"), ("idempotency-key", key)];
    api.send_with(Method::POST, "/orders", &headers, body.to_string()).await.unwrap()
}

async fn post_waiting(api: &Client, body: &Value) -> Answer {
    let headers = [("content-type", "application/json"), ("prefer", "wait=10")];
    api.send_with(Method::POST, "/orders", &headers, body.to_string()).await.unwrap()
}

fn fresh(what: &str) -> String {
    format!("{what}-{}", uuid::Uuid::new_v4().simple())
}

/// Guards: the key's row in the order's own transaction. Fifty requests at once are one order, one hold, one
/// charge and one answer.
#[test]
fn fifty_parallel_requests_with_one_key_are_one_order() {
    on_platform(async |platform| {
        let product = platform.product(100).await;
        fifty_equal_answers(platform, &product).await;
    });
}

/// Guards: what a conflict is answered with. Each transaction lasts for 20 ms, so that the fifty meet in the row of the key;
/// the API's first sixty are cancelled out of hand; prices are read beside transactions, and at first in parts.
#[test]
fn fifty_parallel_requests_that_conflict_are_one_order() {
    in_trouble("edge-conflicts", async |platform| {
        let product = platform.product(100).await;
        let table = Some("test-quadrille-orders".to_owned());
        let function = Some("test-quadrille-orders-api".to_owned());
        let conflict = Fault::Conflict { function, table: table.clone(), times: 60 };
        let unprocessed = Fault::Unprocessed { table: table.clone(), times: 10 };
        for fault in [conflict, unprocessed, Fault::Hold { table, millis: 20 }] {
            platform.stack.faults.set(fault).unwrap();
        }
        fifty_equal_answers(platform, &product).await;
    });
}

async fn fifty_equal_answers(platform: &Platform, product: &str) {
    let (key, body) = (fresh("key"), order_of(product, 3));
    let answers = join_all((0..50).map(|_| post_under(&platform.api, &key, &body))).await;
    for answer in &answers {
        assert_eq!((answer.status, &answer.body), (202, &answers[0].body));
        for name in ["location", "x-correlation-id", "retry-after"] {
            assert_eq!(answer.headers[name], answers[0].headers[name]);
        }
    }
    let id = answers[0].body["order_id"].as_str().unwrap();
    assert_eq!(platform.api.ended(id, TIMEOUT).await.unwrap()["status"], "FULFILLED");
    let stock = platform.api.product(product).await.unwrap();
    assert_eq!(stock["available"], 97);
    let book = platform.provider.get("/book").await.unwrap().body;
    let ours = book.as_object().unwrap().values().filter(|intent| intent["order_id"] == id).count();
    assert_eq!(ours, 1, "{book}");
}

#[test]
fn a_key_is_for_one_request_of_one_customer() {
    on_platform(keys_are_the_customers_own);
}

pub async fn keys_are_the_customers_own(platform: &Platform) {
    let product = platform.product(100).await;
    let key = fresh("key");
    let first = post_under(&platform.api, &key, &platform.order_of(&product, 1)).await;
    let reordered = format!(
        r#"{{"items": [{{"quantity": 1, "product_id": "{product}"}}], "payment_method": "pm_card_visa",
        "customer_id": "{}"}}"#,
        platform.customer("ada")
    );
    let again = post_under(&platform.api, &key, &serde_json::from_str(&reordered).unwrap()).await;
    assert_eq!(first.body, again.body);
    let other = post_under(&platform.api, &key, &platform.order_of(&product, 2)).await;
    assert_eq!((other.status, &other.body["error"]), (422, &json!("IDEMPOTENCY_KEY_REUSED")));
    let mut of_bob = platform.order_of(&product, 1);
    of_bob["customer_id"] = platform.customer("bob").into();
    let bobs = post_under(&platform.api, &key, &of_bob).await;
    assert_eq!(bobs.status, 202);
    assert_ne!(bobs.body["order_id"], first.body["order_id"]);
    // The other name of the header is the same key.
    let headers = [("content-type", "application/json"), ("x-idempotency-key", key.as_str())];
    let body = platform.order_of(&product, 1).to_string();
    let same = platform.api.send_with(Method::POST, "/orders", &headers, body.clone()).await.unwrap();
    assert_eq!(same.body, first.body);
    let both = [headers[0], headers[1], ("idempotency-key", "another")];
    let both = platform.api.send_with(Method::POST, "/orders", &both, body).await.unwrap();
    assert_eq!((both.status, &both.body["errors"][0]["rule"]), (400, &json!("conflict")));
}

/// Guards: a failure is never stored as the answer.
#[test]
fn a_refused_request_leaves_its_key_free() {
    on_platform(async |platform| {
        let product = platform.product(10).await;
        let key = fresh("key");
        let mut wrong = order_of(&product, 1);
        wrong["items"][0]["unit_price_cents"] = 1.into();
        assert_eq!(post_under(&platform.api, &key, &wrong).await.status, 422);
        assert_eq!(post_under(&platform.api, &key, &order_of(&product, 1)).await.status, 202);
    });
}

#[test]
fn a_client_that_waits_gets_the_outcome() {
    on_platform(async |platform| {
        let product = platform.product(2).await;
        let confirmed = post_waiting(&platform.api, &order_of(&product, 1)).await;
        assert_eq!(confirmed.status, 201);
        assert!(matches!(confirmed.body["status"].as_str(), Some("CONFIRMED" | "FULFILLED")));
        assert_eq!(confirmed.headers["preference-applied"], "wait=10");
        let mut declined = order_of(&product, 1);
        declined["payment_method"] = "pm_card_visa_chargeDeclined".into();
        let declined = post_waiting(&platform.api, &declined).await;
        assert_eq!((declined.status, &declined.body["error"]), (402, &json!("PAYMENT_DECLINED")));
        assert_eq!(declined.headers["content-type"], "application/problem+json");
        let short = post_waiting(&platform.api, &order_of(&product, 2)).await;
        assert_eq!((short.status, &short.body["error"]), (409, &json!("INSUFFICIENT_STOCK")));
        let numbers = (&short.body["requested"], &short.body["available"], &short.body["product_id"]);
        assert_eq!(numbers, (&json!(2), &json!(1), &json!(product)));
        let path = short.headers["location"].to_str().unwrap().to_owned();
        let got = platform.api.send_with(Method::GET, &path, &[("prefer", "wait=1")], "").await.unwrap();
        assert_eq!((got.status, &got.body["error"]), (409, &json!("INSUFFICIENT_STOCK")));
        assert_eq!(platform.api.get(&path).await.unwrap().status, 200);
    });
}

/// An order whose charge the provider never answers: it stays pending until the call times out. Use a platform of its own:
/// the circuit breaker counts the failure.
async fn pending(platform: &Platform) -> String {
    let product = platform.product(5).await;
    let mut order = order_of(&product, 1);
    order["payment_method"] = "pm_sim_timeout".into();
    platform.api.place(&order).await.unwrap()
}

#[test]
fn a_wait_that_is_too_short_is_answered_with_202() {
    run(async {
        let platform = &Platform::start(&options("short-wait")).await.unwrap();
        let id = pending(platform).await;
        let path = format!("/orders/{id}");
        let answer = platform.api.send_with(Method::GET, &path, &[("prefer", "wait=1")], "").await.unwrap();
        assert_eq!((answer.status, &answer.body["status"]), (202, &json!("PENDING")));
    });
}

#[test]
fn a_pending_order_is_cancelled_and_a_confirmed_one_is_not() {
    run(async {
        let platform = &Platform::start(&options("cancels")).await.unwrap();
        let id = pending(platform).await;
        let cancel = format!("/orders/{id}/cancel");
        for _ in 0..2 {
            let answer = platform.api.send(Method::POST, &cancel, "").await.unwrap();
            assert_eq!((answer.status, &answer.body["status"]), (202, &json!("CANCELLING")));
        }
        let order = platform.api.order(&id).await.unwrap();
        assert_eq!(order["failure_reason"], "CUSTOMER_REQUEST");
        let product = platform.product(5).await;
        let confirmed = post_waiting(&platform.api, &order_of(&product, 1)).await.body;
        let cancel = format!("/orders/{}/cancel", confirmed["order_id"].as_str().unwrap());
        let late = platform.api.send(Method::POST, &cancel, "").await.unwrap();
        assert_eq!((late.status, &late.body["error"]), (409, &json!("NOT_CANCELLABLE")));
        let short = post_waiting(&platform.api, &order_of(&product, 100)).await.body;
        let cancel = format!("/orders/{}/cancel", short["order_id"].as_str().unwrap());
        let ended = platform.api.send(Method::POST, &cancel, "").await.unwrap();
        assert_eq!((ended.status, &ended.body["status"]), (202, &json!("CANCELLED")));
    });
}

#[test]
fn lists_are_newest_first_and_paged_without_gaps_or_repeats() {
    on_platform(lists_are_paged);
}

pub async fn lists_are_paged(platform: &Platform) {
    let product = platform.product(100).await;
    let customer = fresh("c");
    let api = platform.bearing(&customer, "orders:read orders:write");
    let mut placed = Vec::new();
    for _ in 0..5 {
        let mut order = order_of(&product, 1);
        order["customer_id"] = platform.customer(&customer).into();
        placed.push(api.place(&order).await.unwrap());
    }
    placed.reverse();
    let (mut seen, mut path) = (Vec::new(), "/orders?limit=2".to_owned());
    loop {
        let page = api.get(&path).await.unwrap();
        assert_eq!(page.status, 200, "{}", page.body);
        let orders = page.body["orders"].as_array().unwrap().clone();
        assert!(orders.len() <= 2);
        seen.extend(orders.iter().map(|order| order["order_id"].as_str().unwrap().to_owned()));
        let Some(next) = page.body["next_cursor"].as_str() else { break };
        path = format!("/orders?limit=2&cursor={next}");
    }
    assert_eq!(seen, placed);
}

/// Guards: cursors are sealed and bound to their list; limits hold; a parameter that does not exist is named.
#[test]
fn wrong_queries_are_refused_by_the_parameters_name() {
    on_platform(async |platform| {
        let product = platform.product(10).await;
        let order = post_waiting(&platform.api, &order_of(&product, 1)).await.body;
        let id = order["order_id"].as_str().unwrap();
        let page = platform.api.get(&format!("/orders/{id}/events?limit=1")).await.unwrap().body;
        let cursor = page["next_cursor"].as_str().unwrap();
        for (path, field) in [
            ("/orders".to_owned(), "customer_id"),
            ("/orders?customer_id=a%2Fb".to_owned(), "customer_id"),
            ("/orders?customer_id=ada&limit=0".to_owned(), "limit"),
            ("/orders?customer_id=ada&limit=101".to_owned(), "limit"),
            ("/orders?customer_id=ada&limit=1.5".to_owned(), "limit"),
            ("/orders?customer_id=ada&limit=1&limit=2".to_owned(), "limit"),
            ("/orders?customer_id=ada&colour=red".to_owned(), "colour"),
            (format!("/orders?customer_id=ada&cursor={cursor}"), "cursor"),
            (format!("/orders/{id}/events?cursor={}", cursor.to_lowercase()), "cursor"),
            (format!("/orders/{id}?at=yesterday"), "at"),
            (format!("/orders/{id}?version=0"), "version"),
        ] {
            let answer = platform.api.get(&path).await.unwrap();
            let named = answer.body["errors"][0]["field"].as_str();
            assert_eq!((answer.status, named), (400, Some(field)), "{path}: {}", answer.body);
        }
        let next = platform.api.get(&format!("/orders/{id}/events?cursor={cursor}")).await.unwrap();
        assert_eq!((next.status, &next.body["events"][0]["seq"]), (200, &json!(2)));
    });
}

/// Guards: I5. Every earlier version is the fold of the events up to there, and the last is the order as it is.
#[test]
fn an_order_is_shown_as_it_was() {
    on_platform(async |platform| {
        let product = platform.product(10).await;
        let id = platform.api.place(&order_of(&product, 1)).await.unwrap();
        let order = platform.api.ended(&id, TIMEOUT).await.unwrap();
        let path = format!("/orders/{id}");
        let events = platform.api.get(&format!("{path}/events")).await.unwrap().body["events"].clone();
        let events = events.as_array().unwrap();
        let types: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
        let story = ["order.created", "inventory.reserved", "payment.charged", "order.confirmed"];
        assert_eq!(types, [&story[..], &["fulfillment.shipped", "order.fulfilled"]].concat());
        // What led to what: the request to the order, the order to the hold, the hold to the charge.
        let link = |n: usize, name: &str| events[n][name].as_str().unwrap();
        assert_eq!(link(0, "causation_id"), link(0, "correlation_id"));
        assert_eq!(link(1, "causation_id"), link(0, "event_id"));
        assert_eq!(link(3, "causation_id"), link(2, "event_id"));
        let shown = async |query: String| platform.api.get(&format!("{path}?{query}")).await.unwrap();
        let first = shown("version=1".into()).await.body;
        assert_eq!((&first["status"], &first["version"]), (&json!("PENDING"), &json!(1)));
        assert_eq!(shown("version=6".into()).await.body, order);
        assert_eq!(shown("version=7".into()).await.status, 404);
        let time = |n: usize| events[n]["time"].as_str().unwrap();
        assert_eq!(shown(format!("at={}", time(5))).await.body, order);
        assert_eq!(shown("at=2020-01-01T00:00:00Z".into()).await.status, 404);
        assert_eq!(shown(format!("at={}&version=1", time(3))).await.body, first);
        assert_ne!(shown(format!("at={}", time(1))).await.body["status"], "CONFIRMED");
    });
}

#[test]
fn the_saga_shows_its_steps_and_every_delivery() {
    on_platform(async |platform| {
        let product = platform.product(10).await;
        let mut order = order_of(&product, 1);
        order["payment_method"] = "pm_card_visa_chargeDeclined".into();
        let answer = post_waiting(&platform.api, &order).await.body;
        let path = format!("/orders/{}/saga", answer["order_id"].as_str().unwrap());
        let saga = platform.api.get(&path).await.unwrap().body;
        assert_eq!((&saga["status"], &saga["current_step"]), (&json!("COMPENSATED"), &Value::Null));
        for (step, status) in [
            ("created", "COMPLETED"),
            ("inventory_reservation", "COMPLETED"),
            ("payment_processing", "FAILED"),
            ("confirmation", "SKIPPED"),
            ("fulfillment", "SKIPPED"),
            ("inventory_compensation", "COMPLETED"),
            ("payment_compensation", "NOT_REQUIRED"),
        ] {
            assert_eq!(saga["steps"][step]["status"], status, "{step}: {saga}");
        }
        assert_eq!(saga["compensation_required"], true);
        assert_eq!(saga["steps"]["payment_processing"]["error"], "generic_decline");
        let timeline = saga["timeline"].as_array().unwrap();
        let shown: Vec<(&str, &str)> = timeline
            .iter()
            .map(|entry| (entry["type"].as_str().unwrap(), entry["verdict"].as_str().unwrap()))
            .collect();
        let expected =
            ["inventory.reserved", "payment.declined", "inventory.released"].map(|t| (t, "applied"));
        assert_eq!(shown, expected);
    });
}

#[test]
fn a_path_names_the_methods_that_it_has() {
    on_platform(async |platform| {
        let answer = platform.api.send(Method::DELETE, "/orders/x", "").await.unwrap();
        assert_eq!((answer.status, answer.headers["allow"].to_str().unwrap()), (405, "GET"));
        assert_eq!(answer.headers["content-type"], "application/problem+json");
        let form = [("content-type", "text/plain")];
        let answer = platform.api.send_with(Method::POST, "/orders", &form, "{}").await.unwrap();
        assert_eq!(answer.status, 415);
    });
}

/// Guards: after a commit without an answer, orders looks whether its order is there; what it cannot find out it says, and
/// never that nothing was done.
#[test]
fn a_commit_without_an_answer_is_looked_for() {
    run(async {
        let mut world = World::new();
        world.list("beans", 10).await;
        let order = order_of("beans", 1);
        world.crash("orders", 0, Crash::After);
        let (status, taken) = world.post("POST /orders", "", &order).await;
        assert_eq!((status, &taken["status"]), (202, &json!("PENDING")), "{taken}");
        let id = taken["order_id"].as_str().unwrap();
        assert_eq!(world.ended(id).await["status"], "FULFILLED");
        world.crash("orders", 0, Crash::Before);
        let (status, lost) = world.post("POST /orders", "", &order).await;
        assert_eq!((status, &lost["error"]), (503, &json!("OUTCOME_UNKNOWN")));
        assert!(lost["detail"].as_str().unwrap().starts_with("the order may have been taken; look for it"));
    });
}

/// The answer to an order from a function that is stopped in two seconds, over a table with a whim.
async fn stopped_soon(whim: Crash) -> Response {
    let mut world = World::new();
    world.list("beans", 10).await;
    let ports = Ports::system(Faulty::new(world.table("orders").await, whim));
    let deadline = Some(ports.clock.now() + TimeDelta::seconds(2));
    let (cursors, stage) = (Cursors::new("test").unwrap(), "test".to_owned());
    let api = OrdersApi { ports, stage, auth: Auth::Off, cursors, max_wait: Duration::from_secs(10) };
    let headers = [("prefer".to_owned(), "wait=10".to_owned())].into();
    let body = order_of("beans", 1).to_string().into_bytes();
    let request = Request { route: "POST /orders".into(), headers, body, deadline, ..Request::default() };
    let answer = tokio::time::timeout(Duration::from_secs(2), api.answer(request)).await;
    answer.expect("the function was stopped first").unwrap_or_else(Response::from)
}

/// Guards: a table that is silent does not keep orders from answering before its function is stopped.
#[test]
fn a_silent_table_is_given_up_before_the_function_is() {
    run(async {
        let unknown = stopped_soon(Crash::SilentCommit).await;
        assert_eq!((unknown.status, &unknown.body["error"]), (503, &json!("OUTCOME_UNKNOWN")));
        // The order is there, and no look at it is answered.
        let taken = stopped_soon(Crash::SilentLoads).await;
        assert_eq!((taken.status, &taken.body["status"]), (202, &json!("PENDING")));
    });
}

/// As [`a_commit_without_an_answer_is_looked_for`], with the real table: every answer to the transaction is lost, then no transaction is made.
#[test]
fn an_order_without_an_answer_is_taken_or_may_be_repeated() {
    run(async {
        let platform = Platform::start(&options("ambiguous")).await.unwrap();
        let (product, function) = (platform.product(10).await, "test-quadrille-orders-api".to_owned());
        // One for each attempt of the SDK.
        platform.stack.faults.set(Fault::LoseAnswer { function: function.clone(), times: 3 }).unwrap();
        let taken = platform.api.post(&order_of(&product, 1)).await.unwrap();
        assert_eq!(
            (taken.status, platform.stack.faults.all()[0].clone()),
            (202, Fault::LoseAnswer { function: function.clone(), times: 0 })
        );
        let id = taken.body["order_id"].as_str().unwrap();
        assert_eq!(platform.api.ended(id, TIMEOUT).await.unwrap()["status"], "FULFILLED");
        platform.stack.faults.clear();
        platform.stack.faults.set(Fault::Throttle { function: Some(function), times: 1000 }).unwrap();
        let (key, order) = (fresh("key"), order_of(&product, 1));
        let unknown = post_under(&platform.api, &key, &order).await;
        assert_eq!((unknown.status, &unknown.body["error"]), (503, &json!("OUTCOME_UNKNOWN")));
        let detail = unknown.body["detail"].as_str().unwrap();
        assert_eq!(detail, "the order may have been taken; repeat it under the same Idempotency-Key");
        platform.stack.faults.clear();
        assert_eq!(post_under(&platform.api, &key, &order).await.status, 202);
        let list = platform.api.get("/orders?customer_id=ada").await.unwrap().body;
        assert_eq!(list["orders"].as_array().unwrap().len(), 2, "{list}");
    });
}

/// Guards: the wait is bounded by the invocation's own deadline. A function of three seconds answers a client that would
/// wait for ten.
#[test]
fn a_wait_ends_before_the_function_does() {
    run(async {
        let infra = scratch("short-function-infra");
        copy(&root().join("infra"), &infra);
        let template = fs::read_to_string(infra.join("orders.yaml")).unwrap();
        assert_eq!(template.matches("Timeout: 15\n").count(), 1);
        fs::write(infra.join("orders.yaml"), template.replace("Timeout: 15\n", "Timeout: 3\n")).unwrap();
        let platform = Platform::start(&Options { infra, ..options("short-function") }).await.unwrap();
        let product = platform.product(10).await;
        platform.stack.faults.set(Fault::Stop { pipe: platform.reader("orders") }).unwrap();
        let started = Instant::now();
        let placed = post_waiting(&platform.api, &order_of(&product, 1)).await;
        assert_eq!((placed.status, &placed.body["status"]), (202, &json!("PENDING")), "{}", placed.body);
        let applied = placed.headers["preference-applied"].to_str().unwrap();
        assert!(["wait=1", "wait=2"].contains(&applied), "{applied}");
        assert!((1..3).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
        let path = placed.headers["location"].to_str().unwrap().to_owned();
        let shown = platform.api.send_with(Method::GET, &path, &[("prefer", "wait=10")], "").await.unwrap();
        assert_eq!(shown.status, 202, "{}", shown.body);
    });
}
