//! Step Functions: standard state machines, their executions, and the calls to look at them.

pub mod api;
pub mod definition;
pub mod execution;
pub mod interpreter;
pub mod machines;
pub mod payload;

pub use execution::{Execution, HistoryEvent, Status};
pub use machines::{Setup, StateMachines};
