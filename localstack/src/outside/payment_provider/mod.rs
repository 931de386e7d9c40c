//! The payment provider simulator: Stripe's PaymentIntents with Stripe's test methods and a few of its own. It refuses what
//! Stripe refuses.
//!
//! [`account`] is what it keeps and answers, without I/O; [`provider`] puts that behind HTTP and into the journal, and lets a
//! call lock its intent. `GET /book`
//! shows every intent with what was captured and given back: what a test needs to know about money stands there and not in
//! the services' own tables. `GET /requests` shows what was asked, and `POST /clock` moves its time.

pub mod account;
mod charges;
mod currencies;
pub mod customers;
pub mod form;
pub mod intents;
mod locks;
pub mod methods;
pub mod provider;
pub mod refunds;
pub mod refusal;

#[cfg(test)]
mod specs;

pub use provider::{Payment, Provider};
