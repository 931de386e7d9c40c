//! The three ways infrastructure can fail. A business "no" is never one of them: that is an event.

/// Why a delivery or a request could not be finished.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Others kept changing the same rows and every bounded retry lost, or a call outside found another call under the
    /// same key. Safe to deliver again.
    #[error("another call or transaction has the same thing in hand; attempts made: {attempts}")]
    Conflict {
        /// How often it was tried.
        attempts: u32,
    },
    /// Something outside did not answer or asked for patience. Safe to deliver again.
    #[error("transient: {0}")]
    Transient(String),
    /// The same bytes will fail the same way every time. Ends in the dead-letter queue.
    #[error("poison: {0}")]
    Poison(String),
}

impl Failure {
    /// The class alone, for logs and metrics.
    #[must_use]
    pub const fn class(&self) -> &'static str {
        match self {
            Self::Conflict { .. } => "conflict",
            Self::Transient(_) => "transient",
            Self::Poison(_) => "poison",
        }
    }
}

impl From<events::Unreadable> for Failure {
    fn from(unreadable: events::Unreadable) -> Self {
        Self::Poison(unreadable.to_string())
    }
}
