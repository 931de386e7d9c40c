//! Errors in Stripe's form.
//!
//! <https://docs.stripe.com/api/errors>, <https://docs.stripe.com/error-codes>

use serde_json::{Value, json};

/// The type of an error that is the caller's.
const INVALID: &str = "invalid_request_error";

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
    fn new(status: u16, kind: &str, code: Option<&str>, message: impl Into<String>) -> Self {
        let mut error = json!({"type": kind, "message": message.into()});
        if let Some(code) = code {
            error["code"] = code.into();
        }
        Self { status, error, is_kept: true }
    }

    /// Parameters that are missing, unknown or contradictory: the endpoint did not begin to work.
    pub fn invalid(code: impl Into<Option<&'static str>>, message: impl Into<String>) -> Self {
        Self::state(code, message).forgotten()
    }

    /// A parameter that has to be there.
    #[must_use]
    pub fn left_out(name: &str) -> Self {
        Self::invalid("parameter_missing", format!("Missing required param: {name}.")).about(name)
    }

    /// A number below one.
    #[must_use]
    pub fn too_little(name: &str) -> Self {
        let message = "This value must be greater than or equal to 1.";
        Self::invalid("parameter_invalid_integer", message).about(name)
    }

    /// What the state of an object does not allow.
    pub fn state(code: impl Into<Option<&'static str>>, message: impl Into<String>) -> Self {
        Self::new(400, INVALID, code.into(), message)
    }

    /// A call that does not fit an intent's status.
    pub fn unexpected(message: impl Into<String>) -> Self {
        Self::state("payment_intent_unexpected_state", message)
    }

    /// No such object; `parameter` names it in the path.
    #[must_use]
    pub fn missing(what: &str, id: &str, parameter: &str) -> Self {
        let message = format!("No such {what}: '{id}'");
        Self::new(404, INVALID, Some("resource_missing"), message).about(parameter)
    }

    /// No such object, named by a parameter of the request.
    #[must_use]
    pub fn unknown(what: &str, id: &str, parameter: &str) -> Self {
        Self { status: 400, ..Self::missing(what, id, parameter) }
    }

    /// No such call.
    #[must_use]
    pub fn no_such_call(method: &str, path: &str) -> Self {
        let message = format!("Unrecognized request URL ({method}: {path}).");
        Self::new(404, INVALID, None, message).forgotten()
    }

    /// A version of the API that the simulator does not speak.
    #[must_use]
    pub fn other_version(version: &str) -> Self {
        Self::invalid(None, format!("Invalid Stripe API version: {version}"))
    }

    /// The issuer of a card said no.
    #[must_use]
    pub fn card(code: &str, decline_code: &str, message: &str) -> Self {
        let mut refusal = Self::new(402, "card_error", Some(code), message);
        refusal.error["decline_code"] = decline_code.into();
        refusal
    }

    /// A key that was used for something else.
    #[must_use]
    pub fn other_use(key: &str, what: &str) -> Self {
        let message = format!(
            "Keys for idempotent requests can only be used {what} they were first used with. Try using a key other \
             than '{key}' if you meant to execute a different request."
        );
        Self::new(400, "idempotency_error", None, message).forgotten()
    }

    /// A key of more than 255 characters.
    #[must_use]
    pub fn long_key() -> Self {
        Self::invalid(None, "Idempotency keys can have up to 255 characters.")
    }

    /// A key whose first call is not answered yet.
    #[must_use]
    pub fn key_in_use(key: &str) -> Self {
        let message = format!(
            "There is currently another in-progress request using this Idempotent Key (that probably means you \
             submitted twice, and the other request is still going through): {key}. Please try again later."
        );
        Self::new(409, "idempotency_error", Some("idempotency_key_in_use"), message).forgotten()
    }

    /// An object that another call holds.
    #[must_use]
    pub fn locked() -> Self {
        let message = "This object cannot be accessed right now because another API request or Stripe process is \
                       currently accessing it.";
        Self::new(429, INVALID, Some("lock_timeout"), message).forgotten()
    }

    /// A failure of the provider's own.
    #[must_use]
    pub fn failed() -> Self {
        Self::new(500, "api_error", None, "The simulator fails, as it was set to.")
    }

    /// A call without a secret key.
    #[must_use]
    pub fn no_key() -> Self {
        let message = "You did not provide an API key.";
        Self::new(401, INVALID, None, message).forgotten()
    }

    /// A call with a key that is not one.
    #[must_use]
    pub fn wrong_key() -> Self {
        Self::new(401, INVALID, None, "Invalid API Key provided.").forgotten()
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

    /// Names the charge that failed.
    #[must_use]
    pub fn charged(mut self, charge: &str) -> Self {
        self.error["charge"] = charge.into();
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
