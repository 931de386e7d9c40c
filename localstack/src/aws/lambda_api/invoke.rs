//! Lambda's call that runs a function: it waits for the answer, or keeps the event and answers at once, or runs nothing.
//!
//! <https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html>

use super::names_of_functions::{LATEST, function_name, invalid, not_found};
use super::service::Service;
use crate::aws::lambda::{Function, InvokeError};
use crate::aws::protocol::{ApiError, rest};
use crate::support::http::{self, Response};
use crate::template::names;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use hyper::header::HeaderValue;
use hyper::{HeaderMap, StatusCode};
use percent_encoding::percent_decode_str;
use serde::de::IgnoredAny;
use serde_json::json;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

/// The path of an invocation begins so, and ends so; the function's name stands between.
const BEGINNING: &str = "/2015-03-31/functions/";
const END: &str = "/invocations";
/// The most bytes of a payload, that of an event that nothing waits for is the second one.
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
const MAX_PAYLOAD: usize = 6 * 1024 * 1024;
const MAX_EVENT: usize = 1024 * 1024;
/// How much of the log an answer has.
const TAIL: u64 = 4096;
/// What a caller may say in headers, and the local stack does not implement.
const REFUSED: [(&str, &str); 3] = [
    ("x-amz-client-context", "ClientContext"),
    ("x-amz-durable-execution-name", "DurableExecutionName"),
    ("x-amz-tenant-id", "TenantId"),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    RequestResponse,
    Event,
    DryRun,
}

/// The function that the path of an invocation names.
#[must_use]
pub fn function_of(path: &str) -> Option<&str> {
    path.strip_prefix(BEGINNING)?.strip_suffix(END)
}

/// Invokes a function; its own error is an answer too. `allow` refuses a caller that may not do an action on an ARN.
pub async fn invoke(
    lambda: &Service,
    (named, query, headers): (&str, &str, &HeaderMap),
    allow: impl Fn(&str, &str) -> Result<(), ApiError>,
    payload: Bytes,
) -> Response {
    let asked = asked(lambda, (named, query, headers), allow, payload);
    let (function, kind, payload, tails) = match asked {
        Ok(asked) => asked,
        Err(error) => return rest::answer(Err(error)),
    };
    let mut response = match kind {
        Kind::DryRun => http::empty(StatusCode::NO_CONTENT),
        Kind::Event => keep(lambda, &function, payload),
        Kind::RequestResponse => {
            let log = lambda.logs.join(format!("{}.log", function.name));
            let before = std::fs::metadata(&log).map_or(0, |data| data.len());
            let mut response = run(&function, payload).await;
            if tails && let Ok(tail) = HeaderValue::from_str(&STANDARD.encode(tail(&log, before))) {
                response.headers_mut().insert("x-amz-log-result", tail);
            }
            response
        }
    };
    response.headers_mut().insert("x-amz-executed-version", HeaderValue::from_static(LATEST));
    response
}

type Asked = (Arc<Function>, Kind, Bytes, bool);

/// What a caller wants, if it may have it.
fn asked(
    lambda: &Service,
    (named, query, headers): (&str, &str, &HeaderMap),
    allow: impl Fn(&str, &str) -> Result<(), ApiError>,
    payload: Bytes,
) -> Result<Asked, ApiError> {
    let named = percent_decode_str(named).decode_utf8_lossy();
    let mut qualifier = None;
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*name {
            "Qualifier" => qualifier = Some(value),
            other => return Err(invalid(format!("unknown parameter {other}"))),
        }
    }
    let name = function_name(&named, qualifier.as_deref())?;
    allow("lambda:InvokeFunction", &names::function_arn(name))?;
    let function = lambda.functions.get(name).map_err(|_| not_found(name))?;
    let (kind, tails) = (kind(headers)?, tails(headers)?);
    Ok((function, kind, checked(kind, payload)?, tails && kind == Kind::RequestResponse))
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).map(|value| value.to_str().unwrap_or_default())
}

fn kind(headers: &HeaderMap) -> Result<Kind, ApiError> {
    if let Some((_, name)) = REFUSED.iter().find(|(header, _)| headers.contains_key(*header)) {
        return Err(invalid(format!("{name} is not implemented by the local stack")));
    }
    match header(headers, "x-amz-invocation-type") {
        None | Some("RequestResponse") => Ok(Kind::RequestResponse),
        Some("Event") => Ok(Kind::Event),
        Some("DryRun") => Ok(Kind::DryRun),
        Some(other) => Err(invalid(format!("InvocationType is RequestResponse, Event or DryRun: {other:?}"))),
    }
}

fn tails(headers: &HeaderMap) -> Result<bool, ApiError> {
    match header(headers, "x-amz-log-type") {
        None | Some("None") => Ok(false),
        Some("Tail") => Ok(true),
        Some(other) => Err(invalid(format!("LogType is None or Tail: {other:?}"))),
    }
}

/// A payload is JSON, and an empty one an empty object.
fn checked(kind: Kind, payload: Bytes) -> Result<Bytes, ApiError> {
    let most = if kind == Kind::Event { MAX_EVENT } else { MAX_PAYLOAD };
    if payload.len() > most {
        let message = format!("{} bytes in the payload, and at most {most} are allowed", payload.len());
        return Err(ApiError { status: 413, ..ApiError::new("RequestTooLargeException", message) });
    }
    if payload.is_empty() {
        return Ok(Bytes::from_static(b"{}"));
    }
    let unreadable = |error: serde_json::Error| {
        let message = format!("Could not parse request body into json: {error}");
        ApiError::new("InvalidRequestContentException", message)
    };
    serde_json::from_slice::<IgnoredAny>(&payload).map_err(unreadable)?;
    Ok(payload)
}

/// Keeps an event, which Lambda runs the function on later, as often as its `EventInvokeConfig` says.
fn keep(lambda: &Service, function: &Function, payload: Bytes) -> Response {
    if let Some(events) = lambda.events.get(&function.name).cloned() {
        tokio::spawn(async move { events.deliver(payload).await });
    }
    http::empty(StatusCode::ACCEPTED)
}

async fn run(function: &Arc<Function>, payload: Bytes) -> Response {
    match function.invoke(payload).await {
        Ok(answer) => http::json(200, "application/json", answer),
        Err(InvokeError::Throttled(reason)) => throttled(reason),
        Err(error) => {
            let text = match error {
                InvokeError::Failed(text) => text,
                other => json!({"errorType": "Sandbox", "errorMessage": other.to_string()}).to_string(),
            };
            let mut response = http::json(200, "application/json", text);
            response.headers_mut().insert("x-amz-function-error", HeaderValue::from_static("Unhandled"));
            response
        }
    }
}

fn throttled(reason: &str) -> Response {
    let body = json!({"Reason": reason, "Type": "User", "message": "Rate Exceeded."}).to_string();
    let mut response = http::json(429, "application/json", body);
    response.headers_mut().insert("x-amzn-errortype", HeaderValue::from_static("TooManyRequestsException"));
    response
}

/// The end of what a function has logged since its log had so many bytes. Other invocations of the same function may have
/// logged meanwhile.
fn tail(log: &Path, before: u64) -> Vec<u8> {
    let mut tail = Vec::new();
    let read = File::open(log).and_then(|mut file| {
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(before.min(length).max(length.saturating_sub(TAIL))))?;
        file.take(TAIL).read_to_end(&mut tail)
    });
    // A log that cannot be read is an empty one.
    if read.is_err() {
        tail.clear();
    }
    tail
}
