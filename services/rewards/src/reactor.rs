//! How granting maps to what rewards takes and tells.

use crate::granting::{self, Fact, Grant, Message};
use crate::subscriptions::{Cancelled, Confirmed};
use chassis::telling::Entry;
use chassis::{Core, Failure, Reactor, Verdict};
use events::orders::{OrderCancelled, OrderConfirmed};
use events::rewards::{RewardsGranted, RewardsRevoked};
use events::{Envelope, Unreadable};
use std::convert::Infallible;

/// Rewards' reaction.
pub struct Rewards;

impl Reactor for Rewards {
    const SERVICE: &'static str = "rewards";
    type State = Grant;
    type Message = Message;
    type Fact = Fact;
    type Call = Infallible;
    const CORE: Core<Self::State, Message, Fact> =
        Core { decide: granting::decide, evolve: granting::evolve };

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

    fn opens(message: &Message) -> bool {
        matches!(message, Message::Confirmed { .. })
    }

    fn tell(fact: &Fact) -> Option<Entry> {
        match fact.clone() {
            Fact::Granted { order_id, customer_id, points } => {
                Some(Entry::told(&RewardsGranted { order_id, customer_id, points }))
            }
            Fact::Revoked { order_id, customer_id, points } => {
                Some(Entry::told(&RewardsRevoked { order_id, customer_id, points }))
            }
            Fact::Closed => None,
        }
    }

    fn verdict(before: &Grant, facts: &[Fact]) -> Verdict {
        match (before, facts) {
            (Grant::Unknown, [Fact::Closed]) => Verdict::Early,
            _ => Verdict::Applied,
        }
    }

    async fn perform(&self, call: Infallible, _first: bool) -> Result<Message, Failure> {
        match call {}
    }
}
