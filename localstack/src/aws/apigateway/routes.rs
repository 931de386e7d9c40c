//! Routes: which function answers a request, and which tokens it asks for.
//!
//! <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-routes.html>

use crate::aws::lambda::{Function, Functions};
use crate::template::names;
use crate::template::resources::{self, JwtConfiguration, Model, Permission};
use anyhow::{Context, Result, ensure};
use hyper::Method;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::Duration;

/// The key of the route for requests that match no other route.
const DEFAULT: &str = "$default";
/// The methods that a route key may name. `ANY` is not implemented.
const METHODS: [&str; 7] = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"];
/// API Gateway's default.
const TIMEOUT_MILLIS: u64 = 30_000;

pub struct Route {
    /// `GET /orders/{id}`
    pub key: String,
    method: String,
    segments: Vec<Segment>,
    pub function: Arc<Function>,
    pub timeout: Duration,
    /// A route without one is open to every caller.
    pub authorization: Option<Authorization>,
}

/// What a token must hold for a route.
pub struct Authorization {
    pub jwt: JwtConfiguration,
    /// A token needs one of them; any token will do where there are none.
    pub scopes: Vec<String>,
}

pub struct Routes(Vec<Route>);

impl Routes {
    /// The routes as declared.
    ///
    /// # Errors
    /// When a route names an integration or function that no template declares, or a function that does not let API
    /// Gateway invoke it.
    pub fn new(model: &Model, functions: &Functions) -> Result<Self> {
        let routes = model.routes.iter().map(|declared| Route::new(declared, model, functions));
        Ok(Self(routes.collect::<Result<_>>()?))
    }

    /// The route of a request, with the parameters in its path: of those that match the most specific one. A full match goes
    /// before one with a greedy variable, and that before `$default`.
    #[must_use]
    pub fn find(&self, method: &Method, path: &str) -> Option<(&Route, Map<String, Value>)> {
        let segments: Vec<&str> = path.split('/').collect();
        let of_method = self.0.iter().filter(|route| route.method == method.as_str());
        let matching = of_method.filter_map(|route| Some((route, bind(&route.segments, &segments)?)));
        let best = matching.min_by_key(|(route, _)| rank(&route.segments));
        let default = || self.0.iter().find(|route| route.key == DEFAULT).map(|r| (r, Map::new()));
        best.or_else(default)
    }

    /// Whether a route has this key.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.0.iter().any(|route| route.key == key)
    }
}

impl Route {
    fn new(declared: &resources::Route, model: &Model, functions: &Functions) -> Result<Self> {
        let key = &declared.route_key;
        let id = declared.target.strip_prefix("integrations/").unwrap_or(&declared.target);
        let integration =
            model.integrations.get(id).with_context(|| format!("{key}: no integration {id}"))?;
        let function = functions.get(&integration.integration_uri)?;
        let may = model.permissions.iter().any(|permission| allows(permission, declared, &function.name));
        ensure!(may, "{} may not be invoked by API Gateway: no permission allows it", function.name);
        let (method, path) = match key.as_str() {
            DEFAULT => ("", ""),
            key => key.split_once(' ').context("a route key is METHOD /path")?,
        };
        ensure!(method.is_empty() || METHODS.contains(&method), "{key}: {method} is not implemented");
        Ok(Self {
            key: key.clone(),
            method: method.to_owned(),
            segments: pattern(path)?,
            function,
            timeout: Duration::from_millis(integration.timeout_in_millis.unwrap_or(TIMEOUT_MILLIS)),
            authorization: Authorization::new(declared, model)?,
        })
    }
}

/// Whether a permission lets the route's API invoke a function. Of the forms that `SourceArn` may have, only that for the
/// whole API is implemented.
fn allows(permission: &Permission, route: &resources::Route, function: &str) -> bool {
    let api = names::arn("execute-api", &format!("{}/*", route.api_id));
    names::last_part(&permission.function_name) == function
        && permission.action == "lambda:InvokeFunction"
        && permission.principal == "apigateway.amazonaws.com"
        && permission.source_arn.as_ref().is_none_or(|source| *source == api)
}

