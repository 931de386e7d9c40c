//! What is measured of sagas: how they end, why, and how long they last. Each order counts once under each metric, in the
//! commit that ends it.

use super::known::Noted;
use super::{Saga, Status};
use chassis::Decider;
use chassis::metrics::{Metric, Sample, Unit};
use events::orders::{CancelReason, OrderCancelled, OrderConfirmed, OrderCreated};

/// Orders by the status in which they ended. FAILED counts as an end: what an operator ends later is not counted again.
pub static ENDED: Metric = Metric {
    name: "orders_ended",
    unit: Unit::Count,
    dimension: Some(("status", &[FULFILLED, CANCELLED, COMPENSATED, FAILED])),
};
/// Those that were not fulfilled, by the kind of the reason.
pub static LOST: Metric = Metric {
    name: "orders_lost",
    unit: Unit::Count,
    dimension: Some(("reason", &[CUSTOMER, REJECTED, TECHNICAL])),
};
/// Whether an order that ended was fulfilled, 1 or 0, so that the average is the share. What its customer cancelled is left out.
pub static SUCCESS: Metric = Metric { name: "saga_success", unit: Unit::Count, dimension: None };
/// Whether an order that ended had to be undone, 1 or 0.
pub static UNDONE: Metric = Metric { name: "saga_compensated", unit: Unit::Count, dimension: None };
/// From the order to its confirmation, or to its end where it was never confirmed.
pub static DURATION: Metric = Metric {
    name: "saga_duration",
    unit: Unit::Milliseconds,
    dimension: Some(("until", &[CONFIRMED, UNCONFIRMED])),
};
/// What a sweep found overdue, and did.
pub static OVERDUE: Metric = Metric {
    name: "sagas",
    unit: Unit::Count,
    dimension: Some(("overdue", &["nudged", "timed_out", "silent", "reconciled"])),
};

const FULFILLED: &str = "fulfilled";
const CANCELLED: &str = "cancelled";
const COMPENSATED: &str = "compensated";
const FAILED: &str = "failed";
/// The customer cancelled.
const CUSTOMER: &str = "customer";
/// Stock or bank said no.
const REJECTED: &str = "rejected";
/// A step, the provider or the carrier did not do its work.
const TECHNICAL: &str = "technical";
const CONFIRMED: &str = "confirmed";
const UNCONFIRMED: &str = "ended";

/// What is measured when these facts of a saga are committed.
#[must_use]
pub fn of(before: &Saga, facts: &[Noted]) -> Vec<Sample> {
    let after = facts.iter().fold(before.clone(), Saga::evolve);
    let mut samples = Vec::new();
    if let Some(status) = end(after.status()).filter(|_| !has_ended(before)) {
        samples.extend(ending(status, after.event()));
    }
    let is_measured = |saga: &Saga| saga.knows::<OrderConfirmed>() || has_ended(saga);
    if is_measured(&after) && !is_measured(before) {
        let until = if after.knows::<OrderConfirmed>() { CONFIRMED } else { UNCONFIRMED };
        samples.extend(age(&after, facts).map(|age| DURATION.sample(until, age)));
    }
    samples
}

/// What is measured of an end.
fn ending(status: &'static str, cancelled: Option<&OrderCancelled>) -> Vec<Sample> {
    let reason = cancelled.map(class);
    let is = |yes: bool| vec![u64::from(yes)];
    let mut samples =
        vec![ENDED.sample(status, 1), UNDONE.numbers(is(status != FULFILLED && status != CANCELLED))];
    samples.extend(reason.map(|reason| LOST.sample(reason, 1)));
    samples.extend((reason != Some(CUSTOMER)).then(|| SUCCESS.numbers(is(status == FULFILLED))));
    samples
}

/// Whether an order ends here, or has ended before: one that waits for an operator may go on.
fn has_ended(saga: &Saga) -> bool {
    let up_to = |length: usize| saga.known.iter().take(length).cloned().collect();
    let mut past = (1..=saga.known.len()).map(|length| Saga { known: up_to(length), ..Saga::default() });
    past.any(|past| end(past.status()).is_some())
}

/// The end that a status is.
const fn end(status: Status) -> Option<&'static str> {
    match status {
        Status::Pending | Status::Confirmed | Status::Cancelling => None,
        Status::Fulfilled => Some(FULFILLED),
        Status::Cancelled => Some(CANCELLED),
        Status::Compensated => Some(COMPENSATED),
        Status::Failed => Some(FAILED),
    }
}

