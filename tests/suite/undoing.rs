//! Money and parcels in trouble, at moments that only the world can choose. What the real platform can show is told in
//! `stories`.

use crate::bench::{Bench, Parcel};
use crate::outside::Mishap;
use crate::platform::run;
use crate::races::order;
use crate::seeded::Dice;
use crate::stores::Crash;
use crate::stories::check_history;
use crate::world::{FLOW, World};
use chassis::Verdict;
use events::Envelope;
use fulfillment::shipment::MAX_TRIES;
use orders::saga::Status;

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

/// Delivers everything but what goes to `service`; gives what it kept back.
async fn play_without(world: &mut World, service: &'static str) -> Vec<Envelope> {
    let mut kept = withhold(world, service);
    while let Some((to, envelope)) = world.pending.pop() {
        world.deliver(to, &envelope).await.unwrap();
        kept.extend(withhold(world, service));
    }
    kept
}

/// Guards: a decline is remembered, without its inbox row too. The provider would now take the money; it is not asked.
#[test]
fn a_decline_stays_one_without_its_inbox_row() {
    run(async {
        let (mut world, id) = ordered("beans", "pm_sim_declines_once").await;
        let mut seen = Vec::new();
        while let Some((service, envelope)) = world.pending.pop() {
            world.deliver(service, &envelope).await.unwrap();
            seen.push((service, envelope));
        }
        world.expire_inboxes();
        for (_, envelope) in seen.iter().filter(|(service, _)| *service == "payments") {
            world.deliver("payments", envelope).await.unwrap();
        }
        assert_eq!((world.kept(&id), world.charges(&id)), (0, 1));
        assert_eq!(world.status(&id).await, Status::Compensated);
    });
}

/// An order that was charged, which orders does not know yet.
async fn charged(method: &str) -> (World, String) {
    let (mut world, id) = ordered("beans", method).await;
    let late = play_without(&mut world, "orders").await;
    world.pending.extend(late.into_iter().map(|envelope| ("orders", envelope)));
    (world, id)
}

/// Its customer cancels.
async fn cancel(world: &mut World, id: &str) {
    assert!(world.cancel(id).await);
    world.play_once().await;
}

/// An order that was charged and is cancelled, and how its provider treats refunds.
async fn cancelled_once_charged(method: &str) -> (World, String) {
    let (mut world, id) = charged(method).await;
    cancel(&mut world, &id).await;
    (world, id)
}

/// Guards: giving up. What the carrier cannot be asked about is withdrawn, and a call that is still on its way ships
/// nothing any more; what it took without an answer is shipped, not given up.
#[test]
fn giving_up_asks_the_carrier_first() {
    for (product, status, stock) in
        [("carrier-down", Status::Compensated, (10, 0, 0)), ("carrier-silent", Status::Fulfilled, (8, 0, 2))]
    {
        run(async move {
            let (mut world, id) = ordered(product, "pm_card_visa").await;
            let confirmed = play_without(&mut world, "fulfillment").await.remove(0);
            for n in 0..MAX_TRIES {
                assert!(world.deliver("fulfillment", &confirmed).await.is_err(), "{n}");
            }
            world.deliver("fulfillment", &confirmed).await.unwrap();
            assert_eq!(world.parcel(&id).calls, MAX_TRIES);
            world.play(&mut Dice::new(1)).await;
            assert_eq!((world.status(&id).await, world.stock(product).await), (status, stock));
            assert_eq!(world.deliver("fulfillment", &confirmed).await, Ok(Verdict::Duplicate));
            world.expire_inboxes();
            assert_eq!(world.deliver("fulfillment", &confirmed).await, Ok(Verdict::Stale));
            check_history(&world, &id).await;
        });
    }
}

/// Guards: giving up. Receives that never reach the carrier are no tries: while the table does not take the count, no call is
/// made, and nothing is given up however often the message comes.
#[test]
fn a_receive_that_asks_the_carrier_nothing_is_no_try() {
    run(async {
        let (mut world, id) = ordered("beans", "pm_card_visa").await;
        let confirmed = play_without(&mut world, "fulfillment").await.remove(0);
        for _ in 0..3 * MAX_TRIES {
            world.crash("fulfillment", 0, Crash::Before);
            assert!(world.deliver("fulfillment", &confirmed).await.is_err());
        }
        assert_eq!(world.parcel(&id), Parcel::default());
        world.deliver("fulfillment", &confirmed).await.unwrap();
        world.play(&mut Dice::new(1)).await;
        assert_eq!(world.status(&id).await, Status::Fulfilled);
    });
}

