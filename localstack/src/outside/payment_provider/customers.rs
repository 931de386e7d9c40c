//! Customers and their payment methods.
//!
//! <https://docs.stripe.com/api/customers>, <https://docs.stripe.com/api/payment_methods>

use super::form::Form;
use super::methods::Behaviour;
use super::objects::{Customer, PaymentMethod};
use super::refusal::Refusal;
use super::state::{Account, Outcome};

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
