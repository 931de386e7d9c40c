//! PaymentIntents and their charges.
//!
//! <https://docs.stripe.com/api/payment_intents>, <https://docs.stripe.com/payments/paymentintents/lifecycle>

use super::account::{Account, Outcome};
use super::customers::{Behaviour, declined};
use super::form::Form;
use super::refusal::Refusal;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The least amount of a charge in US dollars, in cents.
const LEAST_AMOUNT: u64 = 50;
/// The code of a call that does not fit an intent's status.
const UNEXPECTED: &str = "payment_intent_unexpected_state";
/// Why a client may cancel an intent.
const REASONS: [&str; 4] = ["duplicate", "fraudulent", "requested_by_customer", "abandoned"];
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
    cancellation_reason: Option<String>,
    /// How often a client asked to confirm it.
    pub calls: u32,
    /// How many of its refunds were refused.
    pub refused_refunds: u32,
}

impl Account {
    pub(super) fn create_intent(&mut self, mut form: Form, is_lost: &mut bool) -> Outcome {
        let amount = form.amount("amount")?.ok_or_else(|| missing("amount"))?;
        let currency = form.require("currency")?;
        let (customer, named) = (form.take("customer"), form.take("payment_method"));
        let (types, metadata) = (form.list("payment_method_types"), form.map("metadata"));
        let (confirm, off_session) = (form.flag("confirm")?, form.flag("off_session")?);
        let no_action = form.flag("error_on_requires_action")?;
        form.finish()?;
        check_amount(amount)?;
        check_currency(&currency)?;
        if !confirm && (no_action || off_session) {
            let name = if no_action { "error_on_requires_action" } else { "off_session" };
            let message = format!("You can only pass `{name}` when `confirm` is `true`.");
            return Err(Refusal::invalid(None, message).about(name));
        }
        if let Some(id) = customer.as_ref().filter(|id| !self.customers.contains_key(*id)) {
            return Err(Refusal::unknown("customer", id, "customer"));
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
            cancellation_reason: None,
            calls: u32::from(confirm),
            refused_refunds: 0,
        };
        self.intents.insert(id.clone(), intent);
        if confirm { self.charge(&id, no_action, is_lost) } else { self.shown(&id, false) }
    }

    pub(super) fn confirm_intent(&mut self, id: &str, mut form: Form, is_lost: &mut bool) -> Outcome {
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
        if no_action && self.intent(id)?.payment_method_types.is_empty() {
            let message = "You cannot use `error_on_requires_action` without `payment_method_types`.";
            return Err(Refusal::invalid(None, message).about("error_on_requires_action"));
        }
        let behaviour = self.behaviour(id)?;
        let is_first = self.intent(id)?.calls <= 1;
        match behaviour {
            Behaviour::Fails => Err(Refusal::failed()),
            Behaviour::NeverAnswers => {
                *is_lost = true;
                Err(Refusal::failed().forgotten())
            }
            Behaviour::Declines(code) => self.decline(id, declined(code)),
            Behaviour::DeclinesOnce if self.is_only_try(id) => self.decline(id, declined("generic_decline")),
            Behaviour::RequiresAction if no_action => {
                let message = "This payment required an authentication action to complete, but \
                               `error_on_requires_action` was set.";
                self.refuse(
                    id,
                    Refusal::card("authentication_required", "authentication_not_handled", message),
                )
            }
            Behaviour::RequiresAction => {
                self.intent(id)?.status = Status::RequiresAction;
                self.shown(id, false)
            }
            Behaviour::Succeeds | Behaviour::LosesItsAnswer | Behaviour::DeclinesOnce => {
                *is_lost = behaviour == Behaviour::LosesItsAnswer && is_first;
                self.capture(id)
            }
        }
    }

    /// Whether no other intent of the same order was ever charged.
    fn is_only_try(&self, id: &str) -> bool {
        let order = self.intents.get(id).and_then(|intent| intent.metadata.get("order_id"));
        let same = |other: &&Intent| other.id != id && other.metadata.get("order_id") == order;
        self.intents.values().filter(same).all(|other| other.charges.is_empty())
    }

    /// A bank declines: there is a charge, and it has failed.
    fn decline(&mut self, id: &str, refusal: Refusal) -> Outcome {
        let charge = self.new_id("ch");
        let intent = self.intent(id)?;
        intent.charges.push(Charge { id: charge.clone(), amount: intent.amount, succeeded: false });
        self.refuse(id, refusal.charged(&charge))
    }

