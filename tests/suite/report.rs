//! What the local stack's report says: every permission of the templates is needed by something, and what an order costs.

use crate::bench::{Bench, Trouble};
use crate::platform::{BINARIES, Platform, on_platform, options, root, run, scratch};
use crate::stories::{charging, losses, outcomes, paid_with};
use chassis::store::{Condition, Key, Store, Write};
use chrono::{TimeDelta, Utc};
use events::envelope::millis;
use hyper::Method;
use serde_json::{Value, json};
use std::time::Duration;
use tests::client::{Client, order_of};

const TIMEOUT: Duration = Duration::from_secs(30);

/// Calls every route once that reads or writes more than the stories do.
async fn every_route(platform: &Platform) {
    let (api, product) = (&platform.api, platform.product(5).await);
    let saved = json!({"payment_method": "pm_card_visa"}).to_string();
    let headers = [("content-type", "application/json"), ("idempotency-key", "report")];
    let method = "/customers/ada/payment-method";
    assert_eq!(api.send_with(Method::PUT, method, &headers, saved).await.unwrap().status, 201);
    assert_eq!(api.get(method).await.unwrap().status, 200);
    let order = order_of(&product, 1);
    let placed = api.send_with(Method::POST, "/orders", &headers, order.to_string()).await.unwrap();
    let id = placed.body["order_id"].as_str().unwrap().to_owned();
    platform.stack.settle(TIMEOUT).await.unwrap();
    for path in [
        "/orders?customer_id=ada&limit=1".into(),
        format!("/orders/{id}/events"),
        format!("/orders/{id}/saga"),
    ] {
        assert_eq!(api.get(&path).await.unwrap().status, 200, "{path}");
    }
    operators(platform, &product).await;
    let declined = api.place(&paid_with("pm_card_visa_chargeDeclined", order)).await.unwrap();
    api.send_with(Method::POST, &format!("/orders/{declined}/cancel"), &headers, String::new())
        .await
        .unwrap();
}

/// What only operators do: the report of sales, and a count of the shelf.
async fn operators(platform: &Platform, product: &str) {
    let today = Utc::now().date_naive();
    let operators = platform.bearing("ops", "orders:operate");
    let report = format!("/reports/sales?from={}&to={today}", today - chrono::Days::new(1));
    assert_eq!(operators.get(&report).await.unwrap().status, 200);
    let seen = platform.api.etag(product).await.unwrap();
    let count = json!({"product_id": product, "stock": 9, "seen": seen.trim_matches('"')});
    platform.invoke("test-quadrille-inventory-counter", &count).await;
}

/// Answers that are lost on their way to orders: who gave them publishes them again.
async fn lost_answers(platform: &mut &Platform) {
    let beans = platform.sell("beans", 10).await;
    for (service, answer) in [("payments", "payment.charged"), ("fulfillment", "fulfillment.shipped")] {
        platform.trouble(Trouble::Lost("orders", answer));
        let mut order = order_of(&beans, 1);
        // Its key is written by orders, and read by fulfillment.
        order["shipping_address"] =
            json!({"name": "Ada", "line1": "1 Row", "city": "Oslo", "postal_code": "1", "country": "NO"});
        let id = platform.place(&order).await;
        assert!(losses::reminded_to_the_end(platform, &id).await > 0, "{service} was not asked");
        platform.heal().await;
    }
}

/// An order whose step is overdue, and not only ahead of time: its row says that everything happened an hour earlier.
async fn overdue(platform: &mut &Platform) {
    let beans = platform.sell("beans", 10).await;
    platform.trouble(Trouble::Stopped("orders"));
    let id = platform.place(&order_of(&beans, 1)).await;
    let (table, key) = (platform.table("test-quadrille-orders").await, Key::state(format!("order#{id}")));
    let row = table.load(&key).await.unwrap().unwrap();
    let version = row.number("version").unwrap();
    let mut data: Value = serde_json::from_str(row.text("data").unwrap()).unwrap();
    let earlier = millis::text(&(Utc::now() - TimeDelta::hours(1)));
    for noted in data["known"].as_array_mut().unwrap() {
        noted["at"] = earlier.as_str().into();
    }
    let row = row.with("data", data.to_string()).with("overdue_at", earlier);
    let when = Condition::Matches(vec![("version", version.into())]);
    table.commit(vec![Write::Put { item: row, when }]).await.unwrap();
    assert_eq!(platform.sweep().await, 1);
    platform.heal().await;
    platform.settle().await;
}

