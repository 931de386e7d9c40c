//! Orders: takes them over HTTP, and tracks each one's saga as a fold of what the other services say.

pub mod api;
pub mod history;
pub mod placing;
pub mod prices;
pub mod reactor;
pub mod tracker;
pub mod view;
