//! The circuit breaker in front of a provider. Its state is a row like any aggregate's.

use super::{CallError, PaymentProvider};
use crate::breaker::{self, Breaker, Fact, Message, Subject};
use chassis::outbox::{Cause, OutboxEntry};
use chassis::reaction::{Executed, execute};
use chassis::{Aggregate, AggregateId, Failure, Ports, Store};
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
            Fact::Counted(_) | Fact::Reset | Fact::Leased(_) | Fact::Probed | Fact::Released => None,
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
        match &outcome {
            Err(CallError::Down(_)) => {
                self.count(Message::Failed { subject, open_for: self.open_for }).await;
            }
            // Nothing to reset, nothing to write.
            _ if breaker == Breaker::default() => {}
            _ if moves_money => self.count(Message::Succeeded).await,
            _ => self.count(Message::Answered).await,
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
