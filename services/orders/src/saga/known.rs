//! What can be known about an order: orders' own decisions, and the events of the other services.

use super::step::Step;
use chassis::outbox::OutboxEntry;
use chrono::{DateTime, Utc};
use events::envelope::millis;
use events::fulfillment::{FulfillmentFailed, FulfillmentShipped};
use events::inventory::{InventoryReleased, InventoryReservationFailed, InventoryReserved};
use events::orders::{
    Destination, OrderCancelled, OrderCompensated, OrderConfirmed, OrderCreated, OrderFailed, OrderFulfilled,
};
use events::payments::{
    PaymentCharged, PaymentDeclined, PaymentRefundFailed, PaymentRefunded, PaymentUnavailable, PaymentVoided,
};
use events::{Envelope, Event, EventId, Unreadable};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// The service whose saga this is.
pub(super) const SERVICE: &str = "orders";
/// The type of the row that keeps an order's address. Recorded only: no rule and no pipe lets it out.
pub(super) const ADDRESSED: &str = "order.addressed";
/// The type of the row that keeps a reminder. Recorded only.
pub(super) const NUDGED: &str = "order.nudged";
/// The type of the row that keeps a reconciliation. Recorded only.
pub(super) const RECONCILED: &str = "order.reconciled";

/// One thing known about an order: when, from which event, and what. It is the fact that orders decides, and the entry that its
/// state keeps, less what follows from other entries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Noted {
    #[serde(with = "millis")]
    pub at: DateTime<Utc>,
    /// The event that orders learned it from; none for what orders itself decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_id: Option<EventId>,
    pub what: Known,
}

/// An event that a saga may know.
pub trait InSaga: Event {
    /// Whether `known` is one of this type.
    fn is(known: &Known) -> bool;
}

/// An event that the state keeps with its data.
pub trait Kept: InSaga {
    /// The event in `known`, if it is one of this type.
    fn of(known: &Known) -> Option<&Self>;
}

/// The table: each variant with its event. From it follow the reader, the row, the name and the lookup of every event.
macro_rules! table {
    (
        own { $($own:ident($own_event:ty),)* }
        milestones { $($milestone:ident($milestone_event:ty),)* }
        participants { $($(#[$doc:meta])* $name:ident($event:ty),)* }
    ) => {
        /// What can be known.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Known {
            $($own($own_event),)*
            $($milestone($milestone_event),)*
            /// What the state keeps of a milestone: that it was reached. What the event said follows from the rest.
            Reached(Milestone),
            /// Where the goods go. Personal data stays off the bus until fulfillment needs it, and is sealed everywhere.
            Addressed(Destination),
            /// The sweeper reminded a silent step.
            Nudged(Step),
            /// The sweeper published again how the order ended.
            Reconciled,
            /// Another service published an event.
            Received(ParticipantEvent),
        }

        /// A decision of orders that says nothing new.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Milestone {
            $($milestone,)*
        }

        /// An event that another service published about an order.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum ParticipantEvent {
            $($(#[$doc])* $name($event),)*
        }

        $(impl InSaga for $own_event {
            fn is(known: &Known) -> bool {
                Self::of(known).is_some()
            }
        }

        impl Kept for $own_event {
            fn of(known: &Known) -> Option<&Self> {
                if let Known::$own(event) = known { Some(event) } else { None }
            }
        })*

        $(impl InSaga for $milestone_event {
            fn is(known: &Known) -> bool {
                matches!(known, Known::$milestone(_) | Known::Reached(Milestone::$milestone))
            }
        })*

        $(impl InSaga for $event {
            fn is(known: &Known) -> bool {
                Self::of(known).is_some()
            }
        }

        impl Kept for $event {
            fn of(known: &Known) -> Option<&Self> {
                if let Known::Received(ParticipantEvent::$name(event)) = known { Some(event) } else { None }
            }
        })*

        impl ParticipantEvent {
            /// The event in an envelope.
            ///
            /// # Errors
            /// [`Unreadable`] for a type that orders does not consume, or data that is not of its shape.
            pub fn read(envelope: &Envelope) -> Result<Self, Unreadable> {
                match envelope.metadata.kind.as_str() {
                    $(<$event>::TYPE => envelope.data().map(Self::$name),)*
                    _ => Err(envelope.not_consumed_by(SERVICE)),
                }
            }

            /// Its type.
            #[must_use]
            pub const fn kind(&self) -> &'static str {
                match self {
                    $(Self::$name(_) => <$event>::TYPE,)*
                }
            }

            fn entry(&self, from: EventId) -> OutboxEntry {
                match self {
                    $(Self::$name(event) => OutboxEntry::recorded(event, from),)*
                }
            }
        }

        impl Known {
            /// Its type: the event's, or that of the row that keeps it.
            #[must_use]
            pub const fn kind(&self) -> &'static str {
                match self {
                    $(Self::$own(_) => <$own_event>::TYPE,)*
                    $(Self::$milestone(_) | Self::Reached(Milestone::$milestone) => <$milestone_event>::TYPE,)*
                    Self::Addressed(_) => ADDRESSED,
                    Self::Nudged(_) => NUDGED,
                    Self::Reconciled => RECONCILED,
                    Self::Received(event) => event.kind(),
                }
            }

            /// One of orders' own events, if this is one.
            pub(super) fn read_own(envelope: &Envelope) -> Result<Option<Self>, Unreadable> {
                Ok(Some(match envelope.metadata.kind.as_str() {
                    $(<$own_event>::TYPE => Self::$own(envelope.data()?),)*
                    $(<$milestone_event>::TYPE => Self::$milestone(envelope.data()?),)*
                    _ => return Ok(None),
                }))
            }

            fn own_entry(&self) -> Option<OutboxEntry> {
                match self {
                    $(Self::$own(event) => Some(OutboxEntry::published(event)),)*
                    $(Self::$milestone(event) => Some(OutboxEntry::published(event)),)*
                    _ => None,
                }
            }

            /// As the state keeps it.
            fn kept(self) -> Self {
                match self {
                    $(Self::$milestone(_) => Self::Reached(Milestone::$milestone),)*
                    other => other,
                }
            }
        }
    };
}

