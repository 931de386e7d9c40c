//! The carrier: it fails for a moment, or stays away.

use super::invariants;
use crate::bench::{Bench, Parcel};
use serde_json::{Value, json};
use tests::client::order_of;

/// Orders what the carrier treats in a way of its own; gives the order's id and the order once it has ended.
async fn shipped(bench: &mut impl Bench, kind: &str) -> (String, Value) {
    let product = bench.sell(kind, 10).await;
    let id = bench.place(&order_of(&product, 4)).await;
    let order = bench.ended(&id).await;
    bench.settle().await;
    invariants(bench, &[(product, 10)], std::slice::from_ref(&id)).await;
    (id, order)
}

/// Guards: redelivery. A carrier that fails for a moment is called again, and takes one parcel.
pub async fn a_carrier_that_fails_for_a_moment_is_called_again(bench: &mut impl Bench) {
    for (kind, calls) in [("carrier-flaky", 3), ("carrier-lost-answer", 2)] {
        let (id, order) = shipped(bench, kind).await;
        assert_eq!(order["status"], "FULFILLED", "{kind}");
        assert_eq!(bench.parcel(&id), Parcel { calls, taken: true, withdrawn: false }, "{kind}");
        assert_eq!(bench.history("fulfillment", &id).await, ["fulfillment.shipped"]);
    }
}

/// Guards: giving up. What the carrier cannot be asked about for too long is withdrawn before fulfillment says that it
/// failed: a call that arrives late ships nothing.
pub async fn a_carrier_that_stays_away_is_given_up(bench: &mut impl Bench) {
    let (id, order) = shipped(bench, "carrier-down").await;
    let outcome = (&order["status"], &order["failure"]["carrier_code"]);
    assert_eq!(outcome, (&json!("COMPENSATED"), &json!("carrier_unavailable")));
    let parcel = bench.parcel(&id);
    assert!(parcel.withdrawn && !parcel.taken, "{parcel:?}");
    assert_eq!(bench.history("fulfillment", &id).await, ["fulfillment.failed"]);
}
