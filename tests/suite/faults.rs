//! The fault dial on the real platform: events repeated, turned round, lost and late; functions killed; a pipe that stands
//! still; letters that nobody could deal with. Every order still ends, and nothing happens twice.

use crate::platform::{Platform, options, run};
use hyper::Method;
use localstack::faults::{Fault, When};
use registry::SERVICES;
use serde_json::{Value, json};
use std::time::Duration;
use tests::client::{CENTS, order_of};

const PATIENCE: Duration = Duration::from_secs(60);

/// A platform of its own, where this goes wrong.
async fn platform(name: &str, faults: Vec<Fault>) -> Platform {
    Platform::start(&localstack::stack::Options { faults, ..options(name) }).await.unwrap()
}

/// How an order is to end, and what its customer is told.
type Expected = (Value, &'static str, &'static [&'static str]);

/// One order of every kind.
async fn market(platform: &Platform) -> (Vec<(String, u64)>, Vec<Expected>) {
    let beans = platform.product(100).await;
    let anvil = platform.product_called("unshippable", 10).await;
    let mut declined = order_of(&beans, 3);
    declined["payment_method"] = "pm_card_visa_chargeDeclined".into();
    let orders: Vec<Expected> = vec![
        (order_of(&beans, 2), "FULFILLED", &["ORDER_CONFIRMED", "ORDER_FULFILLED"]),
        (declined, "COMPENSATED", &["ORDER_CANCELLED"]),
        (order_of(&beans, 500), "CANCELLED", &["ORDER_CANCELLED"]),
        (order_of(&anvil, 4), "COMPENSATED", &["ORDER_CANCELLED", "ORDER_CONFIRMED", "PAYMENT_REFUNDED"]),
    ];
    (vec![(beans, 100), (anvil, 10)], orders)
}

/// Places one order of every kind, and checks how each ends: status, stock, money, messages.
async fn every_order_ends_as_ever(platform: &Platform) {
    let (stock, orders) = market(platform).await;
    let mut ids = Vec::new();
    for (order, ..) in &orders {
        ids.push(platform.api.place(order).await.unwrap());
    }
    for (id, (_, status, notices)) in ids.iter().zip(&orders) {
        assert_eq!(platform.api.ended(id, PATIENCE).await.unwrap()["status"], **status);
        platform.stack.settle(PATIENCE).await.unwrap();
        let mut told = platform.notices(id);
        told.sort();
        assert_eq!(told, *notices, "each notification once");
    }
    platform.check(&stock, &ids).await;
}

/// Guards: the inbox and monotonic decisions together (each alone: `races.rs`). Every event of a run arrives twice.
#[test]
fn every_event_twice() {
    run(async {
        every_order_ends_as_ever(&platform("twice", vec![Fault::Duplicate { queue: None, times: 1 }]).await)
            .await;
    });
}

/// Guards: commutative decisions and tombstones. At one service after the other, what comes within a while is delivered
/// the last one first.
#[test]
fn every_event_after_its_successors() {
    run(async {
        let platform = platform("reverse", Vec::new()).await;
        for service in SERVICES {
            let queue = Some(format!("test-{service}-events"));
            platform.stack.faults.set(Fault::Reverse { queue, millis: 600 }).unwrap();
            every_order_ends_as_ever(&platform).await;
            platform.stack.faults.clear();
        }
        // It did happen: payments had permissions before it knew the bills.
        let early = json!({"TableName": "test-payments", "FilterExpression": "verdict = :early",
            "ExpressionAttributeValues": {":early": {"S": "early"}}, "Select": "COUNT"});
        let (status, answer) = platform.stack.dynamodb.call("Scan", early.to_string().as_bytes());
        assert_eq!(status, 200);
        let count = serde_json::from_slice::<Value>(&answer).unwrap()["Count"].as_u64();
        assert!(count >= Some(1), "{count:?}");
    });
}

/// Guards: bounded retries under the same transaction token. Throttled transactions and lost answers change nothing.
#[test]
fn throttled_and_unanswered_transactions() {
    run(async {
        let functions = SERVICES.iter().map(|service| format!("test-{service}-reactor"));
        let lost = functions.map(|function| Fault::LoseAnswer { function, times: 3 });
        let throttle = Fault::Throttle { function: Some("test-payments-reactor".into()), times: 2 };
        every_order_ends_as_ever(&platform("unanswered", lost.chain([throttle]).collect()).await).await;
    });
}

/// Guards: the committed intent, and the provider's idempotency key. Payments dies before and after each of its commits
/// of an order; it is charged once, and ends.
#[test]
fn payments_dies_at_each_of_its_commits() {
    run(async {
        let platform = platform("dying", Vec::new()).await;
        let product = platform.product(100).await;
        let mut ids = Vec::new();
        for nth in 1..=3 {
            for when in [When::Before, When::After] {
                let function = "test-payments-reactor".to_owned();
                platform.stack.faults.set(Fault::Kill { function, when, nth }).unwrap();
                let id = platform.api.place(&order_of(&product, 1)).await.unwrap();
                let order = platform.api.ended(&id, PATIENCE).await.unwrap();
                assert_eq!(order["status"], "FULFILLED", "killed {when:?} commit {nth}");
                assert_eq!(
                    platform.stack.faults.all(),
                    [Fault::Kill { function: "test-payments-reactor".into(), when, nth: 0 }]
                );
                platform.stack.faults.clear();
                ids.push(id);
            }
        }
        let stock = [(product, 100)];
        platform.check(&stock, &ids).await;
    });
}

/// Guards: an unknown outcome is asked for again under the same key. The charge is made, its answer lost.
#[test]
fn a_lost_answer_is_one_capture() {
    run(async {
        let platform = platform("lost-answer", Vec::new()).await;
        let product = platform.product(10).await;
        let mut order = order_of(&product, 1);
        order["payment_method"] = "pm_sim_lost_answer".into();
        let id = platform.api.place(&order).await.unwrap();
        assert_eq!(platform.api.ended(&id, PATIENCE).await.unwrap()["status"], "FULFILLED");
        let record = platform.stack.provider.records()[&format!("{id}:charge")].clone();
        assert!(record.calls >= 2 && record.captured == CENTS, "{record:?}");
        platform.check(&[], &[id]).await;
    });
}

/// Guards: a decline is remembered. Delivered again, it is not tried with a provider that would now take the money.
#[test]
fn a_decline_stays_one() {
    run(async {
        let queue = Some("test-payments-events".into());
        let platform = platform("declined", vec![Fault::Duplicate { queue, times: 3 }]).await;
        let product = platform.product(10).await;
        let mut order = order_of(&product, 1);
        order["payment_method"] = "pm_sim_declines_once".into();
        let id = platform.api.place(&order).await.unwrap();
        let order = platform.api.ended(&id, PATIENCE).await.unwrap();
        assert_eq!(
            (&order["status"], &order["failure_reason"]),
            (&json!("COMPENSATED"), &json!("PAYMENT_DECLINED"))
        );
        platform.stack.settle(PATIENCE).await.unwrap();
        assert_eq!(platform.stack.provider.records()[&format!("{id}:charge")].captured, 0);
    });
}

async fn cancel(platform: &Platform, id: &str) {
    let answer = platform.api.send(Method::POST, &format!("/orders/{id}/cancel"), "").await.unwrap();
    assert_eq!(answer.status, 202, "{}", answer.body);
}

/// Guards: the tombstones of inventory and payments. The cancellation overtakes the order: nothing is held, nothing
/// charged.
#[test]
fn a_cancellation_that_overtakes_its_order() {
    run(async {
        let platform = platform("overtaken", Vec::new()).await;
        let product = platform.product(10).await;
        for service in ["inventory", "payments"] {
            let queue = Some(format!("test-{service}-events"));
            platform.stack.faults.set(Fault::Reverse { queue, millis: 800 }).unwrap();
        }
        let id = platform.api.place(&order_of(&product, 4)).await.unwrap();
        cancel(&platform, &id).await;
        assert_eq!(platform.api.ended(&id, PATIENCE).await.unwrap()["status"], "CANCELLED");
        platform.stack.settle(PATIENCE).await.unwrap();
        assert_eq!(platform.told("inventory", &id).await, ["inventory.released"]);
        assert_eq!(platform.told("payments", &id).await, ["payment.voided"]);
        assert!(!platform.stack.provider.records().contains_key(&format!("{id}:charge")));
        let stock = platform.api.product(&product).await.unwrap();
        assert_eq!((&stock["available"], &stock["held"]), (&json!(10), &json!(0)));
    });
}

/// Guards: I7, and the timeline. What succeeded after the order was given up is undone, and that is seen.
#[test]
fn what_comes_after_the_cancellation_is_undone() {
    run(async {
        let platform = platform("late", Vec::new()).await;
        let product = platform.product(10).await;
        let queue = Some("test-orders-events".into());
        platform.stack.faults.set(Fault::Delay { queue, millis: 1000 }).unwrap();
        let id = platform.api.place(&order_of(&product, 4)).await.unwrap();
        let charge = format!("{id}:charge");
        while !platform.stack.provider.records().contains_key(&charge) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        cancel(&platform, &id).await;
        assert_eq!(platform.api.ended(&id, PATIENCE).await.unwrap()["status"], "COMPENSATED");
        let saga = platform.api.get(&format!("/orders/{id}/saga")).await.unwrap().body;
        let verdict = |kind: &str| {
            let entries = saga["timeline"].as_array().unwrap().iter();
            entries.filter(|e| e["type"] == kind).map(|e| e["verdict"].clone()).collect::<Vec<_>>()
        };
        assert_eq!(verdict("inventory.reserved"), ["late_compensated"]);
        assert_eq!(verdict("payment.charged"), ["late_compensated"]);
        let stock = [(product, 10)];
        platform.check(&stock, &[id]).await;
    });
}

/// Asks the sweeper to treat as overdue what will be in an hour.
async fn sweep(platform: &Platform) -> Value {
    let sweeper = platform.stack.functions.get("test-orders-sweeper").unwrap();
    let answer = sweeper.invoke(json!({"ahead_seconds": 3600}).to_string().into()).await.unwrap();
    serde_json::from_slice(&answer).unwrap()
}

/// Guards: I3 and I4; the sweeper, and answers told again. A pipe stands still, and an event is dropped: the orders end
/// nevertheless, and what the pipe carries when it goes on again changes nothing.
#[test]
fn a_pipe_stands_still_and_an_event_is_lost() {
    run(async {
        let platform = platform("stopped", Vec::new()).await;
        let product = platform.product(10).await;
        let drop = Fault::Drop {
            queue: Some("test-fulfillment-events".into()),
            event: Some("order.confirmed".into()),
            times: 1,
        };
        platform.stack.faults.set(drop).unwrap();
        platform.stack.faults.set(Fault::Stop { pipe: "test-inventory".into() }).unwrap();
        let id = platform.api.place(&order_of(&product, 4)).await.unwrap();
        let mut nudged = 0;
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while platform.api.order(&id).await.unwrap()["status"] != "FULFILLED" {
            assert!(tokio::time::Instant::now() < deadline, "{}", platform.api.order(&id).await.unwrap());
            tokio::time::sleep(Duration::from_millis(500)).await;
            nudged += sweep(&platform).await["nudged"].as_u64().unwrap();
        }
        assert!((2..=6).contains(&nudged), "{nudged}");
        platform.stack.faults.clear();
        platform.stack.settle(PATIENCE).await.unwrap();
        assert_eq!(platform.notices(&id), ["ORDER_CONFIRMED", "ORDER_FULFILLED"]);
        assert_eq!(platform.told("inventory", &id).await, ["inventory.reserved"]);
        let stock = [(product, 10)];
        platform.check(&stock, &[id]).await;
    });
}

/// Guards: dead letters. What a service could not deal with lies there with its reason and its order, and goes on from
/// there; what nobody can read fails alone and stays, with its reason.
#[test]
fn letters_are_listed_sent_back_and_go_on() {
    run(async {
        let mut options = options("letters");
        options.parameters.insert("CircuitOpenSeconds".into(), "3".into());
        let platform = Platform::start(&options).await.unwrap();
        let (product, other) = (platform.product(10).await, platform.product(10).await);
        platform.stack.faults.set(Fault::Provider { times: 5 }).unwrap();
        platform.stack.queues.get("test-payments-events").unwrap().send("no event at all");
        let id = platform.api.place(&order_of(&product, 4)).await.unwrap();
        let letters = platform.stack.queues.get("test-payments-events-dlq").unwrap();
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while letters.depth() != (2, 0) {
            assert!(tokio::time::Instant::now() < deadline, "{:?}", letters.depth());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let (stage, bus) = platform.operated().await;
        let lines = stage.list(chrono::Utc::now()).await.unwrap();
        assert_eq!(lines[0], "test-payments-events-dlq: 2");
        let about = |text: &str| lines.iter().find(|line| line.contains(text)).unwrap();
        assert!(about(&id).contains("inventory.reserved") && about(&id).contains("transient: "), "{lines:?}");
        assert!(about("message ").contains("poison: the body is not an EventBridge event"), "{lines:?}");
        assert_eq!(letters.depth(), (2, 0), "looking takes nothing away");
        // The circuit closes again after a while.
        tokio::time::sleep(Duration::from_secs(3)).await;
        let elsewhere = stage.redrive(
            "test-payments-events-dlq",
            Some(uuid::Uuid::nil().to_string().parse().unwrap()),
            &bus,
        );
        assert_eq!(elsewhere.await.unwrap(), (Vec::<String>::new(), true));
        let (mut lines, well) = stage.redrive("test-payments-events-dlq", None, &bus).await.unwrap();
        assert!(!well, "one stays");
        lines.sort();
        assert_eq!(lines[0], format!("inventory.reserved {id}: applied"));
        assert!(lines[1].contains("stays, poison: "), "{lines:?}");
        assert_eq!(platform.api.ended(&id, PATIENCE).await.unwrap()["status"], "FULFILLED");
        assert_eq!(letters.depth(), (1, 0));
        let after = platform.api.place(&order_of(&other, 1)).await.unwrap();
        assert_eq!(platform.api.ended(&after, PATIENCE).await.unwrap()["status"], "FULFILLED");
        let missing = stage.redrive("test-nowhere-dlq", None, &bus).await.unwrap_err();
        assert!(missing.to_string().contains("no dead-letter queue test-nowhere-dlq"));
    });
}
