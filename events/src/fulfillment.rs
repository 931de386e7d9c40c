//! What fulfillment publishes: the carrier took an order's goods, or will not take them.

use crate::{OrderId, event};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The carrier took the goods. The pivot: from now on the order cannot be cancelled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FulfillmentShipped {
    /// The order.
    pub order_id: OrderId,
    /// Who carries them.
    pub carrier: String,
    /// The carrier's number for the parcel.
    pub tracking_number: String,
}

event!(FulfillmentShipped, "fulfillment.shipped", 1, "fulfillment");

/// The carrier will not take the goods, and has none of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FulfillmentFailed {
    /// The order.
    pub order_id: OrderId,
    /// The carrier's code; `carrier_unavailable` when it could not be reached for too long.
    pub code: String,
}

event!(FulfillmentFailed, "fulfillment.failed", 1, "fulfillment");
