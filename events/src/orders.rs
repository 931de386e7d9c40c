//! What orders publishes: an order was created, confirmed, fulfilled, cancelled, compensated, or could not be undone.

use crate::inventory::ReservationFailure;
use crate::{CustomerId, Money, OrderId, ProductId, event};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One line of an order; a product appears on at most one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OrderLine {
    /// The product.
    pub product_id: ProductId,
    /// Units, 1 to 40,000 (up to forty equal lines of 1,000 become one).
    #[schemars(range(min = 1, max = 40_000))]
    pub quantity: u32,
    /// The price of one unit when the order was placed.
    pub unit_price: Money,
}

/// Where the goods go. Personal data: it travels only in fields tagged `x-pii`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Address {
    /// Who receives it.
    pub name: String,
    /// Street and number.
    pub line1: String,
    /// Flat, floor, care of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line2: Option<String>,
    /// Town.
    pub city: String,
    /// Postal code, as written in its country.
    pub postal_code: String,
    /// ISO 3166-1 alpha-2.
    pub country: String,
}

/// An address that only the key of its order opens: base64 of a nonce of 12 bytes and of what AES-256-GCM makes of the JSON of
/// an [`Address`], with the 16 bytes of the order's id as associated data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct SealedAddress(pub String);

/// Where an order goes, as services keep it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Destination {
    /// Under the order's key.
    Sealed {
        /// The address.
        sealed_address: SealedAddress,
    },
    /// In the clear, as it was kept before addresses were sealed.
    Clear(Address),
}

impl Destination {
    /// As the two fields of [`OrderConfirmed`] name it, if one of them does.
    #[must_use]
    pub fn of(sealed: Option<SealedAddress>, clear: Option<Address>) -> Option<Self> {
        sealed.map(|sealed_address| Self::Sealed { sealed_address }).or(clear.map(Self::Clear))
    }
}

/// A customer placed an order at known prices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OrderCreated {
    /// The order.
    pub order_id: OrderId,
    /// Who placed it.
    pub customer_id: CustomerId,
    /// The sum of the lines.
    pub total: Money,
    /// At least one, at most 40; one line per product.
    #[schemars(length(min = 1, max = 40))]
    pub lines: Vec<OrderLine>,
    /// The provider's token for the payment method; absent: the customer's default. Never a card number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment_method: Option<String>,
}

event!(OrderCreated, "order.created", 1, "orders");

/// Stock is held and money captured: this order will happen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OrderConfirmed {
    /// The order.
    pub order_id: OrderId,
    /// Who placed it.
    pub customer_id: CustomerId,
    /// What was captured.
    pub total: Money,
    /// What is to be shipped.
    pub lines: Vec<OrderLine>,
    /// Where to, in an order that was placed before addresses were sealed; personal data, read by fulfillment alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-pii" = "fulfillment"))]
    pub shipping_address: Option<Address>,
    /// Where to, under the order's key; personal data until the key is deleted, opened by fulfillment alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-pii" = "fulfillment"))]
    pub sealed_address: Option<SealedAddress>,
}

event!(OrderConfirmed, "order.confirmed", 1, "orders");

/// Why an order will not happen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "code", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum CancelReason {
    /// One line could not be held.
    InsufficientStock {
        /// The product that was short.
        product_id: ProductId,
        /// Units ordered.
        requested: u64,
        /// Units that were available.
        available: u64,
    },
    /// Inventory does not know a product.
    UnknownProduct {
        /// The product.
        product_id: ProductId,
    },
    /// The provider declined the payment.
    PaymentDeclined {
        /// The provider's decline code.
        decline_code: String,
    },
    /// The provider could not be asked.
    PaymentProviderUnavailable {
        /// Seconds after which another order has a chance.
        retry_after_seconds: u32,
    },
    /// The carrier will not take the goods.
    FulfillmentFailed {
        /// The carrier's code.
        carrier_code: String,
    },
    /// A step did not answer in time.
    TimedOut {
        /// The step, `payment_processing`.
        step: String,
    },
    /// The customer asked for it.
    CustomerRequest,
}

impl CancelReason {
    /// The code alone, `INSUFFICIENT_STOCK`: what clients branch on.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::InsufficientStock { .. } => "INSUFFICIENT_STOCK",
            Self::UnknownProduct { .. } => "UNKNOWN_PRODUCT",
            Self::PaymentDeclined { .. } => "PAYMENT_DECLINED",
            Self::PaymentProviderUnavailable { .. } => "PAYMENT_PROVIDER_UNAVAILABLE",
            Self::FulfillmentFailed { .. } => "FULFILLMENT_FAILED",
            Self::TimedOut { .. } => "TIMED_OUT",
            Self::CustomerRequest => "CUSTOMER_REQUEST",
        }
    }
}

impl From<crate::inventory::InventoryReservationFailed> for CancelReason {
    fn from(failed: crate::inventory::InventoryReservationFailed) -> Self {
        let crate::inventory::InventoryReservationFailed { product_id, requested, available, .. } = failed;
        match failed.reason {
            ReservationFailure::InsufficientStock => {
                Self::InsufficientStock { product_id, requested, available }
            }
            ReservationFailure::UnknownProduct => Self::UnknownProduct { product_id },
        }
    }
}

/// This order will not happen: undo what you hold for it and say so. The one event that asks for an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OrderCancelled {
    /// The order.
    pub order_id: OrderId,
    /// Who placed it.
    pub customer_id: CustomerId,
    /// Why.
    pub reason: CancelReason,
}

event!(OrderCancelled, "order.cancelled", 1, "orders");

/// The goods are on their way: the order has ended well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OrderFulfilled {
    /// The order.
    pub order_id: OrderId,
    /// Who placed it.
    pub customer_id: CustomerId,
    /// Who carries the goods.
    pub carrier: String,
    /// The carrier's number for the parcel.
    pub tracking_number: String,
}

event!(OrderFulfilled, "order.fulfilled", 1, "orders");

/// Every participant has undone what it held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OrderCompensated {
    /// The order.
    pub order_id: OrderId,
    /// Who placed it.
    pub customer_id: CustomerId,
    /// Why it was cancelled.
    pub reason: CancelReason,
}

event!(OrderCompensated, "order.compensated", 1, "orders");

/// Orders cancelled the order, and it cannot be undone without an operator: a refund was refused. Not final: when the
/// refund has been made, `order.compensated` follows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OrderFailed {
    /// The order.
    pub order_id: OrderId,
    /// Who placed it.
    pub customer_id: CustomerId,
    /// Why it was cancelled.
    pub reason: CancelReason,
}

event!(OrderFailed, "order.failed", 1, "orders");
