//! Bad input is answered with the field and the rule, and writes nothing.

use crate::platform::Platform;
use crate::platform::{options, run};
use hyper::Method;
use serde_json::{Value, json};
use std::time::Duration;

/// Guards: validation comes before the first write. A platform of its own, so that rows can be counted.
#[test]
fn nothing_is_written_for_a_request_that_is_refused() {
    run(async {
        let platform = Platform::start(&options("bad-input")).await.unwrap();
        let product = platform.product(10).await;
        platform.stack.settle(Duration::from_secs(10)).await.unwrap();
        let before = (platform.rows("orders").await, platform.rows("inventory").await);
        for (body, status, field) in bodies(&product) {
            let answer = platform.api.send(Method::POST, "/orders", body.clone()).await.unwrap();
            let shown = String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned();
            assert_eq!(answer.status, status, "{shown}: {}", answer.body);
            assert_eq!(answer.headers["content-type"], "application/problem+json", "{shown}");
            let named = answer.body["errors"][0]["field"].as_str().unwrap_or_default();
            assert_eq!(named, field, "{shown}: {}", answer.body);
        }
        platform.stack.settle(Duration::from_secs(10)).await.unwrap();
        assert_eq!((platform.rows("orders").await, platform.rows("inventory").await), before);
    });
}

fn bodies(product: &str) -> Vec<(Vec<u8>, u16, &str)> {
    let order = |item: Value| json!({"customer_id": "ada", "items": [item]}).to_string().into_bytes();
    let quantity = |quantity: Value| order(json!({"product_id": product, "quantity": quantity}));
    let mut bodies = vec![
        (b"{\"customer_id\": ".to_vec(), 400, ""),
        (b"\xff\xfe".to_vec(), 400, ""),
        (b"[]".to_vec(), 400, ""),
        (Vec::new(), 400, ""),
        (vec![b' '; 64 * 1024 + 1], 413, ""),
        (b"{\"customer_id\": \"ada\"}".to_vec(), 400, "items"),
        (b"{\"customer_id\": \"ada\", \"items\": []}".to_vec(), 400, "items"),
        (b"{\"items\": [{\"product_id\": \"x\", \"quantity\": 1}]}".to_vec(), 400, "customer_id"),
        (order(json!({"product_id": product})), 400, "items[0].quantity"),
        (order(json!({"product_id": product, "quantity": 1, "gift": true})), 400, "items[0].gift"),
        (order(json!({"product_id": "no-such-product", "quantity": 1})), 422, "items[0].product_id"),
        (
            order(json!({"product_id": product, "quantity": 1, "unit_price_cents": 1})),
            422,
            "items[0].unit_price_cents",
        ),
        (
            format!(
                r#"{{"customer_id": "ada", "items": [{{"product_id": "{product}", "quantity": 1, "quantity": 2}}]}}"#
            )
            .into_bytes(),
            400,
            "items[0].quantity",
        ),
    ];
    for bad in [json!(0), json!(-1), json!(1.5), json!("2"), json!(true), json!(1001), json!(1e300)] {
        bodies.push((quantity(bad), 400, "items[0].quantity"));
    }
    bodies
}

#[test]
fn what_is_not_there_is_404() {
    crate::platform::on_platform(async |platform| {
        for path in ["/orders/018f2b9e-7c1a-7d3e-9f00-4b6a1c2d3e4f", "/orders/x", "/products/x", "/nothing"] {
            assert_eq!(platform.api.get(path).await.unwrap().status, 404, "{path}");
        }
    });
}

#[test]
fn a_product_that_breaks_a_rule_is_refused_by_field() {
    crate::platform::on_platform(async |platform| {
        for (body, field) in [
            (json!({"name": "x", "unit_price_cents": 0, "stock": 1}), "unit_price_cents"),
            (json!({"name": "x", "unit_price_cents": 1, "stock": -1}), "stock"),
            (json!({"name": "", "unit_price_cents": 1, "stock": 1}), "name"),
            (json!({"name": "x", "unit_price_cents": 1, "stock": 1, "id": 1}), "id"),
        ] {
            let answer = platform.api.send(Method::PUT, "/products/refused", body.to_string()).await.unwrap();
            assert_eq!((answer.status, &answer.body["errors"][0]["field"]), (400, &json!(field)));
        }
        assert_eq!(platform.api.get("/products/refused").await.unwrap().status, 404);
    });
}

/// Guards: a key that stands twice is refused by its name, whatever its values, before anything else is read. A parser
/// in front of the service may have judged the first of the two.
#[test]
fn a_key_that_stands_twice_is_refused() {
    crate::platform::on_platform(async |platform| {
        let order = r#"{"customer_id": "ada", "customer_id": "ada", "items": 7}"#;
        let product = r#"{"name": "x", "unit_price_cents": 1, "stock": 1, "stock": 1}"#;
        for (method, path, body, field) in [
            (Method::POST, "/orders", order, "customer_id"),
            (Method::PUT, "/products/doubled", product, "stock"),
        ] {
            let answer = platform.api.send(method, path, body).await.unwrap();
            let message = "stands more than once in its object";
            let expected = json!([{"field": field, "rule": "duplicate", "message": message}]);
            assert_eq!((answer.status, &answer.body["errors"]), (400, &expected));
        }
        assert_eq!(platform.api.get("/products/doubled").await.unwrap().status, 404);
    });
}
