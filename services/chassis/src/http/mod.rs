//! Requests and answers of the HTTP API, apart from the gateway that carries them, and RFC 9457 problems.

pub mod access;
mod card_number;
pub mod client;
pub mod conditional;
pub mod cursor;
pub mod fields;
mod json;

use crate::failure::Failure;
use crate::trace::TraceContext;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Value, json};
use std::{collections::HashMap, future::Future};
use uuid::Uuid;

/// The most bytes a request's body may have.
pub const MAX_BODY_BYTES: usize = 64 * 1024;

/// The most wrong fields that one answer names.
const MAX_ERRORS: usize = 100;

/// A request, as routed by the gateway.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The route it matched: `GET /orders/{id}`.
    pub route: String,
    /// The parameters in its path.
    pub path: HashMap<String, String>,
    /// The parameters in its query.
    pub query: HashMap<String, String>,
    /// Headers, by lower-case name.
    pub headers: HashMap<String, String>,
    /// The body's bytes.
    pub body: Vec<u8>,
    /// Its method, as sent: what the `$default` route cannot say.
    pub method: String,
    /// Its path, as sent.
    pub raw_path: String,
    /// Who asks; none where no authorizer stands.
    pub caller: Option<Caller>,
    /// The id of everything that this request sets off.
    pub correlation_id: Uuid,
    /// When the function that answers it is stopped; none where nothing stops it.
    pub deadline: Option<DateTime<Utc>>,
}

impl Request {
    /// A path parameter; empty when the route has none of that name.
    #[must_use]
    pub fn parameter(&self, name: &str) -> &str {
        self.path.get(name).map_or("", String::as_str)
    }

    /// A header by its lower-case name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// The trace of the client, if it sent one that can be read; one that cannot is as good as none.
    #[must_use]
    pub fn trace(&self) -> Option<TraceContext> {
        self.header("traceparent")?.parse().ok()
    }
}

/// A verified token, as the gateway's authorizer hands it over. The authorizer has checked its signature, issuer, audience
/// and age, and the scopes of the route. The adapter has read it in the way that its issuer writes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// The claim that names the customer, as it came; empty when the token has none.
    pub customer: String,
    /// Its scopes, by their names in [`access`].
    pub scopes: Vec<&'static str>,
}

/// One rule that one field of a request breaks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// Where: `items[0].quantity`; empty for the body as a whole.
    pub field: String,
    /// The rule's name, for programs: `range`.
    pub rule: &'static str,
    /// The rule in words, for people.
    pub message: String,
}

impl FieldError {
    /// `field` breaks `rule`.
    pub fn new(field: impl Into<String>, rule: &'static str, message: impl Into<String>) -> Self {
        Self { field: field.into(), rule, message: message.into() }
    }
}

/// An RFC 9457 problem. Holds nothing a stranger should not read.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// HTTP status.
    pub status: u16,
    /// A short code for programs: `VALIDATION_FAILED`.
    pub error: &'static str,
    /// One sentence for people.
    pub detail: String,
    /// Further members, `errors` among them.
    pub more: serde_json::Map<String, Value>,
    /// Further headers: `retry-after`, `allow`.
    pub headers: Vec<(&'static str, String)>,
    /// What went wrong on our side: for the logs, never for the answer.
    pub failure: Option<Box<Failure>>,
}

impl Problem {
    /// A problem without further members.
    pub fn new(status: u16, error: &'static str, detail: impl Into<String>) -> Self {
        let (detail, more) = (detail.into(), serde_json::Map::new());
        Self { status, error, detail, more, headers: Vec::new(), failure: None }
    }

