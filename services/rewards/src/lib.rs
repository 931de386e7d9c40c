//! Rewards: points for confirmed orders. The smallest service, and so the one to read first.

pub mod granting;
pub mod reactor;
pub mod subscriptions;
