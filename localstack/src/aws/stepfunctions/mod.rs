//! Step Functions: standard state machines, their executions, and the calls about them.

pub mod api;
pub mod definition;
pub mod execution;
mod executions_api;
mod history;
pub mod interpreter;
pub mod machines;
mod machines_api;
pub mod payload;
mod service;
#[cfg(test)]
mod specs;

pub use execution::{Execution, HistoryEvent, Status};
pub use machines::{Setup, StateMachines};
pub use service::Service;
