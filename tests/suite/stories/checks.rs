//! The invariants, as far as they can be seen of some products and orders.

use crate::bench::{Account, Bench};
use chassis::Decider;
use chassis::aggregate::read_state;
use chassis::outbox::envelope_of;
use chassis::store::{EVENTS, Key, Store};
use orders::saga::{Saga, history};
use tests::invariants::{Ledger, Money};

/// Checks I1 for products, by the stock that each started with, and I2, I3, I5, I8 and I11 for orders. Call it on a bench that
/// has settled, with all orders for the products.
pub async fn invariants<B: Bench>(bench: &B, products: &[(String, u64)], orders: &[String]) {
    let mut ledger = Ledger::default();
    for order in orders {
        let Account { captures, captured, refunded, .. } = bench.account(order);
        ledger.order(order, &bench.order(order).await, Money { captures, captured, refunded });
        check_history(bench, order).await;
        assert_eq!(bench.points(order).await, bench.kept(order) / 100, "I8: the points of {order}");
        assert_eq!(bench.revenue(order).await, bench.kept(order), "I11: the revenue of {order}");
    }
    for (product, stock) in products {
        ledger.product(product, *stock, bench.stock(product).await);
    }
    assert_eq!(ledger.report.violations, Vec::<String>::new());
}

/// I5: the order's event rows are gapless, and their fold is its stored state.
pub async fn check_history<B: Bench>(bench: &B, order: &str) {
    let rows = bench.rows("orders", order, EVENTS).await;
    let seqs: Vec<u64> = rows.iter().map(|row| row.count("seq").unwrap()).collect();
    assert_eq!(seqs, (1..=u64::try_from(rows.len()).unwrap()).collect::<Vec<_>>(), "I5: gaps in {order}");
    let facts = rows.iter().map(|row| history::fact(&envelope_of(row).unwrap()).unwrap());
    let folded = facts.fold(Saga::default(), |saga, fact| saga.evolve(&fact));
    let state = Key::state(format!("order#{order}"));
    let row = bench.table("orders").await.load(&state).await.unwrap().unwrap();
    let stored: Saga = read_state(&row).unwrap().state;
    assert_eq!(folded, stored, "I5: {order} is not the fold of its history");
}
