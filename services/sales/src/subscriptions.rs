//! What sales reads of the others' events: these fields and no more.

use events::OrderId;
use events::catalogue::{Subscription, subscription};
use events::orders::{OrderCancelled, OrderConfirmed, OrderLine};
use schemars::JsonSchema;
use serde::Deserialize;

/// Of `order.confirmed`.
#[derive(Deserialize, JsonSchema)]
pub struct Confirmed {
    pub order_id: OrderId,
    pub lines: Vec<OrderLine>,
}

/// Of `order.cancelled`.
#[derive(Deserialize, JsonSchema)]
pub struct Cancelled {
    pub order_id: OrderId,
    pub reason: Reason,
}

/// The code of a reason: what is counted is any, also one that there is not yet.
#[derive(Deserialize, JsonSchema)]
pub struct Reason {
    pub code: String,
}

/// Everything that sales consumes.
pub const CONSUMES: &[Subscription] =
    &[subscription::<OrderConfirmed, Confirmed>(), subscription::<OrderCancelled, Cancelled>()];
