//! PaymentIntents and their charges.
//!
//! <https://docs.stripe.com/api/payment_intents>, <https://docs.stripe.com/payments/paymentintents/lifecycle>

use super::account::{Account, Outcome};
use super::customers::Behaviour;
use super::form::Form;
use super::refusal::Refusal;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The least amount of a charge in US dollars, in cents.
const LEAST_AMOUNT: u64 = 50;
/// The most: eight digits.
const MOST_AMOUNT: u64 = 99_999_999;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    RequiresPaymentMethod,
    RequiresConfirmation,
    RequiresAction,
    Succeeded,
    Canceled,
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
pub struct Intent {
    pub id: String,
    /// Minor units.
    pub amount: u64,
    /// In lower case, as Stripe writes it.
    pub currency: String,
    pub status: Status,
    pub customer: Option<String>,
    pub payment_method: Option<String>,
    pub payment_method_types: Vec<String>,
    pub metadata: BTreeMap<String, String>,
    /// Oldest first.
    pub charges: Vec<Charge>,
    /// JSON.
    last_error: Option<String>,
    /// How often a client asked to confirm it.
    pub calls: u32,
    /// How many of its refunds were refused.
    pub refused_refunds: u32,
}

impl Account {
    pub(super) fn create_intent(&mut self, mut form: Form, now: i64, is_lost: &mut bool) -> Outcome {
        let amount = form.amount("amount")?.ok_or_else(|| missing("amount"))?;
        let currency = form.require("currency")?;
        let (customer, named) = (form.take("customer"), form.take("payment_method"));
        let (types, metadata) = (form.list("payment_method_types"), form.map("metadata"));
        let (confirm, off_session) = (form.flag("confirm")?, form.flag("off_session")?);
        let no_action = form.flag("error_on_requires_action")?;
        form.finish()?;
        check_amount(amount)?;
        let _ = (off_session, now);
        if let Some(id) = customer.as_ref().filter(|id| !self.customers.contains_key(*id)) {
            return Err(Refusal::missing("customer", id).about("customer"));
        }
        let method = named.map(|named| self.method(&named, customer.as_deref())).transpose()?;
        let id = self.new_id("pi");
        let intent = Intent {
            id: id.clone(),
            amount,
            currency,
            status: if method.is_some() {
                Status::RequiresConfirmation
            } else {
                Status::RequiresPaymentMethod
            },
            customer,
            payment_method: method,
            payment_method_types: types,
            metadata,
            charges: Vec::new(),
            last_error: None,
            calls: u32::from(confirm),
            refused_refunds: 0,
        };
        self.intents.insert(id.clone(), intent);
        if confirm { self.charge(&id, no_action, is_lost) } else { self.shown(&id, false) }
    }

    pub(super) fn confirm_intent(
        &mut self,
        id: &str,
        mut form: Form,
        _now: i64,
        is_lost: &mut bool,
    ) -> Outcome {
        let (no_action, _) = (form.flag("error_on_requires_action")?, form.flag("off_session")?);
        let named = form.take("payment_method");
        form.finish()?;
        let customer = self.intent(id)?.customer.clone();
        let method = named.map(|named| self.method(&named, customer.as_deref())).transpose()?;
        let shown = self.shown(id, false)?;
        let intent = self.intent(id)?;
        if matches!(intent.status, Status::Succeeded | Status::Canceled) {
            return Err(unexpected(intent.status, "confirm").showing(shown));
        }
        if method.is_some() {
            intent.payment_method = method;
        }
        self.charge(id, no_action, is_lost)
    }

    /// Charges an intent's payment method.
    fn charge(&mut self, id: &str, no_action: bool, is_lost: &mut bool) -> Outcome {
        let behaviour = self.behaviour(id)?;
        let charge_id = self.new_id("ch");
        let intent = self.intent(id)?;
        let again = intent.calls > 1;
        let refusal = match behaviour {
            Behaviour::Fails => return Err(Refusal::failed()),
            Behaviour::NeverAnswers => {
                *is_lost = true;
                return Err(Refusal::failed().forgotten());
            }
            Behaviour::Declines(code) => declined(code),
            Behaviour::DeclinesOnce if !again => declined("generic_decline"),
            Behaviour::RequiresAction if no_action => {
                let message = "This payment requires additional user action before it can be completed.";
                Refusal::card("authentication_required", Some("authentication_required"), message)
            }
            Behaviour::RequiresAction => {
                intent.status = Status::RequiresAction;
                return self.shown(id, false);
            }
            Behaviour::Succeeds | Behaviour::LosesItsAnswer | Behaviour::DeclinesOnce => {
                *is_lost = behaviour == Behaviour::LosesItsAnswer && !again;
                return self.capture(id, charge_id);
            }
        };
        intent.charges.push(Charge { id: charge_id, amount: intent.amount, succeeded: false });
        intent.status = Status::RequiresPaymentMethod;
        intent.payment_method = None;
        intent.last_error = Some(refusal.error().to_string());
        let shown = self.shown(id, false)?;
        Err(refusal.showing(shown))
    }

    fn behaviour(&mut self, id: &str) -> Result<Behaviour, Refusal> {
        let method = self.intent(id)?.payment_method.clone();
        let method = method.ok_or_else(|| {
            let message = "You cannot confirm this PaymentIntent because it's missing a payment method.";
            Refusal::state("payment_intent_unexpected_state", message)
        })?;
        let method =
            self.methods.get_mut(&method).ok_or_else(|| Refusal::missing("PaymentMethod", &method))?;
        method.is_used_up = method.customer.is_none();
        method.behaviour().ok_or_else(|| Refusal::missing("PaymentMethod", &method.id))
    }

