//! The payment provider simulator: Stripe's PaymentIntents with Stripe's test tokens and a few of its own.
//!
//! The journal keeps its payments (calls, captures, refunds), and `GET /book` shows them: what a test needs to know about
//! money stands here and not in the services' own tables.

pub mod account;
pub mod customers;
pub mod form;
pub mod intents;
pub mod payment;
pub mod provider;
pub mod refunds;
pub mod refusal;

pub use payment::Payment;
pub use provider::Provider;
