//! SQS: queues, and their calls.

pub mod api;
mod checks;
pub mod fifo;
mod made;
mod made_api;
pub mod queue;
pub mod queues;
#[cfg(test)]
mod refusal_specs;
#[cfg(test)]
mod specs;

pub use queue::{Message, Queue, Received, md5_of};
pub use queues::Queues;