    /// 400: the request cannot be read at all.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(400, "BAD_REQUEST", detail)
    }

    /// 400: fields break rules; every one of them is named.
    #[must_use]
    pub fn invalid(errors: &[FieldError]) -> Self {
        let detail = match errors {
            [one] if one.field.is_empty() => one.message.clone(),
            [one] => format!("{} {}", one.field, one.message),
            many => format!("{} fields break a rule", many.len()),
        };
        let named: Vec<&FieldError> = errors.iter().take(MAX_ERRORS).collect();
        Self::new(400, "VALIDATION_FAILED", detail).with("errors", json!(named))
    }

    /// 400: one field breaks a rule.
    #[must_use]
    pub fn field(field: &str, rule: &'static str, message: impl Into<String>) -> Self {
        Self::invalid(&[FieldError::new(field, rule, message)])
    }

    /// 403: the caller acts in the name of a customer that its token does not stand for.
    #[must_use]
    pub fn foreign_customer() -> Self {
        Self::new(403, "FORBIDDEN", "the token stands for another customer")
    }

    /// 404.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(404, "NOT_FOUND", detail)
    }

    /// 503: try again; the cause is in the logs and not in the answer. Whether something was done it does not say: a
    /// transaction without an answer may have been made.
    #[must_use]
    pub fn unavailable() -> Self {
        let detail = "the service cannot answer right now; try again";
        Self::new(503, "TEMPORARILY_UNAVAILABLE", detail).saying("retry-after", "1")
    }

    /// The problem with one header more.
    #[must_use]
    pub fn saying(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The problem with one member more.
    #[must_use]
    pub fn with(mut self, name: &str, value: Value) -> Self {
        self.more.insert(name.to_owned(), value);
        self
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        let problem = match failure {
            Failure::Poison(_) => Self::new(500, "INTERNAL_ERROR", "something is broken on our side"),
            _ => Self::unavailable(),
        };
        Self { failure: Some(Box::new(failure)), ..problem }
    }
}

/// An answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// Header names (lower case) and values.
    pub headers: Vec<(&'static str, String)>,
    /// The JSON body.
    pub body: Value,
}

impl Response {
    /// A JSON answer.
    #[must_use]
    pub fn json(status: u16, body: Value) -> Self {
        Self { status, headers: vec![("content-type", "application/json".into())], body }
    }

    /// The answer with one header more.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The answer under the id of its request, unless it already bears one: that of the first of its kind.
    #[must_use]
    pub fn correlated(mut self, correlation_id: Uuid) -> Self {
        if !self.headers.iter().any(|(name, _)| *name == CORRELATION) {
            self.headers.push((CORRELATION, correlation_id.to_string()));
        }
        if self.status >= 500 && self.body.is_object() {
            self.body["correlation_id"] = correlation_id.to_string().into();
        }
        self
    }
}

/// The header that names a request in our logs.
pub const CORRELATION: &str = "x-correlation-id";

/// The reason phrase of a status that the platform uses: the `title` of a problem.
const fn title(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        409 => "Conflict",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        422 => "Unprocessable Content",
        428 => "Precondition Required",
        503 => "Service Unavailable",
        _ => "Internal Server Error",
    }
}

impl From<Problem> for Response {
    fn from(problem: Problem) -> Self {
        let mut body = problem.more;
        body.insert("type".into(), "about:blank".into());
        body.insert("title".into(), title(problem.status).into());
        body.insert("status".into(), problem.status.into());
        body.insert("detail".into(), problem.detail.into());
        body.insert("error".into(), problem.error.into());
        let mut headers = vec![("content-type", "application/problem+json".to_owned())];
        headers.extend(problem.headers);
        Self { status: problem.status, headers, body: Value::Object(body) }
    }
}

/// A service's part of the HTTP API.
pub trait Api: Send + Sync + 'static {
    /// Its routes, as the template spells them: `GET /orders/{id}`.
    const ROUTES: &'static [&'static str];
    /// The scopes that it asks for, by their names in [`access`].
    const SCOPES: &'static [&'static str];

    /// Answers a request.
    fn answer(&self, request: Request) -> impl Future<Output = Result<Response, Problem>> + Send;
}
