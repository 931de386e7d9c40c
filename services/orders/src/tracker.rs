//! The saga tracker: the pure core of orders.
//!
//! A saga is the set of facts known about an order. Status and next fact are functions of that set, so the
//! order in which events arrive cannot matter. The tracker records and, when something failed, cancels; it
//! never tells anybody what to do next.

use crate::deadlines::Nudge;
use chassis::Refusal;
use chrono::{DateTime, Utc};
use events::envelope::millis;
use events::fulfillment::{FulfillmentFailed, FulfillmentShipped};
use events::inventory::{InventoryReleased, InventoryReservationFailed, InventoryReserved};
use events::orders::{
    Address, CancelReason, OrderCancelled, OrderCompensated, OrderConfirmed, OrderCreated, OrderFailed,
    OrderFulfilled,
};
use events::payments::{
    PaymentCharged, PaymentDeclined, PaymentRefundFailed, PaymentRefunded, PaymentUnavailable, PaymentVoided,
};
use events::{Event, EventId, Money};
use serde::{Deserialize, Serialize};

/// What another service said about an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// Every line is held.
    Reserved(InventoryReserved),
    /// Nothing could be held.
    ReservationFailed(InventoryReservationFailed),
    /// The total was captured.
    Charged(PaymentCharged),
    /// The provider declined.
    Declined(PaymentDeclined),
    /// The provider could not be asked.
    Unavailable(PaymentUnavailable),
    /// What was held is free again.
    Released(InventoryReleased),
    /// Nothing was charged and nothing will be.
    Voided(PaymentVoided),
    /// What was charged was given back.
    Refunded(PaymentRefunded),
    /// It could not be given back.
    RefundFailed(PaymentRefundFailed),
    /// The carrier took the goods.
    Shipped(FulfillmentShipped),
    /// The carrier will not.
    FulfillmentFailed(FulfillmentFailed),
}

/// What orders decides on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A customer places an order.
    Place {
        /// The order, priced.
        order: OrderCreated,
        /// Where the goods go.
        address: Option<Address>,
    },
    /// The customer does not want it any more.
    Cancel,
    /// Somebody looks whether a step is overdue.
    Sweep,
    /// Another service said something.
    Heard {
        /// The event.
        event_id: EventId,
        /// What it says.
        news: News,
    },
}

/// What orders decides; each is one event row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// The order exists.
    Created {
        /// The order.
        order: OrderCreated,
        /// When.
        at: DateTime<Utc>,
    },
    /// Where its goods go. Recorded, not told: personal data stays off the bus until it is needed.
    Addressed(Address),
    /// Something was learned from another service.
    Learned {
        /// The event it came from.
        event_id: EventId,
        /// What it said.
        news: News,
        /// When it was learned.
        at: DateTime<Utc>,
    },
    /// A silent step was reminded. Recorded, not told.
    Nudged(Nudge),
    /// The order will happen.
    Confirmed {
        /// What is told.
        told: OrderConfirmed,
        /// When.
        at: DateTime<Utc>,
    },
    /// The goods are on their way.
    Fulfilled {
        /// What is told.
        told: OrderFulfilled,
        /// When.
        at: DateTime<Utc>,
    },
    /// The order will not happen.
    Cancelled {
        /// What is told.
        told: OrderCancelled,
        /// When.
        at: DateTime<Utc>,
    },
    /// Everything is undone.
    Compensated {
        /// What is told.
        told: OrderCompensated,
        /// When.
        at: DateTime<Utc>,
    },
    /// Something cannot be undone without an operator.
    Failed {
        /// What is told.
        told: OrderFailed,
        /// When.
        at: DateTime<Utc>,
    },
}

/// When something became known, and from which event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// When.
    #[serde(with = "millis")]
    pub at: DateTime<Utc>,
    /// The event it was learned from; none for what orders itself decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_id: Option<EventId>,
}

/// A mark with what was said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said<T> {
    /// When and whence.
    #[serde(flatten)]
    pub mark: Mark,
    /// What.
    pub what: T,
}

