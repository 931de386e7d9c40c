//! Given/when/then for the saga tracker, and that no order of arrival matters.

use super::known::{Known, Noted, ParticipantEvent};
use super::*;
use events::inventory::{ReservationFailure, StockLine};
use events::orders::OrderLine;
use events::payments::{PaymentRefundFailed, PaymentRefunded, PaymentVoided};
use events::{Currency, Money, OrderId, PaymentId};
use std::collections::BTreeSet;
use uuid::Uuid;

fn order_id() -> OrderId {
    OrderId(Uuid::from_u128(1))
}

pub(super) fn placed() -> OrderCreated {
    let unit_price = Money::new(250, Currency::USD);
    OrderCreated {
        order_id: order_id(),
        customer_id: "ada".parse().unwrap(),
        total: Money::new(500, Currency::USD),
        lines: vec![OrderLine { product_id: "beans".parse().unwrap(), quantity: 2, unit_price }],
        payment_method: None,
    }
}

pub(super) fn place() -> Message {
    Message::Place { order: placed(), address: None }
}

pub(super) fn lines() -> Vec<StockLine> {
    vec![StockLine { product_id: "beans".parse().unwrap(), quantity: 2 }]
}

fn payment_id() -> PaymentId {
    PaymentId::of(order_id())
}

pub(super) fn reserved() -> ParticipantEvent {
    ParticipantEvent::Reserved(InventoryReserved { order_id: order_id(), lines: lines() })
}

pub(super) fn short() -> ParticipantEvent {
    ParticipantEvent::ReservationFailed(InventoryReservationFailed {
        order_id: order_id(),
        reason: ReservationFailure::InsufficientStock,
        product_id: "beans".parse().unwrap(),
        requested: 2,
        available: 1,
    })
}

pub(super) fn charged() -> ParticipantEvent {
    ParticipantEvent::Charged(PaymentCharged {
        order_id: order_id(),
        payment_id: payment_id(),
        amount: placed().total,
        provider_charge_id: "ch_1".into(),
    })
}

pub(super) fn declined() -> ParticipantEvent {
    ParticipantEvent::Declined(PaymentDeclined {
        order_id: order_id(),
        payment_id: payment_id(),
        code: "card_declined".into(),
    })
}

pub(super) fn released(lines: Vec<StockLine>) -> ParticipantEvent {
    ParticipantEvent::Released(InventoryReleased { order_id: order_id(), lines })
}

pub(super) fn voided() -> ParticipantEvent {
    let (order_id, payment_id) = (order_id(), payment_id());
    ParticipantEvent::Voided(PaymentVoided { order_id, payment_id, amount: None, generation: None })
}

pub(super) fn unavailable() -> ParticipantEvent {
    ParticipantEvent::Unavailable(PaymentUnavailable { order_id: order_id(), retry_after_seconds: 42 })
}

pub(super) fn refunded_by(generation: Option<u32>) -> ParticipantEvent {
    let (order_id, payment_id, amount) = (order_id(), payment_id(), placed().total);
    ParticipantEvent::Refunded(PaymentRefunded {
        order_id,
        payment_id,
        amount,
        customer_id: None,
        generation,
    })
}

fn refunded() -> ParticipantEvent {
    refunded_by(None)
}

pub(super) fn refund_failed_by(generation: Option<u32>, after_refund: bool) -> ParticipantEvent {
    let (order_id, payment_id, amount) = (order_id(), payment_id(), Some(placed().total));
    let code = "refused".into();
    ParticipantEvent::RefundFailed(PaymentRefundFailed {
        order_id,
        payment_id,
        amount,
        code,
        generation,
        after_refund,
    })
}

fn refund_failed() -> ParticipantEvent {
    refund_failed_by(None, false)
}

pub(super) fn shipped() -> ParticipantEvent {
    let (carrier, tracking_number) = ("Parcels".into(), "P1".into());
    ParticipantEvent::Shipped(FulfillmentShipped { order_id: order_id(), carrier, tracking_number })
}

