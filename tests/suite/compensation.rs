//! Charges that have to be given back, on the real platform: orders that wait for an operator, and voids and charges that
//! exclude each other. What the world shows too is in `stories`.

use crate::platform::{in_trouble, on_platform};
use crate::stories::charging::refused_for_good;
use chassis::{Attempt, Failure};
use events::{Currency, Money, OrderId};
use hyper::Method;
use payments::payment::Bill;
use payments::provider::stripe::Stripe;
use payments::provider::{ChargeOutcome, PaymentProvider};
use std::time::Duration;
use tests::client::order_of;

const TIMEOUT: Duration = Duration::from_secs(30);

/// Guards: I3. An order whose refund was refused for good is listed for the operator.
#[test]
fn a_refund_refused_for_good_waits_for_an_operator() {
    in_trouble("waiting", async |platform| {
        let (_, id) = refused_for_good(&mut { platform }).await;
        let (operated, _) = platform.operated().await;
        let waiting = operated.waiting(chrono::Utc::now()).await.unwrap();
        assert!(waiting.iter().any(|line| line.starts_with(&format!("FAILED  {id}  since "))), "{waiting:?}");
    });
}

/// Guards: the void is authoritative. It takes the charge's key: what was charged before is not called void, and what
/// comes afterwards is refused and captures nothing.
#[test]
fn a_void_and_a_charge_exclude_each_other() {
    on_platform(async |platform| {
        let base = platform.stack.provider_url.parse().unwrap();
        let provider = Stripe::new(&base, "sk_test").unwrap();
        let bill = || Bill {
            order_id: OrderId(uuid::Uuid::now_v7()),
            customer_id: "ada".parse().unwrap(),
            amount: Money::new(500, Currency::USD),
            payment_method: Some("pm_card_visa".into()),
        };
        let charged = bill();
        assert!(matches!(
            provider.charge(&charged, Attempt::First).await,
            Ok(ChargeOutcome::Captured { .. })
        ));
        assert_eq!(provider.void(&charged, None).await, Ok(false));
        let voided = bill();
        assert_eq!(provider.void(&voided, None).await, Ok(true));
        assert!(matches!(provider.charge(&voided, Attempt::First).await, Err(Failure::Conflict { .. })));
        let captured =
            |bill: &Bill| platform.stack.provider.records()[&format!("{}:charge", bill.order_id)].captured;
        assert_eq!((captured(&charged), captured(&voided)), (500, 0));
    });
}

/// Guards: the void is authoritative. A charge whose answer was lost is found and given back; one that never
/// happened is voided, and nothing can be captured afterwards.
#[test]
fn cancels_in_every_moment_end_without_a_penny_kept() {
    on_platform(async |platform| {
        let product = platform.product(1000).await;
        let mut ids = Vec::new();
        for pause in 0..40 {
            let id = platform.api.place(&order_of(&product, 1)).await.unwrap();
            tokio::time::sleep(Duration::from_micros(pause * 500)).await;
            platform.api.send(Method::POST, &format!("/orders/{id}/cancel"), "").await.unwrap();
            ids.push(id);
        }
        for id in &ids {
            platform.api.ended(id, TIMEOUT).await.unwrap();
        }
        platform.stack.settle(TIMEOUT).await.unwrap();
        let stock = [(product, 1000)];
        let report = platform.check(&stock, &ids).await;
        assert!(!report.statuses.contains_key("CANCELLING"), "{:?}", report.statuses);
    });
}
