//! EventBridge: the bus with its rules and archives, and the pipes that lead to it.

pub mod bus;
pub mod pipes;
