//! What rewards publishes: points for an order were granted, or taken back.

use crate::{CustomerId, OrderId, event};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A customer got points for a confirmed order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RewardsGranted {
    /// The order.
    pub order_id: OrderId,
    /// Who got them.
    pub customer_id: CustomerId,
    /// How many: one for every whole hundred minor units of the total.
    pub points: u64,
}

event!(RewardsGranted, "rewards.granted", 1, "rewards");

/// The points of an order were taken back, because it was cancelled after all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RewardsRevoked {
    /// The order.
    pub order_id: OrderId,
    /// Who had them.
    pub customer_id: CustomerId,
    /// How many: all that the order had brought.
    pub points: u64,
}

event!(RewardsRevoked, "rewards.revoked", 1, "rewards");