/// Everything known about an order. A field is set once and never changes: a set that only grows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Order {
    /// The order as placed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<Said<OrderCreated>>,
    /// Where its goods go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<Address>,
    /// Inventory holds every line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reserved: Option<Mark>,
    /// Inventory could not hold a line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reservation_failed: Option<Said<InventoryReservationFailed>>,
    /// Payments captured this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub charged: Option<Said<Money>>,
    /// The provider declined, with this code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub declined: Option<Said<String>>,
    /// The provider could not be asked, and may be after so many seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unavailable: Option<Said<u32>>,
    /// Orders confirmed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirmed: Option<Mark>,
    /// The carrier took the goods: its name, and its number for the parcel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shipped: Option<Said<(String, String)>>,
    /// The carrier will not take them, with this code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fulfillment_failed: Option<Said<String>>,
    /// Orders declared the order fulfilled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fulfilled: Option<Mark>,
    /// Orders cancelled, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cancelled: Option<Said<CancelReason>>,
    /// Inventory's final word: whether it had held anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub released: Option<Said<bool>>,
    /// Payments' final word when nothing was charged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub voided: Option<Mark>,
    /// Payments' final word when something was charged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refunded: Option<Mark>,
    /// The provider refused to give the money back, with this code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refund_failed: Option<Said<String>>,
    /// Orders said that somebody has to help.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<Mark>,
    /// Orders declared everything undone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compensated: Option<Mark>,
    /// The reminders of silent steps, oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nudges: Vec<Nudge>,
}

/// Where an order stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Status {
    /// Waiting for stock and money.
    Pending,
    /// Held and charged.
    Confirmed,
    /// The goods are on their way. Terminal.
    Fulfilled,
    /// Given up; participants are undoing what they hold.
    Cancelling,
    /// Given up, and nothing had to be undone. Terminal.
    Cancelled,
    /// Given up, and everything is undone. Terminal.
    Compensated,
    /// Given up, and a refund was refused: waits for an operator.
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

impl Order {
    /// Where the order stands: a function of the set of facts and of nothing else.
    #[must_use]
    pub fn status(&self) -> Status {
        match (&self.cancelled, &self.compensated, &self.confirmed) {
            (Some(_), Some(_), _) => Status::Compensated,
            (Some(_), None, _) if self.needs_help() && self.payments_owes() => Status::Failed,
            (Some(_), None, _) if self.final_words_are_in() => Status::Cancelled,
            (Some(_), None, _) => Status::Cancelling,
            (None, ..) if self.fulfilled.is_some() => Status::Fulfilled,
            (None, _, Some(_)) => Status::Confirmed,
            (None, _, None) => Status::Pending,
        }
    }

    /// Whether every final word that can still be expected has been said.
    fn final_words_are_in(&self) -> bool {
        let inventory = self.released.is_some() || self.reservation_failed.is_some();
        inventory && (self.voided.is_some() || self.refunded.is_some() || !self.payments_owes())
    }

    /// Whether payments owes a final word. A "no" was one; and a charge is only made for what is held. What comes
    /// from payments nevertheless is undone there, and changes no status (I7).
    const fn payments_owes(&self) -> bool {
        self.declined.is_none() && self.unavailable.is_none() && self.reservation_failed.is_none()
    }

    /// Whether a refund was refused and has not been made since.
    fn needs_help(&self) -> bool {
        self.refund_failed.is_some() && self.refunded.is_none() && self.voided.is_none()
    }

    /// What has happened, oldest first: the wire name of each event and when orders knew it. Of what became
    /// known in the same transaction, the cause stands first.
    #[must_use]
    pub fn timeline(&self) -> Vec<(&'static str, DateTime<Utc>)> {
        let at = |mark: Option<&Mark>| mark.map(|mark| mark.at);
        let known = [
            (OrderCreated::TYPE, at(self.created.as_ref().map(|said| &said.mark))),
            (InventoryReserved::TYPE, at(self.reserved.as_ref())),
            (InventoryReservationFailed::TYPE, at(self.reservation_failed.as_ref().map(|said| &said.mark))),
            (PaymentCharged::TYPE, at(self.charged.as_ref().map(|said| &said.mark))),
            (PaymentDeclined::TYPE, at(self.declined.as_ref().map(|said| &said.mark))),
            (PaymentUnavailable::TYPE, at(self.unavailable.as_ref().map(|said| &said.mark))),
            (OrderConfirmed::TYPE, at(self.confirmed.as_ref())),
            (FulfillmentShipped::TYPE, at(self.shipped.as_ref().map(|said| &said.mark))),
            (OrderFulfilled::TYPE, at(self.fulfilled.as_ref())),
            (FulfillmentFailed::TYPE, at(self.fulfillment_failed.as_ref().map(|said| &said.mark))),
            (OrderCancelled::TYPE, at(self.cancelled.as_ref().map(|said| &said.mark))),
            (InventoryReleased::TYPE, at(self.released.as_ref().map(|said| &said.mark))),
            (PaymentVoided::TYPE, at(self.voided.as_ref())),
            (PaymentRefunded::TYPE, at(self.refunded.as_ref())),
            (PaymentRefundFailed::TYPE, at(self.refund_failed.as_ref().map(|said| &said.mark))),
            (OrderFailed::TYPE, at(self.failed.as_ref())),
            (OrderCompensated::TYPE, at(self.compensated.as_ref())),
        ];
        let mut timeline: Vec<_> = known.into_iter().filter_map(|(name, at)| Some((name, at?))).collect();
        timeline.sort_by_key(|(_, at)| *at);
        timeline
    }

