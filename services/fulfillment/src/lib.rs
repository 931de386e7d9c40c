//! Fulfillment: has confirmed orders carried. Shipping is the pivot: what the carrier took is not taken back.
#![allow(missing_docs, reason = "nothing is built on a service: its names say what they are")]

pub mod carrier;
pub mod reactor;
pub mod shipment;
pub mod subscriptions;
