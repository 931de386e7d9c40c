//! Charges that come too late, or have to be given back: the flow with the one conductor, on the real platform.

use crate::platform::{Platform, on_platform};
use chassis::{Attempt, Failure};
use events::{Currency, Money, OrderId};
use hyper::Method;
use localstack::aws::stepfunctions::{Execution, Status};
use payments::payment::Bill;
use payments::provider::stripe::Stripe;
use payments::provider::{ChargeOutcome, PaymentProvider};
use serde_json::{Value, json};
use std::time::Duration;
use tests::client::order_of;

const PATIENCE: Duration = Duration::from_secs(30);

/// Cancels orders in the moment in which they are charged, until one was: gives it and its product.
async fn cancelled_while_charged(platform: &Platform, method: &str) -> (String, String) {
    let product = platform.product(1000).await;
    let mut order = order_of(&product, 1);
    order["payment_method"] = method.into();
    for _ in 0..200 {
        let id = platform.api.place(&order).await.unwrap();
        // The book knows of the charge before payments has said so.
        while !charged(platform, &id).await {
            tokio::task::yield_now().await;
        }
        let cancel = platform.api.send(Method::POST, &format!("/orders/{id}/cancel"), "").await.unwrap();
        if cancel.status == 202 {
            return (id, product);
        }
    }
    panic!("every order was confirmed before it could be cancelled");
}

async fn charged(platform: &Platform, id: &str) -> bool {
    platform.stack.provider.records().get(&format!("{id}:charge")).is_some_and(|record| record.captured > 0)
}

fn refunded(platform: &Platform, id: &str) -> u64 {
    platform.stack.provider.records()[&format!("{id}:charge")].refunded
}

