//! The proof that something happens now. Every outward call asks for it, and an event that is published again from the log
//! cannot give it: so no replay charges, ships or notifies anyone, whatever its handler does.

use events::Metadata;

/// What is going on now: a request, or an event that is not replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Live(());

impl Live {
    /// An event as it was delivered; none when it is replayed.
    #[must_use]
    pub fn of(metadata: &Metadata) -> Option<Self> {
        metadata.replay.is_none().then_some(Self(()))
    }

    /// A request, a schedule or an operator's command: these cannot be replayed.
    #[must_use]
    pub const fn command() -> Self {
        Self(())
    }
}
