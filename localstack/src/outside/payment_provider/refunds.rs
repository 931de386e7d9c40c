//! Refunds.
//!
//! <https://docs.stripe.com/api/refunds>, <https://docs.stripe.com/refunds>

use super::currencies::written;
use super::form::Form;
use super::methods;
use super::objects::{Intent, Refund};
use super::refusal::Refusal;
use super::state::{Account, Outcome};
use serde_json::{Value, json};

/// The most refunds of one page.
const MAX_PAGE: i64 = 100;
/// Why a client may give money back.
const REASONS: [&str; 3] = ["duplicate", "fraudulent", "requested_by_customer"];

impl Account {
    pub(super) fn create_refund(&mut self, mut form: Form, now: i64) -> Outcome {
        let (charge, intent) = (form.text("charge")?, form.text("payment_intent")?);
        let (amount, metadata) = (form.integer("amount")?, form.map("metadata"));
        let reason = form.choice("reason", &REASONS)?;
        form.finish()?;
        let amount = amount.map(|amount| u64::try_from(amount).unwrap_or(0));
        if amount == Some(0) {
            return Err(Refusal::too_little("amount"));
        }
        let (intent, charge) = self.refundable(charge, intent)?;
        let (rest, currency) =
            (intent.captured().saturating_sub(self.refunded(intent)), intent.currency.clone());
        let method = intent.payment_method.as_ref().and_then(|id| self.methods.get(id));
        let token = method.map(|method| method.token.clone()).unwrap_or_default();
        let intent = intent.id.clone();
        let amount = refunded_of(rest, amount, &charge, &currency)?;
        self.refuse_refund(&intent, &token)?;
        let (id, end) = (self.new_id("re"), methods::refund_end(&token));
        let refund = Refund {
            id: id.clone(),
            intent,
            charge,
            amount,
            currency,
            reason,
            metadata,
            created: now,
            end,
            is_settled: false,
        };
        let shown = refund.json();
        self.refunds.insert(id, refund);
        Ok(shown)
    }

    /// The refusals of a test method that refuses some refunds before it makes one.
    fn refuse_refund(&mut self, intent: &str, token: &str) -> Result<(), Refusal> {
        let intent = self.intent(intent)?;
        if intent.refused_refunds >= methods::refused_refunds(token) {
            return Ok(());
        }
        intent.refused_refunds = intent.refused_refunds.saturating_add(1);
        let code = "refund_not_allowed";
        Err(Refusal::card(code, code, "The issuer does not take it back."))
    }

    /// The intent and the charge that a refund is about.
    fn refundable(
        &self,
        charge: Option<String>,
        intent: Option<String>,
    ) -> Result<(&Intent, String), Refusal> {
        let charged = |intent: &Intent| intent.charges.iter().find(|charge| charge.succeeded).cloned();
        match (charge, intent) {
            (Some(id), None) => {
                let found = self.charge_of(&id).filter(|(_, charge)| charge.succeeded);
                let (intent, charge) = found.ok_or_else(|| Refusal::missing("charge", &id, "id"))?;
                Ok((intent, charge.id.clone()))
            }
            (None, Some(id)) => {
                let intent = self
                    .intents
                    .get(&id)
                    .ok_or_else(|| Refusal::unknown("payment_intent", &id, "payment_intent"))?;
                let message = "This PaymentIntent does not have a successful charge to refund.";
                let charge = charged(intent).ok_or_else(|| Refusal::state(None, message))?;
                Ok((intent, charge.id))
            }
            _ => {
                let message = "One of the following params should be provided for this request: payment_intent or charge.";
                Err(Refusal::invalid(None, message))
            }
        }
    }

    pub(super) fn retrieve_refund(&self, id: &str, form: Form) -> Outcome {
        form.finish()?;
        self.refunds.get(id).map(Refund::json).ok_or_else(|| Refusal::missing("refund", id, "refund"))
    }

    pub(super) fn list_refunds(&self, mut form: Form) -> Outcome {
        let (intent, charge) = (form.text("payment_intent")?, form.text("charge")?);
        let limit = form.integer("limit")?.unwrap_or(10);
        form.finish()?;
        if !(1..=MAX_PAGE).contains(&limit) {
            let message = format!("This value must be between 1 and {MAX_PAGE}.");
            return Err(Refusal::invalid("parameter_invalid_integer", message).about("limit"));
        }
        if let Some(id) = intent.as_ref().filter(|id| !self.intents.contains_key(*id)) {
            return Err(Refusal::unknown("payment_intent", id, "payment_intent"));
        }
        let is_of = |wanted: &Option<String>, is: &String| wanted.as_ref().is_none_or(|wanted| wanted == is);
        let wanted = |refund: &&Refund| is_of(&intent, &refund.intent) && is_of(&charge, &refund.charge);
        // Newest first.
        let mut found = self.refunds.values().rev().filter(wanted).map(Refund::json);
        let most = usize::try_from(limit).unwrap_or(usize::MAX);
        let page: Vec<Value> = found.by_ref().take(most).collect();
        let has_more = found.next().is_some();
        Ok(json!({"object": "list", "url": "/v1/refunds", "data": page, "has_more": has_more}))
    }

    /// Ends the refunds whose time has come.
    pub fn settle_refunds(&mut self, now: i64) {
        for refund in self.refunds.values_mut() {
            refund.is_settled |= refund.is_over(now);
        }
    }
}

/// What a refund of `amount`, or of the whole rest, gives back.
fn refunded_of(rest: u64, amount: Option<u64>, charge: &str, currency: &str) -> Result<u64, Refusal> {
    if rest == 0 {
        let message = format!("Charge {charge} has already been refunded.");
        return Err(Refusal::state("charge_already_refunded", message));
    }
    let amount = amount.unwrap_or(rest);
    if amount > rest {
        let (amount, rest) = (written(amount, currency), written(rest, currency));
        let message =
            format!("Refund amount ({amount}) is greater than unrefunded amount on charge ({rest})");
        return Err(Refusal::state(None, message).about("amount"));
    }
    Ok(amount)
}
