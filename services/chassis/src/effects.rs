//! Outward calls. A state that waits for a call says so; the shell makes the call between two commits, and its outcome
//! is the next message. A call that is harmless to repeat needs no such state: it is made before the facts are committed
//! that say so.

use crate::decider::Decider;
use crate::failure::Failure;
use crate::live::Live;
use crate::reactor::Reactor;
use std::convert::Infallible;
use std::future::{Future, ready};
use std::marker::PhantomData;

/// Whether a call may have been made before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// This delivery has just committed the intent: no other worker can have made the call.
    First,
    /// An earlier delivery committed the intent, and may have made the call.
    Repeat,
}

/// A reactor with the outside world that it calls.
pub trait Effects: Send + Sync + 'static {
    /// The aggregate that asks for the calls.
    type Reactor: Reactor;
    /// What a call needs to know.
    type Call: Send;
    /// Whether there are calls. A service with calls leaves replayed events alone: it could not make the call that its state
    /// would wait for.
    const CALLS: bool = true;

    /// Does outside what the facts say, just before they are committed. A crash, or a commit that another worker beats,
    /// leaves no record of it, and it is done again: here belongs only what is harmless to repeat for as long as the queue
    /// delivers again. Whatever else happens outside is a call that a state waits for.
    fn carry_out(
        &self,
        _facts: &[<Self::Reactor as Decider>::Fact],
        _live: Live,
    ) -> impl Future<Output = Result<(), Failure>> + Send {
        ready(Ok(()))
    }

    /// The call that a state waits for.
    fn pending_call(state: &Self::Reactor) -> Option<Self::Call>;

    /// Makes the call; its outcome is the next message. It must carry an idempotency key, because it may be repeated.
    fn perform(
        &self,
        call: Self::Call,
        attempt: Attempt,
        live: Live,
    ) -> impl Future<Output = Result<<Self::Reactor as Decider>::Message, Failure>> + Send;
}

/// A reactor that makes no outward calls.
pub struct NoEffects<R>(PhantomData<fn() -> R>);

impl<R> Default for NoEffects<R> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<R: Reactor> Effects for NoEffects<R> {
    type Reactor = R;
    type Call = Infallible;
    const CALLS: bool = false;

    fn pending_call(_state: &R) -> Option<Infallible> {
        None
    }

    async fn perform(&self, call: Infallible, _attempt: Attempt, _live: Live) -> Result<R::Message, Failure> {
        match call {}
    }
}
