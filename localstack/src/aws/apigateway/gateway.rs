//! The HTTP API: routes to functions, behind the stage's throttling and the routes' authorizer.

use super::access_log::{AccessLog, Entry};
use super::authorizer::{Authorizer, Denied};
use super::cors;
use super::payload::{self, Invocation};
use super::routes::{Authorization, Route, Routes};
use super::throttle::Throttles;
use crate::aws::lambda::{Functions, InvokeError};
use crate::outside::token_issuer::TokenIssuer;
use crate::support::http::{self, Request, Response};
use crate::support::meter::{Meter, Unit};
use crate::template::resources::{Cors, Model};
use crate::terminal::{Answered, Terminal};
use anyhow::{Result, ensure};
use bytes::Bytes;
use chrono::Utc;
use hyper::StatusCode;
use hyper::body::{Body, Incoming};
use hyper::header::{AUTHORIZATION, ORIGIN, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::http::request::Parts;
use serde_json::json;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// The header by which the services name a request.
const CORRELATION: &str = "x-correlation-id";

/// The most bytes of a body that API Gateway passes on.
const MAX_BODY_BYTES: usize = 10 * 1024 * 1024;

pub struct Gateway {
    routes: Routes,
    authorizer: Authorizer,
    throttles: Throttles,
    cors: Option<Cors>,
    log: Option<AccessLog>,
    meter: Meter,
    terminal: Terminal,
}

impl Gateway {
    /// The API as declared; tokens are those of `issuer`, its access log goes to the folder `logs`, and each request is shown at
    /// the terminal.
    ///
    /// # Errors
    /// When the templates declare more than one API, a route that leads nowhere, settings for a route that there is not, an
    /// origin that is none, or an access log that AWS refuses.
    pub fn new(
        model: &Model,
        functions: &Functions,
        issuer: &TokenIssuer,
        (logs, meter, terminal): (&Path, &Meter, &Terminal),
    ) -> Result<Self> {
        ensure!(model.apis.len() <= 1, "the local stack runs one HTTP API, the templates declare more");
        let stage = model.api_stages.first();
        let routes = Routes::new(model, functions)?;
        let throttles = Throttles::new(stage, Instant::now());
        for key in throttles.routes() {
            // AWS's own text.
            ensure!(routes.has(key), "Unable to find Route by key {key} within the provided RouteSettings");
        }
        let cors = model.apis.first().and_then(|api| api.cors_configuration.clone());
        cors.as_ref().map_or(Ok(()), cors::check)?;
        let settings = stage.and_then(|stage| stage.access_log_settings.as_ref());
        let log = settings.map(|settings| AccessLog::open(settings, &model.log_groups, logs)).transpose()?;
        Ok(Self {
            routes,
            authorizer: Authorizer::new(issuer),
            throttles,
            cors,
            log,
            meter: meter.clone(),
            terminal: terminal.clone(),
        })
    }

    async fn route(&self, parts: &Parts, body: Incoming, entry: &mut Entry) -> Response {
        let found = self.routes.find(&parts.method, parts.uri.path());
        let key = found.as_ref().map(|(route, _)| route.key.as_str());
        entry.route_key = key.unwrap_or_default().to_owned();
        if let Err(wait) = self.throttles.take(key, Instant::now()) {
            return too_many(wait);
        }
        let Some((route, parameters)) = found else { return self.unrouted(parts) };
        let mut token = None;
        if route.authorization.is_none() && self.is_foreign(parts) {
            return message(
                StatusCode::FORBIDDEN,
                "pages of other origins may not change what needs no token",
            );
        }
        if let Some(Authorization { jwt, scopes }) = &route.authorization {
            let header = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
            match self.authorizer.check(header, jwt, scopes) {
                Ok(checked) => token = Some(checked),
                Err(reason) => return denied(reason, scopes, entry),
            }
        }
        let body = match http::body(body, MAX_BODY_BYTES).await {
            Ok(body) => body,
            Err(StatusCode::PAYLOAD_TOO_LARGE) => {
                return message(StatusCode::PAYLOAD_TOO_LARGE, "Request Too Long");
            }
            Err(status) => return message(status, status.canonical_reason().unwrap_or_default()),
        };
        let (request_id, time) = (entry.request_id.clone(), entry.time.clone());
        let (request_id, time) = (request_id.as_str(), time.as_str());
        let body = &body;
        let invocation =
            Invocation { route_key: &route.key, parts, parameters, token, body, request_id, time };
        self.integrate(route, &invocation, entry).await
    }

    /// Whether a page of an origin that is not allowed would change something. A browser sends such a request without asking, and
    /// keeps the answer from the page alone. AWS lets it in, but what runs there wants a token, which no other page has.
    fn is_foreign(&self, parts: &Parts) -> bool {
        let origin = parts.headers.get(ORIGIN);
        let is_allowed = |cors: &Cors| cors::allows(cors, origin);
        origin.is_some() && !parts.method.is_safe() && !self.cors.as_ref().is_some_and(is_allowed)
    }

    /// The answer to a request that matches no route.
    fn unrouted(&self, parts: &Parts) -> Response {
        match &self.cors {
            Some(cors) if cors::is_preflight(parts) => cors::preflight(cors, parts),
            _ => message(StatusCode::NOT_FOUND, "Not Found"),
        }
    }

    /// The integration's answer, with the API's CORS headers.
    async fn integrate(&self, route: &Route, invocation: &Invocation<'_>, entry: &mut Entry) -> Response {
        let parts = invocation.parts;
        let started = Instant::now();
        let answered = invoke(route, payload::event(invocation).to_string().into()).await;
        entry.integration_milliseconds = Some(started.elapsed().as_millis());
        match answered {
            Ok(mut response) => {
                self.cors.iter().for_each(|cors| cors::apply(cors, parts, &mut response));
                response
            }
            Err((status, reason)) => {
                entry.integration_error = Some(reason);
                message(status, status.canonical_reason().unwrap_or_default())
            }
        }
    }
}

/// Answers a request through its route's function.
pub async fn answer(gateway: Arc<Gateway>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let started = Instant::now();
    let mut entry = Entry {
        request_id: Uuid::new_v4().to_string(),
        time: Utc::now().format("%d/%b/%Y:%H:%M:%S +0000").to_string(),
        method: parts.method.to_string(),
        ..Entry::default()
    };
    gateway.meter.count(Unit::ApiRequests, &entry.method, 1);
    let response = gateway.route(&parts, body, &mut entry).await;
    entry.status = response.status().as_u16();
    entry.response_bytes = response.body().size_hint().lower();
    entry.milliseconds = started.elapsed().as_millis();
    gateway.log.iter().for_each(|log| log.write(&entry));
    gateway.terminal.request(&Answered {
        method: &entry.method,
        path: parts.uri.path(),
        status: entry.status,
        milliseconds: entry.milliseconds,
        correlation_id: response.headers().get(CORRELATION).and_then(|id| id.to_str().ok()),
    });
    response
}

/// The function's answer, or the gateway's status and the reason in the access log.
async fn invoke(route: &Route, event: Bytes) -> Result<Response, (StatusCode, String)> {
    let broken = |reason: String| (StatusCode::INTERNAL_SERVER_ERROR, reason);
    match tokio::time::timeout(route.timeout, route.function.invoke(event)).await {
        Ok(Ok(answer)) => {
            payload::response(&answer).ok_or_else(|| broken("the answer is not in payload format 2.0".into()))
        }
        // What an HTTP API answers for a throttled function is not documented; users report 503.
        Ok(Err(error @ InvokeError::Throttled(_))) => {
            Err((StatusCode::SERVICE_UNAVAILABLE, error.to_string()))
        }
        Ok(Err(error)) => {
            tracing::warn!("{}: {error}", route.key);
            // What the function said may quote a request, and has quotes that would end the text in a line of JSON.
            let said = matches!(error, InvokeError::Failed(_));
            Err(broken(if said { "the function failed".into() } else { error.to_string() }))
        }
        Err(_) => {
            let reason = format!("no answer within {} ms", route.timeout.as_millis());
            Err((StatusCode::SERVICE_UNAVAILABLE, reason))
        }
    }
}

fn message(status: StatusCode, text: &str) -> Response {
    http::json(status.as_u16(), "application/json", json!({ "message": text }).to_string())
}

/// Refuses a request as API Gateway does.
fn denied(denied: Denied, scopes: &[String], entry: &mut Entry) -> Response {
    let (status, text, challenge) = match denied {
        Denied::Unauthorized => (StatusCode::UNAUTHORIZED, "Unauthorized", "Bearer".to_owned()),
        Denied::Forbidden => {
            let challenge = format!("Bearer scope=\"{}\" error=\"insufficient_scope\"", scopes.join(" "));
            (StatusCode::FORBIDDEN, "Forbidden", challenge)
        }
    };
    entry.authorizer_error = Some(text);
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
