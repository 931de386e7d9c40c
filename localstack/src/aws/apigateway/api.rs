//! API Gateway's calls that show the API: as it is declared.
//!
//! <https://docs.aws.amazon.com/apigatewayv2/latest/api-reference/apis.html>
//! <https://docs.aws.amazon.com/apigatewayv2/latest/api-reference/apis-apiid-routes.html>

use crate::aws::protocol::operations::{Operations, Run};
use crate::aws::protocol::pages::{limit, page};
use crate::aws::protocol::rest::Route;
use crate::aws::protocol::{ApiError, Call, Outcome, ok, text, without_nulls};
use crate::template::names::REGION;
use crate::template::resources::{Api, Model, Route as Declared};
use chrono::{DateTime, SecondsFormat};
use hyper::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use std::ops::RangeInclusive;
use std::sync::Arc;
use uuid::Uuid;

/// How the paths of these calls begin.
pub const PATH: &str = "/v2/apis";
const LISTED: RangeInclusive<i64> = 1..=500;

pub const ROUTES: [Route; 3] = [
    (Method::GET, "/v2/apis", "GetApis"),
    (Method::GET, "/v2/apis/{apiId}", "GetApi"),
    (Method::GET, "/v2/apis/{apiId}/routes", "GetRoutes"),
];

pub static OPERATIONS: &Operations<Service> =
    &[("GetApi", Run::Now(get)), ("GetApis", Run::Now(list)), ("GetRoutes", Run::Now(routes))];

/// The API as callers see it.
pub struct Service {
    pub model: Arc<Model>,
    /// `http://127.0.0.1:3000`
    pub url: String,
    /// When the stack started, in epoch milliseconds.
    pub since: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct GetApis {
    #[serde(default, deserialize_with = "text::parsed")]
    max_results: Option<i64>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct GetApi {
    api_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct GetRoutes {
    api_id: String,
    #[serde(default, deserialize_with = "text::parsed")]
    max_results: Option<i64>,
    next_token: Option<String>,
}

/// The ARN under which IAM knows a path of API Gateway's own API.
fn arn(path: &str) -> String {
    format!("arn:aws:apigateway:{REGION}::{path}")
}

fn shown(apis: &Service, api: &Api) -> Value {
    let created = DateTime::from_timestamp_millis(apis.since).unwrap_or_default();
    let cors = api.cors_configuration.as_ref().map(|cors| {
        json!({
            "allowOrigins": cors.allow_origins,
            "allowMethods": cors.allow_methods,
            "allowHeaders": cors.allow_headers,
            "exposeHeaders": cors.expose_headers,
            "maxAge": cors.max_age,
        })
    });
    without_nulls(json!({
        "apiId": api.name,
        "name": api.name,
        "protocolType": api.protocol_type,
        "apiEndpoint": apis.url,
        "createdDate": created.to_rfc3339_opts(SecondsFormat::Secs, true),
        "routeSelectionExpression": "$request.method $request.path",
        "apiKeySelectionExpression": "$request.header.x-api-key",
        "corsConfiguration": cors,
    }))
}

fn list(apis: &Service, call: &Call<'_>) -> Outcome {
    let request: GetApis = call.parse()?;
    call.require("apigateway:GET", &arn("/apis"))?;
    let limit = limit(("maxResults", request.max_results), &LISTED, "BadRequestException")?;
    let all = apis.model.apis.iter().collect();
    let (found, next) = page(all, |api: &&Api| api.name.clone(), request.next_token.as_deref(), limit);
    let items: Vec<Value> = found.into_iter().map(|api| shown(apis, api)).collect();
    ok(&without_nulls(json!({"items": items, "nextToken": next})))
}

/// An API's id is its name here, as CloudFormation's `Ref` gives it.
fn named<'a>(apis: &'a Service, id: &str) -> Result<&'a Api, ApiError> {
    let missing =
        || ApiError { status: 404, ..ApiError::new("NotFoundException", "Invalid API identifier specified") };
    apis.model.apis.iter().find(|api| api.name == id).ok_or_else(missing)
}

fn get(apis: &Service, call: &Call<'_>) -> Outcome {
    let GetApi { api_id } = call.parse()?;
    call.require("apigateway:GET", &arn(&format!("/apis/{api_id}")))?;
    ok(&shown(apis, named(apis, &api_id)?))
}

fn routes(apis: &Service, call: &Call<'_>) -> Outcome {
    let request: GetRoutes = call.parse()?;
    call.require("apigateway:GET", &arn(&format!("/apis/{}/routes", request.api_id)))?;
    let api = named(apis, &request.api_id)?;
    let limit = limit(("maxResults", request.max_results), &LISTED, "BadRequestException")?;
    let all = apis.model.routes.iter().filter(|route| route.api_id == api.name).collect();
    let key = |route: &&Declared| route.route_key.clone();
    let (found, next) = page(all, key, request.next_token.as_deref(), limit);
    let items = found.into_iter().map(|route| {
        without_nulls(json!({
            "routeId": Uuid::new_v5(&Uuid::NAMESPACE_OID, route.route_key.as_bytes()).simple().to_string(),
            "routeKey": route.route_key,
            "target": route.target,
            "apiKeyRequired": false,
            "authorizationType": route.authorization_type.as_deref().unwrap_or("NONE"),
            "authorizerId": route.authorizer_id,
            "authorizationScopes": route.authorization_scopes,
        }))
    });
    ok(&without_nulls(json!({"items": items.collect::<Vec<_>>(), "nextToken": next})))
}
