//! `Prefer: wait=N` (RFC 7240): stay on the line until the order has an outcome, and answer with it.

use super::view;
use crate::saga::{Saga, Status};
use chassis::http::{Problem, Request, Response};
use chassis::{Failure, Loaded};
use chrono::{DateTime, TimeDelta, Utc};
use events::OrderId;
use events::orders::{CancelReason, OrderCancelled};
use serde_json::{Value, json};
use std::time::Duration;

/// How long a look at an order may take that is made when the wait is over.
pub const LAST_LOOK: Duration = Duration::from_millis(500);
/// What a function keeps of its time for the last look and for its answer.
const RESERVE: TimeDelta = TimeDelta::seconds(1);

/// How long a request may still be worked on, so that its function answers before it is stopped.
#[must_use]
pub fn time_left(request: &Request, now: DateTime<Utc>) -> Duration {
    let left = |deadline: DateTime<Utc>| (deadline - now - RESERVE).to_std().unwrap_or_default();
    request.deadline.map_or(Duration::MAX, left)
}

/// How long a request waits: as long as it prefers, if that is no more than `most` and its function has so much time. On
/// Lambda each waiting request has an environment for itself, which `most` bounds in time. A preference that makes no sense
/// is ignored, as RFC 7240 demands.
#[must_use]
pub fn wait(request: &Request, most: Duration, now: DateTime<Utc>) -> Option<Duration> {
    Some(preference(request)?.min(most).min(time_left(request, now)))
}

fn preference(request: &Request) -> Option<Duration> {
    let mut preferences = request.header("prefer")?.split(',');
    let seconds = preferences.find_map(|one| {
        let (name, value) = one.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("wait")
            .then(|| value.trim().trim_matches('"').parse::<u64>().ok())?
    });
    seconds.map(Duration::from_secs)
}

/// Whether there is an outcome to wait for.
#[must_use]
pub fn is_underway(order: &Saga) -> bool {
    matches!(order.status(), Status::Pending | Status::Cancelling)
}

/// The answer to a client that waited: 201 for an order that will happen, a problem for one that will not, 202 for
/// one that is still underway.
///
/// # Errors
/// 402, 409 or 503, by the reason of the cancellation.
pub fn outcome(id: OrderId, loaded: &Loaded<Saga>) -> Result<Response, Problem> {
    let order = &loaded.state;
    match (order.status(), order.event()) {
        (Status::Confirmed | Status::Fulfilled, _) => Ok(Response::json(201, shown(id, loaded)?)),
        (Status::Cancelled | Status::Compensated | Status::Failed, Some(OrderCancelled { reason, .. })) => {
            Err(problem(id, reason))
        }
        _ => Ok(Response::json(202, shown(id, loaded)?).with("retry-after", "1")),
    }
}

fn shown(id: OrderId, loaded: &Loaded<Saga>) -> Result<Value, Failure> {
    view::order(id, &loaded.state, loaded.seq)
}

/// The answer to an order that orders refuses while payments cannot charge.
#[must_use]
pub fn unavailable(seconds: u32) -> Problem {
    let detail = "the payment provider cannot be reached; no order was made, try again";
    Problem::new(503, "PAYMENT_PROVIDER_UNAVAILABLE", detail)
        .saying("retry-after", seconds.to_string())
        .with("retry_after_seconds", seconds.into())
        .with("message", detail.into())
}

fn problem(id: OrderId, reason: &CancelReason) -> Problem {
    let (status, detail) = match reason {
        CancelReason::PaymentDeclined { .. } => (402, "the payment was declined; the order is cancelled"),
        CancelReason::PaymentProviderUnavailable { .. } => {
            (503, "the payment provider cannot be reached; the order is cancelled, nothing was charged")
        }
        CancelReason::InsufficientStock { .. } => (409, "there is not enough stock; the order is cancelled"),
        CancelReason::UnknownProduct { .. } => {
            (409, "a product is not sold any more; the order is cancelled")
        }
        CancelReason::FulfillmentFailed { .. } => {
            (409, "the goods cannot be shipped; the order is cancelled")
        }
        CancelReason::TimedOut { .. } => (409, "a step did not answer in time; the order is cancelled"),
        CancelReason::CustomerRequest => (409, "the order was cancelled on request"),
    };
    let mut problem = Problem::new(status, reason.code(), detail).with("order_id", json!(id));
    if let Value::Object(members) = view::failure(reason) {
        problem.more.extend(members);
    }
    if let CancelReason::PaymentProviderUnavailable { retry_after_seconds } = reason {
        let after = retry_after_seconds.to_string();
        problem = problem.saying("retry-after", after).with("message", detail.into());
    }
    problem
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(header: &str) -> Option<u64> {
        let headers = [("prefer".to_owned(), header.to_owned())].into();
        let request = Request { headers, ..Request::default() };
        wait(&request, Duration::from_secs(10), DateTime::UNIX_EPOCH).map(|wait| wait.as_secs())
    }

    /// Guards: the wait ends before the function does, whatever was preferred.
    #[test]
    fn a_wait_ends_before_its_function() {
        let now = DateTime::UNIX_EPOCH;
        let millis = |left: Option<i64>| {
            let headers = [("prefer".to_owned(), "wait=5".to_owned())].into();
            let deadline = left.map(|left| now + TimeDelta::milliseconds(left));
            wait(&Request { headers, deadline, ..Request::default() }, Duration::from_secs(10), now)
                .unwrap()
                .as_millis()
        };
        assert_eq!((millis(None), millis(Some(15_000)), millis(Some(6_001))), (5000, 5000, 5000));
        assert_eq!((millis(Some(4_200)), millis(Some(999)), millis(Some(-1))), (3200, 0, 0));
    }

    #[test]
    fn a_preference_is_capped_and_nonsense_is_ignored() {
        assert_eq!(seconds("wait=3"), Some(3));
        assert_eq!(seconds("respond-async, Wait = \"7\""), Some(7));
        assert_eq!(seconds("wait=3600"), Some(10));
        for nonsense in ["wait", "wait=", "wait=-1", "wait=soon", "return=minimal", ""] {
            assert_eq!(seconds(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn each_reason_has_its_status() {
        let beans = || "beans".parse().unwrap();
        for (reason, status) in [
            (CancelReason::PaymentDeclined { decline_code: "card_declined".into() }, 402),
            (CancelReason::InsufficientStock { product_id: beans(), requested: 2, available: 1 }, 409),
            (CancelReason::PaymentProviderUnavailable { retry_after_seconds: 60 }, 503),
            (CancelReason::CustomerRequest, 409),
        ] {
            let problem = problem(OrderId(uuid::Uuid::nil()), &reason);
            assert_eq!((problem.status, problem.error), (status, reason.code()));
        }
    }
}
