//! The fault dial: what goes wrong on purpose. Every fault is counted, never left to chance, so that a run with it can
//! be repeated. Set by `--fault` or at `/faults` of the AWS endpoint.

pub mod dial;
pub mod fault;

pub use dial::{Database, Delivery, Faults, Targets, TransactionFault};
pub use fault::{Fault, When};