impl Authorization {
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
        Ok(Some(Self { jwt: authorizer.jwt_configuration.clone(), scopes }))
    }
}

/// One part of a route's path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Segment {
    Literal(String),
    /// `{id}`: any one segment.
    Variable(String),
    /// `{proxy+}`: the rest of the path, at least one segment.
    Greedy(String),
}

/// A route's path as segments.
fn pattern(path: &str) -> Result<Vec<Segment>> {
    let segment = |text: &str| match text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        None => Segment::Literal(text.to_owned()),
        Some(name) => match name.strip_suffix('+') {
            Some(name) => Segment::Greedy(name.to_owned()),
            None => Segment::Variable(name.to_owned()),
        },
    };
    let segments: Vec<Segment> = path.split('/').map(segment).collect();
    let greedy = segments.iter().position(|segment| matches!(segment, Segment::Greedy(_)));
    ensure!(
        greedy.is_none_or(|at| at + 1 == segments.len()),
        "{path}: a greedy variable has to be the last part"
    );
    Ok(segments)
}

/// How specific a route is, the most specific first: whole paths before greedy ones, then part by part a literal before a
/// variable.
fn rank(pattern: &[Segment]) -> (bool, Vec<u8>) {
    let kind = |segment: &Segment| match segment {
        Segment::Literal(_) => 0,
        Segment::Variable(_) => 1,
        Segment::Greedy(_) => 2,
    };
    let kinds: Vec<u8> = pattern.iter().map(kind).collect();
    (kinds.contains(&2), kinds)
}

/// The parameters of a path; `None` for a path that does not match the pattern. API Gateway decodes them.
fn bind(pattern: &[Segment], path: &[&str]) -> Option<Map<String, Value>> {
    let is_greedy = matches!(pattern.last(), Some(Segment::Greedy(_)));
    if path.len() < pattern.len() || (!is_greedy && path.len() > pattern.len()) {
        return None;
    }
    let mut parameters = Map::new();
    let mut keep = |name: &String, text: &str| {
        let value = percent_decode_str(text).decode_utf8_lossy().into_owned();
        parameters.insert(name.clone(), value.into());
        !text.is_empty()
    };
    for (at, (wanted, got)) in pattern.iter().zip(path).enumerate() {
        let is_right = match wanted {
            Segment::Literal(text) => text == got,
            Segment::Variable(name) => keep(name, got),
            Segment::Greedy(name) => keep(name, &path.get(at..).unwrap_or_default().join("/")),
        };
        if !is_right {
            return None;
        }
    }
    Some(parameters)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(path: &str, of: &str) -> Option<Map<String, Value>> {
        bind(&pattern(of).unwrap(), &path.split('/').collect::<Vec<_>>())
    }

    #[test]
    fn routes_match_whole_paths() {
        assert_eq!(bound("/orders/a%20b", "/orders/{id}").unwrap()["id"], "a b");
        for other in ["/orders", "/orders/", "/orders/1/events", "/products/1"] {
            assert!(bound(other, "/orders/{id}").is_none(), "{other}");
        }
        assert_eq!(bound("/orders/1/events", "/{proxy+}").unwrap()["proxy"], "orders/1/events");
        assert!(bound("/", "/{proxy+}").is_none());
        assert!(pattern("/{proxy+}/events").is_err());
    }

    /// Guards: the order in which routes are chosen, as in AWS's own example.
    #[test]
    fn the_most_specific_route_is_chosen() {
        let mut patterns = ["/{proxy+}", "/pets/{proxy+}", "/pets/dog/{id}", "/pets/dog/1"];
        patterns.sort_by_key(|path| rank(&pattern(path).unwrap()));
        assert_eq!(patterns, ["/pets/dog/1", "/pets/dog/{id}", "/pets/{proxy+}", "/{proxy+}"]);
    }
}
