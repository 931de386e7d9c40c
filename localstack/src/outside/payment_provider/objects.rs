//! The objects that the simulator keeps, as Stripe shows them.
//!
//! <https://docs.stripe.com/api/payment_intents/object>, <https://docs.stripe.com/api/charges/object>,
//! <https://docs.stripe.com/api/refunds/object>, <https://docs.stripe.com/api/customers/object>,
//! <https://docs.stripe.com/api/payment_methods/object>

use super::refusal::Refusal;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// How long a refund stays pending whose payment method says that it does, in seconds.
const PENDING_SECONDS: i64 = 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    RequiresPaymentMethod,
    RequiresConfirmation,
    RequiresAction,
    Succeeded,
    Canceled,
}

/// Which kinds of payment methods an intent takes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kinds {
    /// Those that the intent lists.
    Listed(Vec<String>),
    /// Those that the account's dashboard allows.
    Dashboard {
        /// Also those that send the customer to another page.
        with_redirects: bool,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Intent {
    pub id: String,
    /// Minor units.
    pub amount: u64,
    /// In lower case, as Stripe writes it.
    pub currency: String,
    pub status: Status,
    pub customer: Option<String>,
    pub payment_method: Option<String>,
    pub kinds: Kinds,
    pub metadata: BTreeMap<String, String>,
    /// Oldest first.
    pub charges: Vec<Charge>,
    /// JSON.
    pub(super) last_error: Option<String>,
    pub(super) cancellation_reason: Option<String>,
    /// Epoch seconds.
    pub(super) canceled_at: Option<i64>,
    /// Where a customer comes back to who has authenticated.
    pub(super) return_url: Option<String>,
    /// How often a client asked to confirm it.
    pub calls: u32,
    /// How many of its refunds were refused.
    pub refused_refunds: u32,
}

/// One try to charge an intent.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Charge {
    pub id: String,
    /// Minor units.
    pub amount: u64,
    /// A declined one has captured nothing.
    pub succeeded: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Customer {
    pub id: String,
    pub email: Option<String>,
    pub name: Option<String>,
    pub metadata: BTreeMap<String, String>,
}

/// A payment method: an object made of a test method.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PaymentMethod {
    pub id: String,
    /// The test method that it behaves like.
    pub token: String,
    pub customer: Option<String>,
    /// Whether it was charged without a customer: then it can never be used again.
    pub is_used_up: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Refund {
    pub id: String,
    pub intent: String,
    pub charge: String,
    /// Minor units.
    pub amount: u64,
    /// In lower case, as Stripe writes it.
    pub currency: String,
    pub(super) reason: Option<String>,
    pub metadata: BTreeMap<String, String>,
    /// Epoch seconds.
    pub created: i64,
    pub end: End,
    /// Whether it has ended.
    pub is_settled: bool,
}

/// How a refund stands before it ends, and how it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// It has arrived at once.
    Succeeded,
    /// It is pending at first.
    Arrives,
    /// It is pending at first, and fails.
    Fails,
    /// It arrives, and is taken back.
    Returned,
}

impl Intent {
    /// What was captured, in minor units.
    #[must_use]
    pub fn captured(&self) -> u64 {
        self.charges.iter().filter(|charge| charge.succeeded).map(|charge| charge.amount).sum()
    }

    pub(super) fn json(&self, latest_charge: &Value) -> Value {
        let error = self.last_error.as_deref().and_then(|text| serde_json::from_str(text).ok());
        let (types, automatic) = match &self.kinds {
            Kinds::Listed(listed) => (json!(listed), Value::Null),
            Kinds::Dashboard { with_redirects } => {
                let redirects = if *with_redirects { "always" } else { "never" };
                (json!(["card"]), json!({"allow_redirects": redirects, "enabled": true}))
            }
        };
        json!({
            "id": self.id,
            "object": "payment_intent",
            "amount": self.amount,
            "amount_capturable": 0,
            "amount_received": self.captured(),
            "automatic_payment_methods": automatic,
            "canceled_at": self.canceled_at,
            "cancellation_reason": self.cancellation_reason,
            "capture_method": "automatic_async",
            "client_secret": format!("{}_secret_simulated", self.id),
            "confirmation_method": "automatic",
            "currency": self.currency,
            "customer": self.customer,
            "last_payment_error": error.unwrap_or(Value::Null),
            "latest_charge": latest_charge,
            "livemode": false,
            "metadata": self.metadata,
            "next_action": self.next_action(),
            "payment_method": self.payment_method,
            "payment_method_types": types,
            "processing": null,
            "status": self.status,
        })
    }

    fn next_action(&self) -> Value {
        match (self.status, &self.return_url) {
            (Status::RequiresAction, None) => json!({"type": "use_stripe_sdk", "use_stripe_sdk": {}}),
            (Status::RequiresAction, Some(url)) => {
                let redirect = json!({"return_url": url, "url": "https://hooks.stripe.com/simulated"});
                json!({"type": "redirect_to_url", "redirect_to_url": redirect})
            }
            _ => Value::Null,
        }
    }
}

