//! The parties outside AWS that the platform talks to: the payment provider, the carrier, and the issuer of tokens.

pub mod carrier;
pub mod payment_provider;
pub mod simulators;
pub mod token_issuer;
