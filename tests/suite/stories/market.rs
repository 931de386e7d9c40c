//! A small market: one order of every kind at the same time. However events arrive, each order ends as it should.

use super::{invariants, paid_with};
use crate::bench::{Bench, Trouble};
use orders::saga::Status;
use registry::SERVICES;
use serde_json::json;
use tests::client::{CENTS, order_of};

/// How one order is to end.
pub struct Expected {
    pub order: String,
    pub status: Status,
    /// What is kept of its money.
    pub kept: u64,
    /// What its customer is notified of.
    pub notices: &'static [&'static str],
}

/// How one product is to end.
pub struct Shelf {
    pub product: String,
    /// Units at the beginning.
    pub stock: u64,
    /// Units available, held and shipped in the end.
    pub left: (u64, u64, u64),
}

pub struct Market {
    pub shelves: Vec<Shelf>,
    pub orders: Vec<Expected>,
}

/// Places one order that succeeds, one that the provider declines, one that is short on its second line, and one that the
/// carrier will not take.
pub async fn open<B: Bench>(bench: &mut B) -> Market {
    let (beans, cups) = (bench.sell("beans", 10).await, bench.sell("cups", 1).await);
    let anvil = bench.sell("unshippable", 5).await;
    let mut two_lines = order_of(&beans, 1);
    two_lines["items"].as_array_mut().unwrap().push(json!({"product_id": cups, "quantity": 2}));
    let mut orders = Vec::new();
    for (order, status, kept, notices) in [
        (order_of(&beans, 2), Status::Fulfilled, 2 * CENTS, &["ORDER_CONFIRMED", "ORDER_FULFILLED"][..]),
        (
            paid_with("pm_card_visa_chargeDeclined", order_of(&beans, 3)),
            Status::Compensated,
            0,
            &["ORDER_CANCELLED"],
        ),
        (two_lines, Status::Cancelled, 0, &["ORDER_CANCELLED"]),
        (
            order_of(&anvil, 4),
            Status::Compensated,
            0,
            &["ORDER_CANCELLED", "ORDER_CONFIRMED", "PAYMENT_REFUNDED"],
        ),
    ] {
        orders.push(Expected { order: bench.place(&order).await, status, kept, notices });
    }
    let shelf = |product, stock, left| Shelf { product, stock, left };
    let shelves = [shelf(beans, 10, (8, 0, 2)), shelf(cups, 1, (1, 0, 0)), shelf(anvil, 5, (5, 0, 0))];
    Market { shelves: shelves.into(), orders }
}

/// Each order and each product ended as it should; `how` says what the market went through.
pub async fn check<B: Bench>(bench: &B, market: &Market, how: &str) {
    for Expected { order, status, kept, notices } in &market.orders {
        assert_eq!(bench.status(order).await, *status, "{how}: {order}");
        assert_eq!(bench.kept(order), *kept, "{how}: I2 of {order}");
        assert_eq!(bench.sorted_notices(order), *notices, "{how}: each notification of {order} once");
    }
    for Shelf { product, left, .. } in &market.shelves {
        assert_eq!(bench.stock(product).await, *left, "{how}: I1 of {product}");
    }
    let products: Vec<_> = market.shelves.iter().map(|shelf| (shelf.product.clone(), shelf.stock)).collect();
    let orders: Vec<_> = market.orders.iter().map(|expected| expected.order.clone()).collect();
    invariants(bench, &products, &orders).await;
}

/// Opens a market, waits for its end, and checks it.
pub async fn every_order_ends_as_ever<B: Bench>(bench: &mut B, how: &str) -> Market {
    let market = open(bench).await;
    for expected in &market.orders {
        bench.ended(&expected.order).await;
    }
    bench.settle().await;
    check(bench, &market, how).await;
    market
}

/// Guards: the inbox and monotonic decisions together (each alone: `races.rs`). Every event of a run arrives twice.
pub async fn every_event_twice(bench: &mut impl Bench) {
    bench.trouble(Trouble::Repeated(None, 1));
    every_order_ends_as_ever(bench, "every event twice").await;
}

/// Guards: commutative decisions and tombstones. At one service after the other, the last event arrives first.
pub async fn every_event_after_its_successors(bench: &mut impl Bench) {
    let mut early = 0;
    for service in SERVICES {
        bench.trouble(Trouble::Reversed(service));
        let market = every_order_ends_as_ever(bench, &format!("reversed at {service}")).await;
        bench.heal().await;
        for expected in &market.orders {
            let verdicts = bench.verdicts("payments", &expected.order).await;
            early += verdicts.iter().filter(|(_, verdict)| verdict == "early").count();
        }
    }
    assert!(early >= 1, "payments never got a permission before it knew the bill");
}
