//! Notifications: makes the messages to customers about their orders, one for each outcome, and publishes them on a FIFO topic
//! that deduplicates on the event's id. A shop's own mailer reads them from the queue behind it and sends them.
#![allow(missing_docs, reason = "nothing is built on a service: its names say what they are")]

pub mod notification;
pub mod reactor;
pub mod subscriptions;