/// Guards: goods and money. A parcel that the carrier took without an answer, and denies at the next call, is on its way: it
/// is withdrawn before fulfillment would call it failed, and the withdrawal finds it.
#[test]
fn a_refusal_of_a_later_call_is_checked_by_withdrawing() {
    run(async {
        let (mut world, id) = ordered("carrier-denies", "pm_card_visa").await;
        world.play(&mut Dice::new(1)).await;
        assert_eq!(
            (world.status(&id).await, world.stock("carrier-denies").await),
            (Status::Fulfilled, (8, 0, 2))
        );
        assert!(world.parcel(&id).taken && world.kept(&id) > 0);
        check_history(&world, &id).await;
    });
}

/// Guards: the last answer follows from the state. A charge that the provider answered after payments had asked for it back
/// does not hide that it is being undone: when the flow was lost, a reminder starts it again.
#[test]
fn a_lost_flow_is_started_again() {
    run(async {
        let (mut world, id) = ordered("beans", "pm_card_visa").await;
        world.mishap(Mishap::Slow("/confirm"));
        let mut to_payments = play_without(&mut world, "payments").await;
        let created = to_payments.iter().position(|e| e.metadata.kind == "order.created").unwrap();
        world.deliver("payments", &to_payments.remove(created)).await.unwrap();
        assert!(world.cancel(&id).await);
        to_payments.extend(play_without(&mut world, "payments").await);
        // The charge is on its way when the cancellation comes, and is answered afterwards.
        world.deliver_during_a_call([&to_payments[0], &to_payments[1]], &id).await;
        let published = world.history("payments", &id).await;
        assert_eq!(published, ["payment.compensation.requested", "payment.charged"]);
        play_without(&mut world, FLOW).await;
        assert_eq!((world.status(&id).await, world.kept(&id)), (Status::Cancelling, 200));
        world.advance(1801);
        world.remind().await;
        world.play_once().await;
        assert_eq!((world.status(&id).await, world.kept(&id)), (Status::Compensated, 0));
    });
}

/// Guards: I3. When a refund was made in the end and its event was lost, payments publishes it again for the operator; a
/// refund that a task made before it died is not called failed.
#[test]
fn a_lost_refund_is_published_again() {
    run(async {
        let (mut world, id) = cancelled_once_charged("pm_sim_refund_refused").await;
        assert!(world.retry(&id).await);
        let lost = play_without(&mut world, "orders").await;
        assert!(lost.iter().any(|envelope| envelope.metadata.kind == "payment.refunded"));
        assert_eq!((world.status(&id).await, world.kept(&id)), (Status::Failed, 0));
        assert!(!world.retry(&id).await, "payments has refunded it already");
        world.play_once().await;
        assert_eq!(world.status(&id).await, Status::Compensated);
        assert_eq!(world.sorted_notices(&id), ["ORDER_CANCELLED", "ORDER_FAILED", "PAYMENT_REFUNDED"]);
    });
}

/// Guards: a last look before giving up. The money went back, and every task that could have recorded it died.
#[test]
fn a_refund_that_was_made_silently_is_found() {
    run(async {
        let (mut world, id) = charged("pm_card_visa").await;
        world.mishap(Mishap::NoAnswer("/v1/refunds"));
        cancel(&mut world, &id).await;
        assert_eq!((world.status(&id).await, world.kept(&id)), (Status::Compensated, 0));
    });
}

/// Guards: the same for a void. Nothing was captured and nothing can be any more: that is no failed refund.
#[test]
fn a_void_that_was_made_silently_is_found() {
    run(async {
        // The provider never answers: as far as payments knows, the charge is on its way.
        let (mut world, id) = ordered("beans", "pm_sim_timeout").await;
        let to_payments = play_without(&mut world, "payments").await;
        for envelope in to_payments.iter().rev() {
            let _ = world.deliver("payments", envelope).await;
        }
        world.mishap(Mishap::NoAnswer("/cancel"));
        cancel(&mut world, &id).await;
        assert_eq!((world.status(&id).await, world.kept(&id)), (Status::Compensated, 0));
        assert!(world.history("payments", &id).await.contains(&"payment.voided".to_owned()));
    });
}

