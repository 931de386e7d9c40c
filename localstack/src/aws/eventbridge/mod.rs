//! EventBridge: buses with their rules and archives, replays of these, and the pipes that lead to the buses.

pub mod api;
mod archives_api;
pub mod bus;
mod buses_api;
pub mod element;
mod made;
pub mod pipes;
pub mod pipes_api;
mod put_events;
pub mod replays;
mod replays_api;
mod rules_api;
mod rules_shown_api;
mod service;
#[cfg(test)]
mod specs;

pub use bus::{Buses, EntryError, PutEventsEntry};
pub use replays::Replays;
pub use service::Service;