impl Customer {
    pub(super) fn json(&self) -> Value {
        json!({
            "id": self.id,
            "object": "customer",
            "email": self.email,
            "invoice_settings": {"default_payment_method": null},
            "livemode": false,
            "metadata": self.metadata,
            "name": self.name,
        })
    }
}

impl PaymentMethod {
    /// Whether an intent of this customer, or of none, can be charged to it.
    pub(super) fn check_usable(&self, customer: Option<&str>) -> Result<(), Refusal> {
        let id = &self.id;
        match (&self.customer, customer) {
            (Some(owner), Some(customer)) if owner != customer => Err(Refusal::state(
                None,
                format!(
                    "The PaymentMethod {id} does not belong to the Customer you supplied {customer}. Please use this \
                     PaymentMethod with the Customer that it belongs to instead."
                ),
            )
            .about("payment_method")),
            (Some(owner), None) => Err(Refusal::state(
                "parameter_missing",
                format!(
                    "The `payment_method` parameter supplied {id} belongs to the Customer {owner}. Please include the \
                     Customer in the `customer` parameter on the PaymentIntent."
                ),
            )
            .about("source")),
            (None, _) if self.is_used_up => Err(Self::used_up()),
            _ => Ok(()),
        }
    }

    /// The refusal of one that was charged without a customer.
    fn used_up() -> Refusal {
        let message = "The provided PaymentMethod was previously used with a PaymentIntent without Customer attachment, \
                       shared with a connected account without Customer attachment, or was detached from a Customer. \
                       It may not be used again. To use a PaymentMethod multiple times, you must attach it to a \
                       Customer first.";
        Refusal::state(None, message)
    }

    pub(super) fn check_attachable(&self, customer: &str) -> Result<(), Refusal> {
        match &self.customer {
            Some(owner) if owner == customer => Ok(()),
            Some(_) => {
                let message = "The payment method you provided has already been attached to a customer.";
                Err(Refusal::state(None, message))
            }
            None if self.is_used_up => {
                let message = "This PaymentMethod was previously used without being attached to a Customer or was \
                               detached from a Customer, and may not be used again.";
                Err(Refusal::state(None, message))
            }
            None => Ok(()),
        }
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "id": self.id,
            "object": "payment_method",
            "card": {"brand": "visa", "exp_month": 12, "exp_year": 2034, "last4": "4242"},
            "customer": self.customer,
            "livemode": false,
            "type": "card",
        })
    }
}

impl Refund {
    /// Whether its time to end has come.
    pub(super) const fn is_over(&self, now: i64) -> bool {
        now - self.created >= PENDING_SECONDS
    }

    /// What it gives back at `now`, in minor units.
    pub(super) fn given_back(&self, now: i64) -> u64 {
        let is_settled = self.is_settled || self.is_over(now);
        let refund = Self { is_settled, ..self.clone() };
        if refund.has_failed() { 0 } else { self.amount }
    }

    pub(super) fn has_failed(&self) -> bool {
        self.is_settled && matches!(self.end, End::Fails | End::Returned)
    }

    pub(super) fn json(&self) -> Value {
        let status = match (self.end, self.is_settled) {
            (End::Arrives | End::Fails, false) => "pending",
            (End::Succeeded, _) | (End::Arrives, true) | (End::Returned, false) => "succeeded",
            (End::Fails | End::Returned, true) => "failed",
        };
        let mut shown = json!({
            "id": self.id,
            "object": "refund",
            "amount": self.amount,
            "charge": self.charge,
            "created": self.created,
            "currency": self.currency,
            "metadata": self.metadata,
            "payment_intent": self.intent,
            "reason": self.reason,
            "status": status,
        });
        if self.has_failed() {
            shown["failure_reason"] = "expired_or_canceled_card".into();
            shown["failure_balance_transaction"] = format!("txn_{}", self.id).into();
        }
        shown
    }
}

/// One order's payment as the book shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payment {
    pub order_id: Option<String>,
    /// How often a client asked to confirm it.
    pub calls: u32,
    /// Minor units.
    pub captured: u64,
    /// Minor units.
    pub refunded: u64,
    /// In lower case, as Stripe writes it.
    pub currency: String,
    /// As Stripe names it.
    pub status: String,
}

impl Payment {
    /// An intent and its refunds.
    pub(super) fn of(intent: &Intent, refunds: &[Refund], now: i64) -> Self {
        let status = json!(intent.status);
        Self {
            order_id: intent.metadata.get("order_id").cloned(),
            calls: intent.calls,
            captured: intent.captured(),
            refunded: refunds.iter().map(|refund| refund.given_back(now)).sum(),
            currency: intent.currency.clone(),
            status: status.as_str().unwrap_or_default().to_owned(),
        }
    }
}
