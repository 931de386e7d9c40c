//! What every service stands on, in three floors.
//!
//! 1. The theory: [`decider`], and [`spec`] to test one.
//! 2. The patterns: [`aggregate`] (a decider with a row), [`outbox`], [`inbox`], [`projection`], [`audit`], over the [`store`] port.
//! 3. The loop: [`reactor`] and [`effects`] (what reacts, and whom it calls while it is [`live`]), [`reaction`] (the one bounded loop),
//!    [`consumer`] (a queue's events), [`versions`] (events of versions that it does not know).
//!
//! Beside them stand what an HTTP API needs ([`http`]), the [`keys`] of addresses, what puts requests together ([`gather`]), and the ports. Nothing here knows AWS: its adapters are the crate
//! `aws`.

pub mod aggregate;
pub mod audit;
pub mod config;
pub mod consumer;
pub mod decider;
pub mod digest;
pub mod effects;
pub mod failure;
pub mod gather;
pub mod http;
pub mod inbox;
pub mod keys;
pub mod live;
pub mod log;
pub mod metrics;
pub mod outbox;
pub mod ports;
pub mod projection;
pub mod reaction;
pub mod reactor;
pub mod spans;
pub mod spec;
pub mod store;
pub mod task;
pub mod trace;
pub mod versions;

pub use aggregate::{Aggregate, Loaded};
pub use consumer::{Consumer, EventHandler};
pub use decider::{Decider, Refusal};
pub use effects::{Attempt, Effects, NoEffects};
pub use failure::Failure;
pub use inbox::Verdict;
pub use live::Live;
pub use ports::{Clock, Ids, Ports};
pub use reactor::Reactor;
pub use store::{AggregateId, Store};