/// Orders whose events come in batches: what a batch loads it loads in one call.
async fn many_at_once(platform: &mut &Platform) {
    let beans = platform.sell("beans", 20).await;
    platform.trouble(Trouble::Stopped("orders"));
    for method in ["pm_card_visa_chargeDeclined"; 5].into_iter().chain(["pm_card_visa"; 3]) {
        platform.place(&paid_with(method, order_of(&beans, 1))).await;
    }
    platform.heal().await;
    platform.settle().await;
}

/// Events that come three times: the first repeat of one leaves a row, each further one is counted in it.
async fn repeats(platform: &mut &Platform) {
    let beans = platform.sell("beans", 1).await;
    platform.trouble(Trouble::Repeated(None, 2));
    platform.place(&order_of(&beans, 1)).await;
    platform.settle().await;
    platform.heal().await;
}

/// Guards: least privilege. Each action and each resource that a role is granted is needed by a call, and none is granted on
/// every resource there is.
#[test]
fn no_permission_is_unused() {
    run(async {
        let platform = Platform::start(&options("report")).await.unwrap();
        every_route(&platform).await;
        outcomes::what_no_carrier_takes_is_given_back(&mut &platform).await;
        charging::a_refund_refused_for_good_is_made_when_an_operator_asks(&mut &platform).await;
        lost_answers(&mut &platform).await;
        overdue(&mut &platform).await;
        many_at_once(&mut &platform).await;
        repeats(&mut &platform).await;
        let report = Client::new(&platform.stack.endpoint).get("/report").await.unwrap().body;
        let permissions = &report["permissions"];
        assert!(permissions["granted"].as_u64() > Some(100), "{permissions:#}");
        assert_eq!(permissions["unused"], json!([]), "of {}", permissions["granted"]);
        assert_eq!(permissions["on_everything"], json!([]));
    });
}

/// Guards: a call that is meant to change something is not answered by what only shows something.
#[test]
fn what_only_shows_something_is_only_read() {
    on_platform(async |platform| {
        let endpoint = Client::new(&platform.stack.endpoint);
        for path in ["/report", "/functions", "/topics/test-quadrille-notifications.fifo"] {
            let read = endpoint.get(path).await.unwrap().status;
            let sent = endpoint.send(Method::POST, path, "{}").await.unwrap().status;
            assert_eq!((read, sent), (200, 405), "{path}");
        }
    });
}

/// What an order of a kind costs, alone on the platform: write units, calls of AWS, transactions among them, rows written, events on
/// the bus, state transitions.
type Cost = [u32; 6];

const COSTS: [(&str, Cost); 4] = [
    ("fulfilled", [66, 30, 10, 30, 7, 0]),
    ("declined", [61, 31, 8, 27, 6, 0]),
    ("out of stock", [47, 24, 7, 21, 4, 0]),
    ("not shipped", [112, 53, 16, 48, 12, 6]),
];

/// Guards: what an order costs, to the unit. A change that makes it dearer or cheaper changes a number here, and says why.
#[test]
fn the_units_of_an_order_are_counted() {
    let mut report = std::process::Command::new(BINARIES.join("localstack"));
    let data = scratch("report-of-costs");
    report.args(["report", "--orders", "4", "--concurrency", "1", "--json"]).current_dir(&data);
    let infra = root().join("infra");
    let output = report.arg("--infra").arg(infra).arg("--bin-dir").arg(&*BINARIES).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let kinds = report["kinds"].as_array().unwrap();
    let costs =
        COSTS.map(|(title, _)| (title, cost_of(kinds.iter().find(|kind| kind["kind"] == title).unwrap())));
    assert_eq!(costs, COSTS, "{report:#}");
    let usd = |kind: &Value| kind["usd_for_a_million"].as_str().unwrap().parse::<f64>().unwrap();
    assert!(kinds.iter().all(|kind| usd(kind) > 10.0));
}

fn cost_of(kind: &Value) -> Cost {
    let lines = kind["lines"].as_array().unwrap();
    let sum = |name: &str, place: &str| -> u32 {
        let lines = lines.iter().filter(|line| line["name"] == name);
        let lines = lines.filter(|line| line["place"].as_str().unwrap().starts_with(place));
        let tenths =
            lines.map(|line| line["each"].as_str().unwrap().replace('.', "").parse::<u32>().unwrap());
        let tenths: u32 = tenths.sum();
        assert_eq!(tenths % 10, 0, "{name}: {lines:?}", lines = kind["lines"]);
        tenths / 10
    };
    [
        sum("DynamoDB, write request units", ""),
        sum("Calls of AWS", ""),
        sum("Calls of AWS", "dynamodb:TransactWriteItems"),
        sum("DynamoDB, rows written", ""),
        sum("EventBridge, events put", ""),
        sum("Step Functions, transitions", ""),
    ]
}