pub(super) fn unshippable() -> ParticipantEvent {
    ParticipantEvent::FulfillmentFailed(FulfillmentFailed {
        order_id: order_id(),
        code: "prohibited_goods".into(),
    })
}

pub(super) fn received(event: ParticipantEvent) -> Message {
    Message::Received { event_id: EventId(Uuid::from_u128(99)), event }
}

/// Runs messages through decide and evolve; a refusal changes nothing.
fn run(messages: &[Message]) -> (Saga, Vec<Noted>) {
    let mut order = Saga::default();
    let mut all = Vec::new();
    for message in messages {
        let facts = order.decide(message, DateTime::UNIX_EPOCH).unwrap_or_default();
        order = facts.iter().fold(order, Saga::evolve);
        all.extend(facts);
    }
    (order, all)
}

fn own(facts: &[Noted]) -> Vec<&'static str> {
    let name = |fact: &Noted| match &fact.what {
        Known::Confirmed(_) => Some("confirmed"),
        Known::Fulfilled(_) => Some("fulfilled"),
        Known::Cancelled(_) => Some("cancelled"),
        Known::Compensated(_) => Some("compensated"),
        Known::Failed(_) => Some("failed"),
        Known::Created(_)
        | Known::Addressed(_)
        | Known::Nudged(_)
        | Known::Reconciled
        | Known::Received(_)
        | Known::Reached(_) => None,
    };
    facts.iter().filter_map(name).collect()
}

/// Given events in this order, then this status and these decisions of orders' own.
#[track_caller]
fn story(events: Vec<ParticipantEvent>, status: Status, facts: &[&str]) {
    let messages: Vec<Message> = std::iter::once(place()).chain(events.into_iter().map(received)).collect();
    let (order, all) = run(&messages);
    assert_eq!((order.status(), own(&all)), (status, facts.to_vec()));
}

#[test]
fn reserved_and_charged_is_confirmed() {
    story(vec![reserved()], Status::Pending, &[]);
    story(vec![reserved(), charged()], Status::Confirmed, &["confirmed"]);
}

#[test]
fn shipped_is_fulfilled_and_can_not_be_cancelled() {
    story(vec![reserved(), charged(), shipped()], Status::Fulfilled, &["confirmed", "fulfilled"]);
    let (order, _) = run(&[place(), received(reserved()), received(charged()), received(shipped())]);
    let cancel = order.decide(&Message::Cancel, DateTime::UNIX_EPOCH);
    assert_eq!(cancel, Err(Refusal::Illegal("already confirmed")));
}

/// Guards: I2 and I3 past the confirmation. What the carrier will not take is given back: stock, money, and then the
/// order is compensated.
#[test]
fn a_refusing_carrier_is_compensated() {
    let failed = || vec![reserved(), charged(), unshippable()];
    story(failed(), Status::Cancelling, &["confirmed", "cancelled"]);
    story([failed(), vec![released(lines())]].concat(), Status::Cancelling, &["confirmed", "cancelled"]);
    let undone = vec![released(lines()), refunded()];
    story([failed(), undone].concat(), Status::Compensated, &["confirmed", "cancelled", "compensated"]);
}

#[test]
fn a_decline_is_compensated_once_the_stock_is_back() {
    story(vec![reserved(), declined()], Status::Cancelling, &["cancelled"]);
    let back = vec![reserved(), declined(), released(lines())];
    story(back, Status::Compensated, &["cancelled", "compensated"]);
}

#[test]
fn a_shortage_is_cancelled_at_once_because_nothing_has_to_be_undone() {
    story(vec![short()], Status::Cancelled, &["cancelled"]);
    story(vec![short(), voided()], Status::Cancelled, &["cancelled"]);
}

/// Guards: final words are waited for. Without that, a decline would end while stock is still held.
#[test]
fn an_empty_release_means_that_nothing_had_to_be_undone() {
    story(vec![declined()], Status::Cancelling, &["cancelled"]);
    story(vec![declined(), released(vec![])], Status::Cancelled, &["cancelled"]);
}

