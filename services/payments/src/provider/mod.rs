//! The payment provider, as far as payments calls it. Its adapters stand beside it: Stripe's API, and the circuit breaker in
//! front of any provider.

pub mod circuit_breaker;
pub mod stripe;

use crate::payment::Bill;
use chassis::{Attempt, Failure};
use events::OrderId;
use serde::{Deserialize, Serialize};
use std::future::Future;

/// What the provider answers to a charge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChargeOutcome {
    /// It captured the amount.
    Captured {
        /// Its id of the charge.
        charge_id: String,
    },
    /// It declined.
    Declined {
        /// Its code.
        code: String,
    },
}

/// What the provider knows of an order's charge; in the compensation flow's input as `{"status": "CAPTURED", ...}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ChargeStatus {
    /// The provider found no intent, which does not mean that none will arrive.
    Nothing,
    /// An intent that has captured nothing yet.
    Open {
        /// The provider's id of the intent.
        intent: String,
    },
    /// The provider captured the amount.
    Captured {
        /// The provider's id of the charge.
        charge_id: String,
    },
    /// It captured the amount and gave it back.
    Refunded,
    /// The intent is cancelled: it can never capture anything.
    #[serde(rename = "VOIDED")]
    Cancelled,
}

/// One refund: what the provider refused once, it refuses again under the same idempotency key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefundAttempt {
    /// The number of the compensation request.
    pub generation: u32,
    /// The number of the attempt within one execution, from 0.
    pub number: u64,
}

/// A payment provider.
pub trait PaymentProvider: Send + Sync + 'static {
    /// Captures a bill. The idempotency key derives from the order: the call may be repeated and charges once.
    fn charge(
        &self,
        bill: &Bill,
        attempt: Attempt,
    ) -> impl Future<Output = Result<ChargeOutcome, Failure>> + Send;

    /// What the provider knows of the charge.
    fn look_up(
        &self,
        order_id: OrderId,
        charge_id: Option<&str>,
    ) -> impl Future<Output = Result<ChargeStatus, Failure>> + Send;

    /// Makes sure that the provider will never capture anything for `bill`, not even for a call that is still on its way;
    /// `false`: there is a charge already. `intent` is the one that a look-up found, if it found one.
    fn void(&self, bill: &Bill, intent: Option<&str>) -> impl Future<Output = Result<bool, Failure>> + Send;

    /// Gives a captured charge back; the inner error is the provider's code for a refusal.
    fn refund(
        &self,
        order_id: OrderId,
        charge_id: &str,
        attempt: RefundAttempt,
    ) -> impl Future<Output = Result<Result<(), String>, Failure>> + Send;
}
