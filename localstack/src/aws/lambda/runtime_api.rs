//! The Runtime API: processes fetch invocations here and hand in their answers.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>

use super::function::{Function, InvokeError};
use super::functions::Functions;
use crate::support::http::{self, Request, Response, empty};
use crate::template::names;
use bytes::Bytes;
use chrono::Utc;
use http_body_util::Full;
use hyper::{Method, StatusCode};

/// The most bytes of a function's answer: <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>.
const MAX_ANSWER_BYTES: usize = 6 * 1024 * 1024;

/// Answers a call to `/<secret>/<function>/<environment>/2018-06-01/runtime/…`.
pub async fn answer(functions: Functions, secret: String, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path: Vec<&str> = parts.uri.path().trim_start_matches('/').split('/').collect();
    let [known, function, environment, "2018-06-01", "runtime", call @ ..] = path.as_slice() else {
        return empty(StatusCode::NOT_FOUND);
    };
    if *known != secret {
        return empty(StatusCode::NOT_FOUND);
    }
    let (Ok(function), Ok(environment)) = (functions.get(function), environment.parse()) else {
        return empty(StatusCode::NOT_FOUND);
    };
    if (&parts.method, call) == (&Method::GET, &["invocation", "next"]) {
        return next(&function, environment).await;
    }
    let body = match http::body(body, MAX_ANSWER_BYTES).await {
        Ok(body) => body,
        Err(status) => return empty(status),
    };
    match call {
        ["invocation", id, "response"] => finish(&function, id, Ok(body)),
        ["invocation", id, "error"] => {
            let message = String::from_utf8_lossy(&body).into_owned();
            tracing::info!("{} reports {message}", function.name);
            finish(&function, id, Err(InvokeError::Failed(message)))
        }
        ["init", "error"] => {
            tracing::error!("function {} does not start: {}", function.name, String::from_utf8_lossy(&body));
            empty(StatusCode::ACCEPTED)
        }
        _ => empty(StatusCode::NOT_FOUND),
    }
}

async fn next(function: &Function, environment: u64) -> Response {
    let (id, payload) = function.next(environment).await;
    let timeout = i64::try_from(function.timeout.as_millis()).unwrap_or(i64::MAX);
    let response = hyper::Response::builder()
        .header("content-type", "application/json")
        .header("lambda-runtime-aws-request-id", id)
        .header("lambda-runtime-deadline-ms", Utc::now().timestamp_millis().saturating_add(timeout))
        .header("lambda-runtime-invoked-function-arn", names::function_arn(&function.name))
        .header("lambda-runtime-trace-id", "Root=1-00000000-000000000000000000000000;Sampled=0")
        .body(Full::new(payload));
    response.unwrap_or_else(|_| empty(StatusCode::INTERNAL_SERVER_ERROR))
}

fn finish(function: &Function, id: &str, answer: Result<Bytes, InvokeError>) -> Response {
    // As AWS: an answer to an invocation that has timed out is refused.
    empty(if function.finish(id, answer) { StatusCode::ACCEPTED } else { StatusCode::BAD_REQUEST })
}