    /// What is told when the customer cancels: while the order is pending, and not afterwards.
    fn cancellable(&self) -> Result<OrderCancelled, Refusal> {
        let placed = &self.created.as_ref().ok_or(Refusal::Illegal("never placed"))?.what;
        match self.status() {
            Status::Pending => Ok(cancelled(placed, CancelReason::CustomerRequest)),
            Status::Confirmed | Status::Fulfilled => Err(Refusal::Illegal("already confirmed")),
            Status::Cancelling | Status::Cancelled | Status::Compensated | Status::Failed => {
                Err(Refusal::Stale("already cancelled"))
            }
        }
    }

    fn something_was_undone(&self) -> bool {
        let refunded = self.refunded.is_some() && self.payments_owes();
        refunded || self.released.as_ref().is_some_and(|released| released.what)
    }

    /// Why the order cannot happen, if something already said so.
    fn failure(&self) -> Option<CancelReason> {
        let short = self.reservation_failed.as_ref().map(|said| CancelReason::from(said.what.clone()));
        let declined = self.declined.as_ref();
        let declined = declined.map(|said| CancelReason::PaymentDeclined { decline_code: said.what.clone() });
        let unavailable = self.unavailable.as_ref().map(|said| said.what);
        let unavailable = unavailable
            .map(|retry_after_seconds| CancelReason::PaymentProviderUnavailable { retry_after_seconds });
        let unshippable = self.fulfillment_failed.as_ref().filter(|_| self.confirmed.is_some());
        let unshippable =
            unshippable.map(|said| CancelReason::FulfillmentFailed { carrier_code: said.what.clone() });
        short.or(declined).or(unavailable).or(unshippable)
    }

    /// The next fact that follows from what is known, if one does.
    fn next(&self, at: DateTime<Utc>) -> Option<Fact> {
        let order = &self.created.as_ref()?.what;
        if let Some(cancelled) = &self.cancelled {
            if self.failed.is_none() && self.needs_help() {
                return Some(Fact::Failed { told: failed(order, &cancelled.what), at });
            }
            let due = self.compensated.is_none() && self.final_words_are_in() && self.something_was_undone();
            return due.then(|| Fact::Compensated { told: compensated(order, &cancelled.what), at });
        }
        if let Some(reason) = self.failure() {
            return Some(Fact::Cancelled { told: cancelled(order, reason), at });
        }
        // What was captured has to be what was ordered: I2.
        let paid = self.charged.as_ref().is_some_and(|charged| charged.what == order.total);
        let ready = self.confirmed.is_none() && self.reserved.is_some() && paid;
        if ready {
            return Some(Fact::Confirmed { told: confirmed(order, self.address.as_ref()), at });
        }
        let shipped =
            self.shipped.as_ref().filter(|_| self.confirmed.is_some() && self.fulfilled.is_none())?;
        Some(Fact::Fulfilled { told: fulfilled(order, &shipped.what), at })
    }

    fn knows(&self, news: &News) -> bool {
        match news {
            News::Reserved(_) => self.reserved.is_some(),
            News::ReservationFailed(_) => self.reservation_failed.is_some(),
            News::Charged(_) => self.charged.is_some(),
            News::Declined(_) => self.declined.is_some(),
            News::Unavailable(_) => self.unavailable.is_some(),
            News::Released(_) => self.released.is_some(),
            News::Voided(_) => self.voided.is_some(),
            News::Refunded(_) => self.refunded.is_some(),
            News::RefundFailed(_) => self.refund_failed.is_some(),
            News::Shipped(_) => self.shipped.is_some(),
            News::FulfillmentFailed(_) => self.fulfillment_failed.is_some(),
        }
    }

