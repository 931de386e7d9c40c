//! What fulfillment reads of the others' events: these fields and no more.

use events::OrderId;
use events::catalogue::{Subscription, subscription};
use events::inventory::StockLine;
use events::orders::{Address, OrderCancelled, OrderConfirmed};
use schemars::JsonSchema;
use serde::Deserialize;

/// Of `order.confirmed`.
#[derive(Deserialize, JsonSchema)]
pub struct Confirmed {
    /// The order.
    pub order_id: OrderId,
    /// What is to be carried.
    pub lines: Vec<StockLine>,
    /// Where to.
    #[serde(default)]
    pub shipping_address: Option<Address>,
}

/// Of `order.cancelled`.
#[derive(Deserialize, JsonSchema)]
pub struct Cancelled {
    /// The order.
    pub order_id: OrderId,
}

/// Everything that fulfillment takes.
pub const CONSUMES: &[Subscription] =
    &[subscription::<OrderConfirmed, Confirmed>(), subscription::<OrderCancelled, Cancelled>()];
