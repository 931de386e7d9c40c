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

fn opens(intent: &str) -> Message {
    Message::Opened { intent: intent.into() }
}

fn opened() -> Fact {
    Fact::Opened("pi_1".into())
}

fn capture() -> Capture {
    Capture { intent: "pi_1".into(), charge_id: "ch_1".into(), amount: bill().amount }
}

fn captured() -> Message {
    Message::Captured(capture())
}

fn charged() -> Fact {
    super::charged(&bill(), &capture())
}

fn refuses() -> Message {
    Message::Refused { code: "card_declined".into() }
}

fn declined() -> Fact {
    let (order_id, code) = (order_id(), "card_declined".into());
    Fact::Declined(PaymentDeclined { order_id, payment_id: PaymentId::of(order_id), code })
}

fn unavailable() -> Fact {
    Fact::Unavailable(PaymentUnavailable { order_id: order_id(), retry_after_seconds: 60 })
}

fn voided(amount: Option<Money>) -> Fact {
    let (order_id, payment_id) = (order_id(), PaymentId::of(order_id()));
    Fact::Voided(PaymentVoided { order_id, payment_id, amount, generation: None })
}

fn requested(generation: u32) -> Fact {
    let (order_id, payment_id) = (order_id(), PaymentId::of(order_id()));
    Fact::CompensationRequested(PaymentCompensationRequested { order_id, payment_id, generation })
}

fn of(generation: u32) -> CompensationAttempt {
    CompensationAttempt { order_id: order_id(), generation }
}

/// About to create the intent.
fn started() -> Vec<Fact> {
    vec![billed(), Fact::Started(bill())]
}

/// About to confirm it.
fn open() -> Vec<Fact> {
    [started(), vec![opened()]].concat()
}

fn after(facts: Vec<Fact>, more: impl IntoIterator<Item = Fact>) -> Vec<Fact> {
    facts.into_iter().chain(more).collect()
}

#[test]
fn a_charge_needs_the_bill_and_the_permission_in_either_order() {
    Spec::given([]).when(created()).then([billed()]);
    Spec::given([billed()]).when(reserved()).then([Fact::Started(bill())]);
    Spec::given([]).when(reserved()).then([Fact::Permitted]);
    Spec::given([Fact::Permitted]).when(created()).then([Fact::Started(bill())]);
}

/// Guards: only an intent whose id is committed is confirmed, and only one of them.
#[test]
fn the_first_intent_is_the_one_that_is_confirmed() {
    let pending = |facts: Vec<Fact>| Spec::given(facts).state().pending_charge().map(|charge| charge.intent);
    assert_eq!(pending(started()), Some(None));
    Spec::given(started()).when(opens("pi_1")).then([opened()]);
    assert_eq!(pending(open()), Some(Some("pi_1".into())));
    Spec::given(open()).when(opens("pi_2")).then([]);
    assert_eq!(pending(after(open(), [Fact::Tried])), Some(Some("pi_1".into())));
    for over in [declined(), unavailable(), voided(None)] {
        Spec::given(after(started(), [over])).when(opens("pi_2")).refused(ANSWERED);
    }
}

#[test]
fn the_providers_answer_is_a_fact_once() {
    Spec::given(open()).when(captured()).then([charged()]);
    let over = after(open(), [charged()]);
    Spec::given(over.clone()).when(captured()).refused(ANSWERED);
    Spec::given(over.clone()).when(created()).refused(ANSWERED);
}

/// Guards: a declined payment is never tried again, even when an event is delivered twice.
#[test]
fn declined_is_final() {
    Spec::given(open()).when(refuses()).then([declined()]);
    let over = after(open(), [declined()]);
    for again in [created(), reserved(), refuses()] {
        Spec::given(over.clone()).when(again.clone()).refused(ANSWERED);
    }
    assert_eq!(Spec::given(over.clone()).state().pending_charge(), None);
    Spec::given(over.clone()).when(cancelled()).then([]);
}