const fn class(cancelled: &OrderCancelled) -> &'static str {
    match cancelled.reason {
        CancelReason::CustomerRequest => CUSTOMER,
        CancelReason::InsufficientStock { .. }
        | CancelReason::UnknownProduct { .. }
        | CancelReason::PaymentDeclined { .. } => REJECTED,
        CancelReason::PaymentProviderUnavailable { .. }
        | CancelReason::FulfillmentFailed { .. }
        | CancelReason::TimedOut { .. } => TECHNICAL,
    }
}

/// Milliseconds from the order to these facts.
fn age(saga: &Saga, facts: &[Noted]) -> Option<u64> {
    let (placed, last) = (saga.noted::<OrderCreated>()?, facts.last()?);
    u64::try_from((last.at - placed.at).num_milliseconds()).ok()
}

#[cfg(test)]
mod tests {
    use super::super::specs::{
        charged, declined, lines, place, received, refund_failed_by, refunded_by, released, reserved,
        shipped, short, unavailable, unshippable, voided,
    };
    use super::*;
    use crate::saga::Message;
    use chrono::{DateTime, TimeDelta};

    /// What is measured while messages come, a second apart.
    fn measured(messages: &[Message]) -> Vec<Sample> {
        let (mut saga, mut samples) = (Saga::default(), Vec::new());
        for (message, second) in messages.iter().zip(0..) {
            let now = DateTime::UNIX_EPOCH + TimeDelta::seconds(second);
            let facts = saga.decide(message, now).unwrap_or_default();
            samples.extend(of(&saga, &facts));
            saga = facts.iter().fold(saga, Saga::evolve);
        }
        samples
    }

    #[test]
    fn a_fulfilled_order_is_measured() {
        let story = [place(), received(reserved()), received(charged()), received(shipped())];
        let ended = [ENDED.sample("fulfilled", 1), UNDONE.numbers(vec![0]), SUCCESS.numbers(vec![1])];
        assert_eq!(measured(&story), [&[DURATION.sample("confirmed", 2000)][..], &ended].concat());
    }

    #[test]
    fn a_lost_order_is_measured_with_the_kind_of_its_reason() {
        let lost = |status, undone, reason| {
            vec![ENDED.sample(status, 1), UNDONE.numbers(vec![undone]), LOST.sample(reason, 1)]
        };
        let failed = |of: Vec<Sample>, age| {
            [of, vec![SUCCESS.numbers(vec![0]), DURATION.sample("ended", age)]].concat()
        };
        let short = [place(), received(short())];
        assert_eq!(measured(&short), failed(lost("cancelled", 0, "rejected"), 1000));
        let no = [place(), received(reserved()), received(declined()), received(released(lines()))];
        assert_eq!(measured(&no), failed(lost("compensated", 1, "rejected"), 3000));
        let down = [place(), received(reserved()), received(unavailable()), received(released(lines()))];
        assert_eq!(measured(&down), failed(lost("compensated", 1, "technical"), 3000));
        // The customer's own cancellation is no failure.
        let undone = [place(), Message::Cancel, received(voided()), received(released(vec![]))];
        let ended = [lost("cancelled", 0, "customer"), vec![DURATION.sample("ended", 3000)]].concat();
        assert_eq!(measured(&undone), ended);
    }

    /// Guards: an order counts once, however often an operator, a bank and a repetition reopen its story, and whatever comes in
    /// which order.
    #[test]
    fn an_order_counts_once() {
        let all = [
            received(reserved()),
            received(charged()),
            received(unshippable()),
            received(refund_failed_by(Some(1), false)),
            received(refunded_by(Some(2))),
            received(refund_failed_by(Some(2), true)),
            received(released(lines())),
            received(refunded_by(Some(3))),
            Message::Cancel,
        ];
        for first in 0..all.len() {
            for stride in [1, 2, 4, 5, 7, 8] {
                let order =
                    (0..2 * all.len()).filter_map(|n| all.get((first + n * stride) % all.len()).cloned());
                let samples = measured(&std::iter::once(place()).chain(order).collect::<Vec<_>>());
                for metric in [&ENDED, &LOST, &SUCCESS, &UNDONE, &DURATION] {
                    let times = samples.iter().filter(|sample| sample.is_of(metric)).count();
                    assert!(times <= 1, "{first} {stride}: {samples:?}");
                }
                assert!(samples.iter().any(|sample| sample.is_of(&ENDED)), "{first} {stride}: {samples:?}");
            }
        }
    }
}
