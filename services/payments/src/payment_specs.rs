//! Given/when/then for a payment.

use super::*;
use events::Currency;
use uuid::Uuid;

type Spec = chassis::spec::Spec<Payment>;

fn order_id() -> OrderId {
    OrderId(Uuid::from_u128(1))
}

fn bill() -> Bill {
    Bill {
        order_id: order_id(),
        customer_id: "ada".parse().unwrap(),
        amount: Money::new(500, Currency::USD),
        payment_method: None,
    }
}

fn billed() -> Fact {
    Fact::Billed(bill())
}

fn created() -> Message {
    Message::Created(bill())
}

fn reserved() -> Message {
    Message::Reserved(order_id())
}

fn cancelled() -> Message {
    Message::Cancelled(order_id())
}

fn captured() -> Message {
    Message::Captured { charge_id: "ch_1".into() }
}

fn charged() -> Fact {
    super::charged(&bill(), "ch_1")
}

fn declined() -> Fact {
    Fact::Declined(PaymentDeclined {
        order_id: order_id(),
        payment_id: PaymentId::of(order_id()),
        code: "card_declined".into(),
    })
}

fn voided(amount: Option<Money>) -> Fact {
    let (order_id, payment_id) = (order_id(), PaymentId::of(order_id()));
    Fact::Voided(PaymentVoided { order_id, payment_id, amount, generation: None })
}

fn requested(generation: u32) -> Fact {
    let (order_id, payment_id) = (order_id(), PaymentId::of(order_id()));
    Fact::CompensationRequested(PaymentCompensationRequested { order_id, payment_id, generation })
}

fn started() -> Vec<Fact> {
    vec![billed(), Fact::Permitted, Fact::Started]
}

#[test]
fn a_charge_needs_the_bill_and_the_permission_in_either_order() {
    Spec::given([]).when(created()).then([billed()]);
    Spec::given([billed()]).when(reserved()).then([Fact::Permitted, Fact::Started]);
    Spec::given([]).when(reserved()).then([Fact::Permitted]);
    Spec::given([Fact::Permitted]).when(created()).then([billed(), Fact::Started]);
}

#[test]
fn the_providers_answer_is_a_fact_once() {
    Spec::given(started()).when(captured()).then([charged()]);
    let after = [started(), vec![charged()]].concat();
    Spec::given(after.clone()).when(captured()).refused(ANSWERED);
    Spec::given(after.clone()).when(created()).refused(ANSWERED);
}

/// Guards: a declined payment is never tried again, even when an event is delivered twice.
#[test]
fn declined_is_final() {
    let refused = Message::Refused { code: "card_declined".into() };
    Spec::given(started()).when(refused.clone()).then([declined()]);
    let after = [started(), vec![declined()]].concat();
    for again in [created(), reserved(), captured()] {
        Spec::given(after.clone()).when(again.clone()).refused(ANSWERED);
    }
    assert_eq!(Spec::given(after.clone()).state().pending_charge(), None);
    // Guards: a decline that arrives while the charge is being undone leaves the flow the bill that it voids.
    let racing = [started(), vec![requested(1), declined()]].concat();
    assert_eq!(Spec::given(racing).state().bill(), Some(&bill()));
    Spec::given(after.clone()).when(cancelled()).then([]);
}

/// Guards: after a crash between intent and outcome, the redelivery finds the call still due.
#[test]
fn a_started_charge_stays_due_until_it_is_answered() {
    Spec::given(started()).when(reserved()).then([Fact::Joined]);
    Spec::given(started()).when(created()).then([Fact::Joined]);
    assert_eq!(Spec::given(started()).state().pending_charge(), Some(&bill()));
}

/// Guards: the tombstone. Without it, the late events would charge for a dead order.
#[test]
fn cancelled_first_closes_the_door() {
    Spec::given([]).when(cancelled()).then([voided(None)]);
    Spec::given([billed()]).when(cancelled()).then([voided(Some(bill().amount))]);
    Spec::given([voided(None)]).when(created()).refused(CANCELLED);
    Spec::given([voided(None)]).when(reserved()).refused(CANCELLED);
    Spec::given([voided(None)]).when(cancelled()).refused(Refusal::Stale("already cancelled"));
}