fn cancelled_by_customer(mut after: Vec<ParticipantEvent>, status: Status, facts: &[&str]) {
    let mut messages = vec![place(), Message::Cancel];
    messages.extend(after.drain(..).map(received));
    let (order, all) = run(&messages);
    assert_eq!((order.status(), own(&all)), (status, facts.to_vec()));
}

/// Guards: I2 and I7. A charge that comes after the cancel is given back before the order counts as compensated.
#[test]
fn a_late_charge_is_waited_for_until_it_is_refunded() {
    let late = || vec![reserved(), charged(), released(lines())];
    cancelled_by_customer(late(), Status::Cancelling, &["cancelled"]);
    cancelled_by_customer(
        [late(), vec![refunded()]].concat(),
        Status::Compensated,
        &["cancelled", "compensated"],
    );
}

/// Guards: I7. A charge that is made and given back after the order was over changes nothing about it.
#[test]
fn an_unavailable_provider_cancels_and_what_it_does_later_changes_nothing() {
    story(vec![reserved(), unavailable()], Status::Cancelling, &["cancelled"]);
    let over = || vec![unavailable(), released(vec![])];
    story(over(), Status::Cancelled, &["cancelled"]);
    story([over(), vec![charged(), refunded()]].concat(), Status::Cancelled, &["cancelled"]);
}

/// Guards: I3. A refused refund is FAILED and said so; when it is made after all, the order is compensated.
#[test]
fn a_refused_refund_waits_for_an_operator() {
    let refused = || vec![reserved(), charged(), released(lines()), refund_failed()];
    cancelled_by_customer(refused(), Status::Failed, &["cancelled", "failed"]);
    let facts = ["cancelled", "failed", "compensated"];
    cancelled_by_customer([refused(), vec![refunded()]].concat(), Status::Compensated, &facts);
}

/// Guards: I7, a terminal status does not move.
#[test]
fn late_success_does_not_revive_a_cancelled_order() {
    story(vec![short(), reserved(), charged()], Status::Cancelled, &["cancelled"]);
}

/// Guards: I2. A charge of another amount than the order's total confirms nothing.
#[test]
fn a_wrong_amount_does_not_confirm() {
    let ParticipantEvent::Charged(mut wrong) = charged() else { panic!("not a charge") };
    wrong.amount = Money::new(1, Currency::USD);
    story(vec![reserved(), ParticipantEvent::Charged(wrong)], Status::Pending, &[]);
}

#[test]
fn the_same_event_twice_is_stale() {
    let (order, _) = run(&[place(), received(reserved())]);
    let again = order.decide(&received(reserved()), DateTime::UNIX_EPOCH);
    assert_eq!(again, Err(Refusal::Stale("already known")));
}

#[test]
fn an_order_is_placed_once() {
    let (order, _) = run(&[place()]);
    let again = order.decide(&place(), DateTime::UNIX_EPOCH);
    assert_eq!(again, Err(Refusal::Illegal("already placed")));
}

#[test]
fn the_reason_names_product_requested_and_available() {
    let (order, _) = run(&[place(), received(short())]);
    let reason = order.event::<OrderCancelled>().unwrap().reason.clone();
    let beans = "beans".parse().unwrap();
    assert_eq!(reason, CancelReason::InsufficientStock { product_id: beans, requested: 2, available: 1 });
}

fn permutations(items: Vec<Message>) -> Vec<Vec<Message>> {
    if items.len() <= 1 {
        return vec![items];
    }
    let mut all = Vec::new();
    for first in 0..items.len() {
        let mut rest = items.clone();
        let head = rest.remove(first);
        for mut tail in permutations(rest) {
            tail.insert(0, head.clone());
            all.push(tail);
        }
    }
    all
}

