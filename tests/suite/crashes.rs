//! `kill -9`, of the whole platform and of single functions, in the middle of work.

use crate::platform::{Platform, options, process, run, scratch};
use futures_util::future::join_all;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tests::client::order_of;
use tests::invariants;

const TIMEOUT: Duration = Duration::from_secs(90);

/// Guards: what was acknowledged is on disk, pipes go on where they stopped, queues keep what they held, and
/// what is delivered twice because of it changes nothing twice.
#[test]
fn the_whole_platform_dies_in_the_middle_of_two_hundred_orders() {
    run(async {
        let data = scratch("power-cut");
        let platform = process(&data);
        platform.api.sell("survivor", 1000, TIMEOUT).await.unwrap();
        let placed = Arc::new(AtomicU32::new(0));
        let orders = (0..200).map(|n| {
            let (api, placed) = (platform.api.clone(), Arc::clone(&placed));
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(n * 3)).await;
                let id = api.place(&order_of("survivor", 1)).await.ok();
                placed.fetch_add(u32::from(id.is_some()), Ordering::SeqCst);
                id
            })
        });
        let orders: Vec<_> = orders.collect();
        // In the middle, however fast the machine is.
        let deadline = Instant::now() + TIMEOUT;
        while placed.load(Ordering::SeqCst) < 50 && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        platform.kill().unwrap();
        let accepted: Vec<String> = join_all(orders).await.into_iter().filter_map(|id| id.unwrap()).collect();
        assert!(
            (1..200).contains(&accepted.len()),
            "the kill came too early or too late: {}",
            accepted.len()
        );

        let platform = process(&data);
        let ended = join_all(accepted.iter().map(|id| platform.api.ended(id, TIMEOUT))).await;
        ended.into_iter().for_each(|order| drop(order.unwrap()));
        // An order whose acceptance never reached its client holds stock too: only money is checked by order.
        let report = invariants::check(&platform.api, &platform.provider, &[], &accepted).await.unwrap();
        assert_eq!(report.violations, Vec::<String>::new());
        let row = platform.api.product("survivor").await.unwrap();
        let count = |name: &str| row[name].as_u64().unwrap();
        assert_eq!(count("available") + count("held") + count("shipped"), 1000, "I1: {row}");
        assert!(count("held") + count("shipped") >= report.statuses["FULFILLED"], "I1: {row}");
    });
}

/// Guards: a message whose function died comes back after its visibility timeout, and the reaction that was
/// cut off is carried to its end.
#[test]
fn functions_die_in_the_middle_of_their_work() {
    run(async {
        let platform = Platform::start(&options("killed")).await.unwrap();
        let product = platform.product(1000).await;
        let order = order_of(&product, 1);
        let mut ids = Vec::new();
        for round in 0..12 {
            let placed = join_all((0..10).map(|_| platform.api.place(&order))).await;
            ids.extend(placed.into_iter().map(Result::unwrap));
            let victim = [
                "test-quadrille-inventory-reactor",
                "test-quadrille-payments-reactor",
                "test-quadrille-orders-reactor",
            ][round % 3];
            if let Some(pid) = platform.stack.functions.get(victim).unwrap().pid() {
                let killed = Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap();
                assert!(killed.success());
            }
            tokio::time::sleep(Duration::from_millis(60)).await;
        }
        let ended = join_all(ids.iter().map(|id| platform.api.ended(id, TIMEOUT))).await;
        ended.into_iter().for_each(|order| drop(order.unwrap()));
        let stock = [(product, 1000)];
        let report = platform.check(&stock, &ids).await;
        assert_eq!(report.statuses["FULFILLED"], 120);
    });
}
