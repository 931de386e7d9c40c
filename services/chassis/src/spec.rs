//! Specifications of a decider: `given` facts, `when` a message arrives, `then` these facts follow.
//!
//! ```
//! # use chassis::{Decider, Refusal, spec::Spec};
//! # use chrono::{DateTime, Utc};
//! # #[derive(Clone, Default)]
//! # struct Door(bool);
//! # #[derive(Debug, PartialEq)]
//! # struct Closed;
//! # impl Decider for Door {
//! #     type Message = ();
//! #     type Fact = Closed;
//! #     fn decide(&self, _: &(), _: DateTime<Utc>) -> Result<Vec<Closed>, Refusal> {
//! #         if self.0 { Err(Refusal::Stale("closed")) } else { Ok(vec![Closed]) }
//! #     }
//! #     fn evolve(self, _: &Closed) -> Self { Self(true) }
//! # }
//! Spec::<Door>::given([]).when(()).then([Closed]);
//! Spec::<Door>::given([Closed]).when(()).refused(Refusal::Stale("closed"));
//! ```

use crate::decider::{Decider, Refusal};
use chrono::{DateTime, Utc};
use std::fmt::Debug;

/// A state that facts have led to.
#[derive(Clone, Debug)]
pub struct Spec<D>(D);

/// What the state decided on a message.
#[derive(Debug)]
pub struct Decision<D: Decider>(Result<Vec<D::Fact>, Refusal>);

impl<D: Decider> Spec<D> {
    /// The state after these facts.
    pub fn given(facts: impl IntoIterator<Item = D::Fact>) -> Self {
        Self(facts.into_iter().fold(D::default(), |state, fact| state.evolve(&fact)))
    }

    /// The state itself.
    pub const fn state(&self) -> &D {
        &self.0
    }

    /// Decides on a message at the epoch.
    #[must_use]
    pub fn when(&self, message: D::Message) -> Decision<D> {
        self.when_at(message, DateTime::UNIX_EPOCH)
    }

    /// Decides on a message at `now`.
    #[must_use]
    #[allow(clippy::needless_pass_by_value, reason = "reads as given, when, then")]
    pub fn when_at(&self, message: D::Message, now: DateTime<Utc>) -> Decision<D> {
        Decision(self.0.decide(&message, now))
    }
}

impl<D: Decider<Fact: Debug + PartialEq>> Decision<D> {
    /// Exactly these facts follow.
    #[track_caller]
    pub fn then(self, facts: impl IntoIterator<Item = D::Fact>) {
        assert_eq!(self.0, Ok(facts.into_iter().collect()));
    }

    /// The message is refused, for this reason.
    #[track_caller]
    pub fn refused(self, refusal: Refusal) {
        assert_eq!(self.0, Err(refusal));
    }
}
