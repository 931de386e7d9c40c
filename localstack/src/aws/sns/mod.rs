//! SNS: FIFO topics, and their calls.

pub mod api;
mod publish_api;
mod service;
#[cfg(test)]
mod specs;
pub mod topics;
mod topics_api;

pub use service::Service;
pub use topics::{Published, Topics};
