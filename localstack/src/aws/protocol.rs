//! What AWS's JSON protocols have in common: a call, its answer, its errors.
//!
//! <https://smithy.io/2.0/aws/protocols/aws-json-1_0-protocol.html>

use crate::aws::iam::{Caller, Iam};
use crate::support::http::{self, Response};
use bytes::Bytes;
use hyper::header::HeaderValue;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

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
        let what = match operation {
            "" => "a call outside DynamoDB, SQS, EventBridge and Secrets Manager",
            operation => operation,
        };
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
/// `SerializationException`.
pub fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|e| ApiError::new("SerializationException", e.to_string()))
}

/// An answer as REST services write it: an error's type stands in a header.
///
/// <https://smithy.io/2.0/aws/protocols/aws-restjson1-protocol.html>
pub fn rest(outcome: Result<Value, ApiError>) -> Response {
    const JSON: &str = "application/json";
    match outcome {
        Ok(answer) => http::json(200, JSON, answer.to_string()),
        Err(error) => {
            let status = if error.code == DENIED { 403 } else { error.status };
            let mut response = http::json(status, JSON, error.to_json());
            response.headers_mut().insert("x-amzn-errortype", HeaderValue::from_static(error.code));
            response
        }
    }
}

/// The parameters of a query, all of them texts.
///
/// # Errors
/// Why they cannot be read.
pub fn query<T: DeserializeOwned>(query: &str) -> Result<T, String> {
    let pairs = form_urlencoded::parse(query.as_bytes());
    let pairs: Map<String, Value> = pairs.map(|(key, value)| (key.into_owned(), (*value).into())).collect();
    serde_json::from_value(Value::Object(pairs)).map_err(|e| e.to_string())
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
    iam.check(caller, action, resource).map_err(|denied| ApiError::new(DENIED, denied.to_string()))
}
