//! What a running platform writes into its logs: metrics that count each order once, and lines that one correlation id finds.

use crate::platform::{Platform, options, run};
use crate::stories::paid_with;
use chassis::outbox::envelope_of;
use chassis::ports::Bus;
use chassis::store::{EVENTS, every_row};
use futures_util::future::join_all;
use hyper::Method;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;
use tests::client::{Client, order_of};

const TIMEOUT: Duration = Duration::from_secs(60);

/// The lines of every function's log.
fn lines(data: &Path) -> Vec<Value> {
    let files = fs::read_dir(data.join("logs")).unwrap();
    let text: String = files.map(|file| fs::read_to_string(file.unwrap().path()).unwrap()).collect();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// The numbers of a metric in the lines that have this value of a dimension.
fn numbers(lines: &[Value], metric: &str, dimension: (&str, &str)) -> Vec<u64> {
    let counted = lines.iter().filter(|line| line["_aws"].is_object() && line[dimension.0] == dimension.1);
    let all = counted.flat_map(|line| match &line[metric] {
        Value::Array(numbers) => numbers.clone(),
        Value::Null => Vec::new(),
        number => vec![number.clone()],
    });
    all.filter_map(|number| number.as_u64()).collect()
}

/// Publishes everything that orders said about an order once more, live.
async fn publish_again(platform: &Platform, order: &str) {
    for service in ["orders", "inventory", "payments"] {
        let table = platform.table(&format!("test-quadrille-{service}")).await;
        let rows = every_row(&table, &format!("order#{order}"), EVENTS).await.unwrap();
        let published = rows.iter().filter(|row| row.text("kind") == Some("published"));
        let events: Vec<_> = published.map(|row| envelope_of(row).unwrap()).collect();
        platform.operated().await.1.publish(&events).await.unwrap();
    }
}

/// Guards: an order counts once, in the commit that ends it: not in one that met a conflict, and not when an event comes again.
/// A repetition has no lag. Guards too: every line of what an event sets off names its order and its request, the compensator's
/// with them.
#[test]
fn an_order_is_counted_once_and_one_id_finds_its_hops() {
    run(async {
        let options = options("measured");
        let platform = Platform::start(&options).await.unwrap();
        let (beans, anvil) = (platform.product(10).await, platform.product_called("unshippable", 10).await);
        let declined = paid_with("pm_card_visa_chargeDeclined", order_of(&beans, 1));
        let placed = [order_of(&beans, 1), order_of(&beans, 2), declined, order_of(&anvil, 1)];
        let orders = join_all(placed.iter().map(|order| platform.api.place(order))).await;
        let orders: Vec<String> = orders.into_iter().map(Result::unwrap).collect();
        let mut ends = Vec::new();
        for order in &orders {
            ends.push(
                platform.api.ended(order, TIMEOUT).await.unwrap()["status"].as_str().unwrap().to_owned(),
            );
        }
        assert_eq!(ends, ["FULFILLED", "FULFILLED", "COMPENSATED", "COMPENSATED"]);
        platform.stack.settle(TIMEOUT).await.unwrap();
        short_in_conflict(&platform, &beans).await;
        platform.stack.settle(TIMEOUT).await.unwrap();
        let before = lines(&options.data);
        for order in &orders {
            publish_again(&platform, order).await;
        }
        platform.stack.settle(TIMEOUT).await.unwrap();
        let after = lines(&options.data);
        counted(&after);
        repeated(&before, &after);
        hops(&after, &orders[3]);
    });
}

/// An order that is short, and ends in the first commit that orders makes about it after several that meet a conflict.
async fn short_in_conflict(platform: &Platform, product: &str) {
    let fault = r#"{"fault": "conflict", "function": "test-quadrille-orders-reactor", "times": 5}"#;
    let faults = Client::new(&platform.stack.endpoint);
    assert_eq!(faults.send(Method::POST, "/faults", fault).await.unwrap().status, 200);
    let short = platform.api.place(&order_of(product, 1000)).await.unwrap();
    assert_eq!(platform.api.ended(&short, TIMEOUT).await.unwrap()["status"], "CANCELLED");
}

fn counted(lines: &[Value]) {
    let sum = |metric, dimension| numbers(lines, metric, dimension).iter().sum::<u64>();
    assert_eq!(sum("orders_ended", ("status", "fulfilled")), 2);
    assert_eq!(sum("orders_ended", ("status", "compensated")), 2);
    assert_eq!(sum("orders_ended", ("status", "cancelled")), 1);
    assert_eq!(sum("orders_lost", ("reason", "rejected")), 2);
    assert_eq!(sum("orders_lost", ("reason", "technical")), 1);
    let mut success = numbers(lines, "saga_success", ("service", "orders"));
    success.sort_unstable();
    assert_eq!(success, [0, 0, 0, 1, 1]);
    assert_eq!(numbers(lines, "saga_compensated", ("service", "orders")).len(), 5);
    // What the carrier refused had been confirmed.
    assert_eq!(numbers(lines, "saga_duration", ("until", "confirmed")).len(), 3);
    assert_eq!(numbers(lines, "saga_duration", ("until", "ended")).len(), 2);
}

/// A delivery has a lag when it is new, and only then.
fn repeated(before: &[Value], after: &[Value]) {
    let duplicates = |lines| numbers(lines, "deliveries", ("verdict", "duplicate")).iter().sum::<u64>();
    assert!(duplicates(after) >= duplicates(before) + 10, "{}", duplicates(after));
    let lags = |lines| numbers(lines, "event_lag", ("stage", "test"));
    assert_eq!(lags(before).len(), lags(after).len());
    let new = before.iter().filter(|line| line["message"] == "delivery" && line["verdict"] != "duplicate");
    assert_eq!(lags(before).len(), new.count());
    let longest = u64::try_from(TIMEOUT.as_millis()).unwrap();
    assert!(lags(before).iter().all(|lag| *lag < longest), "{:?}", lags(before));
}

fn hops(lines: &[Value], order: &str) {
    let of_order = |line: &&Value| line["order_id"] == order && line["task"].is_string();
    let correlation = &lines.iter().find(of_order).expect("no task of the compensator")["correlation_id"];
    let found: Vec<&Value> = lines.iter().filter(|line| line["correlation_id"] == *correlation).collect();
    let texts =
        |name: &str| -> BTreeSet<&str> { found.iter().filter_map(|line| line[name].as_str()).collect() };
    let all = registry::SERVICES.iter().copied().collect();
    assert_eq!(texts("service"), all);
    assert!(texts("message").contains("request"), "{:?}", texts("message"));
    for task in ["LookUpCharge", "Refund", "RecordRefunded"] {
        assert!(texts("task").contains(task), "{:?}", texts("task"));
    }
    // What belongs to an event names it, and what the event is about.
    for line in lines.iter().filter(|line| line["event"].as_str().is_some_and(|kind| kind.contains('.'))) {
        let subject = ["order_id", "product_id", "provider"].iter().find(|name| line[**name].is_string());
        assert!(line["correlation_id"].is_string() && subject.is_some(), "{line}");
    }
}
