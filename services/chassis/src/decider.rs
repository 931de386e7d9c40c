//! The theory, in a dozen lines: what a service decides is a pure function of what it knows.

use chrono::{DateTime, Utc};

/// A pure core: no I/O, no clock, no randomness, no environment. The implementing type is the state; its `Default` is
/// the state in which nothing is known.
pub trait Decider: Default + Clone + Send + Sync + 'static {
    /// What it decides on.
    type Message: Send + Sync;
    /// What it decides, in the past tense.
    type Fact: Send + Sync;

    /// The facts that follow from `message` in this state, at `now`; none when there is nothing to do.
    ///
    /// # Errors
    /// The [`Refusal`] of a message that is stale or illegal in this state.
    fn decide(&self, message: &Self::Message, now: DateTime<Utc>) -> Result<Vec<Self::Fact>, Refusal>;

    /// The state after a fact.
    #[must_use]
    fn evolve(self, fact: &Self::Fact) -> Self;
}

/// Why a message changes nothing. Comparable, so that a spec can expect it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The state knows it already, or is past it.
    #[error("stale: {0}")]
    Stale(&'static str),
    /// The message makes no sense in this state.
    #[error("illegal: {0}")]
    Illegal(&'static str),
    /// The message and the state cannot both be true: a service contradicts itself or what it answers. An alarm sounds.
    #[error("contradicted: {0}")]
    Contradicted(&'static str),
}
