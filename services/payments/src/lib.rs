//! Payments: captures an order's total once both `order.created` (the amount) and `inventory.reserved` (the permission) have
//! arrived, in either order, and has the last word on the money of a cancelled order. Its HTTP API saves customers' payment methods.
#![allow(missing_docs, reason = "nothing is built on a service: its names say what they are")]

pub mod api;
pub mod breaker;
pub mod compensation;
pub mod customer;
pub mod history;
pub mod payment;
pub mod provider;
pub mod reactor;
pub mod subscriptions;