    fn capture(&mut self, id: &str, charge_id: String) -> Outcome {
        let intent = self.intent(id)?;
        intent.charges.push(Charge { id: charge_id, amount: intent.amount, succeeded: true });
        intent.status = Status::Succeeded;
        intent.last_error = None;
        self.shown(id, false)
    }

    pub(super) fn cancel_intent(&mut self, id: &str, mut form: Form) -> Outcome {
        form.take("cancellation_reason");
        form.finish()?;
        let shown = self.shown(id, false)?;
        let intent = self.intent(id)?;
        if matches!(intent.status, Status::Succeeded | Status::Canceled) {
            return Err(unexpected(intent.status, "cancel").showing(shown));
        }
        intent.status = Status::Canceled;
        self.shown(id, false)
    }

    pub(super) fn retrieve_intent(&self, id: &str, mut form: Form) -> Outcome {
        let expand = form.list("expand").iter().any(|what| what == "latest_charge");
        form.finish()?;
        self.shown(id, expand)
    }

    /// Every intent of the order that the query names, with its charge.
    pub(super) fn search(&self, mut form: Form) -> Outcome {
        let query = form.require("query")?;
        let order_id = query.split('\'').nth(3).unwrap_or_default();
        let is_of = |intent: &&Intent| intent.metadata.get("order_id").is_some_and(|id| id == order_id);
        let found = self.intents.values().filter(is_of).map(|intent| self.shown(&intent.id, true));
        Ok(json!({"object": "search_result", "data": found.collect::<Result<Vec<_>, _>>()?}))
    }

    pub(super) fn retrieve_charge(&self, id: &str, form: Form) -> Outcome {
        form.finish()?;
        let (intent, charge) = self.charge_of(id).ok_or_else(|| Refusal::missing("charge", id))?;
        Ok(self.charge_json(intent, charge))
    }

    /// A charge and its intent.
    pub(super) fn charge_of(&self, id: &str) -> Option<(&Intent, &Charge)> {
        let charges = self.intents.values().flat_map(|intent| {
            let of_intent = move |charge| (intent, charge);
            intent.charges.iter().map(of_intent)
        });
        charges.into_iter().find(|(_, charge)| charge.id == id)
    }

    fn intent(&mut self, id: &str) -> Result<&mut Intent, Refusal> {
        self.intents.get_mut(id).ok_or_else(|| Refusal::missing("payment_intent", id))
    }

    /// An intent as Stripe shows it.
    fn shown(&self, id: &str, expand: bool) -> Outcome {
        let intent = self.intents.get(id).ok_or_else(|| Refusal::missing("payment_intent", id))?;
        let charge = intent.charges.last();
        let latest = match charge {
            Some(charge) if expand => self.charge_json(intent, charge),
            Some(charge) => charge.id.as_str().into(),
            None => Value::Null,
        };
        let error = intent.last_error.as_deref().and_then(|text| serde_json::from_str(text).ok());
        Ok(json!({
            "id": intent.id,
            "object": "payment_intent",
            "amount": intent.amount,
            "amount_received": intent.captured(),
            "currency": intent.currency,
            "customer": intent.customer,
            "last_payment_error": error.unwrap_or(Value::Null),
            "latest_charge": latest,
            "livemode": false,
            "metadata": intent.metadata,
            "payment_method": intent.payment_method,
            "payment_method_types": intent.payment_method_types,
            "status": intent.status,
        }))
    }

    fn charge_json(&self, intent: &Intent, charge: &Charge) -> Value {
        let (captured, refunded) =
            if charge.succeeded { (charge.amount, self.refunded(intent)) } else { (0, 0) };
        json!({
            "id": charge.id,
            "object": "charge",
            "amount": charge.amount,
            "amount_captured": captured,
            "amount_refunded": refunded,
            "captured": charge.succeeded,
            "currency": intent.currency,
            "paid": charge.succeeded,
            "payment_intent": intent.id,
            "refunded": captured > 0 && refunded == captured,
            "status": if charge.succeeded { "succeeded" } else { "failed" },
        })
    }
}

impl Intent {
    /// What was captured, in minor units.
    #[must_use]
    pub fn captured(&self) -> u64 {
        self.charges.iter().filter(|charge| charge.succeeded).map(|charge| charge.amount).sum()
    }
}

fn missing(name: &str) -> Refusal {
    Refusal::invalid("parameter_missing", format!("Missing required param: {name}.")).about(name)
}

fn check_amount(amount: u64) -> Result<(), Refusal> {
    let refused = |code: &str, message: &str| Err(Refusal::invalid(code, message).about("amount"));
    match amount {
        0..LEAST_AMOUNT => refused("amount_too_small", "Amount must be at least $0.50 usd"),
        LEAST_AMOUNT..=MOST_AMOUNT => Ok(()),
        _ => refused("amount_too_large", "Amount must be no more than $999,999.99"),
    }
}

fn declined(code: &str) -> Refusal {
    Refusal::card("card_declined", Some(code), "Your card was declined.")
}

fn unexpected(status: Status, what: &str) -> Refusal {
    let message =
        format!("You cannot {what} this PaymentIntent because it has a status of {}.", json!(status));
    Refusal::state("payment_intent_unexpected_state", message)
}
