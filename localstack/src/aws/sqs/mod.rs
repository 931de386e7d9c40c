//! SQS: queues, and their calls.

pub mod api;
#[cfg(test)]
mod backlog_specs;
mod batches_api;
mod checks;
pub mod fifo;
mod made;
mod made_api;
mod message;
mod messages_api;
pub mod moves;
mod moves_api;
pub mod queue;
pub mod queues;
mod queues_api;
#[cfg(test)]
mod refusal_specs;
mod service;
#[cfg(test)]
mod specs;
mod state;

pub use message::{Message, Received};
pub use queue::{Queue, md5_of};
pub use queues::Queues;
pub use service::Service;