    fn learn(&mut self, mark: Mark, news: &News) {
        match news {
            News::Reserved(_) => self.reserved = Some(mark),
            News::ReservationFailed(failed) => {
                self.reservation_failed = Some(Said { mark, what: failed.clone() });
            }
            News::Charged(charged) => self.charged = Some(Said { mark, what: charged.amount }),
            News::Declined(declined) => self.declined = Some(Said { mark, what: declined.code.clone() }),
            News::Unavailable(said) => {
                self.unavailable = Some(Said { mark, what: said.retry_after_seconds });
            }
            News::Released(released) => {
                self.released = Some(Said { mark, what: !released.lines.is_empty() });
            }
            News::Voided(_) => self.voided = Some(mark),
            News::Refunded(_) => self.refunded = Some(mark),
            News::RefundFailed(failed) => {
                self.refund_failed = Some(Said { mark, what: failed.code.clone() });
            }
            News::Shipped(shipped) => {
                let what = (shipped.carrier.clone(), shipped.tracking_number.clone());
                self.shipped = Some(Said { mark, what });
            }
            News::FulfillmentFailed(failed) => {
                self.fulfillment_failed = Some(Said { mark, what: failed.code.clone() });
            }
        }
    }
}

fn confirmed(order: &OrderCreated, address: Option<&Address>) -> OrderConfirmed {
    let OrderCreated { order_id, customer_id, total, lines, .. } = order.clone();
    OrderConfirmed { order_id, customer_id, total, lines, shipping_address: address.cloned() }
}

fn fulfilled(order: &OrderCreated, (carrier, tracking_number): &(String, String)) -> OrderFulfilled {
    let (order_id, customer_id) = (order.order_id, order.customer_id.clone());
    OrderFulfilled {
        order_id,
        customer_id,
        carrier: carrier.clone(),
        tracking_number: tracking_number.clone(),
    }
}

pub(crate) fn cancelled(order: &OrderCreated, reason: CancelReason) -> OrderCancelled {
    OrderCancelled { order_id: order.order_id, customer_id: order.customer_id.clone(), reason }
}

fn compensated(order: &OrderCreated, reason: &CancelReason) -> OrderCompensated {
    let (order_id, customer_id) = (order.order_id, order.customer_id.clone());
    OrderCompensated { order_id, customer_id, reason: reason.clone() }
}

fn failed(order: &OrderCreated, reason: &CancelReason) -> OrderFailed {
    let (order_id, customer_id) = (order.order_id, order.customer_id.clone());
    OrderFailed { order_id, customer_id, reason: reason.clone() }
}

/// Decides what a message means for an order: the fact itself, and every fact that follows from it.
///
/// # Errors
/// [`Refusal`] for what is already known.
pub fn decide(order: &Order, message: &Message, now: DateTime<Utc>) -> Result<Vec<Fact>, Refusal> {
    let mut facts = match message {
        Message::Place { .. } if order.created.is_some() => return Err(Refusal::Illegal("already placed")),
        Message::Place { order, address } => {
            let created = Fact::Created { order: order.clone(), at: now };
            [Some(created), address.clone().map(Fact::Addressed)].into_iter().flatten().collect()
        }
        Message::Cancel => vec![Fact::Cancelled { told: order.cancellable()?, at: now }],
        Message::Sweep => vec![order.sweep(now)?],
        Message::Heard { news, .. } if order.knows(news) => return Err(Refusal::Stale("already known")),
        Message::Heard { event_id, news } => {
            vec![Fact::Learned { event_id: *event_id, news: news.clone(), at: now }]
        }
    };
    let mut known = facts.iter().fold(order.clone(), evolve);
    while let Some(fact) = known.next(now) {
        known = evolve(known, &fact);
        facts.push(fact);
    }
    Ok(facts)
}

/// The order after a fact.
#[must_use]
pub fn evolve(mut order: Order, fact: &Fact) -> Order {
    let own = |at: &DateTime<Utc>| Mark { at: *at, event_id: None };
    match fact {
        Fact::Created { order: placed, at } => {
            order.created = Some(Said { mark: own(at), what: placed.clone() });
        }
        Fact::Addressed(address) => order.address = Some(address.clone()),
        Fact::Learned { event_id, news, at } => {
            order.learn(Mark { at: *at, event_id: Some(*event_id) }, news);
        }
        Fact::Nudged(nudge) => order.nudges.push(*nudge),
        Fact::Confirmed { at, .. } => order.confirmed = Some(own(at)),
        Fact::Fulfilled { at, .. } => order.fulfilled = Some(own(at)),
        Fact::Cancelled { told, at } => {
            order.cancelled = Some(Said { mark: own(at), what: told.reason.clone() });
        }
        Fact::Compensated { at, .. } => order.compensated = Some(own(at)),
        Fact::Failed { at, .. } => order.failed = Some(own(at)),
    }
    order
}

#[cfg(test)]
#[path = "tracker_specs.rs"]
mod specs;
