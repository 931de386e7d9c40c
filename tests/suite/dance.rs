//! The dance over HTTP: what the answers say, many buyers at once, and stock counts. How orders end is in `stories`.

use crate::platform::on_platform;
use futures_util::future::join_all;
use hyper::Method;
use serde_json::json;
use std::time::Duration;
use tests::client::order_of;

const TIMEOUT: Duration = Duration::from_secs(30);

/// Guards: what the answer to an order says, and where.
#[test]
fn an_order_is_accepted_with_its_place_and_its_price() {
    on_platform(async |platform| {
        let product = platform.product(10).await;
        let answer = platform.api.post(&order_of(&product, 2)).await.unwrap();
        assert_eq!(answer.status, 202, "{}", answer.body);
        assert_eq!((&answer.body["status"], &answer.body["total_cents"]), (&json!("PENDING"), &json!(500)));
        let id = answer.body["order_id"].as_str().unwrap();
        assert_eq!(answer.headers["location"], format!("/orders/{id}"));
        assert_eq!(answer.headers["x-correlation-id"], answer.body["correlation_id"].as_str().unwrap());
        assert_eq!(platform.api.ended(id, TIMEOUT).await.unwrap()["status"], "FULFILLED");
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
        join_all(ids.iter().map(|id| platform.api.ended(id, TIMEOUT))).await;
        let stock = [(product.clone(), 10)];
        let report = platform.check(&stock, &ids).await;
        assert_eq!(report.statuses["FULFILLED"], 10);
        assert_eq!(report.statuses["CANCELLED"], 90);
        assert_eq!(platform.api.product(&product).await.unwrap()["available"], 0);
    });
}

/// An order that names no method, of a customer who has saved none, is charged to the fallback of the stage.
#[test]
fn the_fallback_payment_method_is_charged() {
    on_platform(async |platform| {
        let product = platform.product(1).await;
        let order =
            json!({"customer_id": "saves-nothing", "items": [{"product_id": product, "quantity": 1}]});
        let id = platform.api.place(&order).await.unwrap();
        assert_eq!(platform.api.ended(&id, TIMEOUT).await.unwrap()["status"], "FULFILLED");
    });
}

#[test]
fn a_stock_count_below_what_is_held_is_refused() {
    on_platform(async |platform| {
        // What no carrier takes stays held for a while.
        let product = platform.product_called("carrier-down", 5).await;
        let headers = [("content-type", "application/json"), ("prefer", "wait=10")];
        let order = order_of(&product, 3).to_string();
        let answer = platform.api.send_with(Method::POST, "/orders", &headers, order).await.unwrap();
        assert_eq!(answer.body["status"], "CONFIRMED");
        let etag = platform.api.etag(&product).await.unwrap();
        let low = platform.api.put(&product, Some(2), Some(&etag)).await.unwrap();
        assert_eq!((low.status, &low.body["error"]), (409, &json!("STOCK_BELOW_HELD")));
        let counted = platform.api.put(&product, Some(20), Some(&etag)).await.unwrap();
        assert_eq!(counted.status, 200);
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
