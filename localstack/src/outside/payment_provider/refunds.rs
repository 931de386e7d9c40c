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
/// The most refunds of one page.
const MAX_PAGE: u64 = 100;

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
    pub end: End,
    /// Whether it has ended.
    pub is_settled: bool,
}

/// How a refund stands before it ends, and how it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// It has arrived at once.
    Succeeded,
    /// It is pending at first.
    Arrives,
    /// It is pending at first, and fails.
    Fails,
    /// It arrives, and is taken back.
    Returned,
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
            return Err(Refusal::card(
                "refund_not_allowed",
                "refund_not_allowed",
                "The issuer does not take it back.",
            ));
        }
        let amount = amount.unwrap_or(rest);
        if amount == 0 {
            let message = "This value must be greater than or equal to 1.";
            return Err(Refusal::invalid("parameter_invalid_integer", message).about("amount"));
        }
        if amount > rest {
            let message = format!(
                "Refund amount ({}) is greater than unrefunded amount on charge ({})",
                dollars(amount),
                dollars(rest)
            );
            return Err(Refusal::state(None, message).about("amount"));
        }
        let end = match token.as_str() {
            "pm_card_pendingRefund" => End::Arrives,
            "pm_sim_refund_pending_then_failed" => End::Fails,
            "pm_card_refundFail" => End::Returned,
            _ => End::Succeeded,
        };
        let id = self.new_id("re");
        let refund =
            Refund { id: id.clone(), intent, charge, amount, metadata, created: now, end, is_settled: false };
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

    pub(super) fn retrieve_refund(&mut self, id: &str, form: Form, now: i64) -> Outcome {
        form.finish()?;
        self.settle_refunds(now);
        self.refunds.get(id).map(Refund::json).ok_or_else(|| Refusal::missing("refund", id, "refund"))
    }

    pub(super) fn list_refunds(&mut self, mut form: Form, now: i64) -> Outcome {
        let (intent, charge) = (form.take("payment_intent"), form.take("charge"));
        let limit = form.amount("limit")?.unwrap_or(10).min(MAX_PAGE);
        form.finish()?;
        self.settle_refunds(now);
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

/// An amount as Stripe's messages write it.
fn dollars(cents: u64) -> String {
    format!("${}.{:02}", cents / 100, cents % 100)
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
        self.is_settled && matches!(self.end, End::Fails | End::Returned)
    }

    fn json(&self) -> Value {
        let status = match (self.end, self.is_settled) {
            (End::Arrives | End::Fails, false) => "pending",
            (End::Succeeded, _) | (End::Arrives, true) | (End::Returned, false) => "succeeded",
            (End::Fails | End::Returned, true) => "failed",
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
