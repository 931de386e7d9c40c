//! API Gateway's HTTP APIs: routes to functions, payload format 2.0, behind the stage's throttling and the routes'
//! authorizer.
//!
//! <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-routes.html>
//! <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html>

pub mod cors;
pub mod throttle;

use crate::aws::apigateway::throttle::Throttle;
use crate::aws::lambda::{Function, Functions};
use crate::outside::token_issuer::{Denied, Issuer};
use crate::support::http::{self, Incame, Response};
use crate::template::names::{self, ACCOUNT};
use crate::template::resources::{self, Cors, JwtConfiguration, Model};
use anyhow::{Context, Result, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use chrono::Utc;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, StatusCode};
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// The most bytes of a body that API Gateway passes on.
const MAX_BODY_BYTES: usize = 10 * 1024 * 1024;

struct Route {
    key: String,
    method: String,
    segments: Vec<String>,
    function: Arc<Function>,
    timeout: Duration,
    /// Whom it lets in; everybody without one.
    guard: Option<Guard>,
}

/// A route's authorizer, and the scopes of which a token needs one.
struct Guard {
    wanted: JwtConfiguration,
    scopes: Vec<String>,
}

/// The one API.
pub struct Gateway {
    routes: Vec<Route>,
    issuer: Issuer,
    throttle: Option<Throttle>,
    cors: Option<Cors>,
}

/// The route that takes what no other does.
const DEFAULT: &str = "$default";

impl Gateway {
    /// The routes as declared.
    ///
    /// # Errors
    /// When a route names an integration or function that nobody declared, or a function that does not let
    /// API Gateway invoke it.
    pub fn new(model: &Model, functions: &Functions, issuer: Issuer) -> Result<Self> {
        ensure!(model.apis.len() <= 1, "the local stack runs one HTTP API, the templates declare more");
        let routes = model.routes.iter().map(|declared| Route::new(declared, model, functions));
        let settings = model.api_stages.iter().find_map(|stage| stage.default_route_settings.as_ref());
        Ok(Self {
            routes: routes.collect::<Result<_>>()?,
            issuer,
            throttle: settings.map(|settings| Throttle::new(settings, Instant::now())),
            cors: model.apis.first().and_then(|api| api.cors_configuration.clone()),
        })
    }

    fn find(&self, method: &Method, path: &str) -> Option<(&Route, Map<String, Value>)> {
        let segments: Vec<&str> = path.split('/').collect();
        let exact = self.routes.iter().filter(|route| route.method == method.as_str()).find_map(|route| {
            let parameters = bind(&route.segments, &segments)?;
            Some((route, parameters))
        });
        let default = || self.routes.iter().find(|route| route.key == DEFAULT).map(|r| (r, Map::new()));
        exact.or_else(default)
    }
}

impl Route {
    fn new(declared: &resources::Route, model: &Model, functions: &Functions) -> Result<Self> {
        let key = &declared.route_key;
        let id = declared.target.strip_prefix("integrations/").unwrap_or(&declared.target);
        let integration =
            model.integrations.get(id).with_context(|| format!("{key}: no integration {id}"))?;
        let function = functions.get(&integration.integration_uri)?;
        let may = model.permissions.iter().any(|p| {
            names::last_part(&p.function_name) == function.name && p.principal == "apigateway.amazonaws.com"
        });
        ensure!(may, "{} may not be invoked by API Gateway: no permission allows it", function.name);
        let (method, path) = match key.as_str() {
            DEFAULT => ("", ""),
            key => key.split_once(' ').context("a route key is METHOD /path")?,
        };
        Ok(Self {
            key: key.clone(),
            method: method.to_owned(),
            segments: path.split('/').map(str::to_owned).collect(),
            function,
            timeout: Duration::from_millis(integration.timeout_in_millis.unwrap_or(30_000)),
            guard: Guard::new(declared, model)?,
        })
    }
}

