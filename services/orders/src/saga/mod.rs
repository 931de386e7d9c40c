//! The saga tracker: the pure core of orders.
//!
//! A saga is the set of facts known about an order. Status and next fact are functions of that set, so the order in which
//! events arrive cannot matter. The tracker records and, when something failed, cancels; it never orders a service to
//! do anything.

mod contradictions;
pub mod deadlines;
#[cfg(test)]
mod ended_specs;
pub mod history;
pub mod known;
pub mod measures;
#[cfg(test)]
mod specs;
pub mod step;
mod undoing;

use chassis::{Decider, Refusal};
use chrono::{DateTime, Utc};
use deadlines::Reminders;
use events::EventId;
use events::fulfillment::{FulfillmentFailed, FulfillmentShipped};
use events::inventory::{InventoryReleased, InventoryReservationFailed, InventoryReserved};
use events::orders::{
    CancelReason, Destination, OrderCancelled, OrderCompensated, OrderConfirmed, OrderCreated, OrderFailed,
    OrderFulfilled, SealedAddress,
};
use events::payments::{PaymentCharged, PaymentDeclined, PaymentUnavailable};
use known::{ADDRESSED, InSaga, Kept, Known, Noted, ParticipantEvent};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;
use step::Step;

/// What orders decides on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A customer places an order, priced; its address is sealed already.
    Place { order: OrderCreated, address: Option<SealedAddress> },
    /// The customer does not want it any more.
    Cancel,
    /// The sweeper looks whether a step is overdue.
    Sweep,
    /// Another service published an event.
    Received { event_id: EventId, event: ParticipantEvent },
}

/// Everything known about an order, in the order in which orders learned it: a set that only grows, but for the address, which
/// goes with the confirmation. Beside it, the reminders of each step: their number and not each of them, so that the row stays small however long a step is silent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saga {
    #[serde(deserialize_with = "kept")]
    known: Vec<Noted>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    nudges: BTreeMap<Step, Reminders>,
    /// Whether the sweeper has published again how the order ended, since the last thing that became known.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    reconciled: bool,
}

/// Rows of older versions hold more than is kept now.
fn kept<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Noted>, D::Error> {
    let mut known = Vec::new();
    Vec::<Noted>::deserialize(from)?.into_iter().for_each(|noted| keep(&mut known, noted));
    Ok(known)
}

fn keep(known: &mut Vec<Noted>, noted: Noted) {
    if OrderConfirmed::is(&noted.what) {
        // The event has carried the address on, and nothing else needs it.
        known.retain(|noted| !matches!(noted.what, Known::Addressed(_)));
    }
    known.push(noted.kept());
}

/// Where an order stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Status {
    /// Waiting for stock and money.
    Pending,
    /// Stock is held and the total is charged.
    Confirmed,
    /// The goods are on their way. Terminal.
    Fulfilled,
    /// Cancelled; the participants are undoing what they hold.
    Cancelling,
    /// Cancelled, and nothing had to be undone. Terminal.
    Cancelled,
    /// Cancelled, and everything is undone. Terminal.
    Compensated,
    /// Cancelled, and the provider keeps money that it was to give back: waits for an operator.
    Failed,
}

impl Status {
    /// As the API and the index show it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Confirmed => "CONFIRMED",
            Self::Fulfilled => "FULFILLED",
            Self::Cancelling => "CANCELLING",
            Self::Cancelled => "CANCELLED",
            Self::Compensated => "COMPENSATED",
            Self::Failed => "FAILED",
        }
    }
}

impl Saga {
    /// The entry of this event, if it is known; the latest, where there can be several.
    #[must_use]
    pub fn noted<E: InSaga>(&self) -> Option<&Noted> {
        self.known.iter().rfind(|noted| E::is(&noted.what))
    }

    /// This event, if it is known; the latest, where there can be several.
    #[must_use]
    pub fn event<E: Kept>(&self) -> Option<&E> {
        self.known.iter().rev().find_map(|noted| E::of(&noted.what))
    }

    /// Whether this event is known.
    #[must_use]
    pub fn knows<E: InSaga>(&self) -> bool {
        self.noted::<E>().is_some()
    }

    fn address(&self) -> Option<&Destination> {
        self.known.iter().find_map(|noted| match &noted.what {
            Known::Addressed(address) => Some(address),
            _ => None,
        })
    }

