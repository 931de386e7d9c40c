//! Errors in Stripe's form.
//!
//! <https://docs.stripe.com/api/errors>, <https://docs.stripe.com/error-codes>

use serde_json::{Value, json};

/// A call that was refused or failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    error: Value,
    /// Whether the answer is kept under the call's idempotency key: only if the endpoint began to work.
    pub is_kept: bool,
}

impl Refusal {
    fn new(status: u16, kind: &str, code: &str, message: impl Into<String>) -> Self {
        let error = json!({"type": kind, "code": code, "message": message.into()});
        Self { status, error, is_kept: true }
    }

    /// Parameters that are missing, unknown or contradictory.
    pub fn invalid(code: &str, message: impl Into<String>) -> Self {
        Self { is_kept: false, ..Self::new(400, "invalid_request_error", code, message) }
    }

    /// What the state of an object does not allow.
    pub fn state(code: &str, message: impl Into<String>) -> Self {
        Self::new(400, "invalid_request_error", code, message)
    }

    /// No such object.
    #[must_use]
    pub fn missing(what: &str, id: &str) -> Self {
        let refusal =
            Self::new(404, "invalid_request_error", "resource_missing", format!("No such {what}: '{id}'"));
        Self { is_kept: false, ..refusal }
    }

    /// The issuer of a card said no.
    #[must_use]
    pub fn card(code: &str, decline_code: Option<&str>, message: &str) -> Self {
        let mut refusal = Self::new(402, "card_error", code, message);
        if let Some(decline_code) = decline_code {
            refusal.error["decline_code"] = decline_code.into();
        }
        refusal
    }

    /// A key that was used with other parameters.
    #[must_use]
    pub fn other_parameters(key: &str) -> Self {
        let message = format!(
            "Keys for idempotent requests can only be used with the same parameters. The key is {key}."
        );
        let error = json!({"type": "idempotency_error", "message": message});
        Self { status: 400, error, is_kept: false }
    }

    /// A failure of the provider's own.
    #[must_use]
    pub fn failed() -> Self {
        let error = json!({"type": "api_error", "message": "The simulator fails, as it was set to."});
        Self { status: 500, error, is_kept: true }
    }

    /// A call without a secret key.
    #[must_use]
    pub fn no_key() -> Self {
        let error = json!({"type": "invalid_request_error", "message": "You did not provide an API key."});
        Self { status: 401, error, is_kept: false }
    }

    /// The provider does not keep it under the key.
    #[must_use]
    pub fn forgotten(self) -> Self {
        Self { is_kept: false, ..self }
    }

    /// Names the parameter that it is about.
    #[must_use]
    pub fn about(mut self, parameter: &str) -> Self {
        self.error["param"] = parameter.into();
        self
    }

    /// Shows the intent as it stands.
    #[must_use]
    pub fn showing(mut self, intent: Value) -> Self {
        self.error["payment_intent"] = intent;
        self
    }

    /// The error alone, as an intent keeps the last one.
    #[must_use]
    pub fn error(&self) -> Value {
        self.error.clone()
    }

    /// The answer's body.
    #[must_use]
    pub fn body(&self) -> Value {
        json!({"error": self.error})
    }
}
