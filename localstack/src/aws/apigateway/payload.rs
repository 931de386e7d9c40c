//! Payload format 2.0: a request as the event of a function, and the function's answer as a response.
//!
//! <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html>

use super::authorizer::Token;
use crate::support::http::Response;
use crate::template::names::ACCOUNT;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use chrono::Utc;
use http_body_util::Full;
use hyper::HeaderMap;
use hyper::http::request::Parts;
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// A request as its function gets it.
pub struct Invocation<'a> {
    pub route_key: &'a str,
    pub parts: &'a Parts,
    /// The parameters in the path.
    pub parameters: Map<String, Value>,
    /// The token, where the route asks for one.
    pub token: Option<Token>,
    pub request_id: &'a str,
    pub time: &'a str,
    pub body: &'a Bytes,
}

/// The event in payload format 2.0.
pub fn event(invocation: &Invocation<'_>) -> Value {
    let Invocation { route_key, parts, parameters, token, body, .. } = invocation;
    let query = parts.uri.query().unwrap_or_default();
    let text = std::str::from_utf8(body).ok();
    let mut event = json!({
        "version": "2.0",
        "routeKey": route_key,
        "rawPath": decoded(parts.uri.path()),
        "rawQueryString": query,
        "headers": headers(&parts.headers),
        "requestContext": context(invocation),
        "isBase64Encoded": text.is_none(),
    });
    if !body.is_empty() {
        event["body"] = text.map_or_else(|| STANDARD.encode(body).into(), Value::from);
    }
    if !parameters.is_empty() {
        event["pathParameters"] = Value::Object(parameters.clone());
    }
    if !query.is_empty() {
        event["queryStringParameters"] = Value::Object(query_parameters(query));
    }
    if let Some(Token { claims, scopes }) = token {
        event["requestContext"]["authorizer"] = json!({"jwt": {"claims": claims, "scopes": scopes}});
    }
    event
}

/// HTTP APIs decode a path before they hand it over; REST APIs do not.
/// <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-routes.html>
fn decoded(path: &str) -> String {
    percent_decode_str(path).decode_utf8_lossy().into_owned()
}

fn context(invocation: &Invocation<'_>) -> Value {
    let Invocation { route_key, parts, request_id, time, .. } = invocation;
    let user_agent = parts.headers.get("user-agent").and_then(|value| value.to_str().ok());
    json!({
        "accountId": ACCOUNT,
        "apiId": "local",
        "domainName": "localhost",
        "domainPrefix": "local",
        "http": {
            "method": parts.method.as_str(),
            "path": decoded(parts.uri.path()),
            "protocol": "HTTP/1.1",
            "sourceIp": "127.0.0.1",
            "userAgent": user_agent.unwrap_or_default(),
        },
        "requestId": request_id,
        "routeKey": route_key,
        "stage": "$default",
        "time": time,
        "timeEpoch": Utc::now().timestamp_millis(),
    })
}

/// Header names in lower case; values of one name joined by commas.
fn headers(headers: &HeaderMap) -> Map<String, Value> {
    let mut map = Map::new();
    for name in headers.keys() {
        let values: Vec<_> = headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
        map.insert(name.as_str().to_owned(), values.join(",").into());
    }
    map
}

/// Values of one name joined by commas.
fn query_parameters(query: &str) -> Map<String, Value> {
    let mut map: Map<String, Value> = Map::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let joined = match map.get(name.as_ref()).and_then(Value::as_str) {
            Some(before) => format!("{before},{value}"),
            None => value.into_owned(),
        };
        map.insert(name.into_owned(), joined.into());
    }
    map
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    status_code: u16,
    #[serde(default)]
    headers: Map<String, Value>,
    body: Option<String>,
    #[serde(default)]
    is_base64_encoded: bool,
}

/// Reads a function's answer; `None` for an answer that is not in payload format 2.0.
#[must_use]
pub fn response(answer: &[u8]) -> Option<Response> {
    let answer: Answer = serde_json::from_slice(answer).ok()?;
    let body = match (answer.body, answer.is_base64_encoded) {
        (Some(body), true) => Bytes::from(STANDARD.decode(body).ok()?),
        (Some(body), false) => Bytes::from(body),
        (None, _) => Bytes::new(),
    };
    let mut response = hyper::Response::builder().status(answer.status_code);
    for (name, value) in &answer.headers {
        if let Some(value) = value.as_str() {
            response = response.header(name, value);
        }
    }
    response.body(Full::new(body)).ok()
}
