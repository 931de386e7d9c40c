//! EventBridge: buses with their rules and archives, and the pipes that lead to them.

pub mod api;
pub mod bus;
pub mod element;
pub mod pipes;

pub use bus::{Buses, EntryError, PutEventsEntry};
