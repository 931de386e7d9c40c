//! How undoing a charge stands: of everything that payments has published about it, one event counts, whatever the order
//! of arrival. A part of the pure core.

use super::Saga;
use super::known::{Known, Noted, ParticipantEvent};

/// How one request to undo a charge ended. Of one request, the later variant counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    /// The provider refused, or another execution of the request gave up.
    Failed,
    /// The money is back, or was never taken.
    Undone,
    /// The provider took the refund, and could not make it in the end.
    FailedAfterRefund,
}

/// The place of an outcome among all of them: the number of the request, and how it ended. The highest counts, which is
/// commutative: an operator's retry is a request of a higher number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    generation: u32,
    end: End,
}

impl ParticipantEvent {
    /// The rank of payments' answer to a cancellation; none for any other event.
    pub(super) fn rank(&self) -> Option<Rank> {
        let (generation, end) = match self {
            Self::Voided(voided) => (voided.generation, End::Undone),
            Self::Refunded(refunded) => (refunded.generation, End::Undone),
            Self::RefundFailed(failed) if failed.after_refund => (failed.generation, End::FailedAfterRefund),
            Self::RefundFailed(failed) => (failed.generation, End::Failed),
            _ => return None,
        };
        Some(Rank { generation: generation.unwrap_or(1), end })
    }
}

impl Saga {
    /// The outcome that counts, if payments has published any.
    #[must_use]
    pub fn outcome(&self) -> Option<(&Noted, &ParticipantEvent)> {
        self.outcomes().max_by_key(|(.., rank)| *rank).map(|(noted, event, _)| (noted, event))
    }

    pub(super) fn rank(&self) -> Option<Rank> {
        self.outcomes().map(|(.., rank)| rank).max()
    }

    fn outcomes(&self) -> impl Iterator<Item = (&Noted, &ParticipantEvent, Rank)> {
        self.known.iter().filter_map(|noted| match &noted.what {
            Known::Received(event) => Some((noted, event, event.rank()?)),
            _ => None,
        })
    }

    /// Whether the money is back, or was never taken.
    pub(super) fn is_undone(&self) -> bool {
        self.rank().is_some_and(|rank| rank.end == End::Undone)
    }

    /// Whether the provider kept money that it was to give back: an operator has to look at it.
    pub(super) fn needs_operator(&self) -> bool {
        self.rank().is_some_and(|rank| rank.end != End::Undone)
    }
}
