//! The adapters to AWS. No other crate of the services calls it, and no domain crate depends on this one but through its
//! binary.

pub mod api;
pub mod archive;
mod attempts;
pub mod claims;
pub mod dynamodb;
pub mod eventbridge;
pub mod invoke;
pub mod lambda;
pub mod outbox;
pub mod pipes;
pub mod queue;
pub mod sdk;
pub mod secrets;
pub mod sns;
pub mod sqs;
pub mod tail;
pub mod traces;

/// JSON rows and events are many small allocations, which mimalloc serves faster than the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
