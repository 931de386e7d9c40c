//! The dance end to end: real binaries, real templates, over HTTP.

use crate::platform::{Platform, on_platform, options, run};
use futures_util::future::join_all;
use hyper::Method;
use localstack::aws::eventbridge::input_transformer::PipeData;
use serde_json::json;
use std::time::Duration;
use tests::client::order_of;

const PATIENCE: Duration = Duration::from_secs(30);

async fn happy(platform: &Platform) {
    let product = platform.product(10).await;
    let answer = platform.api.post(&order_of(&product, 2)).await.unwrap();
    assert_eq!(answer.status, 202, "{}", answer.body);
    assert_eq!((&answer.body["status"], &answer.body["total_cents"]), (&json!("PENDING"), &json!(500)));
    let id = answer.body["order_id"].as_str().unwrap();
    assert_eq!(answer.headers["location"], format!("/orders/{id}"));
    assert_eq!(answer.headers["x-correlation-id"], answer.body["correlation_id"].as_str().unwrap());
    let order = platform.api.ended(id, PATIENCE).await.unwrap();
    assert_eq!(order["status"], "FULFILLED");
    let events = platform.events(id).await;
    let story = ["ORDER_CREATED", "STOCK_RESERVED", "PAYMENT_CHARGED", "ORDER_CONFIRMED", "ORDER_SHIPPED"];
    assert_eq!(events, [&story[..], &["ORDER_FULFILLED"]].concat());
    platform.stack.settle(PATIENCE).await.unwrap();
    let row = platform.api.product(&product).await.unwrap();
    assert_eq!((&row["available"], &row["held"], &row["shipped"]), (&json!(8), &json!(0), &json!(2)));
    assert_eq!(platform.notices(id), ["ORDER_CONFIRMED", "ORDER_FULFILLED"]);
}

#[test]
fn an_order_is_reserved_charged_confirmed_and_shipped() {
    on_platform(happy);
}

/// Guards: the reader accepts `data` and numbers as a pipe may place them, as JSON or as text.
#[test]
fn the_dance_is_the_same_when_pipes_quote_what_they_place() {
    run(async {
        let options = localstack::stack::Options { pipe_data: PipeData::String, ..options("quoted") };
        happy(&Platform::start(&options).await.unwrap()).await;
    });
}

#[test]
fn a_declined_payment_is_compensated_and_the_stock_is_back() {
    on_platform(async |platform| {
        let product = platform.product(10).await;
        let mut order = order_of(&product, 3);
        order["payment_method"] = "pm_card_visa_chargeDeclined".into();
        let id = platform.api.place(&order).await.unwrap();
        let order = platform.api.ended(&id, PATIENCE).await.unwrap();
        assert_eq!(
            (&order["status"], &order["failure_reason"]),
            (&json!("COMPENSATED"), &json!("PAYMENT_DECLINED"))
        );
        let events = platform.events(&id).await;
        let story =
            ["ORDER_CREATED", "STOCK_RESERVED", "PAYMENT_FAILED", "ORDER_CANCELLED", "STOCK_RELEASED"];
        assert_eq!(events, [&story[..], &["ORDER_COMPENSATED"]].concat());
        let row = platform.api.product(&product).await.unwrap();
        assert_eq!((&row["available"], &row["held"]), (&json!(10), &json!(0)));
    });
}

#[test]
fn too_large_an_order_is_cancelled_and_says_why() {
    on_platform(async |platform| {
        let product = platform.product(3).await;
        let id = platform.api.place(&order_of(&product, 4)).await.unwrap();
        let order = platform.api.ended(&id, PATIENCE).await.unwrap();
        assert_eq!(order["status"], "CANCELLED");
        let why =
            json!({"error": "INSUFFICIENT_STOCK", "product_id": product, "requested": 4, "available": 3});
        assert_eq!(order["failure"], why);
    });
}

/// Guards: a hold is all lines or none, in one transaction.
#[test]
fn a_second_line_that_is_short_leaves_the_first_untouched() {
    on_platform(async |platform| {
        let (plenty, scarce) = (platform.product(50).await, platform.product(1).await);
        let order = json!({"customer_id": "ada", "items": [
            {"product_id": plenty, "quantity": 5}, {"product_id": scarce, "quantity": 2}]});
        let id = platform.api.place(&order).await.unwrap();
        let order = platform.api.ended(&id, PATIENCE).await.unwrap();
        assert_eq!(
            (&order["status"], &order["failure"]["product_id"]),
            (&json!("CANCELLED"), &json!(scarce))
        );
        let row = platform.api.product(&plenty).await.unwrap();
        assert_eq!((&row["available"], &row["held"]), (&json!(50), &json!(0)));
    });
}

/// Guards: I1 under contention; the conditional decrement and nothing else decides.
#[test]
fn a_hundred_buyers_for_ten_units() {
    on_platform(async |platform| {
        let product = platform.product(10).await;
        let order = order_of(&product, 1);
        let placed = join_all((0..100).map(|_| platform.api.place(&order))).await;
        let ids: Vec<String> = placed.into_iter().map(Result::unwrap).collect();
        join_all(ids.iter().map(|id| platform.api.ended(id, PATIENCE))).await;
        let stock = [(product.clone(), 10)];
        let report = platform.check(&stock, &ids).await;
        assert_eq!(report.statuses["FULFILLED"], 10);
        assert_eq!(report.statuses["CANCELLED"], 90);
        assert_eq!(platform.api.product(&product).await.unwrap()["available"], 0);
    });
}

/// Without a token the provider charges the customer's default method.
#[test]
fn the_default_payment_method_is_charged() {
    on_platform(async |platform| {
        let product = platform.product(1).await;
        let order = json!({"customer_id": "ada", "items": [{"product_id": product, "quantity": 1}]});
        let id = platform.api.place(&order).await.unwrap();
        assert_eq!(platform.api.ended(&id, PATIENCE).await.unwrap()["status"], "FULFILLED");
    });
}

#[test]
fn a_stock_count_below_what_is_held_is_refused() {
    on_platform(async |platform| {
        // What nobody carries stays held for a while.
        let product = platform.product_called("carrier-down", 5).await;
        let headers = [("content-type", "application/json"), ("prefer", "wait=10")];
        let order = order_of(&product, 3).to_string();
        let answer = platform.api.send_with(Method::POST, "/orders", &headers, order).await.unwrap();
        assert_eq!(answer.body["status"], "CONFIRMED");
        let error = platform.api.list(&product, 2).await.unwrap_err().to_string();
        assert!(error.contains("409") && error.contains("STOCK_BELOW_HELD"), "{error}");
        platform.api.list(&product, 20).await.unwrap();
        let row = platform.api.product(&product).await.unwrap();
        assert_eq!((&row["available"], &row["held"]), (&json!(17), &json!(3)));
    });
}

#[test]
fn health_needs_nothing() {
    on_platform(async |platform| {
        let answer = platform.api.get("/health").await.unwrap();
        assert_eq!((answer.status, &answer.body["status"]), (200, &json!("healthy")));
    });
}
