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
    /// It declines the first intent of an order, and would pay a second one.
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
            "pm_sim_refund_refused"
            | "pm_sim_refund_refused_3_times"
            | "pm_sim_refund_pending_then_failed" => Self::Succeeds,
            "pm_card_visa_chargeDeclined" | "pm_card_chargeDeclined" | "pm_card_chargeCustomerFail" => {
                Self::Declines("generic_decline")
            }
            "pm_card_visa_chargeDeclinedInsufficientFunds" | "pm_card_chargeDeclinedInsufficientFunds" => {
                Self::Declines("insufficient_funds")
            }
            "pm_card_authenticationRequired" => Self::RequiresAction,
            "pm_sim_timeout" => Self::NeverAnswers,
            "pm_sim_error" => Self::Fails,
            "pm_sim_lost_answer" => Self::LosesItsAnswer,
            "pm_sim_declines_once" => Self::DeclinesOnce,
            _ => return None,
        })
    }
}

/// The refusal of a bank.
#[must_use]
pub fn declined(code: &str) -> Refusal {
    let message = match code {
        "insufficient_funds" => "Your card has insufficient funds.",
        _ => "Your card was declined.",
    };
    Refusal::card("card_declined", code, message)
}

impl Account {
    /// The object that the parameter `payment_method` names: a kept one, or a new one of a test method.
    ///
    /// # Errors
    /// A method that does not exist, belongs to another customer, or is used up.
    pub(super) fn method(&mut self, named: &str, customer: Option<&str>) -> Result<String, Refusal> {
        let Some(method) = self.methods.get(named) else {
            let unknown = || Refusal::unknown("PaymentMethod", named, "payment_method");
            return self.of_token(named).ok_or_else(unknown);
        };
        let (id, refused) =
            (method.id.clone(), |code: Option<&'static str>, message: String, parameter: &str| {
                Err(Refusal::invalid(code, message).about(parameter))
            });
        match (&method.customer, customer) {
            (Some(owner), Some(customer)) if owner != customer => refused(
                None,
                format!(
                    "The PaymentMethod {id} does not belong to the Customer you supplied {customer}. Please use this \
                     PaymentMethod with the Customer that it belongs to instead."
                ),
                "payment_method",
            ),
            (Some(owner), None) => refused(
                Some("parameter_missing"),
                format!(
                    "The `payment_method` parameter supplied {id} belongs to the Customer {owner}. Please include the \
                     Customer in the `customer` parameter on the PaymentIntent."
                ),
                "source",
            ),
            (None, _) if method.is_used_up => refused(
                None,
                "The provided PaymentMethod was previously used with a PaymentIntent without Customer attachment. It \
                 may not be used again."
                    .into(),
                "payment_method",
            ),
            _ => Ok(id),
        }
    }

    /// A new object of a test method, if it is one.
    fn of_token(&mut self, token: &str) -> Option<String> {
        Behaviour::of(token)?;
        let id = self.new_id("pm");
        let method = PaymentMethod { id: id.clone(), token: token.into(), customer: None, is_used_up: false };
        self.methods.insert(id.clone(), method);
        Some(id)
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
        self.customers.get(id).map(Customer::json).ok_or_else(|| Refusal::missing("customer", id, "id"))
    }

    pub(super) fn retrieve_method(&self, id: &str, form: Form) -> Outcome {
        form.finish()?;
        self.methods
            .get(id)
            .map(PaymentMethod::json)
            .ok_or_else(|| Refusal::missing("PaymentMethod", id, "payment_method"))
    }

    pub(super) fn attach_method(&mut self, named: &str, mut form: Form) -> Outcome {
        let customer = form.take("customer");
        form.finish()?;
        let none = || Refusal::invalid("parameter_missing", "Must provide customer or customer_account.");
        let customer = customer.ok_or_else(none)?;
        if !self.customers.contains_key(&customer) {
            return Err(Refusal::unknown("customer", &customer, "customer"));
        }
        let unknown = || Refusal::missing("PaymentMethod", named, "payment_method");
        let id = match self.methods.get(named) {
            Some(method) => method.id.clone(),
            None => self.of_token(named).ok_or_else(unknown)?,
        };
        self.changed(&id);
        let method = self.methods.get_mut(&id).ok_or_else(unknown)?;
        method.check_attachable(&customer)?;
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
    /// Stripe verifies a card before it attaches it.
    fn check_attachable(&self, customer: &str) -> Result<(), Refusal> {
        match (&self.customer, Behaviour::of(&self.token)) {
            (Some(owner), _) if owner == customer => Ok(()),
            (Some(_), _) => {
                let message = "The payment method you provided has already been attached to a customer.";
                Err(Refusal::state(None, message).about("payment_method"))
            }
            (None, _) if self.is_used_up => {
                let message = "This PaymentMethod was previously used without being attached to a Customer or was \
                               detached from a Customer, and may not be used again.";
                Err(Refusal::state(None, message))
            }
            (None, Some(Behaviour::Declines(code))) if self.token != "pm_card_chargeCustomerFail" => {
                Err(declined(code))
            }
            (None, _) => Ok(()),
        }
    }

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