/// Guards: a pending refund is no refund. The order is compensated once its money has arrived.
#[test]
fn a_pending_refund_is_followed() {
    run(async {
        let (mut world, id) = cancelled_once_charged("pm_card_pendingRefund").await;
        world.play_once().await;
        assert_eq!((world.status(&id).await, world.kept(&id)), (Status::Compensated, 0));
        let flow = &world.flows(&id)[0];
        assert_eq!(flow.retried, ["StillPending"]);
    });
}

/// Guards: a refund that fails while it is pending has failed, and its order waits for an operator.
#[test]
fn a_refund_that_fails_while_it_is_pending_has_failed() {
    run(async {
        let (mut world, id) = cancelled_once_charged("pm_sim_refund_pending_then_failed").await;
        world.play_once().await;
        assert_eq!((world.status(&id).await, world.kept(&id)), (Status::Failed, 200));
        assert!(!world.history("payments", &id).await.contains(&"payment.refunded".to_owned()));
    });
}

/// Guards: I2 days later. A refund that had arrived is returned by the bank: the order is FAILED again, an operator sees
/// it, and a further request ends it the same way until the bank takes the money.
#[test]
fn a_refund_that_is_returned_reopens_its_order() {
    run(async {
        let (mut world, id) = cancelled_once_charged("pm_card_refundFail").await;
        assert_eq!((world.status(&id).await, world.kept(&id)), (Status::Compensated, 0));
        world.advance(25 * 3600);
        world.wake().await;
        world.play_once().await;
        assert_eq!((world.status(&id).await, world.kept(&id)), (Status::Failed, 200));
        assert!(world.retry(&id).await);
        world.play_once().await;
        assert_eq!(world.status(&id).await, Status::Compensated);
    });
}

/// Guards: the watch ends. A refund that stands for a week is not looked at any more, and nothing changes.
#[test]
fn a_refund_that_stands_is_watched_for_a_week() {
    run(async {
        let (mut world, id) = cancelled_once_charged("pm_card_visa").await;
        for _ in 0..9 {
            world.advance(25 * 3600);
            world.wake().await;
        }
        assert_eq!((world.status(&id).await, world.kept(&id)), (Status::Compensated, 0));
        assert_eq!(world.asleep(), 0);
    });
}

/// Guards: a key for each try. A failure that the provider repeats for its key does not end the order.
#[test]
fn a_failure_that_is_repeated_for_its_key_is_left_behind() {
    run(async {
        let (mut world, id) = ordered("beans", "pm_card_visa").await;
        for path in ["/v1/payment_intents", "/confirm"] {
            world.mishap(Mishap::Fails(path));
        }
        world.play(&mut Dice::new(1)).await;
        assert_eq!((world.status(&id).await, world.kept(&id)), (Status::Fulfilled, 200));
    });
}

/// Guards: a repeated event whose inbox row is there makes no call, though another event's call is still to come.
#[test]
fn an_event_that_was_handled_makes_no_call() {
    run(async {
        let (mut world, id) = ordered("beans", "pm_sim_error").await;
        let mut to_payments = play_without(&mut world, "payments").await;
        to_payments.sort_by_key(|envelope| envelope.metadata.kind != "order.created");
        let [created, reserved] = to_payments.try_into().unwrap();
        assert_eq!(world.deliver("payments", &created).await, Ok(Verdict::Applied));
        assert!(world.deliver("payments", &reserved).await.is_err());
        assert_eq!(world.charges(&id), 1);
        assert_eq!(world.deliver("payments", &created).await, Ok(Verdict::Duplicate));
        assert_eq!(world.charges(&id), 1);
        assert!(world.deliver("payments", &reserved).await.is_err());
        assert_eq!(world.charges(&id), 2);
    });
}

/// Guards: what was captured comes from the provider's own object. Another amount than the bill's confirms nothing; when the
/// order times out, everything is given back.
#[test]
fn a_capture_of_another_amount_confirms_nothing() {
    run(async {
        let (mut world, id) = ordered("beans", "pm_card_visa").await;
        world.mishap(Mishap::Captures(150));
        world.play_once().await;
        assert_eq!((world.status(&id).await, world.kept(&id)), (Status::Pending, 200));
        for _ in 0..4 {
            world.advance(3600);
            world.remind().await;
            world.play_once().await;
        }
        assert_eq!((world.status(&id).await, world.kept(&id)), (Status::Compensated, 0));
    });
}
