//! The circuit breaker in front of a provider. Its state is a row like any aggregate's.

use super::{CallError, PaymentProvider};
use crate::breaker::{self, Breaker, Fact, Message, Subject};
use chassis::metrics::{Metric, Sample, Unit};
use chassis::outbox::{Cause, OutboxEntry};
use chassis::reaction::{Executed, execute};
use chassis::{Aggregate, AggregateId, Failure, Live, Ports, Store};
use chrono::{DateTime, TimeDelta, Utc};
use events::envelope::millis;
use events::payments::{PROVIDER, PaymentCircuitClosed, PaymentCircuitHalfOpened, PaymentCircuitOpened};
use events::{Envelope, Unreadable};
use std::future::Future;
use std::sync::{Mutex, PoisonError};

impl Aggregate for Breaker {
    const SERVICE: &'static str = "payments";

    fn event(fact: &Fact) -> Option<OutboxEntry> {
        let provider = PROVIDER.to_owned();
        match *fact {
            Fact::Opened(until) => Some(OutboxEntry::published(&PaymentCircuitOpened { provider, until })),
            Fact::HalfOpened(until) => {
                Some(OutboxEntry::published(&PaymentCircuitHalfOpened { provider, until }))
            }
            Fact::Closed => Some(OutboxEntry::published(&PaymentCircuitClosed { provider })),
            Fact::Counted(_) | Fact::Reset | Fact::Leased(_) | Fact::Probed | Fact::Released => None,
        }
    }

    fn measured(&self, facts: &[Fact]) -> Vec<Sample> {
        facts.iter().filter_map(became).map(|state| CIRCUIT.sample(state, 1)).collect()
    }

    fn facts(&self, event: &Envelope) -> Result<Vec<Fact>, Unreadable> {
        if event.is::<PaymentCircuitOpened>() {
            return Ok(vec![Fact::Opened(event.data::<PaymentCircuitOpened>()?.until)]);
        }
        if event.is::<PaymentCircuitHalfOpened>() {
            return Ok(vec![Fact::HalfOpened(event.data::<PaymentCircuitHalfOpened>()?.until)]);
        }
        if event.is::<PaymentCircuitClosed>() {
            return Ok(vec![Fact::Closed]);
        }
        Err(event.not_consumed_by(Self::SERVICE))
    }

    /// Leases and counted failures are no events.
    fn visible(&self) -> String {
        match self {
            Self::Closed { .. } => "CLOSED".into(),
            Self::Open { until } => format!("OPEN until {}", millis::text(until)),
            Self::HalfOpen { .. } => "HALF_OPEN".into(),
        }
    }
}

/// How often the circuit opened, half opened and closed.
pub static CIRCUIT: Metric = Metric {
    name: "circuit_changes",
    unit: Unit::Count,
    dimension: Some(("state", &[OPENED, HALF_OPENED, CLOSED])),
};
/// It opened.
pub const OPENED: &str = "opened";
const HALF_OPENED: &str = "half_opened";
const CLOSED: &str = "closed";

const fn became(fact: &Fact) -> Option<&'static str> {
    match fact {
        Fact::Opened(_) => Some(OPENED),
        Fact::HalfOpened(_) => Some(HALF_OPENED),
        Fact::Closed => Some(CLOSED),
        Fact::Counted(_) | Fact::Reset | Fact::Leased(_) | Fact::Probed | Fact::Released => None,
    }
}

/// The calls that the provider refuses: a person has to look at the request, or at the key.
pub static CALLS: Metric =
    Metric { name: "provider_calls", unit: Unit::Count, dimension: Some(("outcome", &[REFUSED])) };
/// It refused one.
pub const REFUSED: &str = "refused";

/// A provider that payments calls only while its circuit lets it.
pub struct CircuitBreaker<P, S> {
    provider: P,
    ports: Ports<S>,
    /// How long the circuit stays open.
    open_for: TimeDelta,
    /// The open circuit as this process has read it.
    seen: Mutex<Option<Seen>>,
}