/// Guards: after a crash between intent and outcome, the redelivery finds the call still due, under a key of its own.
#[test]
fn a_started_charge_stays_due_until_it_is_answered() {
    for facts in [started(), open()] {
        Spec::given(facts.clone()).when(reserved()).then([Fact::Tried]);
        Spec::given(facts.clone()).when(created()).then([Fact::Tried]);
        let tries = |facts: Vec<Fact>| Spec::given(facts).state().pending_charge().map(|charge| charge.tries);
        assert_eq!(tries(facts.clone()), Some(1));
        assert_eq!(tries(after(facts, [Fact::Tried])), Some(2));
    }
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

/// Guards: without a committed intent nothing can have been captured, and what is created later is never confirmed.
#[test]
fn cancelling_before_there_is_an_intent_is_a_void() {
    Spec::given(started()).when(cancelled()).then([voided(Some(bill().amount))]);
    Spec::given(after(started(), [Fact::Tried])).when(cancelled()).then([voided(Some(bill().amount))]);
}

/// Guards: a charge made or in flight is undone, and its late answer is not lost.
#[test]
fn cancelling_a_charge_asks_for_its_compensation() {
    Spec::given(open()).when(cancelled()).then([requested(1)]);
    Spec::given(after(open(), [charged()])).when(cancelled()).then([requested(1)]);
    let racing = after(open(), [requested(1)]);
    Spec::given(racing.clone()).when(captured()).then([charged()]);
    Spec::given(racing.clone()).when(refuses()).refused(ANSWERED);
    Spec::given(racing.clone()).when(reserved()).refused(CANCELLED);
    let known = Spec::given(after(racing, [charged()]));
    assert!(matches!(known.state(), Payment::Compensating { charge_id: Some(_), .. }));
}

/// Guards: I7. A capture is recorded at whatever stage it becomes known, and undone where the order is over.
#[test]
fn a_capture_after_the_end_is_undone() {
    for over in [declined(), unavailable(), voided(Some(bill().amount))] {
        let over = after(open(), [over]);
        let late = Fact::CapturedLate(capture());
        Spec::given(over.clone()).when(captured()).then([late.clone(), requested(1)]);
        let undoing = Spec::given(after(over, [late, requested(1)]));
        assert_eq!(undoing.state().intent(), Some("pi_1"));
    }
    // Known to be given back, or not to be: recorded, and nothing more to ask for.
    let racing = after(open(), [requested(1)]);
    for end in [refunded(&bill(), 1), refund_failed(&bill(), "no", 1, false)] {
        Spec::given(after(racing.clone(), [end])).when(captured()).then([charged()]);
    }
}

/// Guards: the "no" of a delivery that met an open circuit counts only while nothing can have been captured.
#[test]
fn unavailable_is_final_while_there_is_no_intent() {
    let refused = Message::Unavailable { retry_after_seconds: 60 };
    Spec::given(started()).when(refused.clone()).then([unavailable()]);
    Spec::given(after(started(), [Fact::Tried])).when(refused.clone()).then([unavailable()]);
    Spec::given(open()).when(refused.clone()).then([]);
    let over = after(started(), [unavailable()]);
    Spec::given(over.clone()).when(reserved()).refused(ANSWERED);
    Spec::given(over.clone()).when(cancelled()).then([]);
    Spec::given(after(open(), [charged()])).when(refused.clone()).refused(ANSWERED);
}

/// Guards: how a compensation ends is a fact once, and a failed refund is tried again only when asked for.
#[test]
fn a_compensation_ends_once() {
    let racing = after(open(), [charged(), requested(1)]);
    let back = |generation| refunded(&bill(), generation);
    Spec::given(racing.clone()).when(Message::ChargeRefunded(of(1))).then([back(1)]);
    Spec::given(racing.clone()).when(captured()).refused(ANSWERED);
    let over = after(racing.clone(), [back(1)]);
    for again in [Message::ChargeRefunded(of(1)), Message::ChargeVoided(of(1))] {
        Spec::given(over.clone()).when(again.clone()).refused(NOT_UNDOING);
    }
    Spec::given(over.clone())
        .when(Message::Retried(order_id()))
        .refused(Refusal::Illegal("nothing is being undone"));
    let refused = Message::RefundRefused { of: of(1), code: "no".into() };
    let failed = || refund_failed(&bill(), "no", 1, false);
    Spec::given(racing.clone()).when(refused.clone()).then([failed()]);
    let failed = after(racing, [failed()]);
    Spec::given(failed.clone()).when(Message::Retried(order_id())).then([requested(2)]);
    Spec::given(failed.clone()).when(refused.clone()).refused(NOT_UNDOING);
    Spec::given(failed.clone()).when(Message::ChargeRefunded(of(1))).then([back(1)]);
    // What the first try still says does not end the second.
    let again = after(failed.clone(), [requested(2)]);
    Spec::given(again.clone()).when(refused.clone()).refused(NOT_UNDOING);
    Spec::given(again.clone()).when(Message::ChargeRefunded(of(2))).then([back(2)]);
    Spec::given(failed.clone()).when(created()).refused(CANCELLED);
}

/// Guards: a refund that a bank returns days later is asked for again, once an operator wants it.
#[test]
fn a_refund_that_is_reversed_has_failed() {
    let back = after(open(), [charged(), requested(1), refunded(&bill(), 1)]);
    let reversed = |generation| Message::RefundReversed { of: of(generation), code: "lost_card".into() };
    let failed = refund_failed(&bill(), "lost_card", 1, true);
    Spec::given(back.clone()).when(reversed(1)).then([failed.clone()]);
    Spec::given(back.clone()).when(reversed(2)).refused(NOT_UNDOING);
    let failed = after(back, [failed]);
    Spec::given(failed.clone()).when(reversed(1)).refused(NOT_UNDOING);
    Spec::given(failed.clone()).when(Message::Retried(order_id())).then([requested(2)]);
}

#[test]
fn a_capture_without_a_charge_is_illegal() {
    Spec::given([]).when(captured()).refused(Refusal::Illegal("a capture without a bill"));
    Spec::given([billed()]).when(captured()).refused(Refusal::Illegal("a capture without an intent"));
}
