//! One message to a customer: the pure core. An event is an aggregate of its own here: it is told or it is not.

use chassis::Refusal;
use chrono::{DateTime, Utc};
use events::orders::CancelReason;
use events::{CustomerId, EventId, Money, OrderId};
use serde::{Deserialize, Serialize};

/// What happened to an order, as far as its customer cares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Outcome {
    /// It will happen.
    OrderConfirmed,
    /// It is on its way.
    OrderFulfilled {
        /// Who carries it.
        carrier: String,
        /// The carrier's number for the parcel.
        tracking_number: String,
    },
    /// It will not happen.
    OrderCancelled {
        /// Why.
        reason: CancelReason,
    },
    /// What was paid was given back.
    PaymentRefunded {
        /// How much.
        amount: Money,
    },
    /// What was paid could not be given back yet: somebody looks into it.
    OrderFailed,
}

/// A message as it is published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// The event it is about: what tells one message from the next, here and for whoever receives it.
    pub event_id: EventId,
    /// The order; messages of one order are published in turn.
    pub order_id: OrderId,
    /// Who is to be told, where the event says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer_id: Option<CustomerId>,
    /// What happened.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// A sentence for people.
    pub text: String,
}

impl Notice {
    /// The message about an outcome.
    #[must_use]
    pub fn new(
        event_id: EventId,
        order_id: OrderId,
        customer_id: Option<CustomerId>,
        outcome: Outcome,
    ) -> Self {
        let text = text(order_id, &outcome);
        Self { event_id, order_id, customer_id, outcome, text }
    }
}

fn text(order_id: OrderId, outcome: &Outcome) -> String {
    match outcome {
        Outcome::OrderConfirmed => format!("Your order {order_id} is confirmed."),
        Outcome::OrderFulfilled { carrier, tracking_number } => {
            format!("Your order {order_id} is on its way with {carrier}, {tracking_number}.")
        }
        Outcome::OrderCancelled { reason } => {
            format!("Your order {order_id} is cancelled: {}.", sentence(reason))
        }
        Outcome::PaymentRefunded { amount } => {
            let Money { amount, currency } = amount;
            let (whole, cents) = (amount / 100, amount % 100);
            format!("{whole}.{cents:02} {} of your order {order_id} were refunded.", currency.as_str())
        }
        Outcome::OrderFailed => {
            format!("Your order {order_id} is cancelled; somebody is seeing to your refund.")
        }
    }
}

fn sentence(reason: &CancelReason) -> &'static str {
    match reason {
        CancelReason::InsufficientStock { .. } => "there is not enough stock",
        CancelReason::UnknownProduct { .. } => "a product is not sold any more",
        CancelReason::PaymentDeclined { .. } => "the payment was declined",
        CancelReason::PaymentProviderUnavailable { .. } => "the payment provider cannot be reached",
        CancelReason::FulfillmentFailed { .. } => "it cannot be shipped",
        CancelReason::TimedOut { .. } => "something took too long on our side",
        CancelReason::CustomerRequest => "you asked for it",
    }
}

/// How far a message is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "stage", rename_all = "snake_case")]
pub enum Telling {
    /// Not begun.
    #[default]
    Unknown,
    /// The intent is committed: it may have been published.
    Publishing(Notice),
    /// Published.
    Published,
}

/// What notifications decides on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Something happened that a customer is told.
    Happened(Notice),
    /// The topic has taken the message.
    Published,
}

/// What notifications decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// The message is about to be published.
    Started(Notice),
    /// The topic has it.
    Published,
}

/// Decides what a message means.
///
/// # Errors
/// [`Refusal`] for what was told already.
pub fn decide(telling: &Telling, message: &Message, _now: DateTime<Utc>) -> Result<Vec<Fact>, Refusal> {
    match (telling, message) {
        (Telling::Unknown, Message::Happened(notice)) => Ok(vec![Fact::Started(notice.clone())]),
        // Delivered again: it may not have been published.
        (Telling::Publishing(_), Message::Happened(_)) => Ok(Vec::new()),
        (Telling::Publishing(_), Message::Published) => Ok(vec![Fact::Published]),
        (Telling::Published, _) => Err(Refusal::Stale("already told")),
        (Telling::Unknown, Message::Published) => Err(Refusal::Illegal("published without a message")),
    }
}

/// The message after a fact.
#[must_use]
pub fn evolve(_telling: Telling, fact: &Fact) -> Telling {
    match fact {
        Fact::Started(notice) => Telling::Publishing(notice.clone()),
        Fact::Published => Telling::Published,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use events::Currency;
    use std::slice::from_ref;
    use uuid::Uuid;

    fn notice() -> Notice {
        let amount = Money::new(1205, Currency::USD);
        Notice::new(EventId(Uuid::nil()), OrderId(Uuid::nil()), None, Outcome::PaymentRefunded { amount })
    }

    #[track_caller]
    #[allow(clippy::needless_pass_by_value, reason = "reads as given, when, then")]
    fn spec(given: &[Fact], when: Message, then: Result<Vec<Fact>, Refusal>) {
        let telling = given.iter().fold(Telling::default(), evolve);
        assert_eq!(decide(&telling, &when, DateTime::UNIX_EPOCH), then);
    }

    /// Guards: each notification once.
    #[test]
    fn a_message_is_told_once() {
        let (happened, started) = (Message::Happened(notice()), Fact::Started(notice()));
        spec(&[], happened.clone(), Ok(vec![started.clone()]));
        spec(from_ref(&started), happened.clone(), Ok(vec![]));
        spec(from_ref(&started), Message::Published, Ok(vec![Fact::Published]));
        spec(&[started, Fact::Published], happened, Err(Refusal::Stale("already told")));
    }

    #[test]
    fn a_notice_reads_like_a_sentence() {
        let order = "00000000-0000-0000-0000-000000000000";
        assert_eq!(notice().text, format!("12.05 USD of your order {order} were refunded."));
        let json = serde_json::to_value(notice()).unwrap();
        assert_eq!((&json["kind"], &json["amount"]["amount"]), (&"PAYMENT_REFUNDED".into(), &1205.into()));
    }
}
