//! Customers and their payment methods.
//!
//! <https://docs.stripe.com/api/customers>, <https://docs.stripe.com/api/payment_methods>,
//! <https://docs.stripe.com/testing>

use super::account::{Account, Outcome};
use super::form::Form;
use super::refusal::Refusal;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Customer {
    pub id: String,
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

/// How a payment method behaves when it is charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    Succeeds,
    Declines(&'static str),
    /// The bank wants its customer to authenticate.
    RequiresAction,
    /// Nothing is done and nothing is answered.
    NeverAnswers,
    Fails,
    /// It is charged, and the first answer is lost.
    LosesItsAnswer,
    /// Worse than any real provider: it declines, forgets that, and takes the money.
    DeclinesOnce,
}

impl Behaviour {
    /// How a test method behaves; none for one that Stripe does not know and that is none of the simulator's own.
    #[must_use]
    pub fn of(token: &str) -> Option<Self> {
        Some(match token {
            "pm_card_visa" | "pm_card_mastercard" | "pm_card_pendingRefund" | "pm_card_refundFail" => {
                Self::Succeeds
            }
            "pm_sim_refund_refused" | "pm_sim_refund_refused_3_times" => Self::Succeeds,
            "pm_card_visa_chargeDeclined" => Self::Declines("generic_decline"),
            "pm_card_visa_chargeDeclinedInsufficientFunds" => Self::Declines("insufficient_funds"),
            "pm_card_authenticationRequired" => Self::RequiresAction,
            "pm_sim_timeout" => Self::NeverAnswers,
            "pm_sim_error" => Self::Fails,
            "pm_sim_declines_once" => Self::DeclinesOnce,
            "pm_sim_lost_answer" => Self::LosesItsAnswer,
            _ => return None,
        })
    }
}

impl Account {
    /// The object that a parameter names: a kept one, or a new one of a test method.
    ///
    /// # Errors
    /// A method that does not exist, belongs to another customer, or is used up.
    pub(super) fn method(&mut self, named: &str, customer: Option<&str>) -> Result<String, Refusal> {
        let Some(method) = self.methods.get(named) else {
            if Behaviour::of(named).is_none() {
                return Err(Refusal::missing("PaymentMethod", named).about("payment_method"));
            }
            let id = self.new_id("pm");
            let method =
                PaymentMethod { id: id.clone(), token: named.to_owned(), customer: None, is_used_up: false };
            self.methods.insert(id.clone(), method);
            return Ok(id);
        };
        match (&method.customer, customer) {
            (Some(owner), Some(customer)) if owner == customer => Ok(method.id.clone()),
            (Some(_), Some(_)) => {
                let message = "The payment method does not belong to the Customer that you supplied.";
                Err(Refusal::invalid("resource_missing", message).about("payment_method"))
            }
            (Some(_), None) => {
                let message =
                    "The payment method belongs to a Customer. Include the Customer in the request.";
                Err(Refusal::invalid("resource_missing", message).about("payment_method"))
            }
            (None, _) if method.is_used_up => {
                let message = "The payment method was previously used without Customer attachment, and may not be \
                               used again.";
                Err(Refusal::invalid("resource_missing", message).about("payment_method"))
            }
            (None, _) => Ok(method.id.clone()),
        }
    }

    pub(super) fn create_customer(&mut self, mut form: Form) -> Outcome {
        let metadata = form.map("metadata");
        form.finish()?;
        let customer = Customer { id: self.new_id("cus"), metadata };
        let shown = customer.json();
        self.customers.insert(customer.id.clone(), customer);
        Ok(shown)
    }

    pub(super) fn retrieve_customer(&self, id: &str, form: Form) -> Outcome {
        form.finish()?;
        self.customers.get(id).map(Customer::json).ok_or_else(|| Refusal::missing("customer", id))
    }

    pub(super) fn retrieve_method(&self, id: &str, form: Form) -> Outcome {
        form.finish()?;
        self.methods.get(id).map(PaymentMethod::json).ok_or_else(|| Refusal::missing("PaymentMethod", id))
    }

    pub(super) fn attach_method(&mut self, named: &str, mut form: Form) -> Outcome {
        let customer = form.require("customer")?;
        form.finish()?;
        if !self.customers.contains_key(&customer) {
            return Err(Refusal::missing("customer", &customer).about("customer"));
        }
        if let Some(method) = self.methods.get(named).filter(|method| method.customer.is_some()) {
            let same = method.customer.as_ref() == Some(&customer);
            let message = "The payment method you provided has already been attached to a customer.";
            return if same {
                Ok(method.json())
            } else {
                Err(Refusal::state("resource_already_exists", message))
            };
        }
        let id = self.method(named, None)?;
        let method = self.methods.get_mut(&id).ok_or_else(|| Refusal::missing("PaymentMethod", named))?;
        method.customer = Some(customer);
        Ok(method.json())
    }
}

impl Customer {
    fn json(&self) -> Value {
        json!({
            "id": self.id,
            "object": "customer",
            "metadata": self.metadata,
            "invoice_settings": {"default_payment_method": null},
            "livemode": false,
        })
    }
}

impl PaymentMethod {
    fn json(&self) -> Value {
        json!({
            "id": self.id,
            "object": "payment_method",
            "type": "card",
            "customer": self.customer,
            "livemode": false,
        })
    }

    /// How it behaves.
    #[must_use]
    pub fn behaviour(&self) -> Option<Behaviour> {
        Behaviour::of(&self.token)
    }
}