table! {
    own {
        Created(OrderCreated),
        Cancelled(OrderCancelled),
        Compensated(OrderCompensated),
        Failed(OrderFailed),
    }
    milestones {
        Confirmed(OrderConfirmed),
        Fulfilled(OrderFulfilled),
    }
    participants {
        /// Inventory holds every line.
        Reserved(InventoryReserved),
        /// Inventory could not hold a line.
        ReservationFailed(InventoryReservationFailed),
        /// Inventory's final word: what it held is free again.
        Released(InventoryReleased),
        /// The provider captured the total.
        Charged(PaymentCharged),
        /// The provider declined.
        Declined(PaymentDeclined),
        /// Payments could not call the provider.
        Unavailable(PaymentUnavailable),
        /// Payments' final word when nothing was charged.
        Voided(PaymentVoided),
        /// Payments' final word when something was charged.
        Refunded(PaymentRefunded),
        /// The provider refused to give the money back.
        RefundFailed(PaymentRefundFailed),
        /// The carrier took the goods.
        Shipped(FulfillmentShipped),
        /// The carrier will not take the goods.
        FulfillmentFailed(FulfillmentFailed),
    }
}

impl Known {
    /// Whether it says how a cancelled order ended.
    pub(super) const fn is_end_of_cancelled(&self) -> bool {
        matches!(self, Self::Compensated(_) | Self::Failed(_))
    }
}

impl Noted {
    /// What orders itself decided at `at`.
    pub(super) const fn own(what: Known, at: DateTime<Utc>) -> Self {
        Self { at, event_id: None, what }
    }

    /// What orders learned at `at` from another service's event.
    pub(super) const fn received(event: ParticipantEvent, event_id: EventId, at: DateTime<Utc>) -> Self {
        Self { at, event_id: Some(event_id), what: Known::Received(event) }
    }

    /// As the state keeps it.
    pub(super) fn kept(self) -> Self {
        Self { what: self.what.kept(), ..self }
    }

    /// The event row of this fact.
    #[must_use]
    pub fn entry(&self) -> Option<OutboxEntry> {
        match (&self.what, self.event_id) {
            (Known::Received(event), Some(from)) => Some(event.entry(from)),
            (Known::Addressed(address), _) => Some(OutboxEntry::private(SERVICE, ADDRESSED, json!(address))),
            (Known::Nudged(step), _) => Some(OutboxEntry::private(SERVICE, NUDGED, json!({ "step": step }))),
            (Known::Reconciled, _) => Some(OutboxEntry::private(SERVICE, RECONCILED, json!({}))),
            (own, _) => own.own_entry(),
        }
    }
}
