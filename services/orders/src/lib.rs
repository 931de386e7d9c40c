//! Orders: takes them over HTTP, and tracks each one's saga as a fold of what the other services say.

pub mod admission;
pub mod api;
pub mod deadlines;
pub mod history;
pub mod idempotency;
pub mod openapi;
pub mod placing;
pub mod prices;
pub mod reactor;
mod reading;
pub mod saga;
pub mod subscriptions;
pub mod sweeping;
pub mod tracker;
pub mod view;
pub mod waiting;
