//! Notifications: tells customers what became of their orders. One message per outcome, through a FIFO topic that
//! deduplicates on the event's id.

pub mod notices;
pub mod reactor;
pub mod subscriptions;
