//! The HTTP API: routes to functions, behind the stage's throttling and the routes' authorizer.

use super::authorizer::{Authorizer, Denied};
use super::cors;
use super::payload::{self, Invocation};
use super::routes::{Authorization, Route, Routes};
use super::throttle::Throttle;
use crate::aws::lambda::{Functions, InvokeError};
use crate::outside::token_issuer::TokenIssuer;
use crate::support::http::{self, Request, Response};
use crate::template::resources::{Cors, Model};
use anyhow::{Result, ensure};
use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::http::request::Parts;
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The most bytes of a body that API Gateway passes on.
const MAX_BODY_BYTES: usize = 10 * 1024 * 1024;

pub struct Gateway {
    routes: Routes,
    authorizer: Authorizer,
    throttle: Option<Throttle>,
    cors: Option<Cors>,
}

impl Gateway {
    /// The API as declared; tokens are those of `issuer`.
    ///
    /// # Errors
    /// When the templates declare more than one API, or a route that leads nowhere.
    pub fn new(model: &Model, functions: &Functions, issuer: &TokenIssuer) -> Result<Self> {
        ensure!(model.apis.len() <= 1, "the local stack runs one HTTP API, the templates declare more");
        let settings = model.api_stages.iter().find_map(|stage| stage.default_route_settings.as_ref());
        Ok(Self {
            routes: Routes::new(model, functions)?,
            authorizer: Authorizer::new(issuer),
            throttle: settings.map(|settings| Throttle::new(settings, Instant::now())),
            cors: model.apis.first().and_then(|api| api.cors_configuration.clone()),
        })
    }

    async fn route(&self, parts: &Parts, body: Incoming) -> Response {
        if let Some(Err(wait)) = self.throttle.as_ref().map(|throttle| throttle.take(Instant::now())) {
            return too_many(wait);
        }
        let Some((route, parameters)) = self.routes.find(&parts.method, parts.uri.path()) else {
            return message(StatusCode::NOT_FOUND, "Not Found");
        };
        let mut claims = None;
        if let Some(Authorization { jwt, scopes }) = &route.authorization {
            let token = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
            match self.authorizer.check(token, jwt, scopes) {
                Ok(checked) => claims = Some(checked),
                Err(reason) => return denied(reason, scopes),
            }
        }
        let body = match http::body(body, MAX_BODY_BYTES).await {
            Ok(body) => body,
            Err(StatusCode::PAYLOAD_TOO_LARGE) => {
                return message(StatusCode::PAYLOAD_TOO_LARGE, "Request Too Long");
            }
            Err(status) => return message(status, status.canonical_reason().unwrap_or_default()),
        };
        invoke(route, Invocation { route_key: &route.key, parts, parameters, claims, body: &body }).await
    }
}

/// Answers a request through its route's function.
pub async fn answer(gateway: Arc<Gateway>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Some(cors) = &gateway.cors else { return gateway.route(&parts, body).await };
    if let Some(answer) = cors::preflight(cors, &parts) {
        return answer;
    }
    let mut response = gateway.route(&parts, body).await;
    cors::allow(cors, &parts, &mut response);
    response
}

async fn invoke(route: &Route, invocation: Invocation<'_>) -> Response {
    let event = payload::event(invocation).to_string();
    let broken = || message(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error");
    match tokio::time::timeout(route.timeout, route.function.invoke(event.into())).await {
        Ok(Ok(answer)) => payload::response(&answer).unwrap_or_else(broken),
        // What an HTTP API answers for a throttled function is not documented; users report 503.
        Ok(Err(InvokeError::Throttled(_))) => message(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable"),
        Ok(Err(error)) => {
            tracing::warn!("{}: {error}", route.key);
            broken()
        }
        Err(_) => message(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable"),
    }
}

fn message(status: StatusCode, text: &str) -> Response {
    http::json(status.as_u16(), "application/json", json!({ "message": text }).to_string())
}

/// Refuses a request as API Gateway does.
fn denied(denied: Denied, scopes: &[String]) -> Response {
    let (status, text, challenge) = match denied {
        Denied::Unauthorized => (StatusCode::UNAUTHORIZED, "Unauthorized", "Bearer".to_owned()),
        Denied::Forbidden => {
            let challenge = format!("Bearer scope=\"{}\" error=\"insufficient_scope\"", scopes.join(" "));
            (StatusCode::FORBIDDEN, "Forbidden", challenge)
        }
    };
    let mut response = message(status, text);
    if let Ok(challenge) = challenge.parse() {
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    response
}

/// 429, with the seconds until the next token. (API Gateway itself leaves the header out.)
fn too_many(wait: Duration) -> Response {
    let mut response = message(StatusCode::TOO_MANY_REQUESTS, "Too Many Requests");
    response.headers_mut().insert(RETRY_AFTER, (wait.as_secs() + 1).into());
    response
}