async fn until(platform: &Platform, id: &str, status: &str) -> Value {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let order = platform.api.order(id).await.unwrap();
        if order["status"] == status {
            return order;
        }
        assert!(tokio::time::Instant::now() < deadline, "still not {status}: {order}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn executions(platform: &Platform, id: &str) -> Vec<Execution> {
    let all = platform.stack.machines.all();
    all.into_iter().filter(|execution| execution.input["data"]["order_id"] == id).collect()
}

/// Guards: I2 and I3. A charge that a cancel overtook is given back, and the order ends COMPENSATED.
#[test]
fn a_late_charge_is_refunded() {
    on_platform(async |platform| {
        let (id, product) = cancelled_while_charged(platform, "pm_card_visa").await;
        let order = until(platform, &id, "COMPENSATED").await;
        assert_eq!(order["failure_reason"], "CUSTOMER_REQUEST");
        let types: Vec<&str> =
            order["events"].as_array().unwrap().iter().map(|e| e["type"].as_str().unwrap()).collect();
        assert!(types.contains(&"PAYMENT_REFUNDED") && types.contains(&"STOCK_RELEASED"), "{types:?}");
        platform.check(&[], &[id]).await;
        let stock = platform.api.product(&product).await.unwrap();
        let units = ["available", "held", "shipped"].map(|name| stock[name].as_u64().unwrap());
        assert_eq!(units.iter().sum::<u64>(), 1000);
    });
}

/// Guards: a refused refund is tried again with pauses; each try has an idempotency key of its own.
#[test]
fn a_refund_refused_three_times_is_made_at_the_fourth() {
    on_platform(async |platform| {
        let (id, _) = cancelled_while_charged(platform, "pm_sim_refund_refused_3_times").await;
        until(platform, &id, "COMPENSATED").await;
        let execution = executions(platform, &id).remove(0);
        let retries = execution.history.iter().filter(|happened| happened.what == "retried");
        assert!(retries.clone().all(|happened| happened.error.as_deref() == Some("RefundRefused")));
        assert_eq!((retries.count(), execution.status), (3, Status::Succeeded));
        assert!(refunded(platform, &id) > 0);
    });
}

/// Guards: I3. A refund that is refused for good is FAILED, said so, and finished by the operator's verb.
#[test]
fn a_refund_refused_for_good_waits_for_an_operator() {
    on_platform(async |platform| {
        let (id, _) = cancelled_while_charged(platform, "pm_sim_refund_refused").await;
        let order = until(platform, &id, "FAILED").await;
        assert!(order["events"].to_string().contains("PAYMENT_REFUND_FAILED"), "{order}");
        assert_eq!(refunded(platform, &id), 0);
        let (operated, _) = platform.operated().await;
        let waiting = operated.waiting(chrono::Utc::now()).await.unwrap();
        assert!(waiting.iter().any(|line| line.starts_with(&format!("FAILED  {id}  since "))), "{waiting:?}");
        let saga = platform.api.get(&format!("/orders/{id}/saga")).await.unwrap().body;
        let step = &saga["steps"]["payment_compensation"];
        assert_eq!((&step["status"], &step["error"]), (&json!("FAILED"), &json!("refund_not_allowed")));
        let compensator = platform.stack.functions.get("test-payments-compensator").unwrap();
        let retry = json!({"task": "Retry", "order_id": id}).to_string();
        let answer = compensator.invoke(retry.clone().into()).await.unwrap();
        assert!(String::from_utf8_lossy(&answer).contains("\"recorded\":true"), "{answer:?}");
        until(platform, &id, "COMPENSATED").await;
        assert!(refunded(platform, &id) > 0);
        // Once is enough: the payment refuses to be undone again.
        let again = compensator.invoke(retry.into()).await.unwrap();
        assert!(String::from_utf8_lossy(&again).contains("\"recorded\":false"), "{again:?}");
    });
}

/// Guards: the void is authoritative. It takes the charge's key: what was charged before is not called void, and what
/// comes afterwards is refused and captures nothing.
#[test]
fn a_void_and_a_charge_exclude_each_other() {
    on_platform(async |platform| {
        let base = platform.stack.provider_url.parse().unwrap();
        let provider = Stripe::new(&base, "sk_test").unwrap();
        let bill = || Bill {
            order_id: OrderId(uuid::Uuid::now_v7()),
            customer_id: "ada".parse().unwrap(),
            amount: Money::new(500, Currency::USD),
            payment_method: Some("pm_card_visa".into()),
        };
        let charged = bill();
        assert!(matches!(
            provider.charge(&charged, Attempt::First).await,
            Ok(ChargeOutcome::Captured { .. })
        ));
        assert_eq!(provider.void(&charged, None).await, Ok(false));
        let voided = bill();
        assert_eq!(provider.void(&voided, None).await, Ok(true));
        assert!(matches!(provider.charge(&voided, Attempt::First).await, Err(Failure::Conflict { .. })));
        let captured =
            |bill: &Bill| platform.stack.provider.records()[&format!("{}:charge", bill.order_id)].captured;
        assert_eq!((captured(&charged), captured(&voided)), (500, 0));
    });
}

/// Guards: the void is authoritative. A charge whose answer was lost is found and given back; one that never
/// happened is voided, and nothing can be captured afterwards.
#[test]
fn cancels_in_every_moment_end_without_a_penny_kept() {
    on_platform(async |platform| {
        let product = platform.product(1000).await;
        let mut ids = Vec::new();
        for pause in 0..40 {
            let id = platform.api.place(&order_of(&product, 1)).await.unwrap();
            tokio::time::sleep(Duration::from_micros(pause * 500)).await;
            platform.api.send(Method::POST, &format!("/orders/{id}/cancel"), "").await.unwrap();
            ids.push(id);
        }
        for id in &ids {
            platform.api.ended(id, PATIENCE).await.unwrap();
        }
        platform.stack.settle(PATIENCE).await.unwrap();
        let stock = [(product, 1000)];
        let report = platform.check(&stock, &ids).await;
        assert!(!report.statuses.contains_key("CANCELLING"), "{:?}", report.statuses);
    });
}
