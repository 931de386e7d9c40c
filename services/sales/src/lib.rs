//! Sales: what was sold, taken back and cancelled, by day and product. A projection of orders' events, which publishes
//! nothing.
#![allow(missing_docs, reason = "nothing is built on a service: its names say what they are")]

pub mod api;
pub mod books;
pub mod counters;
pub mod generations;
pub mod reactor;
pub mod report;
pub mod sale;
pub mod subscriptions;
