//! The index of what waits: by the time at which it is overdue, spread over partitions. The sweeper and the operator read
//! what orders writes.

use events::OrderId;

/// The index's name, and the attribute that names the partition; `overdue_at` is the time.
pub const INDEX: &str = "overdue";

/// The partition of what waits for an operator.
pub const FAILED: &str = "failed";

/// The partition of an order that has ended, and whose reconciliation is due at its time.
#[must_use]
pub fn ended(order: OrderId) -> String {
    format!("ended-{}", shard(order))
}

/// Every partition of ended orders.
pub fn all_ended() -> impl Iterator<Item = String> {
    shards().map(|shard| format!("ended-{shard}"))
}

/// Over how many partitions the index is spread.
const SHARDS: u128 = 8;

/// The partition of an order.
#[must_use]
pub fn shard(order: OrderId) -> String {
    (order.0.as_u128() % SHARDS).to_string()
}

/// Every partition that the sweeper reads.
pub fn shards() -> impl Iterator<Item = String> {
    (0..SHARDS).map(|shard| shard.to_string())
}
