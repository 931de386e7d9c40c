//! EventBridge: buses with their rules and archives, replays of these, and the pipes that lead to the buses.

pub mod api;
pub mod bus;
pub mod element;
mod made;
pub mod pipes;
pub mod pipes_api;
pub mod replays;
pub mod replays_api;
mod rules_api;
#[cfg(test)]
mod specs;

pub use bus::{Buses, EntryError, PutEventsEntry};
pub use replays::Replays;
