//! PaymentIntents: what they are, and how they are created, confirmed, cancelled and shown.
//!
//! <https://docs.stripe.com/api/payment_intents>, <https://docs.stripe.com/payments/paymentintents/lifecycle>

use super::account::{Account, Outcome};
use super::charges::{Charge, Confirmation};
use super::form::Form;
use super::refusal::Refusal;
use super::{currencies, customers::PaymentMethod};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The code of a call that does not fit an intent's status.
pub(super) const UNEXPECTED: &str = "payment_intent_unexpected_state";
/// Why a client may cancel an intent.
const REASONS: [&str; 4] = ["duplicate", "fraudulent", "requested_by_customer", "abandoned"];

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
    cancellation_reason: Option<String>,
    /// Epoch seconds.
    canceled_at: Option<i64>,
    /// Where a customer comes back to who has authenticated.
    pub(super) return_url: Option<String>,
    /// How often a client asked to confirm it.
    pub calls: u32,
    /// How many of its refunds were refused.
    pub refused_refunds: u32,
}

/// The parameters of a new intent.
struct Asked {
    amount: u64,
    currency: String,
    customer: Option<String>,
    payment_method: Option<String>,
    kinds: Kinds,
    metadata: BTreeMap<String, String>,
    confirmation: Option<Confirmation>,
}

impl Asked {
    fn read(mut form: Form) -> Result<Self, Refusal> {
        let amount = form.integer("amount")?.ok_or_else(|| Refusal::left_out("amount"))?;
        let currency = form.required("currency")?;
        let (customer, payment_method) = (form.text("customer")?, form.text("payment_method")?);
        let (kinds, metadata) = (Kinds::read(&mut form)?, form.map("metadata"));
        let confirm = form.flag("confirm")?.unwrap_or(false);
        let confirmation = Confirmation::read(&mut form)?;
        form.finish()?;
        currencies::check(&currency)?;
        let amount = currencies::charged(amount, &currency)?;
        if let Some(name) = confirmation.first_named().filter(|_| !confirm) {
            let message = format!("You can only pass `{name}` when `confirm` is `true`.");
            return Err(Refusal::invalid(None, message).about(name));
        }
        let confirmation = confirm.then_some(confirmation);
        confirmation.iter().try_for_each(|confirmation| confirmation.check(&kinds))?;
        Ok(Self { amount, currency, customer, payment_method, kinds, metadata, confirmation })
    }

    /// The intent, unconfirmed.
    fn intent(self, id: String) -> Intent {
        let is_ready = self.payment_method.is_some();
        Intent {
            id,
            amount: self.amount,
            currency: self.currency,
            status: if is_ready { Status::RequiresConfirmation } else { Status::RequiresPaymentMethod },
            customer: self.customer,
            payment_method: self.payment_method,
            kinds: self.kinds,
            metadata: self.metadata,
            charges: Vec::new(),
            last_error: None,
            cancellation_reason: None,
            canceled_at: None,
            return_url: None,
            calls: u32::from(self.confirmation.is_some()),
            refused_refunds: 0,
        }
    }
}

impl Kinds {
    fn read(form: &mut Form) -> Result<Self, Refusal> {
        let listed = form.list("payment_method_types");
        let automatic = form.flag("automatic_payment_methods[enabled]")?;
        let redirects = form.choice("automatic_payment_methods[allow_redirects]", &["always", "never"])?;
        let types = "payment_method_types";
        if !listed.is_empty() && automatic == Some(true) {
            let message = "You may only specify one of these parameters: automatic_payment_methods, payment_method_types.";
            return Err(Refusal::invalid(None, message).about(types));
        }
        if let Some(other) = listed.iter().find(|kind| *kind != "card") {
            let message = format!("The payment method type provided: {other} is invalid.");
            return Err(Refusal::invalid(None, message).about(types));
        }
        let with_redirects = redirects.as_deref() != Some("never");
        Ok(if listed.is_empty() { Self::Dashboard { with_redirects } } else { Self::Listed(listed) })
    }
}

impl Account {
    pub(super) fn create_intent(&mut self, form: Form, is_lost: &mut bool) -> Outcome {
        let mut asked = Asked::read(form)?;
        asked.customer.iter().try_for_each(|id| self.known_customer(id))?;
        let named = asked.payment_method.take();
        asked.payment_method =
            named.map(|named| self.method(&named, asked.customer.as_deref())).transpose()?;
        let (id, confirmation) = (self.new_id("pi"), asked.confirmation.clone());
        self.intents.insert(id.clone(), asked.intent(id.clone()));
        match confirmation {
            Some(confirmation) => self.charge(&id, &confirmation, is_lost),
            None => self.shown(&id, false),
        }
    }

