//! An ended order stays ended: every pair of an end that can be reached, and an event that orders consumes. What payments
//! says of a refund is the exception, in both directions: money that is kept makes an order FAILED, whatever it was before,
//! and money that is given back ends it again.

use super::known::ParticipantEvent;
use super::specs::{
    charged, declined, lines, place, received, refund_failed_by, refunded_by, released, reserved, shipped,
    short, unavailable, unshippable, voided,
};
use super::undoing::Rank;
use super::*;
use std::collections::{BTreeMap, BTreeSet};

/// Every event that orders consumes, in each variant that a status could depend on.
fn events() -> Vec<(&'static str, ParticipantEvent)> {
    vec![
        ("reserved", reserved()),
        ("reservation failed", short()),
        ("released", released(lines())),
        ("released nothing", released(vec![])),
        ("charged", charged()),
        ("declined", declined()),
        ("unavailable", unavailable()),
        ("voided", voided()),
        ("refunded", refunded_by(Some(1))),
        ("refunded by the retry", refunded_by(Some(2))),
        ("refund failed", refund_failed_by(Some(1), false)),
        ("refund failed later", refund_failed_by(Some(1), true)),
        ("shipped", shipped()),
        ("not shipped", unshippable()),
    ]
}

/// What a saga's decisions can depend on.
type Knowledge = (BTreeSet<&'static str>, Option<Rank>, bool);

fn knowledge(saga: &Saga) -> Knowledge {
    let kinds = saga.known.iter().map(|noted| noted.what.kind()).collect();
    (kinds, saga.rank(), saga.released_something())
}

fn after(saga: &Saga, message: &Message) -> Result<Saga, Refusal> {
    let facts = saga.decide(message, DateTime::UNIX_EPOCH)?;
    Ok(facts.iter().fold(saga.clone(), Saga::evolve))
}

/// Every state of knowledge that any events in any order lead to, whether or not a service would publish them.
fn reachable() -> Vec<Saga> {
    let mut messages: Vec<Message> = events().into_iter().map(|(_, event)| received(event)).collect();
    messages.push(Message::Cancel);
    let placed = after(&Saga::default(), &place()).unwrap();
    let (mut known, mut all, mut looked_at) = (BTreeSet::from([knowledge(&placed)]), vec![placed], 0);
    while looked_at < all.len() {
        let next = messages.iter().filter_map(|message| after(&all[looked_at], message).ok());
        let next: Vec<Saga> = next.filter(|saga| known.insert(knowledge(saga))).collect();
        all.extend(next);
        looked_at += 1;
    }
    all
}

const ENDS: [Status; 4] = [Status::Fulfilled, Status::Cancelled, Status::Compensated, Status::Failed];

/// What can become of an event in FULFILLED, CANCELLED, COMPENSATED and FAILED. `known`: stale, orders knows it or a later outcome. `noted`: recorded, and the
/// status stays. A status: the event leads there. Several: that depends on what else is known.
///
/// - `charged` and `refunded` after a cancellation are late and no contradiction: payments undoes what was captured.
/// - `reserved` after CANCELLED contradicts: the order is CANCELLED and not COMPENSATED because inventory held nothing.
/// - `declined` and `unavailable` after a cancellation are late; after a confirmation they contradict the charge.
/// - `voided` contradicts a charge that is known: nothing was taken, and something was.
/// - `refund failed` says that money is kept: the one event that reopens a cancelled order, as FAILED. `refund failed later`
///   is the one after a `refunded` of the same request; the retry's `refunded` ends the order again.
const TABLE: &str = "\
reserved: known | contradicted | known noted | contradicted known noted
reservation failed: contradicted | known noted | contradicted | contradicted known noted
released: contradicted known | contradicted known | known | contradicted known noted
released nothing: contradicted known | known noted | known | contradicted known noted
charged: known | known noted | known noted | known noted
declined: contradicted | known noted | known noted | known noted
unavailable: contradicted | known noted | known noted | known noted
voided: contradicted known | contradicted known noted | contradicted known noted | CANCELLED CANCELLING COMPENSATED contradicted known
refunded: contradicted known | known noted | known noted | CANCELLED CANCELLING COMPENSATED known
refunded by the retry: contradicted known | known noted | known noted | CANCELLED CANCELLING COMPENSATED
refund failed: contradicted known | FAILED known | FAILED known | known
refund failed later: contradicted known | FAILED known | FAILED known | known noted
shipped: known | contradicted known | contradicted known | contradicted known
not shipped: contradicted | contradicted known | contradicted known | contradicted known
";

/// What became of an event that met this order.
fn met(saga: &Saga, event: ParticipantEvent) -> &'static str {
    match after(saga, &received(event)) {
        Err(Refusal::Stale(_)) => "known",
        Err(Refusal::Contradicted(_)) => "contradicted",
        Err(Refusal::Illegal(_)) => "refused",
        Ok(after) if after.status() == saga.status() => "noted",
        Ok(after) => after.status().as_str(),
    }
}

