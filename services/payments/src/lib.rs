//! Payments: captures an order's total once both `order.created` (the amount) and `inventory.reserved` (the
//! permission) have arrived, in either order, and has the last word on the money of a cancelled order.

pub mod breaker;
pub mod charging;
pub mod compensating;
pub mod guard;
pub mod provider;
pub mod reactor;
pub mod subscriptions;
