//! One message to a customer: the pure core. Each event is an aggregate of its own here: its message is published or it is
//! not.

use chassis::{Decider, Refusal};
use chrono::{DateTime, Utc};
use events::orders::CancelReason;
use events::{CustomerId, EventId, Money, OrderId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What happened to an order, as far as its customer cares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Outcome {
    /// The stock is held and the total is charged.
    OrderConfirmed,
    /// It is on its way.
    OrderFulfilled {
        /// Who carries the goods.
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
    /// It will not happen, and the refund failed so far: an operator looks into it.
    OrderFailed,
}

/// A message to a customer, for a shop's own mailer. Published is not sent: this service knows no address, and what the
/// mailer does with a message is not reported back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Notice {
    /// The event that the message is about: the mailer deduplicates on it.
    pub event_id: EventId,
    /// The order; the messages of one order are delivered as they were published.
    pub order_id: OrderId,
    /// The customer, where the event names one: the mailer looks the address up by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer_id: Option<CustomerId>,
    /// What happened.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// A sentence for people, in English.
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
            format!("Your order {order_id} is cancelled; our staff is seeing to your refund.")
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

/// One notification: a message to a customer about one event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "stage", rename_all = "snake_case")]
pub enum Notification {
    /// No message is recorded as published. Release 0.1.0 also committed `publishing` before it published.
    #[default]
    #[serde(alias = "publishing")]
    Unknown,
    /// The topic has the message.
    Published,
}

/// The topic has this message: the shell publishes it before it commits the fact. Publishing again under the same event's id is
/// harmless, so that nothing has to be recorded before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published(pub Notice);

impl Decider for Notification {
    /// Something happened about which there is a message.
    type Message = Notice;
    type Fact = Published;

    fn decide(&self, notice: &Notice, _now: DateTime<Utc>) -> Result<Vec<Published>, Refusal> {
        match self {
            Self::Unknown => Ok(vec![Published(notice.clone())]),
            Self::Published => Err(Refusal::Stale("already published")),
        }
    }

    fn evolve(self, _fact: &Published) -> Self {
        Self::Published
    }
}

#[cfg(test)]
mod specs {
    use super::*;
    use events::Currency;
    use uuid::Uuid;

    type Spec = chassis::spec::Spec<Notification>;

    fn notice() -> Notice {
        let amount = Money::new(1205, Currency::USD);
        Notice::new(EventId(Uuid::nil()), OrderId(Uuid::nil()), None, Outcome::PaymentRefunded { amount })
    }

    /// Guards: each notification once.
    #[test]
    fn a_message_is_published_once() {
        let published = Published(notice());
        Spec::given([]).when(notice()).then([published.clone()]);
        Spec::given([published]).when(notice()).refused(Refusal::Stale("already published"));
    }

    /// Guards: rows of release 0.1.0. What it was about to publish is published, under the same id.
    #[test]
    fn what_an_earlier_release_was_about_to_publish_is_published() {
        let mut row = serde_json::to_value(notice()).unwrap();
        row["stage"] = "publishing".into();
        assert_eq!(serde_json::from_value::<Notification>(row).unwrap(), Notification::Unknown);
    }

    #[test]
    fn a_notice_reads_like_a_sentence() {
        let order = "00000000-0000-0000-0000-000000000000";
        assert_eq!(notice().text, format!("12.05 USD of your order {order} were refunded."));
        let json = serde_json::to_value(notice()).unwrap();
        assert_eq!((&json["kind"], &json["amount"]["amount"]), (&"PAYMENT_REFUNDED".into(), &1205.into()));
    }
}
