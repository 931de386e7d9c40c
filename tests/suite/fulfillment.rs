//! The carrier: what it takes, what it refuses, what it cannot be asked; on the real platform.

use crate::platform::{Platform, on_platform};
use serde_json::{Value, json};
use std::time::Duration;
use tests::client::order_of;

const PATIENCE: Duration = Duration::from_secs(30);

/// Places an order for what the carrier treats in a way of its own; gives its id and the order once it has ended.
async fn ended(platform: &Platform, kind: &str) -> (String, Value) {
    let product = platform.product_called(kind, 10).await;
    let id = platform.api.place(&order_of(&product, 4)).await.unwrap();
    let order = platform.api.ended(&id, PATIENCE).await.unwrap();
    platform.stack.settle(PATIENCE).await.unwrap();
    let stock = [(product, 10)];
    let ids = std::slice::from_ref(&id);
    platform.check(&stock, ids).await;
    (id, order)
}

/// Guards: I2, I3, I8 past the confirmation, and each notification once. What the carrier refuses for good is refunded
/// and restocked, its points are revoked, and its customer is told each thing once.
#[test]
fn what_no_carrier_takes_is_given_back() {
    on_platform(async |platform| {
        let (id, order) = ended(platform, "unshippable").await;
        assert_eq!(
            (&order["status"], &order["failure_reason"]),
            (&json!("COMPENSATED"), &json!("FULFILLMENT_FAILED"))
        );
        assert_eq!(order["failure"]["carrier_code"], "prohibited_goods");
        assert_eq!(platform.told("rewards", &id).await, ["rewards.granted", "rewards.revoked"]);
        let mut notices = platform.notices(&id);
        notices.sort();
        assert_eq!(notices, ["ORDER_CANCELLED", "ORDER_CONFIRMED", "PAYMENT_REFUNDED"]);
        let types = platform.events(&id).await;
        for wanted in ["SHIPMENT_FAILED", "STOCK_RELEASED", "PAYMENT_REFUNDED", "ORDER_COMPENSATED"] {
            assert!(types.iter().any(|kind| kind == wanted), "{types:?}");
        }
    });
}

/// Guards: redelivery. A carrier that fails for a moment is asked again, and takes one parcel.
#[test]
fn a_carrier_that_fails_twice_takes_it_at_the_third_try() {
    on_platform(async |platform| {
        for (kind, calls) in [("carrier-flaky", 3), ("carrier-lost-answer", 2)] {
            let (id, order) = ended(platform, kind).await;
            assert_eq!(order["status"], "FULFILLED", "{kind}");
            assert_eq!(platform.stack.carrier.shipments()[&id].calls, calls, "{kind}");
            assert_eq!(platform.told("fulfillment", &id).await, ["fulfillment.shipped"]);
        }
    });
}

/// Guards: giving up. What the carrier cannot be asked about for too long is withdrawn before it is said to have failed:
/// it will not be carried by a call that arrives late.
#[test]
fn a_carrier_that_stays_away_is_given_up() {
    on_platform(async |platform| {
        let (id, order) = ended(platform, "carrier-down").await;
        assert_eq!(
            (&order["status"], &order["failure"]["carrier_code"]),
            (&json!("COMPENSATED"), &json!("carrier_unavailable"))
        );
        let shipment = platform.stack.carrier.shipments()[&id].clone();
        assert!(shipment.withdrawn && shipment.tracking_number.is_none(), "{shipment:?}");
        assert_eq!(platform.stack.queues.get("test-fulfillment-exhausted").unwrap().depth(), (0, 0));
    });
}