/// Guards: the fold is commutative. Each set of messages, `place` among them, is run in every order of
/// arrival and with every message delivered twice; the status and orders' own facts are the same.
#[test]
fn the_order_of_arrival_does_not_matter() {
    for (events, status) in [
        (vec![reserved(), charged()], Status::Confirmed),
        (vec![reserved(), charged(), shipped()], Status::Fulfilled),
        (vec![reserved(), charged(), unshippable(), released(lines()), refunded()], Status::Compensated),
        (vec![reserved(), declined(), released(lines())], Status::Compensated),
        (vec![short(), voided()], Status::Cancelled),
        (vec![declined(), released(vec![])], Status::Cancelled),
        (vec![unavailable(), released(lines())], Status::Compensated),
        (vec![unavailable(), released(vec![]), charged(), refunded()], Status::Cancelled),
    ] {
        let messages: Vec<Message> =
            std::iter::once(place()).chain(events.into_iter().map(received)).collect();
        let mut decided = BTreeSet::new();
        for order in permutations(messages) {
            let twice: Vec<Message> = order.iter().chain(&order).cloned().collect();
            let (state, facts) = run(&twice);
            assert_eq!(state.status(), status, "{order:?}");
            decided.insert(own(&facts));
        }
        assert_eq!(decided.len(), 1, "{decided:?}");
    }
}

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + chrono::TimeDelta::seconds(seconds)
}

/// Receives events at once, then sweeps at these seconds; the decision of the last sweep.
fn swept(events: Vec<ParticipantEvent>, sweeps: &[i64]) -> Result<Vec<&'static str>, Refusal> {
    let messages: Vec<Message> = std::iter::once(place()).chain(events.into_iter().map(received)).collect();
    let (mut order, _) = run(&messages);
    let mut last = Ok(Vec::new());
    for seconds in sweeps {
        last = order.decide(&Message::Sweep, at(*seconds));
        order = last.iter().flatten().fold(order, Saga::evolve);
    }
    last.map(|facts| own(&facts))
}

/// Guards: deadlines. A step is reminded when its time is over and not before, three times in the same rhythm, and then a
/// pending order is given up, with the step as the reason.
#[test]
fn a_silent_step_is_reminded_and_then_given_up() {
    let early = Err(Refusal::Stale("not overdue"));
    assert_eq!(swept(vec![], &[659]), early);
    assert_eq!(swept(vec![], &[660]), Ok(vec![]));
    assert_eq!(swept(vec![], &[660, 1319]), early);
    assert_eq!(swept(vec![], &[660, 1320, 1980]), Ok(vec![]));
    assert_eq!(swept(vec![], &[660, 1320, 1980, 2640]), Ok(vec!["cancelled"]));
    assert_eq!(swept(vec![reserved()], &[1499]), early);
    assert_eq!(swept(vec![reserved()], &[1500, 3000, 4500, 6000]), Ok(vec!["cancelled"]));
    let (order, _) = run(&[place()]);
    let reason = CancelReason::TimedOut { step: "inventory_reservation".into() };
    let timed_out = [660, 1320, 1980, 2640].iter().fold(order, |order, seconds| {
        order.decide(&Message::Sweep, at(*seconds)).unwrap().iter().fold(order, Saga::evolve)
    });
    assert_eq!(timed_out.event::<OrderCancelled>().unwrap().reason.clone(), reason);
}

/// Guards: what has ended is reconciled once and then left alone; what waits for an operator is left alone, but for stock that
/// inventory has not released.
#[test]
fn what_waits_for_no_service_is_not_reminded() {
    let over = Err(Refusal::Stale("not overdue"));
    for ended in [vec![reserved(), charged(), shipped()], vec![short()]] {
        assert_eq!(swept(ended.clone(), &[7199]), over, "it is reconciled after two hours");
        assert_eq!(swept(ended.clone(), &[7200]), Ok(vec![]));
        assert_eq!(swept(ended, &[7200, 1_000_000]), over, "it is reconciled once");
    }
    let failed = vec![reserved(), charged(), unshippable(), refund_failed()];
    assert_eq!(swept(failed.clone(), &[660]), Ok(vec![]));
    assert_eq!(swept([failed, vec![released(lines())]].concat(), &[1_000_000]), over);
}

