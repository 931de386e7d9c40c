//! Rewards: points for confirmed orders. The smallest service, and so the one to read first.
#![allow(missing_docs, reason = "nothing is built on a service: its names say what they are")]

pub mod points;
pub mod reactor;
pub mod subscriptions;
