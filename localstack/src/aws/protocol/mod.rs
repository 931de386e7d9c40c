//! What AWS's protocols have in common: a call, its answer, its errors. A service sees JSON alone: [`rest`] and [`form`] read other
//! requests into it.
//!
//! <https://smithy.io/2.0/aws/protocols/aws-json-1_0-protocol.html>

pub mod batch;
pub mod form;
pub mod operations;
pub mod pages;
pub mod rest;
pub mod text;

use crate::aws::iam::{Caller, Iam};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// The code for a call that no policy allows.
const DENIED: &str = "AccessDeniedException";

/// An authenticated call of one operation.
pub struct Call<'a> {
    pub caller: &'a Caller,
    pub iam: &'a Iam,
    /// `PutItem`
    pub operation: &'a str,
    pub body: &'a [u8],
}

/// HTTP status and body.
pub type Answer = (u16, Bytes);
pub type Outcome = Result<Answer, ApiError>;

/// An error as the protocols write it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    pub status: u16,
    pub code: &'static str,
    pub message: String,
}

impl ApiError {
    /// An error of the caller: status 400.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { status: 400, code, message: message.into() }
    }

    /// The error for an operation that the local stack does not have.
    #[must_use]
    pub fn unknown(operation: &str) -> Self {
        let what = if operation.is_empty() { "a call that names no operation" } else { operation };
        Self::new("UnknownOperationException", format!("{what} is not implemented by the local stack"))
    }

    #[must_use]
    pub fn to_json(&self) -> Bytes {
        json!({"__type": self.code, "message": self.message}).to_string().into()
    }
}

/// Status 200 with a JSON body.
pub fn ok(value: &Value) -> Outcome {
    Ok((200, value.to_string().into()))
}

/// Epoch seconds, as AWS's JSON protocols write times.
#[must_use]
#[allow(clippy::float_arithmetic, clippy::cast_precision_loss, reason = "AWS's own time stamp")]
pub fn seconds(millis: i64) -> f64 {
    millis as f64 / 1000.0
}

/// # Errors
/// `SerializationException`, with the place of what is unknown, missing or of another type.
pub fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    // A call without parameters may come without a body.
    let body = if body.is_empty() { b"{}" } else { body };
    // Serde would read an array as an object, too.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(ApiError::new("SerializationException", "a request is an object"));
    }
    serde_json::from_slice(body).map_err(|_| {
        let mut json = serde_json::Deserializer::from_slice(body);
        let refused = serde_path_to_error::deserialize::<_, T>(&mut json).err();
        let text =
            refused.map_or_else(|| "there is more than one value".to_owned(), |error| error.to_string());
        ApiError::new("SerializationException", text)
    })
}

/// A JSON value without the fields of its objects that are null.
#[must_use]
pub fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.into_iter().filter(|(_, value)| !value.is_null());
            fields.map(|(name, value)| (name, without_nulls(value))).collect()
        }
        other => other,
    }
}

impl Call<'_> {
    /// # Errors
    /// `SerializationException`.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        parse(self.body)
    }

    /// Refuses a caller whose role does not allow an action on a resource.
    ///
    /// # Errors
    /// `AccessDeniedException`.
    pub fn require(&self, action: &str, resource: &str) -> Result<(), ApiError> {
        require(self.iam, self.caller, action, resource)
    }

    /// The error for an operation that the service does not have.
    #[must_use]
    pub fn unknown(&self) -> ApiError {
        ApiError::unknown(self.operation)
    }
}

/// Refuses a caller whose role does not allow an action on a resource.
///
/// # Errors
/// `AccessDeniedException`.
pub fn require(iam: &Iam, caller: &Caller, action: &str, resource: &str) -> Result<(), ApiError> {
    iam.check_call(caller, action, resource).map_err(|denied| ApiError::new(DENIED, denied.to_string()))
}
