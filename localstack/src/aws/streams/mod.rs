//! What reads a table's stream: the one shard, with batches, retries and checkpoints; and Lambda's mapping of it to a
//! function. Pipes read it too.

pub mod api;
pub mod mapping;
pub mod record;
pub mod shard;
#[cfg(test)]
mod specs;
pub mod switch;

pub use mapping::StreamMapping;
pub use record::{Filter, Record};
pub use shard::{Outcome, Policy, Reader, Shard, Source};
pub use switch::{Conflict, State, Switch};
