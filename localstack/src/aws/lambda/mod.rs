//! Lambda: the unmodified service binaries against a Runtime API, one process per function or one for each invocation at
//! a time, with limits, timeouts, crashes and restarts.

pub mod asynchronous;
pub mod concurrency;
pub mod environments;
pub mod event_source;
pub mod function;
pub mod functions;
pub mod process;
pub mod runtime_api;
mod supervisor;
pub mod watchdog;

pub use asynchronous::AsynchronousEvents;
pub use concurrency::Account;
pub use environments::Mode;
pub use event_source::Poller;
pub use function::{Function, InvokeError};
pub use functions::Functions;
pub use process::Sandbox;
pub use watchdog::Watchdog;
