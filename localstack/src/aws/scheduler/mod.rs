//! EventBridge Scheduler: schedules, and the calls that show them.

pub mod api;
pub mod schedule;

pub use schedule::{Schedule, schedules};
