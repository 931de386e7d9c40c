//! Customers and their payment methods.
//!
//! <https://docs.stripe.com/api/customers>, <https://docs.stripe.com/api/payment_methods>

use super::account::{Account, Outcome};
use super::form::Form;
use super::methods::Behaviour;
use super::refusal::Refusal;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

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

impl Account {
    /// The object that the parameter `payment_method` names: a kept one, or a new one of a test method.
    ///
    /// # Errors
    /// A method that does not exist, belongs to another customer, or is used up.
    pub(super) fn method(&mut self, named: &str, customer: Option<&str>) -> Result<String, Refusal> {
        if let Some(method) = self.methods.get(named) {
            return method.check_usable(customer).map(|()| method.id.clone());
        }
        self.of_token(named).ok_or_else(|| Refusal::unknown("PaymentMethod", named, "payment_method"))
    }

    /// A new object of a test method, if it is one.
    fn of_token(&mut self, token: &str) -> Option<String> {
        Behaviour::of(token)?;
        let id = self.new_id("pm");
        let method = PaymentMethod { id: id.clone(), token: token.into(), customer: None, is_used_up: false };
        self.methods.insert(id.clone(), method);
        Some(id)
    }

    /// # Errors
    /// The refusal of a customer that does not exist, in a parameter.
    pub(super) fn known_customer(&self, id: &str) -> Result<(), Refusal> {
        let known = self.customers.contains_key(id);
        if known { Ok(()) } else { Err(Refusal::unknown("customer", id, "customer")) }
    }

    pub(super) fn create_customer(&mut self, mut form: Form) -> Outcome {
        let (email, name, metadata) = (form.text("email")?, form.text("name")?, form.map("metadata"));
        form.finish()?;
        let customer = Customer { id: self.new_id("cus"), email, name, metadata };
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
        let missing = || Refusal::missing("PaymentMethod", id, "payment_method");
        self.methods.get(id).map(PaymentMethod::json).ok_or_else(missing)
    }

    pub(super) fn attach_method(&mut self, named: &str, mut form: Form) -> Outcome {
        let customer = form.text("customer")?;
        form.finish()?;
        let none = || Refusal::invalid("parameter_missing", "Must provide customer or customer_account.");
        let customer = customer.ok_or_else(none)?;
        self.known_customer(&customer)?;
        if let Some(declined) = self.verified(named) {
            return Err(declined);
        }
        let missing = || Refusal::missing("PaymentMethod", named, "payment_method");
        let id = if self.methods.contains_key(named) { Some(named.to_owned()) } else { self.of_token(named) };
        let id = id.ok_or_else(missing)?;
        self.changed(&id);
        let method = self.methods.get_mut(&id).ok_or_else(missing)?;
        method.check_attachable(&customer)?;
        method.customer = Some(customer);
        Ok(method.json())
    }

    /// Stripe verifies a card before it attaches it: the refusal of one that the bank declines.
    fn verified(&self, named: &str) -> Option<Refusal> {
        let method = self.methods.get(named);
        let is_new = method.is_none_or(|method| method.customer.is_none() && !method.is_used_up);
        let token = method.map_or(named, |method| &method.token);
        Behaviour::verified(token).filter(|_| is_new)
    }
}

impl Customer {
    fn json(&self) -> Value {
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

    fn check_attachable(&self, customer: &str) -> Result<(), Refusal> {
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

    fn json(&self) -> Value {
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
