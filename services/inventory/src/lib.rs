//! Inventory: what can be sold, and what is held for whom. It consumes `order.created`, `order.cancelled` and
//! `fulfillment.shipped`.
#![allow(missing_docs, reason = "nothing is built on a service: its names say what they are")]

pub mod api;
pub mod counter;
pub mod product;
pub mod reactor;
pub mod reservation;
pub mod subscriptions;
