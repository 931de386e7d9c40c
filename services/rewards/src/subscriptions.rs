//! What rewards reads of the others' events: these fields and no more.

use events::catalogue::{Subscription, subscription};
use events::orders::{OrderCancelled, OrderConfirmed};
use events::{CustomerId, Money, OrderId};
use schemars::JsonSchema;
use serde::Deserialize;

/// Of `order.confirmed`.
#[derive(Deserialize, JsonSchema)]
pub struct Confirmed {
    pub order_id: OrderId,
    pub customer_id: CustomerId,
    /// What the points are reckoned from.
    pub total: Money,
}

/// Of `order.cancelled`.
#[derive(Deserialize, JsonSchema)]
pub struct Cancelled {
    pub order_id: OrderId,
}

/// Everything that rewards consumes.
pub const CONSUMES: &[Subscription] =
    &[subscription::<OrderConfirmed, Confirmed>(), subscription::<OrderCancelled, Cancelled>()];
