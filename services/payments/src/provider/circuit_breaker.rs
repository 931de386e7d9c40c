//! The circuit breaker in front of a provider. Its state is a row like any aggregate's.

use super::{ChargeOutcome, PaymentProvider};
use crate::breaker::{self, Breaker, Fact, Message};
use crate::payment::Bill;
use chassis::outbox::{Cause, OutboxEntry};
use chassis::reaction::{Executed, execute};
use chassis::{Aggregate, AggregateId, Attempt, Failure, Ports, Store};
use chrono::{DateTime, TimeDelta, Utc};
use events::payments::{PROVIDER, PaymentCircuitClosed, PaymentCircuitHalfOpened, PaymentCircuitOpened};
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
            Fact::Counted(_) | Fact::Leased(_) | Fact::Probed => None,
        }
    }
}

/// A provider that payments calls only while its circuit lets it.
pub struct CircuitBreaker<P, S> {
    provider: P,
    ports: Ports<S>,
    /// How long the circuit stays open.
    open_for: TimeDelta,
    /// Until when this process knows that the circuit is open, without reading its row.
    open_until: Mutex<Option<DateTime<Utc>>>,
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

/// What a charge behind the circuit breaker comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Guarded {
    /// The provider answered.
    Answered(ChargeOutcome),
    /// No worker has called the provider for this bill.
    NeverCalled(Open),
}

fn id() -> AggregateId {
    AggregateId::new("breaker", PROVIDER)
}

impl<P: PaymentProvider, S: Store> CircuitBreaker<P, S> {
    /// `provider` behind the breaker in the service's own table, whose circuit stays open for so long.
    pub const fn new(provider: P, ports: Ports<S>, open_for: TimeDelta) -> Self {
        Self { provider, ports, open_for, open_until: Mutex::new(None) }
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
    /// lease: the caller has to make its call with [`CircuitBreaker::guarded`].
    ///
    /// # Errors
    /// A [`Failure`] when the breaker's row cannot be read or written.
    pub async fn acquire(&self) -> Result<Result<Permit, Open>, Failure> {
        let now = self.ports.clock.now();
        let known = *self.open_until.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(until) = known.filter(|until| now < *until) {
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
        let until = if let Breaker::Open { until } = breaker { Some(*until) } else { None };
        *self.open_until.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }

    /// Makes a call under a permit, and counts its answer.
    ///
    /// # Errors
    /// Those of the call.
    pub async fn guarded<T: Send>(
        &self,
        Permit(breaker): Permit,
        call: impl Future<Output = Result<T, Failure>> + Send,
    ) -> Result<T, Failure> {
        let outcome = call.await;
        match &outcome {
            Err(Failure::Transient(_)) => self.count(Message::Failed(self.open_for)).await,
            // Nothing to reset, nothing to write.
            _ if breaker == Breaker::default() => {}
            _ => self.count(Message::Succeeded).await,
        }
        outcome
    }

    /// Counts an answer. The provider's answer stands, even when the counting fails.
    async fn count(&self, message: Message) {
        match self.execute(message).await {
            Ok(Executed::Done(breaker)) => self.remember(&breaker.state),
            Ok(_) => {}
            Err(failure) => tracing::warn!(reason = failure.to_string(), "the breaker missed an answer"),
        }
    }

    /// Charges a bill if the circuit is closed.
    ///
    /// # Errors
    /// A [`Failure`]; [`Failure::Transient`] too when the circuit is open and an earlier delivery may have called the
    /// provider, whose answer has to be found out first.
    pub async fn charge(&self, bill: &Bill, attempt: Attempt) -> Result<Guarded, Failure> {
        match (self.acquire().await?, attempt) {
            (Ok(permit), _) => {
                self.guarded(permit, self.provider.charge(bill, attempt)).await.map(Guarded::Answered)
            }
            (Err(open), Attempt::First) => Ok(Guarded::NeverCalled(open)),
            (Err(Open { retry_after_seconds }), Attempt::Repeat) => {
                Err(Failure::Transient(format!("the circuit is open for {retry_after_seconds} s more")))
            }
        }
    }
}

fn open(breaker: &Breaker, now: DateTime<Utc>) -> Open {
    Open { retry_after_seconds: breaker::retry_after(breaker, now) }
}
