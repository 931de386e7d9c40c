//! The provider behind its circuit breaker, whose state is a row like any aggregate's.

use crate::breaker::{self, Breaker, Fact, Message};
use crate::charging::{self, Bill};
use crate::compensating::{Known, Undoing};
use crate::reactor::Gateway;
use chassis::reaction::{Loaded, apply, load};
use chassis::telling::{Cause, Entry};
use chassis::{Core, Failure, Ports, Reactor, Refusal, Store};
use chrono::{DateTime, TimeDelta, Utc};
use events::payments::{PROVIDER, PaymentCircuitClosed, PaymentCircuitHalfOpened, PaymentCircuitOpened};
use events::{Envelope, OrderId, Unreadable};
use std::convert::Infallible;
use std::future::Future;
use std::sync::{Mutex, PoisonError};

/// A gateway that is asked only while its breaker lets it.
pub struct Guarded<P, S> {
    inner: P,
    ports: Ports<S>,
    /// How long the circuit stays open.
    open_for: TimeDelta,
    /// Until when this process knows that nobody asks: no row has to be read for that.
    open_until: Mutex<Option<DateTime<Utc>>>,
}

/// How the breaker maps to what it tells.
struct Circuit;

impl Reactor for Circuit {
    const SERVICE: &'static str = "payments";
    type State = Breaker;
    type Message = Message;
    type Fact = Fact;
    type Call = Infallible;
    const CORE: Core<Self::State, Message, Fact> = Core { decide: breaker::decide, evolve: breaker::evolve };

    fn read(envelope: &Envelope) -> Result<Message, Unreadable> {
        Err(envelope.not_consumed_by(Self::SERVICE))
    }

    fn tell(fact: &Fact) -> Option<Entry> {
        let provider = PROVIDER.to_owned();
        match *fact {
            Fact::Opened(until) => Some(Entry::told(&PaymentCircuitOpened { provider, until })),
            Fact::HalfOpened(until) => Some(Entry::told(&PaymentCircuitHalfOpened { provider, until })),
            Fact::Closed => Some(Entry::told(&PaymentCircuitClosed { provider })),
            Fact::Counted(_) | Fact::Leased(_) | Fact::Probed => None,
        }
    }

    async fn perform(&self, call: Infallible, _first: bool) -> Result<Message, Failure> {
        match call {}
    }
}

impl<P: Gateway, S: Store> Guarded<P, S> {
    /// `inner` behind the breaker in the service's own table, which stays open for so long.
    pub const fn new(inner: P, ports: Ports<S>, open_for: TimeDelta) -> Self {
        Self { inner, ports, open_for, open_until: Mutex::new(None) }
    }

    async fn tell(&self, message: Message) -> Result<Result<Loaded<Breaker>, Refusal>, Failure> {
        let cause = Cause::request(self.ports.ids.fresh(), self.ports.ids.fresh(), None);
        apply::<Circuit, S>(&self.ports, (&partition(), PROVIDER), &message, &cause).await
    }

    /// Whether the provider may be asked: how the breaker stands if so, and else after how many seconds.
    ///
    /// # Errors
    /// A [`Failure`] when the breaker's row cannot be read or written.
    pub async fn ask(&self) -> Result<Result<Breaker, u32>, Failure> {
        let now = self.ports.clock.now();
        let known = *self.open_until.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(until) = known.filter(|until| now < *until) {
            return Ok(Err(breaker::retry_after(&Breaker::Open { until }, now)));
        }
        match self.tell(Message::Ask).await? {
            Ok(loaded) => Ok(Ok(loaded.state)),
            Err(_) => {
                let breaker = load::<Breaker, S>(&self.ports.store, &partition()).await?.state;
                self.remember(&breaker);
                Ok(Err(breaker::retry_after(&breaker, now)))
            }
        }
    }

    fn remember(&self, breaker: &Breaker) {
        let until = if let Breaker::Open { until } = breaker { Some(*until) } else { None };
        *self.open_until.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }

    /// A call that was let through, with its answer counted.
    async fn counted<T>(
        &self,
        breaker: Breaker,
        call: impl Future<Output = Result<T, Failure>>,
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

    /// A call after [`Undoing::closed_for`] let it through: how the breaker stood then is not known any more.
    async fn admitted<T>(&self, call: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        let breaker = load::<Breaker, S>(&self.ports.store, &partition()).await?.state;
        self.counted(breaker, call).await
    }

    /// Counts an answer. What the provider said stands, whatever becomes of the counting.
    async fn count(&self, message: Message) {
        match self.tell(message).await {
            Ok(Ok(loaded)) => self.remember(&loaded.state),
            Ok(Err(_)) => {}
            Err(failure) => tracing::warn!(reason = failure.to_string(), "the breaker missed an answer"),
        }
    }
}

fn partition() -> String {
    format!("breaker#{PROVIDER}")
}

impl<P: Gateway, S: Store> Gateway for Guarded<P, S> {
    async fn charge(&self, bill: &Bill, first: bool) -> Result<charging::Message, Failure> {
        let breaker = match self.ask().await? {
            Ok(breaker) => breaker,
            Err(retry_after_seconds) if first => {
                return Ok(charging::Message::Unavailable { retry_after_seconds });
            }
            // Somebody may have asked before: what became of that is found out when the provider is back.
            Err(seconds) => {
                return Err(Failure::Transient(format!("the circuit is open for {seconds} s more")));
            }
        };
        self.counted(breaker, self.inner.charge(bill, first)).await
    }
}

impl<P: Gateway + Undoing, S: Store> Undoing for Guarded<P, S> {
    async fn closed_for(&self) -> Result<Option<u32>, Failure> {
        Ok(self.ask().await?.err())
    }

    async fn look_up(&self, order_id: OrderId, charge_id: Option<&str>) -> Result<Known, Failure> {
        self.admitted(self.inner.look_up(order_id, charge_id)).await
    }

    async fn void(&self, bill: &Bill, intent: Option<&str>) -> Result<bool, Failure> {
        self.admitted(self.inner.void(bill, intent)).await
    }

    async fn refund(
        &self,
        order_id: OrderId,
        charge_id: &str,
        attempt: (u32, u64),
    ) -> Result<Result<(), String>, Failure> {
        self.admitted(self.inner.refund(order_id, charge_id, attempt)).await
    }
}
