//! What payments publishes: charged, declined, that a charge has to be undone, and how that ended.

use crate::envelope::millis;
use crate::{CustomerId, Money, OrderId, PaymentId, event};
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

event!(PaymentCharged, "payment.charged", 1, "payments");

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

event!(PaymentDeclined, "payment.declined", 1, "payments");

/// Payments' final answer on a cancelled order for which nothing was ever charged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PaymentVoided {
    /// The order.
    pub order_id: OrderId,
    /// The payment.
    pub payment_id: PaymentId,
    /// What would have been captured; absent when the amount was never learned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<Money>,
    /// The number of the request that it answers, from 1, since 0.2.0. Absent: the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub generation: Option<u32>,
}

event!(PaymentVoided, "payment.voided", 1, "payments");

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

event!(PaymentCompensationRequested, "payment.compensation.requested", 1, "payments");

/// A captured amount was given back. Payments' final answer on a cancelled order.
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
    /// The number of the request that it answers, from 1, since 0.2.0. Absent: the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub generation: Option<u32>,
}

event!(PaymentRefunded, "payment.refunded", 1, "payments");

/// The provider refused every attempt to give the amount back. An operator has to look at it.
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
    /// The number of the request that it answers, from 1, since 0.2.0. Absent: the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub generation: Option<u32>,
    /// Whether a `payment.refunded` of the same request came before it: the provider took the refund, and could not make
    /// it in the end. Since 0.2.0; absent: no.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub after_refund: bool,
}

event!(PaymentRefundFailed, "payment.refund.failed", 1, "payments");

/// The provider cannot be asked, so the order was not charged and will not be. Final.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PaymentUnavailable {
    /// The order.
    pub order_id: OrderId,
    /// Seconds after which another order has a chance.
    pub retry_after_seconds: u32,
}

event!(PaymentUnavailable, "payment.unavailable", 1, "payments");

/// The payment provider, as the subject of the circuit breaker's events.
pub const PROVIDER: &str = "stripe";

/// The provider failed again and again: payments does not call it for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PaymentCircuitOpened {
    /// The provider.
    pub provider: String,
    /// Until when payments does not call it.
    #[serde(with = "millis")]
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub until: DateTime<Utc>,
}

event!(PaymentCircuitOpened, "payment.circuit.opened", 1, "payments");

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

event!(PaymentCircuitHalfOpened, "payment.circuit.half_opened", 1, "payments");

/// The provider is back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PaymentCircuitClosed {
    /// The provider.
    pub provider: String,
}

event!(PaymentCircuitClosed, "payment.circuit.closed", 1, "payments");
