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
    pub order_id: OrderId,
    pub customer_id: CustomerId,
}

/// Of `order.fulfilled`.
#[derive(Deserialize, JsonSchema)]
pub struct Fulfilled {
    pub order_id: OrderId,
    pub customer_id: CustomerId,
    pub carrier: String,
    pub tracking_number: String,
}

/// Of `order.cancelled`.
#[derive(Deserialize, JsonSchema)]
pub struct Cancelled {
    pub order_id: OrderId,
    pub customer_id: CustomerId,
    pub reason: CancelReason,
}

/// Of `order.failed`.
#[derive(Deserialize, JsonSchema)]
pub struct Failed {
    pub order_id: OrderId,
    pub customer_id: CustomerId,
}

/// Of `payment.refunded`.
#[derive(Deserialize, JsonSchema)]
pub struct Refunded {
    pub order_id: OrderId,
    pub amount: Money,
    /// Earlier events do not name the customer.
    #[serde(default)]
    pub customer_id: Option<CustomerId>,
}

/// Everything that notifications consumes.
pub const CONSUMES: &[Subscription] = &[
    subscription::<OrderConfirmed, Confirmed>(),
    subscription::<OrderFulfilled, Fulfilled>(),
    subscription::<OrderCancelled, Cancelled>(),
    subscription::<PaymentRefunded, Refunded>(),
    subscription::<OrderFailed, Failed>(),
];
