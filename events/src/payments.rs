//! What payments tells: charged, declined, that a charge has to be undone, and how that ended.

use crate::envelope::millis;
use crate::{CustomerId, Event, Money, OrderId, PaymentId};
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The order's total was captured at the provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PaymentCharged {
    /// The order.
    pub order_id: OrderId,
    /// The payment.
    pub payment_id: PaymentId,
    /// What was captured.
    pub amount: Money,
    /// The provider's own id of the charge.
    pub provider_charge_id: String,
}

impl Event for PaymentCharged {
    const TYPE: &'static str = "payment.charged";
    const VERSION: u32 = 1;
    const TELLER: &'static str = "payments";
}

/// The provider said no. Final: a declined payment is never tried again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PaymentDeclined {
    /// The order.
    pub order_id: OrderId,
    /// The payment.
    pub payment_id: PaymentId,
    /// The provider's decline code: `card_declined`.
    pub code: String,
}

impl Event for PaymentDeclined {
    const TYPE: &'static str = "payment.declined";
    const VERSION: u32 = 1;
    const TELLER: &'static str = "payments";
}

/// Payments' final word on a cancelled order for which nothing was ever charged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PaymentVoided {
    /// The order.
    pub order_id: OrderId,
    /// The payment.
    pub payment_id: PaymentId,
    /// What would have been captured; absent when the amount was never learned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<Money>,
}

impl Event for PaymentVoided {
    const TYPE: &'static str = "payment.voided";
    const VERSION: u32 = 1;
    const TELLER: &'static str = "payments";
}

/// A cancelled order was charged, or may have been: the charge has to be looked up and undone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PaymentCompensationRequested {
    /// The order.
    pub order_id: OrderId,
    /// The payment.
    pub payment_id: PaymentId,
    /// Counts the attempts to undo it, from 1.
    #[schemars(range(min = 1))]
    pub generation: u32,
}

impl Event for PaymentCompensationRequested {
    const TYPE: &'static str = "payment.compensation.requested";
    const VERSION: u32 = 1;
    const TELLER: &'static str = "payments";
}

/// A captured amount was given back. Payments' final word on a cancelled order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PaymentRefunded {
    /// The order.
    pub order_id: OrderId,
    /// The payment.
    pub payment_id: PaymentId,
    /// What was given back: all of it.
    pub amount: Money,
    /// To whom, since 0.2.0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer_id: Option<CustomerId>,
}

impl Event for PaymentRefunded {
    const TYPE: &'static str = "payment.refunded";
    const VERSION: u32 = 1;
    const TELLER: &'static str = "payments";
}

/// The provider would not give the amount back, whatever was tried. Somebody has to look at it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PaymentRefundFailed {
    /// The order.
    pub order_id: OrderId,
    /// The payment.
    pub payment_id: PaymentId,
    /// What is still captured; absent when the provider did not even say whether there is a charge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<Money>,
    /// The provider's code for the last refusal.
    pub code: String,
}

impl Event for PaymentRefundFailed {
    const TYPE: &'static str = "payment.refund.failed";
    const VERSION: u32 = 1;
    const TELLER: &'static str = "payments";
}

/// The provider cannot be asked, so the order was not charged and will not be. Final.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PaymentUnavailable {
    /// The order.
    pub order_id: OrderId,
    /// Seconds after which another order has a chance.
    pub retry_after_seconds: u32,
}

impl Event for PaymentUnavailable {
    const TYPE: &'static str = "payment.unavailable";
    const VERSION: u32 = 1;
    const TELLER: &'static str = "payments";
}

/// The payment provider, as the subject of the circuit breaker's events.
pub const PROVIDER: &str = "stripe";

/// The provider failed again and again: nobody asks it for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PaymentCircuitOpened {
    /// The provider.
    pub provider: String,
    /// Until when nobody asks.
    #[serde(with = "millis")]
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub until: DateTime<Utc>,
}

impl Event for PaymentCircuitOpened {
    const TYPE: &'static str = "payment.circuit.opened";
    const VERSION: u32 = 1;
    const TELLER: &'static str = "payments";
}

/// One probe asks the provider whether it is back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PaymentCircuitHalfOpened {
    /// The provider.
    pub provider: String,
    /// Until when the probe has the line to itself.
    #[serde(with = "millis")]
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub until: DateTime<Utc>,
}

impl Event for PaymentCircuitHalfOpened {
    const TYPE: &'static str = "payment.circuit.half_opened";
    const VERSION: u32 = 1;
    const TELLER: &'static str = "payments";
}

/// The provider is back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PaymentCircuitClosed {
    /// The provider.
    pub provider: String,
}

impl Event for PaymentCircuitClosed {
    const TYPE: &'static str = "payment.circuit.closed";
    const VERSION: u32 = 1;
    const TELLER: &'static str = "payments";
}