    /// The intent needs another payment method.
    fn refuse(&mut self, id: &str, refusal: Refusal) -> Outcome {
        let intent = self.intent(id)?;
        intent.status = Status::RequiresPaymentMethod;
        intent.payment_method = None;
        intent.last_error = Some(refusal.error().to_string());
        let shown = self.shown(id, false)?;
        Err(refusal.showing(shown))
    }

    fn behaviour(&mut self, id: &str) -> Result<Behaviour, Refusal> {
        let shown = self.shown(id, false)?;
        let named = self.intent(id)?.payment_method.clone().unwrap_or_default();
        self.changed(&named);
        let method = self.methods.get_mut(&named);
        let missing = || {
            let message = "You cannot confirm this PaymentIntent because it's missing a payment method.";
            Refusal::state(UNEXPECTED, message).showing(shown.clone())
        };
        let method = method.ok_or_else(missing)?;
        let is_free = method.customer.is_none();
        if is_free && method.is_used_up {
            let message = "The provided PaymentMethod was previously used. It may not be used again.";
            return Err(Refusal::state(None, message).about("payment_method").showing(shown.clone()));
        }
        let behaviour = method.behaviour().ok_or_else(missing)?;
        method.is_used_up = is_free && matches!(behaviour, Behaviour::Succeeds | Behaviour::LosesItsAnswer);
        Ok(behaviour)
    }

    fn capture(&mut self, id: &str) -> Outcome {
        let charge = self.new_id("ch");
        let intent = self.intent(id)?;
        intent.charges.push(Charge { id: charge, amount: intent.amount, succeeded: true });
        intent.status = Status::Succeeded;
        intent.last_error = None;
        self.shown(id, false)
    }

    pub(super) fn cancel_intent(&mut self, id: &str, mut form: Form) -> Outcome {
        let reason = form.take("cancellation_reason");
        form.finish()?;
        if let Some(reason) = reason.as_deref().filter(|reason| !REASONS.contains(reason)) {
            let message = format!("Invalid cancellation_reason: {reason}");
            return Err(Refusal::invalid(None, message).about("cancellation_reason"));
        }
        let shown = self.shown(id, false)?;
        let intent = self.intent(id)?;
        if matches!(intent.status, Status::Succeeded | Status::Canceled) {
            return Err(unexpected(intent.status, "cancel").showing(shown));
        }
        intent.status = Status::Canceled;
        intent.cancellation_reason = reason;
        self.shown(id, false)
    }

    pub(super) fn retrieve_intent(&self, id: &str, mut form: Form) -> Outcome {
        let expand = form.list("expand").iter().any(|what| what == "latest_charge");
        form.finish()?;
        self.shown(id, expand)
    }

    /// A charge and its intent.
    pub(super) fn charge_of(&self, id: &str) -> Option<(&Intent, &Charge)> {
        let is_meant = |charge: &&Charge| charge.id == id;
        let found = |intent| Some((intent, Intent::charges(intent).find(is_meant)?));
        self.intents.values().find_map(found)
    }

    fn intent(&mut self, id: &str) -> Result<&mut Intent, Refusal> {
        self.changed(id);
        self.intents.get_mut(id).ok_or_else(|| Refusal::missing("payment_intent", id, "intent"))
    }

    /// An intent as Stripe shows it.
    fn shown(&self, id: &str, expand: bool) -> Outcome {
        let intent = self.intents.get(id).ok_or_else(|| Refusal::missing("payment_intent", id, "intent"))?;
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
            "cancellation_reason": intent.cancellation_reason,
            "capture_method": "automatic_async",
            "client_secret": format!("{}_secret_simulated", intent.id),
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
    fn charges(&self) -> impl Iterator<Item = &Charge> {
        self.charges.iter()
    }

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
    let refused = |code: &'static str, message: &str| Err(Refusal::invalid(code, message).about("amount"));
    match amount {
        0 => refused("parameter_invalid_integer", "This value must be greater than or equal to 1."),
        1..LEAST_AMOUNT => refused("amount_too_small", "Amount must be at least $0.50 usd"),
        LEAST_AMOUNT..=MOST_AMOUNT => Ok(()),
        _ => refused("amount_too_large", "Amount must be no more than $999,999.99"),
    }
}

fn check_currency(currency: &str) -> Result<(), Refusal> {
    if currency.len() == 3 && currency.bytes().all(|letter| letter.is_ascii_lowercase()) {
        return Ok(());
    }
    Err(Refusal::invalid(None, format!("Invalid currency: {currency}.")).about("currency"))
}

fn unexpected(status: Status, what: &str) -> Refusal {
    let status = json!(status);
    let status = status.as_str().unwrap_or_default();
    Refusal::state(
        UNEXPECTED,
        format!("You cannot {what} this PaymentIntent because it has a status of {status}."),
    )
}
