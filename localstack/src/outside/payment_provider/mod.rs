//! The payment provider simulator: Stripe's PaymentIntents with Stripe's test tokens and a few of its own.
//!
//! The journal keeps its payments (calls, captures, refunds), and `GET /book` shows them: what a test needs to know about
//! money stands here and not in the services' own tables.

pub mod payment;
pub mod provider;

pub use payment::Payment;
pub use provider::Provider;
