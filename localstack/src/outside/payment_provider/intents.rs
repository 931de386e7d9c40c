//! PaymentIntents: how they are created, confirmed, cancelled and retrieved.
//!
//! <https://docs.stripe.com/api/payment_intents>, <https://docs.stripe.com/payments/paymentintents/lifecycle>

use super::charges::Confirmation;
use super::currencies;
use super::form::Form;
use super::objects::{Intent, Kinds, Status};
use super::refusal::Refusal;
use super::state::{Account, Outcome};
use serde_json::json;
use std::collections::BTreeMap;

/// Why a client may cancel an intent.
const REASONS: [&str; 4] = ["duplicate", "fraudulent", "requested_by_customer", "abandoned"];

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
}

fn unexpected(status: Status, what: &str, allowed: &str) -> Refusal {
    let status = json!(status);
    let (status, done) = (status.as_str().unwrap_or_default(), past(what));
    let message = format!(
        "You cannot {what} this PaymentIntent because it has a status of {status}. Only a PaymentIntent with one of the \
         following statuses may be {done}: {allowed}."
    );
    Refusal::unexpected(message)
}

fn past(what: &str) -> &str {
    if what == "cancel" { "canceled" } else { "confirmed" }
}

fn already_confirmed() -> Refusal {
    let message = "You cannot confirm this PaymentIntent because it has already succeeded after being previously \
                   confirmed.";
    Refusal::unexpected(message)
}

/// The refusal of another payment method for an intent that is cancelled.
fn final_method() -> Refusal {
    let message = "This PaymentIntent's payment_method could not be updated because it has a status of canceled. You may \
                   only update the payment_method of a PaymentIntent with one of the following statuses: \
                   requires_payment_method, requires_confirmation, requires_action.";
    Refusal::unexpected(message)
}
