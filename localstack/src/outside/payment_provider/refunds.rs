//! Refunds.
//!
//! <https://docs.stripe.com/api/refunds>, <https://docs.stripe.com/refunds>

use super::account::{Account, Outcome};
use super::form::Form;
use super::intents::Intent;
use super::refusal::Refusal;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// How long a refund stays pending whose payment method says that it does, in seconds.
const PENDING_SECONDS: i64 = 20;

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Refund {
    pub id: String,
    pub intent: String,
    pub charge: String,
    /// Minor units.
    pub amount: u64,
    pub metadata: BTreeMap<String, String>,
    /// Epoch seconds.
    pub created: i64,
    /// How it ends.
    pub end: End,
    /// Whether it has ended.
    pub is_settled: bool,
}

/// How a refund ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    Succeeded,
    Failed,
}

impl Account {
    pub(super) fn create_refund(&mut self, mut form: Form, now: i64) -> Outcome {
        let (charge, intent) = (form.take("charge"), form.take("payment_intent"));
        let (amount, metadata) = (form.amount("amount")?, form.map("metadata"));
        form.finish()?;
        let (intent, charge) = self.refundable(charge, intent)?;
        let (captured, token) = {
            let method = intent.payment_method.as_ref().and_then(|id| self.methods.get(id));
            (intent.captured(), method.map(|method| method.token.clone()).unwrap_or_default())
        };
        let rest = captured.saturating_sub(self.refunded(intent));
        let (intent, charge) = (intent.id.clone(), charge);
        if rest == 0 {
            let message = format!("Charge {charge} has already been refunded.");
            return Err(Refusal::state("charge_already_refunded", message));
        }
        if let Some(intent) =
            self.intents.get_mut(&intent).filter(|intent| intent.refused_refunds < refusals(&token))
        {
            intent.refused_refunds += 1;
            return Err(Refusal::card("refund_not_allowed", None, "The issuer does not take it back."));
        }
        let amount = amount.unwrap_or(rest);
        if amount > rest {
            let message =
                format!("Refund amount ({amount}) is greater than unrefunded amount on charge ({rest})");
            return Err(Refusal::state("amount_too_large", message).about("amount"));
        }
        let (end, is_settled) = match token.as_str() {
            "pm_card_pendingRefund" => (End::Succeeded, false),
            "pm_card_refundFail" => (End::Failed, false),
            _ => (End::Succeeded, true),
        };
        let id = self.new_id("re");
        let refund =
            Refund { id: id.clone(), intent, charge, amount, metadata, created: now, end, is_settled };
        let shown = refund.json();
        self.refunds.insert(id, refund);
        Ok(shown)
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
                let (intent, charge) =
                    found.ok_or_else(|| Refusal::missing("charge", &id).about("charge"))?;
                Ok((intent, charge.id.clone()))
            }
            (None, Some(id)) => {
                let intent = self.intents.get(&id).ok_or_else(|| Refusal::missing("payment_intent", &id))?;
                let message = "This PaymentIntent does not have a successful charge to refund.";
                let charge = charged(intent)
                    .ok_or_else(|| Refusal::state("payment_intent_unexpected_state", message))?;
                Ok((intent, charge.id))
            }
            _ => {
                let message = "You must supply either a charge or a payment_intent.";
                Err(Refusal::invalid("parameter_missing", message))
            }
        }
    }

    pub(super) fn retrieve_refund(&mut self, id: &str, form: Form, now: i64) -> Outcome {
        form.finish()?;
        self.settle_refunds(now);
        self.refunds.get(id).map(Refund::json).ok_or_else(|| Refusal::missing("refund", id))
    }

    /// Ends the refunds whose time has come.
    pub fn settle_refunds(&mut self, now: i64) {
        for refund in self.refunds.values_mut() {
            refund.is_settled |= now - refund.created >= PENDING_SECONDS;
        }
    }

    /// What an intent's refunds gave back or are about to, in minor units.
    #[must_use]
    pub fn refunded(&self, intent: &Intent) -> u64 {
        let of_intent = self.refunds.values().filter(|refund| refund.intent == intent.id);
        of_intent.filter(|refund| !refund.has_failed()).map(|refund| refund.amount).sum()
    }
}

/// How many refunds a test method refuses before it makes one.
fn refusals(token: &str) -> u32 {
    match token {
        "pm_sim_refund_refused" => 4,
        "pm_sim_refund_refused_3_times" => 3,
        _ => 0,
    }
}

impl Refund {
    fn has_failed(&self) -> bool {
        self.is_settled && self.end == End::Failed
    }

    fn json(&self) -> Value {
        let status = match (self.is_settled, self.end) {
            (false, _) => "pending",
            (true, End::Succeeded) => "succeeded",
            (true, End::Failed) => "failed",
        };
        let mut shown = json!({
            "id": self.id,
            "object": "refund",
            "amount": self.amount,
            "charge": self.charge,
            "payment_intent": self.intent,
            "metadata": self.metadata,
            "status": status,
        });
        if self.has_failed() {
            shown["failure_reason"] = "expired_or_canceled_card".into();
        }
        shown
    }
}