    /// Where the order stands: a function of the set of facts and of nothing else.
    #[must_use]
    pub fn status(&self) -> Status {
        if !self.knows::<OrderCancelled>() {
            return match (self.knows::<OrderFulfilled>(), self.knows::<OrderConfirmed>()) {
                (true, _) => Status::Fulfilled,
                (false, true) => Status::Confirmed,
                (false, false) => Status::Pending,
            };
        }
        match (self.needs_operator(), self.final_words_are_in(), self.released_something()) {
            (true, ..) => Status::Failed,
            (false, false, _) => Status::Cancelling,
            (false, true, false) => Status::Cancelled,
            (false, true, true) => Status::Compensated,
        }
    }

    /// Whether every final word that can still be expected is known.
    fn final_words_are_in(&self) -> bool {
        !self.inventory_owes() && (self.is_undone() || !self.payments_owes())
    }

    /// Whether inventory owes a final word. Its "no" was one.
    #[must_use]
    pub fn inventory_owes(&self) -> bool {
        !self.knows::<InventoryReleased>() && !self.knows::<InventoryReservationFailed>()
    }

    /// Whether payments owes a final word. Its "no" was one; and payments charges only for what is held. What comes from
    /// payments nevertheless is undone there, and changes no status (I7).
    #[must_use]
    pub fn payments_owes(&self) -> bool {
        !self.knows::<PaymentDeclined>()
            && !self.knows::<PaymentUnavailable>()
            && !self.knows::<InventoryReservationFailed>()
    }

    /// The events of the order, oldest first: the wire name of each and when orders knew it. Of what became known in the
    /// same transaction, the cause stands first.
    #[must_use]
    pub fn timeline(&self) -> Vec<(&'static str, DateTime<Utc>)> {
        let all = self.known.iter().map(|noted| (noted.what.kind(), noted.at));
        let mut events: Vec<_> = all.filter(|(kind, _)| *kind != ADDRESSED).collect();
        events.sort_by_key(|(_, at)| *at);
        events
    }

    /// The event that cancels the order for its customer: while it is pending, and not afterwards.
    fn cancellable(&self) -> Result<Known, Refusal> {
        let placed = self.event::<OrderCreated>().ok_or(Refusal::Illegal("never placed"))?;
        match self.status() {
            Status::Pending => Ok(cancelled(placed, CancelReason::CustomerRequest)),
            Status::Confirmed | Status::Fulfilled => Err(Refusal::Illegal("already confirmed")),
            Status::Cancelling | Status::Cancelled | Status::Compensated | Status::Failed => {
                Err(Refusal::Stale("already cancelled"))
            }
        }
    }

    /// Whether inventory held something and released it. Payments charges only for what is held, so this says of the whole
    /// order whether something had to be undone, and no later event changes it.
    fn released_something(&self) -> bool {
        self.event::<InventoryReleased>().is_some_and(|released| !released.lines.is_empty())
    }

    /// Why the order cannot happen, if a service has published a reason.
    fn failure(&self) -> Option<CancelReason> {
        if let Some(failed) = self.event::<InventoryReservationFailed>() {
            return Some(failed.clone().into());
        }
        if let Some(PaymentDeclined { code, .. }) = self.event() {
            return Some(CancelReason::PaymentDeclined { decline_code: code.clone() });
        }
        if let Some(PaymentUnavailable { retry_after_seconds, .. }) = self.event() {
            let retry_after_seconds = *retry_after_seconds;
            return Some(CancelReason::PaymentProviderUnavailable { retry_after_seconds });
        }
        let failed = self.event::<FulfillmentFailed>().filter(|_| self.knows::<OrderConfirmed>())?;
        Some(CancelReason::FulfillmentFailed { carrier_code: failed.code.clone() })
    }

    /// The next decision that follows from what is known, if one does.
    fn next(&self) -> Option<Known> {
        let order = self.event::<OrderCreated>()?;
        if let Some(cancelled) = self.event::<OrderCancelled>() {
            return self.next_of_cancelled(cancelled);
        }
        if let Some(reason) = self.failure() {
            return Some(cancelled(order, reason));
        }
        // What was captured has to be what was ordered: I2.
        let paid = self.event::<PaymentCharged>().is_some_and(|charged| charged.amount == order.total);
        if !self.knows::<OrderConfirmed>() {
            let ready = self.knows::<InventoryReserved>() && paid;
            return ready.then(|| confirmed(order, self.address()));
        }
        let shipped = self.event::<FulfillmentShipped>().filter(|_| !self.knows::<OrderFulfilled>())?;
        Some(fulfilled(order, shipped))
    }

