//! The payment provider, as far as payments calls it. Its adapters stand beside it: Stripe's API, and the circuit breaker in
//! front of any provider.

pub mod circuit_breaker;
pub mod https;
pub mod stripe;

use crate::payment::{Bill, Capture};
use chassis::Failure;
use events::{CustomerId, OrderId};
use serde::{Deserialize, Serialize};
use std::future::Future;

/// Why a call came to nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The provider did not answer, or failed: this counts against it.
    #[error("{0}")]
    Down(String),
    /// It answers, and the answer is to come again.
    #[error("{0}")]
    Later(String),
    /// It refuses the call itself: the request or the key is wrong, and a person has to look.
    #[error("{0}")]
    Refused(String),
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Down(reason) | CallError::Later(reason) => Self::Transient(reason),
            CallError::Refused(reason) => Self::Poison(reason),
        }
    }
}

/// What a charge is taken from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaymentMethod {
    /// The provider's id of it, or a token.
    pub id: String,
    /// The provider's id of the customer.
    pub customer: Option<String>,
}

/// What creating an intent came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Creation {
    /// There is an intent. It captures nothing until it is confirmed.
    Opened {
        /// The provider's id of it.
        intent: String,
    },
    /// The provider cannot charge this payment method, or this amount.
    Declined {
        /// Its code.
        code: String,
    },
}

/// What confirming an intent came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Confirmation {
    Captured(Capture),
    /// The provider declined, and the intent can capture nothing any more.
    Declined {
        /// Its code.
        code: String,
    },
}

/// What attaching a payment method came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attachment {
    /// It belongs to the customer.
    Attached {
        /// The provider's id of it; for a token of the provider's test mode, a new one.
        payment_method: String,
    },
    /// The bank declined when the provider verified the card.
    Declined {
        /// Its code.
        code: String,
    },
    /// The provider knows no such payment method.
    Unknown,
    /// It belongs to another customer, or was charged without one and cannot be used again.
    Unusable,
    /// The provider does not have the customer any more.
    CustomerGone,
}

/// What the provider has of an intent; in the compensation flow's input as `{"status": "CAPTURED", ...}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ChargeStatus {
    /// It has captured nothing yet.
    Open,
    /// It captured the amount.
    Captured,
    /// The amount is on its way back.
    Refunding {
        /// The provider's id of the refund.
        refund: String,
    },
    /// It captured the amount and gave it back.
    Refunded {
        /// The provider's id of the refund.
        refund: String,
    },
    /// It is cancelled: it can never capture anything.
    #[serde(rename = "VOIDED")]
    Cancelled,
}

/// How a refund stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefundStatus {
    Succeeded,
    Pending,
    /// The provider could not give the amount back.
    Failed {
        /// Its code.
        code: String,
    },
}

/// A refund that the provider took on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refund {
    /// The provider's id of it.
    pub id: String,
    pub status: RefundStatus,
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
    /// Creates a customer that stands for one of ours, under the idempotency key with this number, and gives the provider's
    /// id of it; none: the provider only repeats an earlier failure for that key.
    fn create_customer(
        &self,
        customer: &CustomerId,
        key: u32,
    ) -> impl Future<Output = Result<Option<String>, CallError>> + Send;

    /// Attaches a payment method to a customer of the provider. May be repeated: a method is attached once, and for good.
    /// `key` is the idempotency key.
    fn attach(
        &self,
        payment_method: &str,
        provider_customer: &str,
        key: &str,
    ) -> impl Future<Output = Result<Attachment, CallError>> + Send;

    /// Creates an intent for a bill, which captures nothing. `tries` counts the calls for this bill.
    fn create(
        &self,
        bill: &Bill,
        method: &PaymentMethod,
        tries: u32,
    ) -> impl Future<Output = Result<Creation, CallError>> + Send;

    /// Has an intent capture its amount. May be repeated: an intent captures once. `tries` counts the calls for this bill;
    /// from the second on, the provider may have done it already.
    fn confirm(
        &self,
        order_id: OrderId,
        intent: &str,
        tries: u32,
    ) -> impl Future<Output = Result<Confirmation, CallError>> + Send;

    /// What the provider has of an intent.
    fn look_up(&self, intent: &str) -> impl Future<Output = Result<ChargeStatus, CallError>> + Send;

    /// Makes sure that an intent will never capture anything, not even for a call that is still on its way; `false`: it
    /// has captured, or is about to. `key` is the idempotency key.
    fn cancel(&self, intent: &str, key: &str) -> impl Future<Output = Result<bool, CallError>> + Send;

    /// Gives what an intent captured back; the inner error is the provider's code for a refusal.
    fn refund(
        &self,
        order_id: OrderId,
        intent: &str,
        attempt: RefundAttempt,
    ) -> impl Future<Output = Result<Result<Refund, String>, CallError>> + Send;

    /// How a refund stands.
    fn refund_status(&self, refund: &str) -> impl Future<Output = Result<RefundStatus, CallError>> + Send;
}
