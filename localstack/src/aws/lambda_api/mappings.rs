//! Lambda's calls about mappings: they are listed and shown; those of tables' streams are disabled and enabled.
//!
//! <https://docs.aws.amazon.com/lambda/latest/api/API_ListEventSourceMappings.html>
//! <https://docs.aws.amazon.com/lambda/latest/api/API_UpdateEventSourceMapping.html>

use super::names_of_functions::{function_name, invalid};
use crate::aws::protocol::pages::{limit, page};
use crate::aws::protocol::{ApiError, Call, Outcome, ok, parse, seconds, text, without_nulls};
use crate::aws::streams::{Conflict, State, StreamMapping};
use crate::template::names;
use crate::template::resources::EventSourceMapping as Declared;
use serde::Deserialize;
use serde_json::{Value, json};
use std::ops::RangeInclusive;
use std::sync::Arc;
use uuid::Uuid;

const LISTED: RangeInclusive<i64> = 1..=10_000;
/// The most mappings of one answer.
const MAX_LISTED: usize = 100;

/// Every mapping: those of streams, which are switched here, and those of queues, which are not.
pub struct Mappings {
    pub streams: Vec<Arc<StreamMapping>>,
    pub queues: Vec<Declared>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct ListMappings {
    event_source_arn: Option<String>,
    function_name: Option<String>,
    marker: Option<String>,
    #[serde(default, deserialize_with = "text::parsed")]
    max_items: Option<i64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    #[serde(rename = "UUID")]
    id: String,
}

/// What else AWS lets an update change is declared in the templates, and refused here.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct UpdateMapping {
    #[serde(rename = "UUID")]
    id: String,
    enabled: bool,
}

pub fn list(mappings: &Mappings, call: &Call<'_>) -> Outcome {
    let request: ListMappings = call.parse()?;
    call.require("lambda:ListEventSourceMappings", "*")?;
    let limit = limit(("MaxItems", request.max_items), &LISTED, "InvalidParameterValueException")?;
    let function = request.function_name.as_deref();
    let function = function.map(|name| function_name(name, None)).transpose()?.map(names::function_arn);
    let mut shown = mappings.all();
    shown.retain(|mapping| {
        let is =
            |field: &str, wanted: Option<&String>| wanted.is_none_or(|wanted| mapping[field] == **wanted);
        is("EventSourceArn", request.event_source_arn.as_ref()) && is("FunctionArn", function.as_ref())
    });
    let id = |mapping: &Value| mapping["UUID"].as_str().unwrap_or_default().to_owned();
    let (shown, next) = page(shown, id, request.marker.as_deref(), limit.min(MAX_LISTED));
    ok(&without_nulls(json!({"EventSourceMappings": shown, "NextMarker": next})))
}

/// <https://docs.aws.amazon.com/lambda/latest/api/API_GetEventSourceMapping.html>
pub fn get(mappings: &Mappings, call: &Call<'_>) -> Outcome {
    let request: Named = call.parse()?;
    call.require("lambda:GetEventSourceMapping", &arn(&request.id))?;
    let found = mappings.all().into_iter().find(|mapping| mapping["UUID"] == *request.id);
    ok(&found.ok_or_else(|| missing("The resource you requested does not exist."))?)
}

pub async fn update(mappings: &Mappings, call: &Call<'_>) -> Outcome {
    // An update that names what it may not change is refused before its caller's rights are asked for, as any other.
    let request: UpdateMapping = parse(call.body).map_err(|error| invalid(error.message))?;
    call.require("lambda:UpdateEventSourceMapping", &arn(&request.id))?;
    let of = |mapping: &&Arc<StreamMapping>| {
        id(&mapping.declared.event_source_arn, &mapping.declared.function_name) == request.id
    };
    let mapping = mappings.streams.iter().find(of).ok_or_else(|| {
        missing("there is no such mapping of a table's stream; those of queues cannot be switched here")
    })?;
    match (mapping.switch().turn(!request.enabled).await, request.enabled) {
        // It is so already, and AWS does not mind.
        (Ok(()), _) | (Err(Conflict(State::Running)), true) | (Err(Conflict(State::Stopped)), false) => {
            Ok((202, of_stream(mapping).to_string().into()))
        }
        (Err(Conflict(state)), _) => {
            Err(ApiError::new("ResourceInUseException", format!("The mapping is {}.", name_of(state))))
        }
    }
}

impl Mappings {
    fn all(&self) -> Vec<Value> {
        let streams = self.streams.iter().map(|mapping| of_stream(mapping));
        streams.chain(self.queues.iter().map(of_queue)).collect()
    }
}

fn missing(text: &str) -> ApiError {
    ApiError { status: 404, ..ApiError::new("ResourceNotFoundException", text) }
}

/// AWS's id of a mapping is random; this one is the same after a restart.
fn id(source: &str, function: &str) -> String {
    let name = format!("{source} {}", names::last_part(function));
    Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes()).to_string()
}

fn arn(id: &str) -> String {
    names::arn("lambda", &format!("event-source-mapping:{id}"))
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
    let mut shown = without_nulls(mapping);
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
