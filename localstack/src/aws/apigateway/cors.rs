//! Cross-origin requests, as an HTTP API answers them: preflights by the gateway itself, and headers on the answers
//! to origins on the list. Without a configuration no header is sent, and browsers keep other origins out.
//!
//! <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-cors.html>

use crate::support::http::{self, Response};
use crate::template::resources::Cors;
use hyper::header::{HeaderName, HeaderValue, ORIGIN, VARY};
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};

/// The answer to a preflight; `None` for any other request.
#[must_use]
pub fn preflight(cors: &Cors, parts: &Parts) -> Option<Response> {
    let asked = parts.headers.contains_key("access-control-request-method");
    if parts.method != Method::OPTIONS || !asked {
        return None;
    }
    let mut response = http::empty(StatusCode::NO_CONTENT);
    if allow(cors, parts, &mut response) {
        set(&mut response, "access-control-allow-methods", &cors.allow_methods.join(","));
        set(&mut response, "access-control-allow-headers", &cors.allow_headers.join(","));
        set(&mut response, "access-control-max-age", &cors.max_age.to_string());
    }
    Some(response)
}

/// Adds the headers by which a browser lets an allowed origin read the answer; returns whether the origin is allowed.
pub fn allow(cors: &Cors, parts: &Parts, response: &mut Response) -> bool {
    let origin = parts.headers.get(ORIGIN).and_then(|origin| origin.to_str().ok());
    let allowed = origin.filter(|origin| cors.allow_origins.iter().any(|one| one == "*" || one == origin));
    response.headers_mut().append(VARY, HeaderValue::from_static("origin"));
    let Some(origin) = allowed else { return false };
    set(response, "access-control-allow-origin", origin);
    set(response, "access-control-expose-headers", &cors.expose_headers.join(","));
    true
}

fn set(response: &mut Response, name: &'static str, value: &str) {
    // A text of the template or the client that is no valid header value is left out.
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(HeaderName::from_static(name), value);
    }
}
