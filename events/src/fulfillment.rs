//! What fulfillment tells: the carrier took an order's goods, or will not take them.

use crate::{Event, OrderId};
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

impl Event for FulfillmentShipped {
    const TYPE: &'static str = "fulfillment.shipped";
    const VERSION: u32 = 1;
    const TELLER: &'static str = "fulfillment";
}

/// The carrier will not take the goods, and has none of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FulfillmentFailed {
    /// The order.
    pub order_id: OrderId,
    /// The carrier's code; `carrier_unavailable` when it could not be reached for too long.
    pub code: String,
}

impl Event for FulfillmentFailed {
    const TYPE: &'static str = "fulfillment.failed";
    const VERSION: u32 = 1;
    const TELLER: &'static str = "fulfillment";
}
