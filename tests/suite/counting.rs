//! Stock counts: what was counted is written only to the shelf that was counted, and a new price touches no stock.

use crate::platform::{Platform, on_platform, run};
use crate::stores::{Crash, Faulty};
use chassis::http::access::Auth;
use chassis::http::{Api, Request, Response};
use chassis::ports::Ports;
use chassis::store::{Condition, EVENTS, Item, Key, MemoryStore, Store, Write, every_row};
use events::Currency;
use futures_util::future::join_all;
use hyper::Method;
use inventory::api::ProductsApi;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tests::client::{Answer, order_of};

const TIMEOUT: Duration = Duration::from_secs(20);

/// Units available, held and shipped.
async fn stock(platform: &Platform, product: &str) -> (u64, u64, u64) {
    let row = platform.api.product(product).await.unwrap();
    let count = |name: &str| row[name].as_u64().unwrap();
    (count("available"), count("held"), count("shipped"))
}

/// Sells so many units of a product, and waits until they have left the shelf.
async fn ship(platform: &Platform, product: &str, units: u64) {
    let (_, _, before) = stock(platform, product).await;
    platform.api.place(&order_of(product, units)).await.unwrap();
    let deadline = Instant::now() + TIMEOUT;
    while stock(platform, product).await.2 != before + units {
        assert!(Instant::now() < deadline, "{product} did not ship");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[track_caller]
fn refused(answer: &Answer, status: u16, error: &str) {
    assert_eq!((answer.status, &answer.body["error"]), (status, &json!(error)), "{}", answer.body);
}

/// Guards: I1. A count says which shelf was counted; what shipped since is not on the shelf again, and a new price says
/// nothing of the stock.
#[test]
fn a_count_is_of_the_shelf_that_was_seen() {
    on_platform(async |platform| {
        let (api, product) = (&platform.api, platform.product(10).await);
        let seen = api.etag(&product).await.unwrap();
        ship(platform, &product, 3).await;
        let late = api.put(&product, Some(10), Some(&seen)).await.unwrap();
        refused(&late, 412, "PRECONDITION_FAILED");
        for blind in [None, Some("*")] {
            refused(&api.put(&product, Some(10), blind).await.unwrap(), 428, "PRECONDITION_REQUIRED");
        }
        for known in [None, Some("*")] {
            assert_eq!(api.put(&product, None, known).await.unwrap().status, 200);
        }
        refused(&api.put(&product, None, Some(&seen)).await.unwrap(), 412, "PRECONDITION_FAILED");
        assert_eq!(stock(platform, &product).await, (7, 0, 3));
        let seen = api.etag(&product).await.unwrap();
        assert_eq!(api.put(&product, Some(9), Some(&seen)).await.unwrap().status, 200);
        // Another count came first.
        refused(&api.put(&product, Some(8), Some(&seen)).await.unwrap(), 412, "PRECONDITION_FAILED");
        assert_eq!(stock(platform, &product).await, (9, 0, 3));
        let table = platform.table("test-quadrille-inventory").await;
        let rows = every_row(&table, &format!("product#{product}"), EVENTS).await.unwrap();
        let types: Vec<&str> = rows.iter().map(|row| row.text("type").unwrap()).collect();
        let (listed, counted) = ("product.listed", "product.counted");
        // The two requests without a count were the same: the listing was published for each.
        assert_eq!(types, [listed, counted, listed, listed, listed, counted]);
    });
}

/// Guards: a shop that is never without an open order can count.
#[test]
fn what_is_held_does_not_stand_in_the_way_of_a_count() {
    on_platform(async |platform| {
        // What no carrier takes stays held for a while.
        let product = platform.product_called("carrier-down", 5).await;
        let seen = platform.api.etag(&product).await.unwrap();
        let headers = [("content-type", "application/json"), ("prefer", "wait=10")];
        let order = order_of(&product, 3).to_string();
        let answer = platform.api.send_with(Method::POST, "/orders", &headers, order).await.unwrap();
        assert_eq!(answer.body["status"], "CONFIRMED");
        assert_eq!(platform.api.etag(&product).await.unwrap(), seen);
        assert_eq!(platform.api.put(&product, Some(6), Some(&seen)).await.unwrap().status, 200);
        assert_eq!(stock(platform, &product).await, (3, 3, 0));
    });
}

#[test]
fn a_new_product_needs_a_count() {
    on_platform(async |platform| {
        let uncounted = platform.api.put("uncounted", None, None).await.unwrap();
        refused(&uncounted, 400, "VALIDATION_FAILED");
        let named = &uncounted.body["errors"][0];
        assert_eq!((&named["field"], &named["rule"]), (&json!("stock"), &json!("required")));
        for unlike in ["*", "\"0-0\""] {
            let answer = platform.api.put("uncounted", Some(1), Some(unlike)).await.unwrap();
            refused(&answer, 412, "PRECONDITION_FAILED");
        }
        let garbled = platform.api.put("uncounted", Some(1), Some("0-0")).await.unwrap();
        assert_eq!((garbled.status, &garbled.body["errors"][0]["field"]), (400, &json!("If-Match")));
        assert_eq!(platform.api.get("/products/uncounted").await.unwrap().status, 404);
    });
}

/// Guards: the shelf is compared by what commits, not before it. Of many counts of one shelf at the same time, one is
/// written; the others decide again on what it left.
#[test]
fn of_many_counts_of_one_shelf_one_is_taken() {
    on_platform(async |platform| {
        let product = &platform.product(10).await;
        let seen = &platform.api.etag(product).await.unwrap();
        let counts = (20..40).map(|stock| async move {
            (stock, platform.api.put(product, Some(stock), Some(seen)).await.unwrap().status)
        });
        let (taken, refused): (Vec<_>, Vec<_>) =
            join_all(counts).await.into_iter().partition(|(_, status)| *status == 200);
        assert!(refused.iter().all(|(_, status)| *status == 412), "{refused:?}");
        let [(units, _)] = taken.as_slice() else { panic!("{taken:?}") };
        assert_eq!(stock(platform, product).await, (*units, 0, 0));
    });
}

/// Seven available, three held, two shipped; meanwhile these counters are adjusted. Gives the answer to the request, and
/// the counters afterwards.
async fn meanwhile(by: Vec<(&'static str, i64)>, body: Value) -> (u16, [u64; 3]) {
    let key = Key::state("product#beans");
    let row = Item::new(key.clone()).with("name", "Beans").with("unit_price", 100).with("currency", "USD");
    let row = row
        .with("available", 7)
        .with("held", 3)
        .with("shipped", 2)
        .with("counts", 1)
        .with("version", 1)
        .with("seq", 2);
    let inner = MemoryStore::default();
    inner.commit(vec![Write::Put { item: row, when: Condition::Absent }]).await.unwrap();
    let meanwhile = Crash::WriteFirst(Write::Adjust { key: key.clone(), by });
    let ports = Ports::system(Faulty::new(inner.clone(), meanwhile));
    let request = Request {
        route: "PUT /products/{id}".into(),
        path: [("id".to_owned(), "beans".to_owned())].into(),
        headers: [("if-match".to_owned(), "\"1-2\"".to_owned())].into(),
        body: body.to_string().into_bytes(),
        ..Request::default()
    };
    let api = ProductsApi { ports, currency: Currency::USD, auth: Auth::Off };
    let answer = api.answer(request).await.unwrap_or_else(Response::from);
    let row = inner.load(&key).await.unwrap().unwrap();
    (answer.status, ["available", "held", "shipped"].map(|name| row.count(name).unwrap()))
}

/// Guards: the commit's condition on every counter. What moves between the reading and the commit is decided on again: a
/// shipment refuses the count, a hold and a release are part of it, and nothing that moved is written back.
#[test]
fn what_moves_between_reading_and_commit_is_seen() {
    run(async {
        let count = || json!({"name": "Beans", "unit_price_cents": 100, "stock": 12});
        let price = || json!({"name": "Beans", "unit_price_cents": 200});
        let shipped = || vec![("held", -3), ("shipped", 3)];
        assert_eq!(meanwhile(shipped(), count()).await, (412, [7, 0, 5]));
        assert_eq!(meanwhile(shipped(), price()).await, (412, [7, 0, 5]));
        let held = || vec![("available", -4), ("held", 4)];
        assert_eq!(meanwhile(held(), count()).await, (200, [5, 7, 2]));
        assert_eq!(meanwhile(held(), price()).await, (200, [3, 7, 2]));
    });
}