/// How long a process does not read again that the circuit is open: an operator may have closed it.
const TRUSTED: TimeDelta = TimeDelta::seconds(5);

/// An open circuit that a process knows without reading its row.
#[derive(Clone, Copy)]
struct Seen {
    open_until: DateTime<Utc>,
    trusted_until: DateTime<Utc>,
}

/// The permission to make one call, with the state of the breaker that gave it.
#[derive(Debug)]
#[must_use]
pub struct Permit(Breaker);

/// The circuit is open, or another worker is probing it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Open {
    /// Seconds after which a call may be made again.
    pub retry_after_seconds: u32,
}

/// The breaker of the provider.
#[must_use]
pub fn id() -> AggregateId {
    AggregateId::new("breaker", PROVIDER)
}

impl<P: PaymentProvider, S: Store> CircuitBreaker<P, S> {
    /// `provider` behind the breaker in the service's own table, whose circuit stays open for so long.
    pub const fn new(provider: P, ports: Ports<S>, open_for: TimeDelta) -> Self {
        Self { provider, ports, open_for, seen: Mutex::new(None) }
    }

    /// The provider itself, for a call that [`CircuitBreaker::guarded`] makes.
    pub const fn provider(&self) -> &P {
        &self.provider
    }

    async fn execute(&self, message: Message) -> Result<Executed<Breaker>, Failure> {
        let cause = Cause::request(self.ports.ids.fresh(), self.ports.ids.fresh(), None);
        execute(&self.ports, &id(), message, &cause).await
    }

    /// Acquires the permission to call the provider. While the circuit is half open there is one at a time, and it is a
    /// lease: the caller has to make its call with [`CircuitBreaker::guarded`]. Nothing calls the provider for a replay.
    ///
    /// # Errors
    /// A [`Failure`] when the breaker's row cannot be read or written.
    pub async fn acquire(&self, _live: Live) -> Result<Result<Permit, Open>, Failure> {
        let now = self.ports.clock.now();
        let seen = *self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Seen { open_until: until, .. }) = seen.filter(|seen| now < seen.trusted_until) {
            return Ok(Err(open(&Breaker::Open { until }, now)));
        }
        match self.execute(Message::Ask).await? {
            Executed::Done(breaker) | Executed::Unchanged(breaker) => Ok(Ok(Permit(breaker.state))),
            Executed::Refused(_, breaker) => {
                self.remember(&breaker.state);
                Ok(Err(open(&breaker.state, now)))
            }
        }
    }

    fn remember(&self, breaker: &Breaker) {
        let seen = if let Breaker::Open { until } = breaker {
            Some(Seen { open_until: *until, trusted_until: (self.ports.clock.now() + TRUSTED).min(*until) })
        } else {
            None
        };
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = seen;
    }

    /// Closes the circuit for an operator, and gives the breaker as it is then. Other processes read so within [`TRUSTED`].
    ///
    /// # Errors
    /// A [`Failure`] when the breaker's row cannot be read or written.
    pub async fn reset(&self) -> Result<Breaker, Failure> {
        match self.execute(Message::Reset).await? {
            Executed::Done(breaker) | Executed::Unchanged(breaker) | Executed::Refused(_, breaker) => {
                self.remember(&breaker.state);
                Ok(breaker.state)
            }
        }
    }

    /// Makes a call about an order or a customer under a permit, and counts its answer.
    ///
    /// # Errors
    /// Those of the call.
    pub async fn guarded<T: Send>(
        &self,
        permit: Permit,
        subject: impl Into<Subject> + Send,
        call: impl Future<Output = Result<T, CallError>> + Send,
    ) -> Result<T, Failure> {
        self.counted(permit, subject.into(), false, call).await
    }

    /// As [`CircuitBreaker::guarded`], for a call that captures or gives back: its answer shows that the provider works.
    ///
    /// # Errors
    /// Those of the call.
    pub async fn guarded_money<T: Send>(
        &self,
        permit: Permit,
        subject: impl Into<Subject> + Send,
        call: impl Future<Output = Result<T, CallError>> + Send,
    ) -> Result<T, Failure> {
        self.counted(permit, subject.into(), true, call).await
    }

    async fn counted<T: Send>(
        &self,
        Permit(breaker): Permit,
        subject: Subject,
        moves_money: bool,
        call: impl Future<Output = Result<T, CallError>> + Send,
    ) -> Result<T, Failure> {
        let outcome = call.await;
        let message = match &outcome {
            Err(CallError::Down(_)) => Some(Message::Failed { subject, open_for: self.open_for }),
            // It is busy, or repeats what it answered before: that says nothing about how it is.
            Err(CallError::Later(_)) => None,
            Err(CallError::Refused(_)) => {
                CALLS.count(REFUSED, 1);
                Some(Message::Answered)
            }
            Ok(_) => Some(if moves_money { Message::Succeeded } else { Message::Answered }),
        };
        let is_failure = matches!(message, Some(Message::Failed { .. }));
        // Where nothing has failed there is nothing to reset, and nothing to write.
        if let Some(message) = message.filter(|_| is_failure || breaker != Breaker::default()) {
            self.count(message).await;
        }
        outcome.map_err(Failure::from)
    }

    /// Counts an answer. The provider's answer stands, even when the counting fails.
    async fn count(&self, message: Message) {
        match self.execute(message).await {
            Ok(Executed::Done(breaker)) => self.remember(&breaker.state),
            Ok(_) => {}
            Err(failure) => tracing::warn!(reason = failure.to_string(), "the breaker missed an answer"),
        }
    }
}

