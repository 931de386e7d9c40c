//! Every way in which an order can end.

use super::{invariants, paid_with};
use crate::bench::Bench;
use serde_json::json;
use tests::client::order_of;

/// Nothing goes wrong.
pub async fn an_order_is_reserved_charged_confirmed_and_shipped(bench: &mut impl Bench) {
    let beans = bench.sell("beans", 10).await;
    let id = bench.place(&order_of(&beans, 2)).await;
    assert_eq!(bench.ended(&id).await["status"], "FULFILLED");
    let story = ["ORDER_CREATED", "STOCK_RESERVED", "PAYMENT_CHARGED", "ORDER_CONFIRMED", "ORDER_SHIPPED"];
    assert_eq!(bench.events(&id).await, [&story[..], &["ORDER_FULFILLED"]].concat());
    bench.settle().await;
    assert_eq!(bench.stock(&beans).await, (8, 0, 2));
    assert_eq!(bench.notices(&id), ["ORDER_CONFIRMED", "ORDER_FULFILLED"]);
    invariants(bench, &[(beans, 10)], &[id]).await;
}

/// Guards: I1, I2. The provider declines: inventory releases what it held.
pub async fn a_declined_payment_is_compensated_and_the_stock_is_back(bench: &mut impl Bench) {
    let beans = bench.sell("beans", 10).await;
    let id = bench.place(&paid_with("pm_card_visa_chargeDeclined", order_of(&beans, 3))).await;
    let order = bench.ended(&id).await;
    let outcome = (&order["status"], &order["failure_reason"]);
    assert_eq!(outcome, (&json!("COMPENSATED"), &json!("PAYMENT_DECLINED")));
    let story = ["ORDER_CREATED", "STOCK_RESERVED", "PAYMENT_FAILED", "ORDER_CANCELLED", "STOCK_RELEASED"];
    assert_eq!(bench.events(&id).await, [&story[..], &["ORDER_COMPENSATED"]].concat());
    bench.settle().await;
    assert_eq!(bench.stock(&beans).await, (10, 0, 0));
    assert_eq!(bench.notices(&id), ["ORDER_CANCELLED"]);
    invariants(bench, &[(beans, 10)], &[id]).await;
}

/// The stock is short: the customer learns of what, and how much there is.
pub async fn too_large_an_order_is_cancelled_and_says_why(bench: &mut impl Bench) {
    let beans = bench.sell("beans", 3).await;
    let id = bench.place(&order_of(&beans, 4)).await;
    let order = bench.ended(&id).await;
    assert_eq!(order["status"], "CANCELLED");
    let why = json!({"error": "INSUFFICIENT_STOCK", "product_id": beans, "requested": 4, "available": 3});
    assert_eq!(order["failure"], why);
    bench.settle().await;
    assert_eq!(bench.notices(&id), ["ORDER_CANCELLED"]);
    invariants(bench, &[(beans, 3)], &[id]).await;
}

/// Guards: a hold is all lines or none, in one transaction.
pub async fn a_second_line_that_is_short_leaves_the_first_untouched(bench: &mut impl Bench) {
    let (plenty, scarce) = (bench.sell("beans", 50).await, bench.sell("cups", 1).await);
    let items = json!([{"product_id": plenty, "quantity": 5}, {"product_id": scarce, "quantity": 2}]);
    let id = bench.place(&json!({"customer_id": "ada", "items": items})).await;
    let order = bench.ended(&id).await;
    let outcome = (&order["status"], &order["failure"]["product_id"]);
    assert_eq!(outcome, (&json!("CANCELLED"), &json!(scarce)));
    bench.settle().await;
    assert_eq!(bench.stock(&plenty).await, (50, 0, 0));
    assert_eq!(bench.stock(&scarce).await, (1, 0, 0));
    invariants(bench, &[(plenty, 50), (scarce, 1)], &[id]).await;
}

/// Guards: I2, I3, I8 past the confirmation, and each notification once. What the carrier refuses for good is refunded
/// and restocked, its points are revoked, and its customer is notified of each thing once.
pub async fn what_no_carrier_takes_is_given_back(bench: &mut impl Bench) {
    let anvil = bench.sell("unshippable", 10).await;
    let id = bench.place(&order_of(&anvil, 4)).await;
    let order = bench.ended(&id).await;
    let outcome = (&order["status"], &order["failure_reason"]);
    assert_eq!(outcome, (&json!("COMPENSATED"), &json!("FULFILLMENT_FAILED")));
    assert_eq!(order["failure"]["carrier_code"], "prohibited_goods");
    bench.settle().await;
    assert_eq!(bench.history("rewards", &id).await, ["rewards.granted", "rewards.revoked"]);
    assert_eq!(bench.sorted_notices(&id), ["ORDER_CANCELLED", "ORDER_CONFIRMED", "PAYMENT_REFUNDED"]);
    let types = bench.events(&id).await;
    for wanted in ["SHIPMENT_FAILED", "STOCK_RELEASED", "PAYMENT_REFUNDED", "ORDER_COMPENSATED"] {
        assert!(types.iter().any(|kind| kind == wanted), "{types:?}");
    }
    assert_eq!(bench.stock(&anvil).await, (10, 0, 0));
    invariants(bench, &[(anvil, 10)], &[id]).await;
}
