//! What a request for an order may look like, and what is said about one that may not.

use super::*;
use events::Currency;
use uuid::Uuid;

fn good() -> Value {
    json!({"customer_id": "ada", "items": [{"product_id": "beans", "quantity": 2}]})
}

fn with(pointer: &str, field: &str, value: Value) -> Value {
    let mut body = good();
    body.pointer_mut(pointer).unwrap()[field] = value;
    body
}

fn broken(body: &Value) -> Vec<(String, String)> {
    let problem = read(body.to_string().as_bytes()).unwrap_err();
    assert_eq!(problem.status, 400);
    let errors = problem.more["errors"].as_array().unwrap();
    let text = |error: &Value, name: &str| error[name].as_str().unwrap().to_owned();
    errors.iter().map(|error| (text(error, "field"), text(error, "rule"))).collect()
}

#[track_caller]
fn refused(body: &Value, field: &str, rule: &str) {
    assert_eq!(broken(body), [(field.to_owned(), rule.to_owned())], "{body}");
}

#[test]
fn every_field_has_its_rule() {
    for bad in [json!(0), json!(-1), json!(1001), json!(u64::MAX)] {
        refused(&with("/items/0", "quantity", bad), "items[0].quantity", "range");
    }
    for bad in [json!(1.5), json!(2.0), json!("2"), json!(true), json!(null), json!(1e40)] {
        refused(&with("/items/0", "quantity", bad), "items[0].quantity", "type");
    }
    refused(&with("/items/0", "product_id", json!("a#b")), "items[0].product_id", "format");
    refused(&with("/items/0", "colour", json!(1)), "items[0].colour", "unknown");
    refused(&with("", "customer_id", json!("")), "customer_id", "format");
    refused(&with("", "customer_id", json!(7)), "customer_id", "type");
    refused(&with("", "items", json!([])), "items", "size");
    refused(&with("", "items", json!({})), "items", "type");
    refused(&with("", "items", json!([7])), "items[0]", "type");
    refused(&with("", "items", json!(vec![json!({}); 41])), "items", "size");
    refused(&with("", "coupon", json!("x")), "coupon", "unknown");
    refused(&with("", "shipping_address", json!("x")), "shipping_address", "type");
    refused(&with("", "payment_method", json!("")), "payment_method", "length");
}

/// Guards: card numbers never enter the system.
#[test]
fn a_card_number_is_not_a_token() {
    for card in [
        "4242424242424242",
        "4242 4242 4242 4242",
        "4242-4242-4242-4242",
        "4242.4242.4242.4242",
        "x4242424242424242",
    ] {
        refused(&with("", "payment_method", json!(card)), "payment_method", "token");
    }
    assert!(read(with("", "payment_method", json!("pm_card_visa")).to_string().as_bytes()).is_ok());
}

#[test]
fn every_wrong_field_is_named_at_once() {
    let errors = broken(&json!({"items": [{"product_id": "a b"}], "x": 1}));
    let fields: Vec<&str> = errors.iter().map(|(field, _)| field.as_str()).collect();
    assert_eq!(fields, ["customer_id", "x", "items[0].product_id", "items[0].quantity"]);
}

fn order_id() -> OrderId {
    OrderId(Uuid::from_u128(1))
}

fn usd(amount: u64) -> Option<Money> {
    Some(Money::new(amount, Currency::USD))
}

fn placement(body: &Value) -> Placement {
    read(body.to_string().as_bytes()).unwrap()
}

#[test]
fn the_same_product_on_two_lines_is_one_line() {
    let twice = placement(&json!({"customer_id": "ada", "items": [
        {"product_id": "beans", "quantity": 2},
        {"product_id": "cups", "quantity": 1},
        {"product_id": "beans", "quantity": 3},
    ]}));
    let order = twice.price(order_id(), &[usd(100), usd(30)]).unwrap();
    let lines: Vec<(&str, u32)> = order.lines.iter().map(|l| (l.product_id.as_str(), l.quantity)).collect();
    assert_eq!((lines, order.total.amount), (vec![("beans", 5), ("cups", 1)], 530));
}

#[test]
fn prices_come_from_the_list() {
    let placed = placement(&good());
    assert_eq!(placed.price(order_id(), &[None]).unwrap_err().error, "UNKNOWN_PRODUCT");
    let expecting = placement(&with("/items/0", "unit_price_cents", json!(99)));
    assert_eq!(expecting.price(order_id(), &[usd(100)]).unwrap_err().error, "PRICE_MISMATCH");
    assert_eq!(expecting.price(order_id(), &[usd(99)]).unwrap().total.amount, 198);
}

/// Guards: a total is checked arithmetic in one currency.
#[test]
fn a_total_cannot_wrap_or_mix_currencies() {
    let placed = placement(&good());
    assert_eq!(placed.price(order_id(), &[usd(u64::MAX / 2)]).unwrap_err().error, "TOTAL_NOT_PAYABLE");
    let two = placement(&json!({"customer_id": "ada", "items": [
        {"product_id": "beans", "quantity": 1}, {"product_id": "cups", "quantity": 1},
    ]}));
    let euro = Some(Money::new(1, "EUR".parse().unwrap()));
    assert_eq!(two.price(order_id(), &[usd(1), euro]).unwrap_err().error, "TOTAL_NOT_PAYABLE");
}
