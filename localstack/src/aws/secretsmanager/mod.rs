//! Secrets Manager: secrets, and their calls.

pub mod api;
pub mod secrets;
#[cfg(test)]
mod specs;

pub use secrets::{FILE, Secrets};
