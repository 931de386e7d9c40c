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
    pub order_id: OrderId,
    pub customer_id: CustomerId,
    pub total: Money,
    /// Absent: the customer's default method.
    #[serde(default)]
    pub payment_method: Option<String>,
}

/// Of `inventory.reserved`: the permission.
#[derive(Deserialize, JsonSchema)]
pub struct Reserved {
    pub order_id: OrderId,
}

/// Of `order.cancelled`.
#[derive(Deserialize, JsonSchema)]
pub struct Cancelled {
    pub order_id: OrderId,
}

/// Everything that payments consumes.
pub const CONSUMES: &[Subscription] = &[
    subscription::<OrderCreated, Created>(),
    subscription::<InventoryReserved, Reserved>(),
    subscription::<OrderCancelled, Cancelled>(),
];
