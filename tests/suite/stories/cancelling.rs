//! Cancellations that meet events of the order on their way.

use super::invariants;
use crate::bench::{Bench, Trouble};
use serde_json::Value;
use tests::client::order_of;

/// Guards: I1, I2. The customer cancels as soon as the order is placed. Either that is in time, and nothing is kept, or it is
/// too late, and the order is fulfilled.
pub async fn a_cancellation_at_any_moment(bench: &mut impl Bench) {
    let beans = bench.sell("beans", 10).await;
    let id = bench.place(&order_of(&beans, 4)).await;
    let in_time = bench.cancel(&id).await;
    let order = bench.ended(&id).await;
    bench.settle().await;
    let left = (bench.kept(&id) > 0, bench.stock(&beans).await);
    if in_time {
        assert_eq!((&order["failure_reason"], left), (&"CUSTOMER_REQUEST".into(), (false, (10, 0, 0))));
    } else {
        assert_eq!((&order["status"], left), (&"FULFILLED".into(), (true, (6, 0, 4))));
    }
    invariants(bench, &[(beans, 10)], &[id]).await;
}

/// Guards: the tombstones of inventory and payments. The cancellation overtakes the order: inventory holds nothing,
/// payments charges nothing, and the order that comes afterwards is stale.
pub async fn a_cancellation_that_overtakes_its_order(bench: &mut impl Bench) {
    let beans = bench.sell("beans", 10).await;
    for service in ["inventory", "payments"] {
        bench.trouble(Trouble::Reversed(service));
    }
    let id = bench.place(&order_of(&beans, 4)).await;
    assert!(bench.cancel(&id).await);
    assert_eq!(bench.ended(&id).await["status"], "CANCELLED");
    bench.settle().await;
    assert_eq!(bench.history("inventory", &id).await, ["inventory.released"]);
    assert_eq!(bench.history("payments", &id).await, ["payment.voided"]);
    for service in ["inventory", "payments"] {
        let verdicts = bench.verdicts(service, &id).await;
        assert!(verdicts.contains(&("order.created".into(), "stale".into())), "{service}: {verdicts:?}");
    }
    assert_eq!(bench.account(&id).calls, 0);
    assert_eq!(bench.stock(&beans).await, (10, 0, 0));
    invariants(bench, &[(beans, 10)], &[id]).await;
}

/// Guards: I2, I3, I7, and the timeline. Stock and money that orders learns of after the cancellation are given back, and
/// an operator can see that they came late.
pub async fn what_comes_after_the_cancellation_is_undone(bench: &mut impl Bench) {
    let beans = bench.sell("beans", 10).await;
    let id = cancelled_after_its_charge(bench, &order_of(&beans, 4)).await;
    let order = bench.ended(&id).await;
    assert_eq!((order["status"].as_str(), order["failure_reason"].as_str()), ended_by_customer());
    let types = bench.events(&id).await;
    assert!(
        types.contains(&"PAYMENT_REFUNDED".into()) && types.contains(&"STOCK_RELEASED".into()),
        "{types:?}"
    );
    let saga = bench.saga(&id).await;
    assert_eq!(verdicts(&saga, "inventory.reserved"), ["late_compensated"]);
    assert_eq!(verdicts(&saga, "payment.charged"), ["late_compensated"]);
    bench.settle().await;
    assert_eq!((bench.kept(&id), bench.stock(&beans).await), (0, (10, 0, 0)));
    invariants(bench, &[(beans, 10)], &[id]).await;
}

const fn ended_by_customer() -> (Option<&'static str>, Option<&'static str>) {
    (Some("COMPENSATED"), Some("CUSTOMER_REQUEST"))
}

/// The verdicts on the events of one type, from the saga's timeline.
fn verdicts<'a>(saga: &'a Value, kind: &str) -> Vec<&'a str> {
    let entries = saga["timeline"].as_array().unwrap().iter();
    entries.filter(|entry| entry["type"] == kind).map(|entry| entry["verdict"].as_str().unwrap()).collect()
}

/// Places an order and cancels it once it is charged, before orders learns of that; gives its id.
pub async fn cancelled_after_its_charge<B: Bench>(bench: &mut B, order: &Value) -> String {
    bench.trouble(Trouble::Late("orders"));
    let id = bench.place(order).await;
    bench.until("the charge", async |bench: &B| bench.account(&id).captured > 0).await;
    assert!(bench.cancel(&id).await, "{}", bench.order(&id).await);
    bench.heal().await;
    id
}