/// Guards: the size of the state row. A step that stays silent is reminded for years, and the row does not grow.
#[test]
fn reminders_are_counted_and_not_kept() {
    let (order, _) = run(&[place(), received(reserved()), received(charged())]);
    let size = |order: &Saga| serde_json::to_string(order).unwrap().len();
    let (mut reminded, mut now) = (order.clone(), DateTime::UNIX_EPOCH);
    for _ in 0..5_000 {
        now = reminded.deadline().unwrap().1;
        let facts = reminded.decide(&Message::Sweep, now).unwrap();
        reminded = facts.iter().fold(reminded, Saga::evolve);
    }
    assert!(now > at(365 * 24 * 3600), "{now}");
    assert_eq!((reminded.nudges(), reminded.nudges_of(Step::Fulfillment)), (5_000, 5_000));
    assert!(size(&reminded) < size(&order) + 100, "{} bytes", size(&reminded));
}

/// The order's confirmation, with this address in the state as it was kept.
fn confirmed_with(kept: &serde_json::Value) -> OrderConfirmed {
    let addressed = serde_json::from_value(serde_json::json!({ "addressed": kept })).unwrap();
    let now = DateTime::UNIX_EPOCH;
    let mut saga = [Known::Created(placed()), addressed]
        .into_iter()
        .fold(Saga::default(), |saga, what| saga.evolve(&Noted::own(what, now)));
    let mut facts = Vec::new();
    for event in [reserved(), charged()] {
        let message = Message::Received { event_id: EventId(Uuid::nil()), event };
        facts = saga.decide(&message, now).unwrap();
        saga = facts.iter().fold(saga, Saga::evolve);
    }
    match facts.pop().unwrap().what {
        Known::Confirmed(event) => event,
        other => panic!("{other:?}"),
    }
}

/// Guards: the size of a state row, which is paid for by the kilobyte. An order that shipped keeps neither its address nor what its
/// other entries say already; a row of an older version is read as if it never had.
#[test]
fn the_state_keeps_nothing_twice() {
    let address =
        serde_json::from_value(serde_json::json!({ "addressed": { "sealed_address": "c2VhbGVk" } }));
    let facts =
        [Known::Created(placed()), address.unwrap()].map(|what| Noted::own(what, DateTime::UNIX_EPOCH));
    let mut all = facts.to_vec();
    for message in [received(reserved()), received(charged()), received(shipped())] {
        let saga = all.iter().fold(Saga::default(), Saga::evolve);
        all.extend(saga.decide(&message, DateTime::UNIX_EPOCH).unwrap());
    }
    let saga = all.iter().fold(Saga::default(), Saga::evolve);
    assert_eq!(saga.status(), Status::Fulfilled);
    let text = serde_json::to_string(&saga).unwrap();
    assert!(!text.contains("c2VhbGVk"), "{text}");
    let size = |what: &Known| serde_json::to_string(what).unwrap().len();
    assert!(
        saga.known.iter().filter(|noted| noted.event_id.is_none()).skip(1).all(|n| size(&n.what) < 32),
        "{text}"
    );
    let older: Saga = serde_json::from_value(serde_json::json!({ "known": all })).unwrap();
    assert_eq!(older, saga);
}

/// Guards: the contract of `order.confirmed`. A sealed address goes on sealed, and one that was kept before addresses were sealed as
/// it was.
#[test]
fn an_address_goes_on_as_it_is_kept() {
    let sealed = SealedAddress("c2VhbGVk".into());
    let of_today = confirmed_with(&serde_json::json!({ "sealed_address": sealed }));
    assert_eq!((of_today.sealed_address, of_today.shipping_address), (Some(sealed), None));
    let clear = serde_json::json!({"name": "Ada", "line1": "1 Row", "city": "Oslo", "postal_code": "1", "country": "NO"});
    let of_before = confirmed_with(&clear);
    assert_eq!(serde_json::json!(of_before.shipping_address), clear);
    assert_eq!(of_before.sealed_address, None);
}