/// Guards: I7, the contradictions, and the rank of outcomes. Each row and column stands for every order that can be in that
/// end, and every variant of that event.
#[test]
fn what_every_event_does_to_every_ended_order() {
    let mut met_by: BTreeMap<(&str, Status), BTreeSet<&str>> = BTreeMap::new();
    for saga in reachable() {
        let status = saga.status();
        for (name, event) in events().into_iter().filter(|_| ENDS.contains(&status)) {
            met_by.entry((name, status)).or_default().insert(met(&saga, event));
        }
    }
    let cell = |name, status| Vec::from_iter(met_by[&(name, status)].iter().copied()).join(" ");
    let row = |name| format!("{name}: {}\n", ENDS.map(|status| cell(name, status)).join(" | "));
    let table: String = events().into_iter().map(|(name, _)| row(name)).collect();
    assert!(table == TABLE, "the table is now\n{table}");
}

/// Every order in which these can arrive.
fn orders_of<T: Clone>(items: &[T]) -> Vec<Vec<T>> {
    let Some((first, rest)) = items.split_first() else { return vec![Vec::new()] };
    let insert = |rest: Vec<T>| {
        (0..=rest.len()).map(move |at| {
            let mut all = rest.clone();
            all.insert(at, first.clone());
            all
        })
    };
    orders_of(rest).into_iter().flat_map(insert).collect()
}

fn cancelled_and_charged() -> Saga {
    let before = [place(), received(reserved()), received(charged()), received(unshippable())];
    let known = before.iter().fold(Saga::default(), |saga, message| after(&saga, message).unwrap());
    after(&known, &received(released(lines()))).unwrap()
}

/// Guards: the rank of outcomes. What counts of several is the highest request's, whatever arrived first; within a request the
/// money is back unless the provider took the refund back.
#[test]
fn of_several_outcomes_the_order_of_arrival_does_not_decide() {
    let failed = |generation| refund_failed_by(generation, false);
    let later = |generation| refund_failed_by(generation, true);
    for (outcomes, status) in [
        (vec![failed(None), refunded_by(None)], Status::Compensated),
        (vec![failed(Some(1)), refunded_by(Some(1)), later(Some(1))], Status::Failed),
        (
            vec![failed(Some(1)), refunded_by(Some(1)), later(Some(1)), refunded_by(Some(2))],
            Status::Compensated,
        ),
        (vec![refunded_by(Some(1)), later(Some(1)), failed(Some(2))], Status::Failed),
        (vec![failed(None), failed(Some(2)), refunded_by(Some(3))], Status::Compensated),
    ] {
        for arrival in orders_of(&outcomes) {
            let twice = arrival.iter().chain(&arrival);
            let saga = twice.fold(cancelled_and_charged(), |saga, event| {
                after(&saga, &received(event.clone())).unwrap_or(saga)
            });
            assert_eq!(saga.status(), status, "{arrival:?}");
        }
    }
}

/// Guards: I3. A refund that fails after it was made reopens the order with an event of its own, so that the customer is
/// notified; the retry's refund ends it again.
#[test]
fn a_refund_that_fails_later_reopens_the_order() {
    let mut saga = cancelled_and_charged();
    for (event, status, published) in [
        (refunded_by(Some(1)), Status::Compensated, "order.compensated"),
        (refund_failed_by(Some(1), true), Status::Failed, "order.failed"),
        (refunded_by(Some(2)), Status::Compensated, "order.compensated"),
        (refund_failed_by(Some(2), true), Status::Failed, "order.failed"),
    ] {
        saga = after(&saga, &received(event)).unwrap();
        assert_eq!((saga.status(), saga.known.last().unwrap().what.kind()), (status, published));
    }
    assert!(saga.waits_for().is_none(), "it waits for an operator");
}
