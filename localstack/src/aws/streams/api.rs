//! Lambda's calls about mappings of tables' streams: they are listed, disabled and enabled.
//!
//! <https://docs.aws.amazon.com/lambda/latest/api/API_ListEventSourceMappings.html>
//! <https://docs.aws.amazon.com/lambda/latest/api/API_UpdateEventSourceMapping.html>

use super::mapping::StreamMapping;
use super::switch::{Conflict, State};
use crate::aws::protocol::{self, ApiError, seconds};
use crate::support::http::Response;
use crate::template::names;
use crate::template::resources::EventSourceMapping as Declared;
use hyper::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use uuid::Uuid;

/// The path of these calls.
pub const PATH: &str = "/2015-03-31/event-source-mappings";
/// The most mappings of one answer, and the default.
const MAX_LISTED: usize = 100;

/// Every mapping: those of streams, which are switched here, and those of queues, which are not.
pub struct Mappings {
    pub streams: Vec<Arc<StreamMapping>>,
    pub queues: Vec<Declared>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default, deny_unknown_fields)]
struct ListMappings {
    event_source_arn: Option<String>,
    function_name: Option<String>,
    marker: Option<String>,
    max_items: Option<String>,
}

/// What else AWS lets an update change is declared in the templates, and refused here.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct UpdateMapping {
    enabled: bool,
}

/// Answers a call by its method, what follows [`PATH`], its query and its body. `allow` refuses a caller that may not do an
/// action on an ARN.
pub async fn answer(
    mappings: &Mappings,
    (method, path, query): (&Method, &str, &str),
    body: &[u8],
    allow: impl Fn(&str, &str) -> Result<(), ApiError>,
) -> Response {
    let id = path.trim_matches('/');
    let outcome = match (method, id) {
        (&Method::GET, "") => {
            allow("lambda:ListEventSourceMappings", "*").and_then(|()| mappings.list(query))
        }
        (&Method::PUT, id) if !id.is_empty() => match allow("lambda:UpdateEventSourceMapping", &arn(id)) {
            Ok(()) => mappings.update(id, body).await,
            Err(denied) => Err(denied),
        },
        _ => Err(ApiError::unknown(&format!("{method} {PATH}{path}"))),
    };
    protocol::rest(outcome)
}

impl Mappings {
    fn list(&self, query: &str) -> Result<Value, ApiError> {
        let request: ListMappings = protocol::query(query).map_err(|why| invalid(&why))?;
        let limit = request.max_items.as_deref().map_or(Ok(MAX_LISTED), str::parse);
        let limit =
            limit.ok().filter(|limit| (1..=10_000).contains(limit)).map(|limit| limit.min(MAX_LISTED));
        let limit = limit.ok_or_else(|| invalid("MaxItems is 1 to 10000"))?;
        let function =
            request.function_name.as_deref().map(|name| names::function_arn(names::last_part(name)));
        let mut shown: Vec<Value> = self.streams.iter().map(|mapping| of_stream(mapping)).collect();
        shown.extend(self.queues.iter().map(of_queue));
        shown.sort_by_key(|mapping| mapping["UUID"].to_string());
        shown.retain(|mapping| {
            let is =
                |field: &str, wanted: Option<&String>| wanted.is_none_or(|wanted| mapping[field] == **wanted);
            is("EventSourceArn", request.event_source_arn.as_ref())
                && is("FunctionArn", function.as_ref())
                && request.marker.as_ref().is_none_or(|marker| mapping["UUID"].as_str() > Some(marker))
        });
        let has_more = shown.len() > limit;
        shown.truncate(limit);
        let next = shown.last().filter(|_| has_more).map(|last| last["UUID"].clone());
        Ok(protocol::without_nulls(json!({"EventSourceMappings": shown, "NextMarker": next})))
    }

    async fn update(&self, id: &str, body: &[u8]) -> Result<Value, ApiError> {
        let request: UpdateMapping = serde_json::from_slice(body).map_err(|why| invalid(&why.to_string()))?;
        let of = |mapping: &&Arc<StreamMapping>| {
            self::id(&mapping.declared.event_source_arn, &mapping.declared.function_name) == id
        };
        let mapping = self.streams.iter().find(of).ok_or_else(|| {
            let text =
                "there is no such mapping of a table's stream; those of queues cannot be switched here";
            ApiError { status: 404, ..ApiError::new("ResourceNotFoundException", text) }
        })?;
        match (mapping.switch().turn(!request.enabled).await, request.enabled) {
            // It is so already, and AWS does not mind.
            (Ok(()), _) | (Err(Conflict(State::Running)), true) | (Err(Conflict(State::Stopped)), false) => {
                Ok(of_stream(mapping))
            }
            (Err(Conflict(state)), _) => {
                let text = format!("The mapping is {}.", name_of(state));
                Err(ApiError::new("ResourceInUseException", text))
            }
        }
    }
}

/// AWS's id of a mapping is random; this one is the same after a restart.
fn id(source: &str, function: &str) -> String {
    let name = format!("{source} {}", names::last_part(function));
    Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes()).to_string()
}

fn arn(id: &str) -> String {
    names::arn("lambda", &format!("event-source-mapping:{id}"))
}

fn invalid(text: &str) -> ApiError {
    ApiError::new("InvalidParameterValueException", text)
}

const fn name_of(state: State) -> &'static str {
    match state {
        State::Running => "Enabled",
        State::Stopping => "Disabling",
        State::Stopped => "Disabled",
        State::Starting => "Enabling",
    }
}

/// What is declared, under the names that this call has for it.
fn declared(mapping: Value, source: &str, function: &str) -> Value {
    let mut shown = protocol::without_nulls(mapping);
    shown.as_object_mut().map(|fields| fields.remove("FunctionName"));
    let id = id(source, function);
    shown["EventSourceMappingArn"] = arn(&id).into();
    shown["UUID"] = id.into();
    shown["FunctionArn"] = names::function_arn(names::last_part(function)).into();
    shown
}

fn of_stream(mapping: &StreamMapping) -> Value {
    let (kept, state) = mapping.switch().state();
    let it = &mapping.declared;
    let mut shown = declared(json!(it), &it.event_source_arn, &it.function_name);
    shown["State"] = name_of(state).into();
    shown["LastModified"] = json!(seconds(kept.changed_at));
    shown
}

fn of_queue(mapping: &Declared) -> Value {
    let mut shown = declared(json!(mapping), &mapping.event_source_arn, &mapping.function_name);
    shown["State"] = "Enabled".into();
    shown
}
