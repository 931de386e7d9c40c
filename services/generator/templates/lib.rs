//! Newcomer: SUMMARY.
#![allow(missing_docs, reason = "nothing is built on a service: its names say what they are")]

pub mod reactor;
pub mod subscriptions;
pub mod widget;
