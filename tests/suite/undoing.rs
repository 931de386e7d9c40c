//! What goes wrong with money and parcels, on memory stores: the same stories as in `faults.rs`, `compensation.rs` and
//! `fulfillment.rs`, in milliseconds.

use crate::platform::run;
use crate::races::order;
use crate::world::{Dice, EXHAUSTED, FLOW, World};
use chassis::Verdict;
use events::Envelope;
use orders::saga::Status;
use serde_json::json;

/// A world that sells ten of `product`, and an order of two on its way.
async fn ordered(product: &str, method: &str) -> (World, String) {
    let mut world = World::new();
    world.list(product, 10).await;
    let id = world.place(&order(&[(product, 2)], method)).await;
    (world, id)
}

/// Takes what is on its way to a service out of the world.
fn withhold(world: &mut World, service: &str) -> Vec<Envelope> {
    let (kept, rest): (Vec<_>, Vec<_>) = world.pending.drain(..).partition(|(to, _)| *to == service);
    world.pending = rest;
    kept.into_iter().map(|(_, envelope)| envelope).collect()
}

/// Delivers everything but what goes to `service`; gives that.
async fn play_without(world: &mut World, service: &'static str) -> Vec<Envelope> {
    let mut kept = withhold(world, service);
    while let Some((to, envelope)) = world.pending.pop() {
        world.deliver(to, &envelope).await.unwrap();
        kept.extend(withhold(world, service));
    }
    kept
}

/// Guards: a decline is remembered, with the inbox expired too. The provider would now take the money; it is not asked.
#[test]
fn a_decline_stays_one() {
    run(async {
        let (mut world, id) = ordered("beans", "declines_once").await;
        let mut seen = Vec::new();
        while let Some((service, envelope)) = world.pending.pop() {
            world.deliver(service, &envelope).await.unwrap();
            seen.push((service, envelope));
        }
        world.expire_inboxes();
        for (_, envelope) in seen.iter().filter(|(service, _)| *service == "payments") {
            world.deliver("payments", envelope).await.unwrap();
        }
        assert_eq!((world.captured(&id), world.charges(&id)), (0, 1));
        assert_eq!(world.status(&id).await, Status::Compensated);
    });
}

/// Guards: the committed intent and the idempotency key. A charge whose answer was lost is asked for again: one capture,
/// and the order goes on.
#[test]
fn a_lost_answer_is_one_capture() {
    run(async {
        let (mut world, id) = ordered("beans", "loses_its_answer").await;
        world.play(&mut Dice::new(1)).await;
        assert_eq!((world.captured(&id), world.status(&id).await), (200, Status::Fulfilled));
        assert!(world.charges(&id) >= 2);
    });
}

/// Guards: the tombstones of inventory and payments.
#[test]
fn a_cancellation_that_overtakes_its_order() {
    run(async {
        let (mut world, id) = ordered("beans", "accepts").await;
        let created: Vec<_> = world.pending.drain(..).collect();
        assert!(world.cancel(&id).await);
        world.play(&mut Dice::new(1)).await;
        for (service, envelope) in created {
            assert_eq!(world.deliver(service, &envelope).await, Ok(Verdict::Stale), "{service}");
        }
        assert_eq!((world.status(&id).await, world.charges(&id)), (Status::Cancelled, 0));
        assert_eq!(world.stock("beans").await, (10, 0, 0));
    });
}

/// Guards: I7, and the verdict. Stock and money that come after the cancellation are given back.
#[test]
fn what_comes_after_the_cancellation_is_undone() {
    run(async {
        let (mut world, id) = ordered("beans", "accepts").await;
        let late = play_without(&mut world, "orders").await;
        assert_eq!(world.captured(&id), 200);
        assert!(world.cancel(&id).await);
        for envelope in late {
            assert_eq!(world.deliver("orders", &envelope).await, Ok(Verdict::LateCompensated));
        }
        world.play(&mut Dice::new(1)).await;
        assert_eq!((world.status(&id).await, world.captured(&id)), (Status::Compensated, 0));
        assert_eq!(world.stock("beans").await, (10, 0, 0));
    });
}

/// An order that was charged and is cancelled, and how its provider treats refunds.
async fn cancelled_and_refused(method: &str) -> (World, String) {
    let (mut world, id) = ordered("beans", method).await;
    let late = play_without(&mut world, "orders").await;
    assert!(world.cancel(&id).await);
    world.pending.extend(late.into_iter().map(|envelope| ("orders", envelope)));
    world.run_down().await;
    (world, id)
}

/// Guards: refused refunds are tried again, and then wait for an operator, whose verb finishes the order.
#[test]
fn a_refund_is_refused_three_times_or_for_good() {
    run(async {
        let (world, id) = cancelled_and_refused("keeps_3").await;
        assert_eq!((world.status(&id).await, world.captured(&id)), (Status::Compensated, 0));
        let (mut world, id) = cancelled_and_refused("keeps_4").await;
        assert_eq!((world.status(&id).await, world.captured(&id)), (Status::Failed, 200));
        world.retry(&id).await;
        world.play(&mut Dice::new(1)).await;
        assert_eq!((world.status(&id).await, world.captured(&id)), (Status::Compensated, 0));
        assert_eq!(world.notices(&id), ["ORDER_CANCELLED", "ORDER_FAILED", "PAYMENT_REFUNDED"]);
    });
}