    fn next_of_cancelled(&self, cancelled: &OrderCancelled) -> Option<Known> {
        let OrderCancelled { order_id, customer_id, reason } = cancelled.clone();
        let end = self.known.iter().rev().map(|noted| &noted.what).find(|what| what.is_end_of_cancelled());
        match (self.status(), end) {
            (Status::Failed, Some(Known::Failed(_))) | (Status::Compensated, Some(Known::Compensated(_))) => {
                None
            }
            (Status::Failed, _) => Some(Known::Failed(OrderFailed { order_id, customer_id, reason })),
            (Status::Compensated, _) => {
                Some(Known::Compensated(OrderCompensated { order_id, customer_id, reason }))
            }
            _ => None,
        }
    }
}

fn confirmed(order: &OrderCreated, address: Option<&Destination>) -> Known {
    let OrderCreated { order_id, customer_id, total, lines, .. } = order.clone();
    let (sealed_address, shipping_address) = match address.cloned() {
        Some(Destination::Sealed { sealed_address }) => (Some(sealed_address), None),
        Some(Destination::Clear(address)) => (None, Some(address)),
        None => (None, None),
    };
    Known::Confirmed(OrderConfirmed { order_id, customer_id, total, lines, shipping_address, sealed_address })
}

fn fulfilled(order: &OrderCreated, shipped: &FulfillmentShipped) -> Known {
    let FulfillmentShipped { order_id, carrier, tracking_number } = shipped.clone();
    let customer_id = order.customer_id.clone();
    Known::Fulfilled(OrderFulfilled { order_id, customer_id, carrier, tracking_number })
}

fn cancelled(order: &OrderCreated, reason: CancelReason) -> Known {
    let (order_id, customer_id) = (order.order_id, order.customer_id.clone());
    Known::Cancelled(OrderCancelled { order_id, customer_id, reason })
}

impl Decider for Saga {
    type Message = Message;
    type Fact = Noted;

    /// The fact itself, and every fact that follows from it.
    fn decide(&self, message: &Message, now: DateTime<Utc>) -> Result<Vec<Noted>, Refusal> {
        let mut facts = match message {
            Message::Place { .. } if self.knows::<OrderCreated>() => {
                return Err(Refusal::Illegal("already placed"));
            }
            Message::Place { order, address } => {
                let addressed = Destination::of(address.clone(), None).map(Known::Addressed);
                let placed = std::iter::once(Known::Created(order.clone())).chain(addressed);
                placed.map(|what| Noted::own(what, now)).collect()
            }
            Message::Cancel => vec![Noted::own(self.cancellable()?, now)],
            Message::Sweep => vec![Noted::own(self.sweep(now)?, now)],
            Message::Received { event_id, event } => {
                self.admit(event)?;
                vec![Noted::received(event.clone(), *event_id, now)]
            }
        };
        let mut after = facts.iter().fold(self.clone(), Self::evolve);
        while let Some(what) = after.next() {
            let fact = Noted::own(what, now);
            after = after.evolve(&fact);
            facts.push(fact);
        }
        Ok(facts)
    }

    fn evolve(mut self, fact: &Noted) -> Self {
        match &fact.what {
            Known::Nudged(step) => self.reminded(*step, fact.at),
            Known::Reconciled => self.reconciled = true,
            _ => {
                keep(&mut self.known, fact.clone());
                self.reconciled = false;
            }
        }
        self
    }
}

impl Saga {
    /// Whether an event is news, and can be true. Of the outcomes of undoing a charge, one that counts more than those
    /// known is news; every other event is known once.
    fn admit(&self, event: &ParticipantEvent) -> Result<(), Refusal> {
        let is_known = match event.rank() {
            Some(rank) => self.rank() >= Some(rank),
            None => self.known.iter().any(|noted| noted.what.kind() == event.kind()),
        };
        match self.contradiction(event) {
            _ if is_known => Err(Refusal::Stale("already known")),
            Some(why) => Err(Refusal::Contradicted(why)),
            None => Ok(()),
        }
    }
}
