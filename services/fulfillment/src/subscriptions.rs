//! What fulfillment reads of the others' events: these fields and no more.

use events::OrderId;
use events::catalogue::{Subscription, subscription};
use events::inventory::StockLine;
use events::orders::{Address, OrderCancelled, OrderConfirmed, SealedAddress};
use schemars::JsonSchema;
use serde::Deserialize;

/// Of `order.confirmed`.
#[derive(Deserialize, JsonSchema)]
pub struct Confirmed {
    pub order_id: OrderId,
    pub lines: Vec<StockLine>,
    #[serde(default)]
    pub shipping_address: Option<Address>,
    #[serde(default)]
    pub sealed_address: Option<SealedAddress>,
}

/// Of `order.cancelled`.
#[derive(Deserialize, JsonSchema)]
pub struct Cancelled {
    pub order_id: OrderId,
}

/// Everything that fulfillment consumes.
pub const CONSUMES: &[Subscription] =
    &[subscription::<OrderConfirmed, Confirmed>(), subscription::<OrderCancelled, Cancelled>()];
