//! The payment provider simulator: Stripe's PaymentIntents with Stripe's test methods and a few of its own. It refuses what
//! Stripe refuses.
//!
//! [`account`] is what it answers, without I/O, of the [`objects`] that it keeps; [`provider`] puts that behind HTTP, with what
//! the journal has of the objects that a call is about, and lets a call lock its intent. `GET /book` shows every intent with what was captured and given back: what a
//! test needs to know about money stands there and not in the services' own tables. `GET /requests` shows what was asked, and
//! `POST /clock` moves its time.

pub mod account;
mod charges;
mod currencies;
mod customers;
mod form;
mod intents;
mod kept;
mod locks;
mod methods;
pub mod objects;
pub mod provider;
mod refunds;
mod refusal;
mod state;

#[cfg(test)]
mod kept_specs;
#[cfg(test)]
mod specs;

pub use objects::Payment;
pub use provider::Provider;
