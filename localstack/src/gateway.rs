//! API Gateway's HTTP APIs: routes to functions, payload format 2.0.
//!
//! <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-routes.html>
//! <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html>

use crate::http::{self, Incame, Response};
use crate::lambda::{Function, Functions};
use crate::template::names::{self, ACCOUNT};
use crate::template::resources::Model;
use anyhow::{Context, Result, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use chrono::Utc;
use http_body_util::Full;
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, StatusCode};
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// The most bytes of a body that API Gateway passes on.
const MAX_BODY_BYTES: usize = 10 * 1024 * 1024;

struct Route {
    key: String,
    method: String,
    segments: Vec<String>,
    function: Arc<Function>,
    timeout: Duration,
}

/// The routes of the one API.
pub struct Gateway {
    routes: Vec<Route>,
}

impl Gateway {
    /// The routes as declared.
    ///
    /// # Errors
    /// When a route names an integration or function that nobody declared, or a function that does not let
    /// API Gateway invoke it.
    pub fn new(model: &Model, functions: &Functions) -> Result<Self> {
        ensure!(model.apis.len() <= 1, "the local stack runs one HTTP API, the templates declare more");
        let routes = model.routes.iter().map(|declared| {
            let id = declared.target.strip_prefix("integrations/").unwrap_or(&declared.target);
            let integration = model.integrations.get(id);
            let integration =
                integration.with_context(|| format!("{}: no integration {id}", declared.route_key))?;
            let function = functions.get(&integration.integration_uri)?;
            let may = model.permissions.iter().any(|p| {
                names::last_part(&p.function_name) == function.name
                    && p.principal == "apigateway.amazonaws.com"
            });
            ensure!(may, "{} may not be invoked by API Gateway: no permission allows it", function.name);
            let (method, path) = declared.route_key.split_once(' ').context("a route key is METHOD /path")?;
            Ok(Route {
                key: declared.route_key.clone(),
                method: method.to_owned(),
                segments: path.split('/').map(str::to_owned).collect(),
                function,
                timeout: Duration::from_millis(integration.timeout_in_millis.unwrap_or(30_000)),
            })
        });
        Ok(Self { routes: routes.collect::<Result<_>>()? })
    }

    fn find(&self, method: &Method, path: &str) -> Option<(&Route, Map<String, Value>)> {
        let segments: Vec<&str> = path.split('/').collect();
        self.routes.iter().filter(|route| route.method == method.as_str()).find_map(|route| {
            let parameters = bind(&route.segments, &segments)?;
            Some((route, parameters))
        })
    }
}

/// The path parameters when `path` has the shape of `pattern`.
fn bind(pattern: &[String], path: &[&str]) -> Option<Map<String, Value>> {
    if pattern.len() != path.len() {
        return None;
    }
    let mut parameters = Map::new();
    for (wanted, got) in pattern.iter().zip(path) {
        match wanted.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            Some(_) if got.is_empty() => return None,
            Some(name) => {
                let value = percent_decode_str(got).decode_utf8_lossy().into_owned();
                parameters.insert(name.to_owned(), value.into());
            }
            None if wanted == got => {}
            None => return None,
        }
    }
    Some(parameters)
}

fn message(status: StatusCode, text: &str) -> Response {
    http::json(status.as_u16(), "application/json", json!({ "message": text }).to_string())
}

/// Answers a request through its route's function.
pub async fn answer(gateway: Arc<Gateway>, request: Incame) -> Response {
    let (parts, body) = request.into_parts();
    let Some((route, parameters)) = gateway.find(&parts.method, parts.uri.path()) else {
        return message(StatusCode::NOT_FOUND, "Not Found");
    };
    let body = match http::body(body, MAX_BODY_BYTES).await {
        Ok(body) => body,
        Err(StatusCode::PAYLOAD_TOO_LARGE) => {
            return message(StatusCode::PAYLOAD_TOO_LARGE, "Request Too Long");
        }
        Err(status) => return message(status, status.canonical_reason().unwrap_or_default()),
    };
    let event = event(route, &parts, parameters, &body);
    match tokio::time::timeout(route.timeout, route.function.invoke(event.into())).await {
        Ok(Ok(answer)) => read_answer(&answer),
        Ok(Err(error)) => {
            tracing::warn!("{}: {error}", route.key);
            message(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error")
        }
        Err(_) => message(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable"),
    }
}

fn event(route: &Route, parts: &Parts, parameters: Map<String, Value>, body: &Bytes) -> String {
    let query = parts.uri.query().unwrap_or_default();
    let text = std::str::from_utf8(body).ok();
    let mut event = json!({
        "version": "2.0",
        "routeKey": route.key,
        "rawPath": parts.uri.path(),
        "rawQueryString": query,
        "headers": headers(&parts.headers),
        "requestContext": {
            "accountId": ACCOUNT,
            "apiId": "local",
            "domainName": "localhost",
            "domainPrefix": "local",
            "http": {
                "method": parts.method.as_str(),
                "path": parts.uri.path(),
                "protocol": "HTTP/1.1",
                "sourceIp": "127.0.0.1",
                "userAgent": parts.headers.get("user-agent").and_then(|v| v.to_str().ok()).unwrap_or_default(),
            },
            "requestId": Uuid::new_v4().to_string(),
            "routeKey": route.key,
            "stage": "$default",
            "time": Utc::now().format("%d/%b/%Y:%H:%M:%S +0000").to_string(),
            "timeEpoch": Utc::now().timestamp_millis(),
        },
        "isBase64Encoded": text.is_none(),
    });
    if !body.is_empty() {
        event["body"] = text.map_or_else(|| STANDARD.encode(body).into(), Value::from);
    }
    if !parameters.is_empty() {
        event["pathParameters"] = Value::Object(parameters);
    }
    if !query.is_empty() {
        event["queryStringParameters"] = Value::Object(query_parameters(query));
    }
    event.to_string()
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

fn read_answer(answer: &[u8]) -> Response {
    let broken = || message(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error");
    let Ok(answer) = serde_json::from_slice::<Answer>(answer) else { return broken() };
    let body = match (answer.body, answer.is_base64_encoded) {
        (Some(body), true) => match STANDARD.decode(body) {
            Ok(bytes) => Bytes::from(bytes),
            Err(_) => return broken(),
        },
        (Some(body), false) => Bytes::from(body),
        (None, _) => Bytes::new(),
    };
    let mut response = hyper::Response::builder().status(answer.status_code);
    for (name, value) in &answer.headers {
        if let Some(value) = value.as_str() {
            response = response.header(name, value);
        }
    }
    response.body(Full::new(body)).unwrap_or_else(|_| broken())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(path: &str) -> Vec<String> {
        path.split('/').map(str::to_owned).collect()
    }

    #[test]
    fn routes_match_whole_paths() {
        let bound = |path: &str| bind(&pattern("/orders/{id}"), &path.split('/').collect::<Vec<_>>());
        assert_eq!(bound("/orders/a%20b").unwrap()["id"], "a b");
        for other in ["/orders", "/orders/", "/orders/1/events", "/products/1"] {
            assert!(bound(other).is_none(), "{other}");
        }
    }
}
