//! What inventory reads of the others' events: these fields and no more.

use events::OrderId;
use events::catalogue::{Subscription, subscription};
use events::fulfillment::FulfillmentShipped;
use events::inventory::StockLine;
use events::orders::{OrderCancelled, OrderCreated};
use schemars::JsonSchema;
use serde::Deserialize;

/// Of `order.created`.
#[derive(Deserialize, JsonSchema)]
pub struct Created {
    pub order_id: OrderId,
    /// What inventory is to hold.
    pub lines: Vec<StockLine>,
}

/// Of `order.cancelled`.
#[derive(Deserialize, JsonSchema)]
pub struct Cancelled {
    pub order_id: OrderId,
}

/// Of `fulfillment.shipped`.
#[derive(Deserialize, JsonSchema)]
pub struct Shipped {
    pub order_id: OrderId,
}

/// Everything that inventory consumes.
pub const CONSUMES: &[Subscription] = &[
    subscription::<OrderCreated, Created>(),
    subscription::<OrderCancelled, Cancelled>(),
    subscription::<FulfillmentShipped, Shipped>(),
];
