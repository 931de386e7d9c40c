//! Notifications: tells customers how their orders ended. One message per outcome, through a FIFO topic that deduplicates on
//! the event's id.
#![allow(missing_docs, reason = "nothing is built on a service: its names say what they are")]

pub mod notification;
pub mod reactor;
pub mod subscriptions;
