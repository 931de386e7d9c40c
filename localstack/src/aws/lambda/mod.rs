//! Lambda: the unmodified service binaries against a Runtime API, one process per function, with timeouts, crashes and
//! restarts.

pub mod api;
pub mod event_source;
pub mod function;
pub mod functions;
pub mod process;
pub mod runtime_api;

pub use event_source::Poller;
pub use function::{Function, InvokeError};
pub use functions::Functions;
pub use process::Sandbox;
