//! CloudWatch Logs: the log groups that the templates declare, and the files behind them.

pub mod api;
mod events_api;
pub mod groups;
mod groups_api;
pub mod lines;
pub mod pattern;
mod service;

pub use groups::Groups;
pub use service::Service;
