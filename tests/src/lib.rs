//! What system tests and the load generator share: an HTTP client and the checks of I1 and I2.

pub mod client;
pub mod invariants;
