//! SNS: FIFO topics, and their calls.

pub mod api;
#[cfg(test)]
mod specs;
pub mod topics;

pub use topics::{Published, Topics};
