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
/// API Gateway's default.
const TIMEOUT_MILLIS: u64 = 30_000;

pub struct Route {
    /// `GET /orders/{id}`
    pub key: String,
    method: String,
    segments: Vec<String>,
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

    /// The route of a request, with the parameters in its path.
    #[must_use]
    pub fn find(&self, method: &Method, path: &str) -> Option<(&Route, Map<String, Value>)> {
        let segments: Vec<&str> = path.split('/').collect();
        let exact = self.0.iter().filter(|route| route.method == method.as_str()).find_map(|route| {
            let parameters = bind(&route.segments, &segments)?;
            Some((route, parameters))
        });
        let default = || self.0.iter().find(|route| route.key == DEFAULT).map(|r| (r, Map::new()));
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
        let may = model.permissions.iter().any(|permission| allows(permission, declared, &function.name));
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

/// The parameters of a path; `None` for a path that does not match the pattern.
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
