//! What payments reads of the others' events: these fields and no more.

use events::catalogue::{Subscription, subscription};
use events::inventory::InventoryReserved;
use events::orders::{OrderCancelled, OrderCreated};
use events::{CustomerId, Money, OrderId};
use schemars::JsonSchema;
use serde::Deserialize;

/// Of `order.created`: the bill.
#[derive(Deserialize, JsonSchema)]
pub struct Created {
    /// The order.
    pub order_id: OrderId,
    /// Who pays.
    pub customer_id: CustomerId,
    /// How much.
    pub total: Money,
    /// With what; absent: the customer's default method.
    #[serde(default)]
    pub payment_method: Option<String>,
}

/// Of `inventory.reserved`: the permission.
#[derive(Deserialize, JsonSchema)]
pub struct Reserved {
    /// The order.
    pub order_id: OrderId,
}

/// Of `order.cancelled`.
#[derive(Deserialize, JsonSchema)]
pub struct Cancelled {
    /// The order.
    pub order_id: OrderId,
}

/// Everything that payments takes.
pub const CONSUMES: &[Subscription] = &[
    subscription::<OrderCreated, Created>(),
    subscription::<InventoryReserved, Reserved>(),
    subscription::<OrderCancelled, Cancelled>(),
];
