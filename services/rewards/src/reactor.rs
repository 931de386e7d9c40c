//! Which events rewards consumes and publishes.

use crate::points::{Fact, Message, Points};
use crate::subscriptions::{Cancelled, Confirmed};
use chassis::audit::{Audited, Kind};
use chassis::outbox::OutboxEntry;
use chassis::{Aggregate, NoEffects, Reactor, Verdict};
use events::orders::{OrderCancelled, OrderConfirmed};
use events::rewards::{RewardsGranted, RewardsRevoked};
use events::{Envelope, Unreadable};

/// Rewards makes no outward calls.
pub type Reactions = NoEffects<Points>;

impl Aggregate for Points {
    const SERVICE: &'static str = "rewards";

    fn event(fact: &Fact) -> Option<OutboxEntry> {
        match fact {
            Fact::Granted(granted) => Some(OutboxEntry::published(granted)),
            Fact::Revoked(revoked) => Some(OutboxEntry::published(revoked)),
            Fact::Closed => None,
        }
    }

    fn facts(&self, event: &Envelope) -> Result<Vec<Fact>, Unreadable> {
        if event.is::<RewardsGranted>() {
            return Ok(vec![Fact::Granted(event.data()?)]);
        }
        if event.is::<RewardsRevoked>() {
            return Ok(vec![Fact::Revoked(event.data()?)]);
        }
        Err(event.not_consumed_by(Self::SERVICE))
    }

    fn visible(&self) -> String {
        match self {
            Self::Granted { points, .. } => format!("{points} points granted"),
            Self::Unknown | Self::Closed => "no points".into(),
        }
    }

    fn starts_aggregate(message: &Message) -> bool {
        matches!(message, Message::Confirmed { .. })
    }
}

impl Reactor for Points {
    fn read(envelope: &Envelope) -> Result<Message, Unreadable> {
        if envelope.is::<OrderConfirmed>() {
            let Confirmed { order_id, customer_id, total } = envelope.view()?;
            return Ok(Message::Confirmed { order_id, customer_id, total });
        }
        if envelope.is::<OrderCancelled>() {
            return Ok(Message::Cancelled(envelope.view::<Cancelled>()?.order_id));
        }
        Err(envelope.not_consumed_by(Self::SERVICE))
    }

    fn verdict(&self, facts: &[Fact]) -> Verdict {
        if facts.contains(&Fact::Closed) { Verdict::Early } else { Verdict::Applied }
    }
}

/// What an audit compares.
pub const AUDITED: Audited =
    Audited { kinds: &[Kind::by_events::<Points>("order")], views: &[], inbox: <Points as Reactor>::id };
