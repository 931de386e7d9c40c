//! One payment as the simulator keeps it, and how a payment method decides it.
//!
//! <https://docs.stripe.com/testing>, <https://docs.stripe.com/api/idempotent_requests>

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use uuid::Uuid;

/// HTTP status and body.
pub type Answer = (u16, Value);

/// What the simulator keeps of one idempotency key.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Payment {
    /// How often a client used the key.
    pub calls: u32,
    pub order_id: String,
    /// Minor units.
    pub captured: u64,
    /// Minor units.
    pub refunded: u64,
    /// In lower case, as Stripe writes it.
    pub currency: String,
    /// A PaymentIntent.
    pub intent: Option<Value>,
    /// The answers to refunds, by their own idempotency keys.
    #[serde(default)]
    pub refunds: BTreeMap<String, Answer>,
    /// A call with other parameters under the same key is a mistake, not a repetition.
    pub(super) parameters: BTreeMap<String, String>,
    /// The first answer, repeated for every further call.
    pub(super) answer: Option<Answer>,
}

/// How a payment method behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    Succeeds,
    Declines(&'static str),
    NeverAnswers,
    Fails,
    LosesItsAnswer,
    DeclinesOnce,
    Unknown,
}

impl Behaviour {
    /// How the payment method of some parameters behaves.
    #[must_use]
    pub fn of(parameters: &BTreeMap<String, String>) -> Self {
        match method(parameters) {
            "pm_card_visa" | "pm_card_mastercard" => Self::Succeeds,
            "pm_sim_refund_refused" | "pm_sim_refund_refused_3_times" => Self::Succeeds,
            "pm_card_visa_chargeDeclined" => Self::Declines("generic_decline"),
            "pm_card_visa_chargeDeclinedInsufficientFunds" => Self::Declines("insufficient_funds"),
            "pm_sim_timeout" => Self::NeverAnswers,
            "pm_sim_error" => Self::Fails,
            "pm_sim_declines_once" => Self::DeclinesOnce,
            "pm_sim_lost_answer" => Self::LosesItsAnswer,
            _ => Self::Unknown,
        }
    }
}

fn method(parameters: &BTreeMap<String, String>) -> &str {
    parameters.get("payment_method").map(String::as_str).unwrap_or_default()
}

/// An error in Stripe's form.
#[must_use]
pub fn error(status: u16, kind: &str, code: &str, message: &str) -> Answer {
    (status, json!({"error": {"type": kind, "code": code, "message": message}}))
}

impl Payment {
    /// Counts a call; the first one decides the payment.
    pub fn call(&mut self, parameters: &BTreeMap<String, String>, behaviour: Behaviour) {
        self.calls += 1;
        if self.calls == 1 {
            self.parameters = parameters.clone();
            self.order_id = parameters.get("metadata[order_id]").cloned().unwrap_or_default();
            self.currency = parameters.get("currency").cloned().unwrap_or_default();
            self.answer = self.decide(behaviour);
        }
        // Worse than any real provider: it forgets its answer under a key, and now takes the money.
        if self.calls == 2 && behaviour == Behaviour::DeclinesOnce {
            self.answer = self.decide(Behaviour::Succeeds);
        }
    }

    /// The answer to a call with these parameters.
    #[must_use]
    pub fn answer_to(self, parameters: &BTreeMap<String, String>) -> Answer {
        if self.parameters != *parameters {
            return error(
                400,
                "idempotency_error",
                "idempotency_key_in_use",
                "other parameters under this key",
            );
        }
        self.answer.unwrap_or_else(|| error(500, "api_error", "api_error", "the simulator was told to fail"))
    }

