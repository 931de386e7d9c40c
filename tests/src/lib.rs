//! What system tests and the load generator share: an HTTP client, the checks of I1 and I2, a
//! platform to run them on.

pub mod client;
pub mod invariants;
pub mod process;
pub mod profile;
