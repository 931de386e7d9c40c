//! SQS: queues, and their calls.

pub mod api;
mod backlog;
#[cfg(test)]
mod backlog_specs;
mod batches_api;
mod checks;
pub mod fifo;
mod made;
mod made_api;
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

pub use queue::{Message, Queue, Received, md5_of};
pub use queues::Queues;
pub use service::Service;
