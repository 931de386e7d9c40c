//! Which events cannot be true together with what an order knows: a part of the pure core.
//!
//! What orders knew first stands. The event changes nothing, gets a verdict of its own and raises an alarm, because a service
//! contradicts itself or answers what orders never asked. A charge is never among them: money that was taken is a fact,
//! whatever else was published, and payments gives it back. `ended_specs` has the table of every pair.

use super::Saga;
use super::known::ParticipantEvent;
use events::fulfillment::{FulfillmentFailed, FulfillmentShipped};
use events::inventory::{InventoryReleased, InventoryReservationFailed, InventoryReserved};
use events::orders::{OrderCancelled, OrderConfirmed};
use events::payments::PaymentCharged;

impl Saga {
    /// Why `event` cannot be true, if it cannot.
    pub(super) fn contradiction(&self, event: &ParticipantEvent) -> Option<&'static str> {
        match event {
            ParticipantEvent::Charged(_) => None,
            ParticipantEvent::Reserved(_) => self.is_not_held(),
            ParticipantEvent::ReservationFailed(_) => self.is_held(),
            ParticipantEvent::Released(released) if released.lines.is_empty() => {
                self.stands().or_else(|| self.is_held())
            }
            ParticipantEvent::Released(_) => self.stands().or_else(|| self.is_not_held()),
            ParticipantEvent::Voided(_) if self.knows::<PaymentCharged>() => Some("it was charged"),
            ParticipantEvent::Declined(_)
            | ParticipantEvent::Unavailable(_)
            | ParticipantEvent::Voided(_)
            | ParticipantEvent::Refunded(_)
            | ParticipantEvent::RefundFailed(_) => self.stands(),
            ParticipantEvent::Shipped(_) if self.knows::<FulfillmentFailed>() => {
                Some("it could not be shipped")
            }
            ParticipantEvent::Shipped(_) => self.knows::<OrderCancelled>().then_some("it was cancelled"),
            ParticipantEvent::FulfillmentFailed(_) if self.knows::<FulfillmentShipped>() => {
                Some("it was shipped")
            }
            ParticipantEvent::FulfillmentFailed(_) => self.was_never_to_ship(),
        }
    }

    /// Confirmed and not cancelled: stock and money are certain, and nothing is to be undone.
    fn stands(&self) -> Option<&'static str> {
        let stands = self.knows::<OrderConfirmed>() && !self.knows::<OrderCancelled>();
        stands.then_some("it is confirmed")
    }

    fn was_never_to_ship(&self) -> Option<&'static str> {
        let never = self.knows::<OrderCancelled>() && !self.knows::<OrderConfirmed>();
        never.then_some("it was never to be shipped")
    }

    fn is_held(&self) -> Option<&'static str> {
        (self.knows::<InventoryReserved>() || self.released_something()).then_some("its stock was held")
    }

    fn is_not_held(&self) -> Option<&'static str> {
        let nothing = self.event::<InventoryReleased>().is_some_and(|released| released.lines.is_empty());
        (nothing || self.knows::<InventoryReservationFailed>()).then_some("its stock was not held")
    }
}