/// Guards: a charge made or in flight is undone, and its late answer is not lost.
#[test]
fn cancelling_a_charge_asks_for_its_compensation() {
    Spec::given(started()).when(cancelled()).then([requested(1)]);
    Spec::given([started(), vec![charged()]].concat()).when(cancelled()).then([requested(1)]);
    let racing = [started(), vec![requested(1)]].concat();
    Spec::given(racing.clone()).when(captured()).then([charged()]);
    Spec::given(racing.clone()).when(reserved()).refused(CANCELLED);
    let after = Spec::given([racing, vec![charged()]].concat());
    assert!(matches!(after.state(), Payment::Compensating { .. }));
}

/// Guards: an order whose payment was unavailable is over; a charge that was made in spite of it is given back.
#[test]
fn unavailable_is_final_and_a_charge_in_spite_of_it_is_undone() {
    let refused = Message::Unavailable { retry_after_seconds: 60 };
    let unavailable = Fact::Unavailable(PaymentUnavailable { order_id: order_id(), retry_after_seconds: 60 });
    Spec::given(started()).when(refused.clone()).then([unavailable.clone()]);
    let over = [started(), vec![unavailable]].concat();
    Spec::given(over.clone()).when(reserved()).refused(ANSWERED);
    Spec::given(over.clone()).when(cancelled()).then([]);
    Spec::given(over.clone()).when(captured()).then([charged(), requested(1)]);
    Spec::given([started(), vec![charged()]].concat()).when(refused.clone()).refused(ANSWERED);
    // Guards: a delivery that met an open circuit must not publish "never tried" once another has joined.
    Spec::given([started(), vec![Fact::Joined]].concat()).when(refused.clone()).then([]);
}

/// Guards: how a compensation ends is a fact once, and a failed refund is tried again only when asked for.
#[test]
fn a_compensation_ends_once() {
    let racing = [started(), vec![charged(), requested(1)]].concat();
    let back = refunded(&bill(), 1);
    let of = |generation: u32| CompensationAttempt { order_id: order_id(), generation };
    Spec::given(racing.clone()).when(Message::ChargeRefunded(of(1))).then([back.clone()]);
    Spec::given(racing.clone()).when(captured()).refused(ANSWERED);
    let over = [racing.clone(), vec![back]].concat();
    for again in [Message::ChargeRefunded(of(1)), Message::ChargeVoided(of(1))] {
        Spec::given(over.clone()).when(again.clone()).refused(Refusal::Stale("not being undone"));
    }
    Spec::given(over.clone())
        .when(Message::Retried(order_id()))
        .refused(Refusal::Illegal("nothing is being undone"));
    let refused = Message::RefundRefused { of: of(1), code: "no".into() };
    let failed = refund_failed(&bill(), "no", 1);
    Spec::given(racing.clone()).when(refused.clone()).then([failed.clone()]);
    let second = requested(2);
    let failed = [racing, vec![failed]].concat();
    Spec::given(failed.clone()).when(Message::Retried(order_id())).then([second.clone()]);
    Spec::given(failed.clone()).when(refused.clone()).refused(Refusal::Stale("not being undone"));
    Spec::given(failed.clone()).when(Message::ChargeRefunded(of(1))).then([refunded(&bill(), 1)]);
    // What the first try still says does not end the second.
    let again = [failed.clone(), vec![second]].concat();
    Spec::given(again.clone()).when(refused.clone()).refused(Refusal::Stale("not being undone"));
    Spec::given(again.clone()).when(Message::ChargeRefunded(of(2))).then([refunded(&bill(), 2)]);
    Spec::given(failed.clone()).when(created()).refused(CANCELLED);
}

#[test]
fn an_answer_without_a_charge_is_illegal() {
    Spec::given([billed()]).when(captured()).refused(Refusal::Illegal("an answer without a charge"));
}
