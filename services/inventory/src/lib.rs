//! Inventory: what can be sold, what is held for whom. It takes `order.created` and `order.cancelled`.

pub mod api;
pub mod holding;
pub mod product;
pub mod reactor;
pub mod subscriptions;
