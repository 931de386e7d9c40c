//! Fulfillment: has confirmed orders carried. Shipping is the pivot: what the carrier took is not taken back.

pub mod carrier;
pub mod reactor;
pub mod shipping;
pub mod subscriptions;