fn open(breaker: &Breaker, now: DateTime<Utc>) -> Open {
    Open { retry_after_seconds: breaker::retry_after(breaker, now) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::stripe::{Call, Stripe, Transport};
    use chassis::aggregate::load;
    use chassis::http::client::{Answer, StatusCode};
    use chassis::store::MemoryStore;
    use events::OrderId;
    use serde_json::Value;
    use uuid::Uuid;

    /// Stripe as it answers every call; none: it does not answer.
    struct Always(Option<(u16, bool)>);

    impl Transport for Always {
        async fn send(&self, _: Call) -> Result<Answer, CallError> {
            let (status, is_replayed) = self.0.ok_or_else(|| CallError::Down("no answer".into()))?;
            let answer = Answer::new(StatusCode::from_u16(status).unwrap(), Value::Null);
            Ok(if is_replayed { answer.replayed() } else { answer })
        }
    }

    /// How the breaker stands when Stripe has answered so to a confirmation of one order after the other.
    async fn after(answers: impl IntoIterator<Item = Option<(u16, bool)>>) -> Breaker {
        let ports = Ports::system(MemoryStore::default());
        for (number, answer) in (0..).zip(answers) {
            let circuit = CircuitBreaker::new(Stripe(Always(answer)), ports.clone(), TimeDelta::minutes(1));
            let order_id = OrderId(Uuid::from_u128(number));
            let permit = circuit.acquire(Live::command()).await.unwrap().unwrap();
            let call = circuit.provider().confirm(order_id, "pi", 1);
            circuit.guarded_money(permit, order_id, call).await.unwrap_err();
        }
        load::<Breaker, _>(&ports.store, &id()).await.unwrap().state
    }

    /// Guards: the breaker counts the provider's failures and nothing else. Busy, refused and repeated answers count nothing,
    /// however many orders get them.
    #[tokio::test]
    async fn only_failures_count() {
        for failure in [None, Some((500, false)), Some((503, false))] {
            assert!(matches!(after([failure; 5]).await, Breaker::Open { .. }), "{failure:?}");
        }
        for other in [(429, false), (409, false), (401, false), (403, false), (400, false), (500, true)] {
            assert_eq!(after([Some(other); 20]).await, Breaker::default(), "{other:?}");
        }
    }

    /// Guards: what says nothing about the provider resets no failure either.
    #[tokio::test]
    async fn other_answers_reset_nothing() {
        let breaker = after([None, Some((429, false)), Some((500, true)), Some((401, false)), None]).await;
        assert!(matches!(breaker, Breaker::Closed { failures } if failures.len() == 2));
    }
}