    pub(super) fn confirm_intent(&mut self, id: &str, mut form: Form, is_lost: &mut bool) -> Outcome {
        let (confirmation, named) = (Confirmation::read(&mut form)?, form.text("payment_method")?);
        form.finish()?;
        let shown = self.shown(id, false)?;
        let prepared = self.prepare(id, &confirmation, named.as_deref());
        prepared.map_err(|refusal| refusal.showing(shown))?;
        self.charge(id, &confirmation, is_lost)
    }

    /// Checks that an intent can be confirmed so, and gives it the payment method that the call names.
    fn prepare(&mut self, id: &str, confirmation: &Confirmation, named: Option<&str>) -> Result<(), Refusal> {
        let intent = self.intent(id)?;
        match intent.status {
            Status::Succeeded => return Err(already_confirmed()),
            Status::Canceled if named.is_some() => return Err(final_method()),
            Status::Canceled => {
                return Err(unexpected(intent.status, "confirm", "requires_confirmation, requires_action"));
            }
            _ => {}
        }
        confirmation.check(&intent.kinds)?;
        let Some(named) = named else { return Ok(()) };
        let customer = intent.customer.clone();
        let method = self.method(named, customer.as_deref())?;
        self.intent(id)?.payment_method = Some(method);
        Ok(())
    }

    pub(super) fn cancel_intent(&mut self, id: &str, mut form: Form, now: i64) -> Outcome {
        let reason = form.choice("cancellation_reason", &REASONS)?;
        form.finish()?;
        let shown = self.shown(id, false)?;
        let intent = self.intent(id)?;
        if matches!(intent.status, Status::Succeeded | Status::Canceled) {
            let cancellable = "requires_payment_method, requires_capture, requires_reauthorization, \
                               requires_confirmation, requires_action, expired, processing";
            return Err(unexpected(intent.status, "cancel", cancellable).showing(shown));
        }
        intent.status = Status::Canceled;
        intent.cancellation_reason = reason;
        intent.canceled_at = Some(now);
        self.shown(id, false)
    }

    pub(super) fn retrieve_intent(&self, id: &str, mut form: Form) -> Outcome {
        let expand = form.list("expand");
        form.finish()?;
        if let Some(other) = expand.iter().find(|what| *what != "latest_charge") {
            let message = format!("This property cannot be expanded ({other}).");
            return Err(Refusal::invalid(None, message).about("expand"));
        }
        self.shown(id, !expand.is_empty())
    }

    pub(super) fn intent(&mut self, id: &str) -> Result<&mut Intent, Refusal> {
        self.changed(id);
        self.intents.get_mut(id).ok_or_else(|| Refusal::missing("payment_intent", id, "intent"))
    }

    /// An intent as Stripe shows it.
    pub(super) fn shown(&self, id: &str, expand: bool) -> Outcome {
        let intent = self.intents.get(id).ok_or_else(|| Refusal::missing("payment_intent", id, "intent"))?;
        let latest = match intent.charges.last() {
            Some(charge) if expand => self.charge_json(intent, charge),
            Some(charge) => charge.id.as_str().into(),
            None => Value::Null,
        };
        Ok(intent.json(&latest))
    }

    /// The method that an intent is about to be charged to.
    pub(super) fn method_of(&mut self, id: &str) -> Option<&mut PaymentMethod> {
        let named = self.intents.get(id)?.payment_method.clone()?;
        self.changed(&named);
        self.methods.get_mut(&named)
    }
}

impl Intent {
    /// What was captured, in minor units.
    #[must_use]
    pub fn captured(&self) -> u64 {
        self.charges.iter().filter(|charge| charge.succeeded).map(|charge| charge.amount).sum()
    }

    fn json(&self, latest_charge: &Value) -> Value {
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

fn unexpected(status: Status, what: &str, allowed: &str) -> Refusal {
    let status = json!(status);
    let (status, done) = (status.as_str().unwrap_or_default(), past(what));
    let message = format!(
        "You cannot {what} this PaymentIntent because it has a status of {status}. Only a PaymentIntent with one of the \
         following statuses may be {done}: {allowed}."
    );
    Refusal::state(UNEXPECTED, message)
}

fn past(what: &str) -> &str {
    if what == "cancel" { "canceled" } else { "confirmed" }
}

fn already_confirmed() -> Refusal {
    let message = "You cannot confirm this PaymentIntent because it has already succeeded after being previously \
                   confirmed.";
    Refusal::state(UNEXPECTED, message)
}

/// The refusal of another payment method for an intent that is cancelled.
fn final_method() -> Refusal {
    let message = "This PaymentIntent's payment_method could not be updated because it has a status of canceled. You may \
                   only update the payment_method of a PaymentIntent with one of the following statuses: \
                   requires_payment_method, requires_confirmation, requires_action.";
    Refusal::state(UNEXPECTED, message)
}
