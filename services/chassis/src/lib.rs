//! What every service stands on: the reaction loop, one transaction per reaction, two stores under one
//! contract, and the shell that Lambda talks to. Domain code never sees any of it.

pub mod access;
pub mod aws;
pub mod batch;
pub mod config;
pub mod cursor;
pub mod failure;
pub mod fields;
pub mod http;
pub mod lambda;
pub mod log;
pub mod memory;
pub mod outward;
pub mod ports;
pub mod reaction;
pub mod rows;
pub mod store;
pub mod telling;

pub use failure::Failure;
pub use ports::{Clock, Ids, Ports};
pub use reaction::{Core, Reactor, Refusal, Verdict, react};
pub use rows::{Attr, Condition, Item, Key, Write};
pub use store::{CommitError, Store};
