//! What inventory publishes: the catalogue of products, and whether an order's lines could be held.

use crate::{Money, OrderId, ProductId, event};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One product and how many units of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StockLine {
    /// The product.
    pub product_id: ProductId,
    /// Units, at least 1.
    #[schemars(range(min = 1))]
    pub quantity: u32,
}

/// A product was listed, or its name or price changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProductListed {
    /// The product.
    pub product_id: ProductId,
    /// What people call it.
    pub name: String,
    /// The price of one unit.
    pub unit_price: Money,
}

event!(ProductListed, "product.listed", 1, "inventory");

/// The stock of a product was counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProductCounted {
    /// The product.
    pub product_id: ProductId,
    /// Units free to be sold.
    pub available: u64,
    /// Units held for orders that have not shipped.
    pub held: u64,
}

event!(ProductCounted, "product.counted", 1, "inventory");

/// Every line of the order is held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InventoryReserved {
    /// The order.
    pub order_id: OrderId,
    /// What is held, one line per product.
    pub lines: Vec<StockLine>,
}

event!(InventoryReserved, "inventory.reserved", 1, "inventory");

/// Why nothing could be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ReservationFailure {
    /// Fewer units are available than were ordered.
    InsufficientStock,
    /// Inventory does not know the product.
    UnknownProduct,
}

/// Nothing was held for the order: one line could not be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InventoryReservationFailed {
    /// The order.
    pub order_id: OrderId,
    /// Why.
    pub reason: ReservationFailure,
    /// The product that was short.
    pub product_id: ProductId,
    /// Units ordered.
    pub requested: u64,
    /// Units that were available.
    pub available: u64,
}

event!(InventoryReservationFailed, "inventory.reservation.failed", 1, "inventory");

/// Inventory's final answer on a cancelled order: what it held is free again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InventoryReleased {
    /// The order.
    pub order_id: OrderId,
    /// What was held; empty when nothing was.
    pub lines: Vec<StockLine>,
}

event!(InventoryReleased, "inventory.released", 1, "inventory");
