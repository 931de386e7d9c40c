//! What notifications reads of the others' events: these fields and no more.

use events::catalogue::{Subscription, subscription};
use events::orders::{CancelReason, OrderCancelled, OrderConfirmed, OrderFailed, OrderFulfilled};
use events::payments::PaymentRefunded;
use events::{CustomerId, Money, OrderId};
use schemars::JsonSchema;
use serde::Deserialize;

/// Of `order.confirmed`.
#[derive(Deserialize, JsonSchema)]
pub struct Confirmed {
    /// The order.
    pub order_id: OrderId,
    /// Who is told.
    pub customer_id: CustomerId,
}

/// Of `order.fulfilled`.
#[derive(Deserialize, JsonSchema)]
pub struct Fulfilled {
    /// The order.
    pub order_id: OrderId,
    /// Who is told.
    pub customer_id: CustomerId,
    /// Who carries the goods.
    pub carrier: String,
    /// The carrier's number for the parcel.
    pub tracking_number: String,
}

/// Of `order.cancelled`.
#[derive(Deserialize, JsonSchema)]
pub struct Cancelled {
    /// The order.
    pub order_id: OrderId,
    /// Who is told.
    pub customer_id: CustomerId,
    /// Why.
    pub reason: CancelReason,
}

/// Of `order.failed`.
#[derive(Deserialize, JsonSchema)]
pub struct Failed {
    /// The order.
    pub order_id: OrderId,
    /// Who is told.
    pub customer_id: CustomerId,
}

/// Of `payment.refunded`.
#[derive(Deserialize, JsonSchema)]
pub struct Refunded {
    /// The order.
    pub order_id: OrderId,
    /// How much was given back.
    pub amount: Money,
    /// Who is told; earlier events do not say.
    #[serde(default)]
    pub customer_id: Option<CustomerId>,
}

/// Everything that notifications takes.
pub const CONSUMES: &[Subscription] = &[
    subscription::<OrderConfirmed, Confirmed>(),
    subscription::<OrderFulfilled, Fulfilled>(),
    subscription::<OrderCancelled, Cancelled>(),
    subscription::<PaymentRefunded, Refunded>(),
    subscription::<OrderFailed, Failed>(),
];