impl Guard {
    fn new(declared: &resources::Route, model: &Model) -> Result<Option<Self>> {
        let key = &declared.route_key;
        let scopes = declared.authorization_scopes.clone().unwrap_or_default();
        if declared.authorization_type.as_deref().unwrap_or("NONE") == "NONE" {
            ensure!(scopes.is_empty(), "{key}: scopes without an authorizer would let everybody in");
            return Ok(None);
        }
        let id =
            declared.authorizer_id.as_deref().with_context(|| format!("{key}: JWT without AuthorizerId"))?;
        let authorizer = model.authorizers.get(id).with_context(|| format!("{key}: no authorizer {id}"))?;
        Ok(Some(Self { wanted: authorizer.jwt_configuration.clone(), scopes }))
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
    let Some(cors) = &gateway.cors else { return gateway.route(&parts, body).await };
    if let Some(answer) = cors::preflight(cors, &parts) {
        return answer;
    }
    let mut response = gateway.route(&parts, body).await;
    cors::allow(cors, &parts, &mut response);
    response
}

/// Turns a request away as API Gateway does.
fn denied(denied: Denied, guard: &Guard) -> Response {
    let (status, text, challenge) = match denied {
        Denied::Unauthorized => (StatusCode::UNAUTHORIZED, "Unauthorized", "Bearer".to_owned()),
        Denied::Forbidden => {
            let challenge =
                format!("Bearer scope=\"{}\" error=\"insufficient_scope\"", guard.scopes.join(" "));
            (StatusCode::FORBIDDEN, "Forbidden", challenge)
        }
    };
    let mut response = message(status, text);
    if let Ok(challenge) = challenge.parse() {
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    response
}

/// 429, with the seconds after which there is room again. (API Gateway itself leaves the header out.)
fn too_many(wait: Duration) -> Response {
    let mut response = message(StatusCode::TOO_MANY_REQUESTS, "Too Many Requests");
    response.headers_mut().insert(RETRY_AFTER, (wait.as_secs() + 1).into());
    response
}

impl Gateway {
    async fn route(&self, parts: &Parts, body: Incoming) -> Response {
        if let Some(Err(wait)) = self.throttle.as_ref().map(|throttle| throttle.take(Instant::now())) {
            return too_many(wait);
        }
        let Some((route, parameters)) = self.find(&parts.method, parts.uri.path()) else {
            return message(StatusCode::NOT_FOUND, "Not Found");
        };
        let mut claims = None;
        if let Some(guard) = &route.guard {
            let token = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
            match self.issuer.check(token, &guard.wanted, &guard.scopes) {
                Ok(checked) => claims = Some(checked),
                Err(reason) => return denied(reason, guard),
            }
        }
        invoke(route, parts, (parameters, claims), body).await
    }
}

type About = (Map<String, Value>, Option<Map<String, Value>>);

async fn invoke(route: &Route, parts: &Parts, (parameters, claims): About, body: Incoming) -> Response {
    let body = match http::body(body, MAX_BODY_BYTES).await {
        Ok(body) => body,
        Err(StatusCode::PAYLOAD_TOO_LARGE) => {
            return message(StatusCode::PAYLOAD_TOO_LARGE, "Request Too Long");
        }
        Err(status) => return message(status, status.canonical_reason().unwrap_or_default()),
    };
    let mut event = event(route, parts, parameters, &body);
    if let Some(claims) = claims {
        event["requestContext"]["authorizer"] = json!({"jwt": {"claims": claims, "scopes": null}});
    }
    let event = event.to_string();
    match tokio::time::timeout(route.timeout, route.function.invoke(event.into())).await {
        Ok(Ok(answer)) => read_answer(&answer),
        Ok(Err(error)) => {
            tracing::warn!("{}: {error}", route.key);
            message(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error")
        }
        Err(_) => message(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable"),
    }
}

fn event(route: &Route, parts: &Parts, parameters: Map<String, Value>, body: &Bytes) -> Value {
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
    event
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
