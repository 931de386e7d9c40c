//! SQS: queues, and their calls.

pub mod api;
pub mod queue;
pub mod queues;

pub use queue::{Message, Queue, Received, md5_of};
pub use queues::Queues;