/// Guards: giving up. What the carrier cannot be asked about is withdrawn, and a call that is still on its way ships
/// nothing any more; what it took without saying so is shipped, not given up.
#[test]
fn giving_up_asks_the_carrier_first() {
    for (product, status, stock) in [
        ("carrier-down", Status::Compensated, (10, 0, 0)),
        ("carrier-lost-answer", Status::Fulfilled, (8, 0, 2)),
    ] {
        run(async move {
            let (mut world, id) = ordered(product, "accepts").await;
            let confirmed = play_without(&mut world, "fulfillment").await.remove(0);
            for _ in 0..3 {
                assert!(world.deliver("fulfillment", &confirmed).await.is_err());
            }
            world.deliver(EXHAUSTED, &confirmed).await.unwrap();
            world.play(&mut Dice::new(1)).await;
            assert_eq!((world.status(&id).await, world.stock(product).await), (status, stock));
            assert_eq!(world.deliver("fulfillment", &confirmed).await, Ok(Verdict::Duplicate));
            world.expire_inboxes();
            assert_eq!(world.deliver("fulfillment", &confirmed).await, Ok(Verdict::Stale));
            world.check_history(&id).await;
        });
    }
}

/// Guards: the word as the state stands. A charge that was answered after it was asked back does not hide that it is being
/// undone: when the flow was lost, a reminder starts it again.
#[test]
fn a_lost_flow_is_started_again() {
    run(async {
        let (mut world, id) = ordered("beans", "slow").await;
        let mut to_payments = play_without(&mut world, "payments").await;
        let created = to_payments.iter().position(|e| e.metadata.kind == "order.created").unwrap();
        world.deliver("payments", &to_payments.remove(created)).await.unwrap();
        assert!(world.cancel(&id).await);
        to_payments.extend(play_without(&mut world, "payments").await);
        // The charge is on its way when the cancellation comes, and is answered afterwards.
        world.deliver_at_once("payments", [&to_payments[0], &to_payments[1]]).await;
        let told = world.told("payments", &id).await;
        assert_eq!(told, ["payment.compensation.requested", "payment.charged"]);
        play_without(&mut world, FLOW).await;
        assert_eq!((world.status(&id).await, world.captured(&id)), (Status::Cancelling, 200));
        world.advance(1801);
        world.sweep().await;
        world.run_down().await;
        assert_eq!((world.status(&id).await, world.captured(&id)), (Status::Compensated, 0));
    });
}

/// Guards: I3. A refund that was made in the end, and whose event was lost, is said again when the operator asks; and one
/// that was made by a task that died is not called failed.
#[test]
fn a_lost_refund_is_said_again() {
    run(async {
        let (mut world, id) = cancelled_and_refused("keeps_4").await;
        world.retry(&id).await;
        let lost = play_without(&mut world, "orders").await;
        assert!(lost.iter().any(|envelope| envelope.metadata.kind == "payment.refunded"));
        assert_eq!((world.status(&id).await, world.captured(&id)), (Status::Failed, 0));
        world.retry(&id).await;
        world.run_down().await;
        assert_eq!(world.status(&id).await, Status::Compensated);
        assert_eq!(world.notices(&id), ["ORDER_CANCELLED", "ORDER_FAILED", "PAYMENT_REFUNDED"]);
    });
}

/// Guards: a last look before giving up. The money went back, and every task that could have said so died.
#[test]
fn a_refund_that_was_made_silently_is_found() {
    run(async {
        let (world, id) = cancelled_and_refused("refunds_silently").await;
        assert_eq!((world.status(&id).await, world.captured(&id)), (Status::Compensated, 0));
    });
}

/// Guards: the same for a void. Nothing was captured and nothing can be any more: that is no failed refund.
#[test]
fn a_void_that_was_made_silently_is_found() {
    run(async {
        let (mut world, id) = ordered("beans", "voids_silently").await;
        let to_payments = play_without(&mut world, "payments").await;
        for envelope in to_payments.iter().rev() {
            // The provider is down: the charge is on its way, as far as anybody knows.
            let _ = world.deliver("payments", envelope).await;
        }
        assert!(world.cancel(&id).await);
        let requested = play_without(&mut world, FLOW).await.remove(0);
        let mut event = json!(requested);
        event["charge"] = json!({"status": "NOTHING"});
        assert!(world.task("VoidAtProvider", &event).await.is_err());
        event["escalation"] = json!({"error": "Transient"});
        world.task("RecordRefundFailed", &event).await.unwrap();
        world.publish();
        world.run_down().await;
        assert_eq!((world.status(&id).await, world.captured(&id)), (Status::Compensated, 0));
        assert!(world.told("payments", &id).await.contains(&"payment.voided".to_owned()));
    });
}
