//! Events that never arrive: the sweeper reminds the silent step, and what it publishes again changes nothing twice.

use super::invariants;
use crate::bench::{Bench, Trouble};
use tests::client::order_of;

/// How often the sweeper runs at most.
const SWEEPS: usize = 60;
/// How much happens between two sweeps.
const STEPS_BETWEEN: usize = 50;

/// Guards: I3 and I4; the sweeper, and answers published again. A pipe stands still, and an event is dropped: the order
/// ends nevertheless, and what the pipe carries when it goes on again changes nothing.
pub async fn a_pipe_stands_still_and_an_event_is_lost(bench: &mut impl Bench) {
    let beans = bench.sell("beans", 10).await;
    bench.trouble(Trouble::Lost("fulfillment", "order.confirmed"));
    bench.trouble(Trouble::Stopped("inventory"));
    let id = bench.place(&order_of(&beans, 4)).await;
    let nudged = reminded_to_the_end(bench, &id).await;
    assert!((2..=6).contains(&nudged), "{nudged}");
    bench.heal().await;
    bench.settle().await;
    assert_eq!(bench.notices(&id), ["ORDER_CONFIRMED", "ORDER_FULFILLED"]);
    assert_eq!(bench.history("inventory", &id).await, ["inventory.reserved"]);
    invariants(bench, &[(beans, 10)], &[id]).await;
}

/// Sweeps until an order is fulfilled; how many reminders it took.
pub async fn reminded_to_the_end(bench: &mut impl Bench, id: &str) -> u64 {
    let mut nudged = 0;
    for _ in 0..SWEEPS {
        for _ in 0..STEPS_BETWEEN {
            bench.step().await;
        }
        if bench.order(id).await["status"] == "FULFILLED" {
            break;
        }
        nudged += bench.sweep().await;
    }
    assert_eq!(bench.order(id).await["status"], "FULFILLED", "after {nudged} reminders");
    nudged
}
