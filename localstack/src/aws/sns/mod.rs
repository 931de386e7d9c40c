//! SNS: FIFO topics, and their calls.

pub mod api;
pub mod topics;

pub use topics::{Published, Topics};
