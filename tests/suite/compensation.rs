//! Charges that have to be given back, on the real platform: orders that wait for an operator, and voids and charges that
//! exclude each other. What the world shows too is in `stories`.

use crate::platform::{in_trouble, on_platform};
use crate::stories::charging::refused_for_good;
use chassis::Failure;
use chassis::ports::Secret;
use events::{Currency, Money, OrderId};
use hyper::Method;
use operator::dead_letters::Waiting;
use payments::payment::Bill;
use payments::provider::https::Https;
use payments::provider::stripe::Stripe;
use payments::provider::{Confirmation, Creation, PaymentMethod, PaymentProvider};
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
        let is_it = |one: &Waiting| one.status == "FAILED" && one.order_id == id && !one.is_overdue;
        assert!(waiting.iter().any(is_it), "{waiting:?}");
    });
}

/// Guards: the void is authoritative. What has captured is not called void, and what is cancelled captures nothing
/// afterwards, whoever confirms it under whatever key.
#[test]
fn a_void_and_a_charge_exclude_each_other() {
    on_platform(async |platform| {
        let base = platform.stack.provider_url.parse().unwrap();
        let provider = Stripe(Https::new(&base, Fixed("sk_test")).await.unwrap());
        let method = PaymentMethod { id: "pm_card_visa".into(), customer: None };
        let open = async |order_id: OrderId| {
            let bill = Bill {
                order_id,
                customer_id: "ada".parse().unwrap(),
                amount: Money::new(500, Currency::USD),
                payment_method: None,
            };
            match provider.create(&bill, &method, 1).await.unwrap() {
                Creation::Opened { intent } => intent,
                other => panic!("{other:?}"),
            }
        };
        let ids = [OrderId(uuid::Uuid::now_v7()), OrderId(uuid::Uuid::now_v7())];
        let (charged, voided) = (open(ids[0]).await, open(ids[1]).await);
        let captured = provider.confirm(ids[0], &charged, 1).await;
        assert!(matches!(captured, Ok(Confirmation::Captured(_))), "{captured:?}");
        assert_eq!(provider.cancel(&charged, "a").await, Ok(false));
        assert_eq!(provider.cancel(&voided, "b").await, Ok(true));
        assert_eq!(provider.cancel(&voided, "c").await, Ok(true), "cancelled twice is cancelled");
        for tries in 1..3 {
            let late = provider.confirm(ids[1], &voided, tries).await;
            assert!(matches!(late, Ok(Confirmation::Declined { .. })), "{late:?}");
        }
        let captured = |intent: &str| platform.stack.provider.records()[intent].captured;
        assert_eq!((captured(&charged), captured(&voided)), (500, 0));
    });
}

/// A key that never changes.
struct Fixed(&'static str);

impl Secret for Fixed {
    async fn read(&self) -> Result<String, Failure> {
        Ok(self.0.to_owned())
    }
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
