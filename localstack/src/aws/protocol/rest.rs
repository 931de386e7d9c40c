//! Services that speak REST: method and path name an operation; path, query and body together are its request.
//!
//! <https://smithy.io/2.0/aws/protocols/aws-restjson1-protocol.html>

use super::{ApiError, DENIED, Outcome, text};
use crate::support::http::{self, Response};
use hyper::Method;
use hyper::header::HeaderValue;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

/// Where an operation lies: its method, its path with labels in braces, and its name.
pub type Route = (Method, &'static str, &'static str);

/// What a request asks for.
pub struct Asked {
    pub operation: &'static str,
    /// Labels, query and body, as JSON.
    pub body: Vec<u8>,
}

/// Reads a request.
///
/// # Errors
/// `UnknownOperationException`, or `SerializationException` for a request that cannot be read.
pub fn read(
    routes: &[Route],
    (method, path, query): (&Method, &str, &str),
    body: &[u8],
) -> Result<Asked, ApiError> {
    let found = routes.iter().filter(|(of, ..)| of == method);
    let found = found.filter_map(|(_, pattern, operation)| Some((*operation, labels(pattern, path)?))).next();
    let (operation, labels) = found.ok_or_else(|| ApiError::unknown(&format!("{method} {path}")))?;
    let pairs = form_urlencoded::parse(query.as_bytes()).into_owned().chain(labels);
    let fields = text::object(pairs).ok_or_else(|| unreadable("a parameter is there twice"))?;
    let mut request: Map<String, Value> = match body {
        b"" => Map::new(),
        body => serde_json::from_slice(body).map_err(|error| unreadable(&error.to_string()))?,
    };
    request.extend(fields);
    Ok(Asked { operation, body: Value::Object(request).to_string().into_bytes() })
}

fn unreadable(why: &str) -> ApiError {
    ApiError::new("SerializationException", why)
}

/// The values of a pattern's labels in a path that it fits. Clients write a `:` in a label as `%3A`.
fn labels(pattern: &str, path: &str) -> Option<Vec<(String, String)>> {
    let (pattern, path): (Vec<&str>, Vec<&str>) =
        (pattern.split('/').collect(), path.trim_end_matches('/').split('/').collect());
    if pattern.len() != path.len() {
        return None;
    }
    let mut labels = Vec::new();
    for (part, text) in pattern.into_iter().zip(path) {
        match part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
            Some(label) => {
                let text = percent_decode_str(text).decode_utf8().ok().filter(|text| !text.is_empty())?;
                labels.push((label.to_owned(), text.into_owned()));
            }
            None if part == text => {}
            None => return None,
        }
    }
    Some(labels)
}

/// An answer: an error's type stands in a header.
pub fn answer(outcome: Outcome) -> Response {
    const JSON: &str = "application/json";
    match outcome {
        Ok((status, body)) => http::json(status, JSON, body),
        Err(error) => {
            let status = if error.code == DENIED { 403 } else { error.status };
            let mut response = http::json(status, JSON, error.to_json());
            response.headers_mut().insert("x-amzn-errortype", HeaderValue::from_static(error.code));
            response
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTES: [Route; 2] = [(Method::GET, "/f/{Name}/c", "C"), (Method::GET, "/f", "L")];

    fn asked(path: &str, query: &str, body: &str) -> Result<(&'static str, Value), &'static str> {
        let asked =
            read(&ROUTES, (&Method::GET, path, query), body.as_bytes()).map_err(|error| error.code)?;
        Ok((asked.operation, serde_json::from_slice(&asked.body).unwrap()))
    }

    /// Guards: an ARN in a path is found, and no part of a request is dropped.
    #[test]
    fn path_query_and_body_are_one_request() {
        let whole = serde_json::json!({"Name": "arn:aws:x:y", "Q": "1", "B": 2});
        assert_eq!(asked("/f/arn%3Aaws%3Ax:y/c", "Q=1", r#"{"B": 2}"#), Ok(("C", whole)));
        assert_eq!(asked("/f/", "", ""), Ok(("L", serde_json::json!({}))));
        assert_eq!(asked("/f", "a=1&a=2", ""), Err("SerializationException"));
        assert_eq!(asked("/f", "", "[]"), Err("SerializationException"));
        assert_eq!(asked("/f/x", "", ""), Err("UnknownOperationException"));
    }
}
