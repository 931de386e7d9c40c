//! Cross-origin requests, as an HTTP API with a CORS configuration answers them. A request is routed first, also one with the
//! method OPTIONS: the gateway answers a preflight itself only where no route matches it, and `$default` matches every request.
//! The gateway ignores the CORS headers of an integration's answer and adds its own; its own refusals (401, 403, 429, 5xx)
//! get none here, because AWS promises them for answers of integrations alone. Without a configuration it adds nothing, and
//! browsers keep other origins out.
//!
//! <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-cors.html>

use crate::support::http::{self, Response};
use crate::template::resources::Cors;
use anyhow::{Result, ensure};
use hyper::header::{HeaderName, HeaderValue, ORIGIN};
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};

/// How the names of all CORS headers of an answer begin.
const PREFIX: &str = "access-control-";
/// The lists of origins that API Gateway knows beside single ones.
const ANY: [&str; 3] = ["*", "http://*", "https://*"];

/// Refuses an origin that no browser would send: one with a path, or with a wildcard that API Gateway does not know.
///
/// # Errors
/// Names the origin.
pub fn check(cors: &Cors) -> Result<()> {
    for origin in &cors.allow_origins {
        let host = origin.strip_prefix("https://").or(origin.strip_prefix("http://")).unwrap_or_default();
        let is_one = !host.is_empty() && !host.contains(['/', '*']);
        ensure!(is_one || ANY.contains(&origin.as_str()), "AllowOrigins: {origin:?} is no origin");
    }
    Ok(())
}

/// Whether a browser asks what it may send. A request without these headers gets no CORS headers from AWS either.
#[must_use]
pub fn is_preflight(parts: &Parts) -> bool {
    let has = |name| parts.headers.contains_key(name);
    parts.method == Method::OPTIONS && has("origin") && has("access-control-request-method")
}

/// The gateway's own answer to a preflight.
#[must_use]
pub fn preflight(cors: &Cors, parts: &Parts) -> Response {
    let mut response = http::empty(StatusCode::NO_CONTENT);
    apply(cors, parts, &mut response);
    response
}

/// Replaces the CORS headers of an integration's answer by those by which a browser lets an allowed origin in.
pub fn apply(cors: &Cors, parts: &Parts, response: &mut Response) {
    let headers = response.headers_mut();
    let theirs: Vec<HeaderName> =
        headers.keys().filter(|n| n.as_str().starts_with(PREFIX)).cloned().collect();
    for name in theirs {
        headers.remove(name);
    }
    let origin = text(parts.headers.get(ORIGIN));
    let Some(allowed) = origin.and_then(|origin| allowed(cors, origin)) else { return };
    set(response, "access-control-allow-origin", allowed);
    set(response, "access-control-expose-headers", &cors.expose_headers.join(","));
    if is_preflight(parts) {
        set(response, "access-control-allow-methods", &cors.allow_methods.join(","));
        set(response, "access-control-allow-headers", &cors.allow_headers.join(","));
        set(response, "access-control-max-age", &cors.max_age.to_string());
    }
}

fn text(header: Option<&HeaderValue>) -> Option<&str> {
    header.and_then(|header| header.to_str().ok())
}

/// Whether the list has the origin of a header.
#[must_use]
pub fn allows(cors: &Cors, origin: Option<&HeaderValue>) -> bool {
    text(origin).is_some_and(|origin| allowed(cors, origin).is_some())
}

/// What `access-control-allow-origin` says to an origin; none for one that is not on the list.
fn allowed<'a>(cors: &Cors, origin: &'a str) -> Option<&'a str> {
    let covers = |one: &str| match one.strip_suffix("://*") {
        Some(scheme) => origin.strip_prefix(scheme).is_some_and(|rest| rest.starts_with("://")),
        None => one == origin,
    };
    let all = cors.allow_origins.iter().any(|one| one == "*");
    if all { Some("*") } else { cors.allow_origins.iter().any(|one| covers(one)).then_some(origin) }
}

fn set(response: &mut Response, name: &'static str, value: &str) {
    // A text of the template or the client that is no valid header value is left out.
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(HeaderName::from_static(name), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cors(origins: &[&str]) -> Cors {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Cors {
            allow_origins: texts(origins),
            allow_methods: texts(&["GET", "POST"]),
            allow_headers: texts(&["authorization"]),
            expose_headers: texts(&["etag"]),
            max_age: 60,
        }
    }

    fn asked(method: Method, headers: &[(&str, &str)]) -> Parts {
        let mut request = hyper::Request::builder().method(method).uri("/orders");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    /// Guards: the list of origins, with the wildcards that API Gateway knows and no others.
    #[test]
    fn an_origin_is_on_the_list_or_gets_nothing() {
        let (shop, other) = ("https://shop.example", "https://shop.example.thief.example");
        assert_eq!(allowed(&cors(&[shop]), shop), Some(shop));
        assert_eq!(allowed(&cors(&[shop]), other), None);
        assert_eq!(allowed(&cors(&["https://*"]), shop), Some(shop));
        assert_eq!(allowed(&cors(&["https://*"]), "http://shop.example"), None);
        assert_eq!(allowed(&cors(&["*"]), shop), Some("*"));
        assert!(check(&cors(&[shop, "*", "http://localhost:5173"])).is_ok());
        for bad in ["shop.example", "https://shop.example/", "https://*.example", "https://"] {
            assert!(check(&cors(&[bad])).is_err(), "{bad}");
        }
    }

    /// Guards: the gateway's headers instead of the integration's, and none for a request without an origin.
    #[test]
    fn the_integrations_own_headers_are_ignored() {
        let answered = |parts: &Parts| {
            let mut response = http::json(200, "application/json", "{}");
            set(&mut response, "access-control-allow-origin", "*");
            set(&mut response, "access-control-allow-credentials", "true");
            apply(&cors(&["https://shop.example"]), parts, &mut response);
            let named = response.headers().iter().filter(|(name, _)| name.as_str().starts_with(PREFIX));
            named.map(|(name, value)| format!("{name}={}", value.to_str().unwrap())).collect::<Vec<_>>()
        };
        let origin = ("origin", "https://shop.example");
        assert_eq!(answered(&asked(Method::GET, &[])), Vec::<String>::new());
        assert_eq!(
            answered(&asked(Method::GET, &[("origin", "https://thief.example")])),
            Vec::<String>::new()
        );
        let got = answered(&asked(Method::GET, &[origin]));
        assert_eq!(
            got,
            ["access-control-allow-origin=https://shop.example", "access-control-expose-headers=etag"]
        );
        let preflight = asked(Method::OPTIONS, &[origin, ("access-control-request-method", "POST")]);
        assert_eq!(answered(&preflight).len(), 5);
    }
}
