//! Orders: takes them over HTTP, and tracks each one's saga as a fold of the other services' events.
#![allow(missing_docs, reason = "nothing is built on a service: its names say what they are")]

pub mod http;
pub mod projections;
pub mod reactor;
pub mod saga;
pub mod subscriptions;
pub mod sweeper;