    /// The answer to a first call, which captures the amount when it succeeds.
    fn decide(&mut self, behaviour: Behaviour) -> Option<Answer> {
        let invalid = |code, message| Some(error(400, "invalid_request_error", code, message));
        let amount = self.parameters.get("amount").and_then(|amount| amount.parse::<u64>().ok());
        let Some(amount) = amount.filter(|amount| *amount > 0) else {
            return invalid("parameter_invalid_integer", "the amount is not one");
        };
        // An intent that is never confirmed: it only occupies the key.
        if self.parameters.get("confirm").is_some_and(|confirm| confirm == "false") {
            return Some(self.create_unconfirmed(amount));
        }
        match behaviour {
            Behaviour::Succeeds | Behaviour::LosesItsAnswer => Some(self.capture(amount)),
            Behaviour::DeclinesOnce => self.decide(Behaviour::Declines("generic_decline")),
            Behaviour::Declines(code) => {
                let mut answer = error(402, "card_error", "card_declined", "Your card was declined.");
                answer.1["error"]["decline_code"] = code.into();
                Some(answer)
            }
            Behaviour::Unknown => invalid("resource_missing", "No such PaymentMethod"),
            Behaviour::NeverAnswers | Behaviour::Fails => None,
        }
    }

    fn create_unconfirmed(&mut self, amount: u64) -> Answer {
        let intent = json!({
            "id": format!("pi_{}", Uuid::new_v4().simple()),
            "object": "payment_intent",
            "amount": amount,
            "amount_received": 0,
            "status": "requires_payment_method",
            "latest_charge": null,
            "metadata": {"order_id": self.order_id},
        });
        self.intent = Some(intent.clone());
        (200, intent)
    }

    fn capture(&mut self, amount: u64) -> Answer {
        self.captured = amount;
        let id = Uuid::new_v4().simple();
        let intent = json!({
            "id": format!("pi_{id}"),
            "object": "payment_intent",
            "amount": amount,
            "amount_received": amount,
            "currency": self.currency,
            "status": "succeeded",
            "latest_charge": format!("ch_{id}"),
            "metadata": {"order_id": self.order_id},
        });
        self.intent = Some(intent.clone());
        (200, intent)
    }

    /// Refunds the whole charge, once; repeats the answer under the refund's own key.
    pub fn refund(&mut self, idempotency_key: String) -> Answer {
        let answer = match self.refunds.get(&idempotency_key) {
            Some(first) => first.clone(),
            None => self.decide_refund(),
        };
        self.refunds.insert(idempotency_key, answer.clone());
        answer
    }

    /// A payment method may say how many refunds are refused before one is made.
    fn decide_refund(&mut self) -> Answer {
        let refusals = match method(&self.parameters) {
            "pm_sim_refund_refused" => 4,
            "pm_sim_refund_refused_3_times" => 3,
            _ => 0,
        };
        if self.refunded > 0 {
            return error(400, "invalid_request_error", "charge_already_refunded", "It has been refunded.");
        }
        if self.refunds.len() < refusals {
            return error(402, "card_error", "refund_not_allowed", "The issuer does not take it back.");
        }
        self.refunded = self.captured;
        let id = format!("re_{}", Uuid::new_v4().simple());
        (200, json!({"id": id, "object": "refund", "amount": self.captured, "status": "succeeded"}))
    }

    /// Cancels an intent that has not captured anything.
    ///
    /// # Errors
    /// The answer to a client that asks too late.
    pub fn cancel(&mut self) -> Result<(), Answer> {
        if self.captured > 0 {
            let (code, message) = ("payment_intent_unexpected_state", "This PaymentIntent has succeeded.");
            return Err(error(400, "invalid_request_error", code, message));
        }
        if let Some(intent) = &mut self.intent {
            intent["status"] = "canceled".into();
        }
        Ok(())
    }

    /// The charge as its intent shows it.
    #[must_use]
    pub fn charge(&self) -> Value {
        json!({
            "id": self.intent.as_ref().map(|intent| &intent["latest_charge"]),
            "object": "charge",
            "amount": self.captured,
            "amount_refunded": self.refunded,
            "refunded": self.captured > 0 && self.refunded == self.captured,
        })
    }

    /// The intent, with its charge once there is one.
    #[must_use]
    pub fn intent_with_charge(&self) -> Option<Value> {
        let mut intent = self.intent.clone()?;
        if self.captured > 0 {
            intent["latest_charge"] = self.charge();
        }
        Some(intent)
    }
}
