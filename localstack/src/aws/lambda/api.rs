//! Lambda's one call here: Invoke, which waits for the function's answer.
//!
//! <https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html>

use super::function::InvokeError;
use super::functions::Functions;
use crate::aws::protocol::ApiError;
use crate::support::http::{self, Response};
use crate::template::names;
use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::HeaderValue;
use serde_json::json;

/// The path of an invocation begins so; the function's name and `/invocations` follow.
pub const INVOKE: &str = "/2015-03-31/functions/";

/// Invokes a function; its own error is an answer too. `allow` refuses a caller that may not do an action on an ARN.
pub async fn invoke(
    functions: &Functions,
    name_or_arn: &str,
    allow: impl Fn(&str, &str) -> Result<(), ApiError>,
    payload: Bytes,
) -> Response {
    let name = names::last_part(name_or_arn);
    let Ok(function) = functions.get(name) else { return http::empty(StatusCode::NOT_FOUND) };
    if allow("lambda:InvokeFunction", &names::function_arn(name)).is_err() {
        return http::empty(StatusCode::FORBIDDEN);
    }
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
