//! The API's own description: served as it is committed, and asked when a request matches no route.

use chassis::Failure;
use chassis::http::{Problem, Request, Response};
use serde_json::Value;
use std::sync::OnceLock;

/// Made from `contracts/openapi.yaml` by `just bless`.
const DOCUMENT: &str = include_str!("../../../../contracts/openapi.json");

fn parsed() -> Option<&'static Value> {
    static PARSED: OnceLock<Option<Value>> = OnceLock::new();
    PARSED.get_or_init(|| serde_json::from_str(DOCUMENT).ok()).as_ref()
}

/// The answer to `GET /openapi.json`.
///
/// # Errors
/// 500 when the committed document is not JSON, which a test excludes.
pub fn document() -> Result<Response, Problem> {
    let document = parsed().ok_or_else(|| Failure::Poison("openapi.json is not JSON".into()))?;
    Ok(Response::json(200, document.clone()).with("cache-control", "max-age=300"))
}

/// The problem of a request that matches no route: its path has other methods, or there is no such path.
#[must_use]
pub fn no_such_route(request: &Request) -> Problem {
    let methods = parsed().map(|document| methods(document, &request.raw_path)).unwrap_or_default();
    if methods.is_empty() {
        return Problem::not_found(
            "there is nothing at this path; GET /openapi.json describes what there is",
        );
    }
    let allowed = methods.join(", ");
    let detail = format!("this path takes {allowed}, not {}", request.method);
    Problem::new(405, "METHOD_NOT_ALLOWED", detail).saying("allow", allowed)
}

/// The methods that the document names for a path.
fn methods(document: &Value, path: &str) -> Vec<String> {
    let Some(paths) = document["paths"].as_object() else { return Vec::new() };
    let item = paths.iter().find(|(template, _)| matches(template, path)).map(|(_, item)| item);
    let names = item.and_then(Value::as_object).into_iter().flat_map(|item| item.keys());
    names.filter(|name| *name != "parameters").map(|name| name.to_uppercase()).collect()
}

/// Whether a path has the shape of a template, `/orders/{id}`.
#[must_use]
pub fn matches(template: &str, path: &str) -> bool {
    let (mut wanted, mut got) = (template.split('/'), path.split('/'));
    loop {
        match (wanted.next(), got.next()) {
            (None, None) => return true,
            (Some(wanted), Some(got)) if wanted == got || (wanted.starts_with('{') && !got.is_empty()) => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(method: &str, path: &str) -> (u16, Option<String>) {
        let request = Request { method: method.into(), raw_path: path.into(), ..Request::default() };
        let response = Response::from(no_such_route(&request));
        let allow = response.headers.into_iter().find(|(name, _)| *name == "allow");
        (response.status, allow.map(|(_, value)| value))
    }

    #[test]
    fn a_known_path_with_another_method_says_which_it_takes() {
        assert_eq!(problem("DELETE", "/orders/1"), (405, Some("GET".into())));
        assert_eq!(problem("PATCH", "/products/x"), (405, Some("GET, PUT".into())));
        assert_eq!(problem("GET", "/nothing"), (404, None));
        assert_eq!(problem("GET", "/orders/"), (404, None));
    }
}
