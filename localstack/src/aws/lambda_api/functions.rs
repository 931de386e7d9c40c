//! Lambda's calls that show functions: as they are declared.
//!
//! <https://docs.aws.amazon.com/lambda/latest/api/API_GetFunction.html>
//! <https://docs.aws.amazon.com/lambda/latest/api/API_ListFunctions.html>

use super::names_of_functions::{LATEST, function_name, invalid, not_found};
use super::service::Service;
use crate::aws::protocol::pages::{limit, page};
use crate::aws::protocol::{ApiError, Call, Outcome, ok, seconds, text, without_nulls};
use crate::template::names;
use crate::template::resources::Function;
use chrono::DateTime;
use serde::Deserialize;
use serde_json::{Value, json};
use std::ops::RangeInclusive;

const LISTED: RangeInclusive<i64> = 1..=10_000;
/// How many functions one answer has at most.
const MAX_PAGE: usize = 50;
/// Lambda's defaults.
const TIMEOUT_SECONDS: u32 = 3;
const MEMORY_MIB: u32 = 128;
const STORAGE_MIB: u32 = 512;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct ListFunctions {
    function_version: Option<String>,
    marker: Option<String>,
    #[serde(default, deserialize_with = "text::parsed")]
    max_items: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Named {
    function_name: String,
    qualifier: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Unqualified {
    function_name: String,
}

pub fn list(lambda: &Service, call: &Call<'_>) -> Outcome {
    let request: ListFunctions = call.parse()?;
    call.require("lambda:ListFunctions", "*")?;
    // There is one version of each function, with or without this.
    if request.function_version.is_some_and(|version| version != "ALL") {
        return Err(invalid("FunctionVersion is ALL, or left out"));
    }
    let limit = limit(("MaxItems", request.max_items), &LISTED, "InvalidParameterValueException")?;
    let all = lambda.model.functions.iter().collect();
    let name = |function: &&Function| function.function_name.clone();
    let (functions, next) = page(all, name, request.marker.as_deref(), limit.min(MAX_PAGE));
    let functions: Vec<Value> = functions.into_iter().map(|function| shown(lambda, function)).collect();
    ok(&without_nulls(json!({"Functions": functions, "NextMarker": next})))
}

/// The function that a call names, if the caller may do the action there.
fn named<'a>(
    lambda: &'a Service,
    call: &Call<'_>,
    named: &str,
    qualifier: Option<&str>,
) -> Result<&'a Function, ApiError> {
    let name = function_name(named, qualifier)?;
    call.require(&format!("lambda:{}", call.operation), &names::function_arn(name))?;
    let found = lambda.model.functions.iter().find(|function| function.function_name == name);
    found.ok_or_else(|| not_found(name))
}

fn qualified<'a>(lambda: &'a Service, call: &Call<'_>) -> Result<&'a Function, ApiError> {
    let request: Named = call.parse()?;
    named(lambda, call, &request.function_name, request.qualifier.as_deref())
}

pub fn configuration(lambda: &Service, call: &Call<'_>) -> Outcome {
    ok(&shown(lambda, qualified(lambda, call)?))
}

/// The code's place is the one that the template names.
pub fn get(lambda: &Service, call: &Call<'_>) -> Outcome {
    let function = qualified(lambda, call)?;
    let mut answer = json!({
        "Configuration": shown(lambda, function),
        "Code": {"RepositoryType": "local", "Location": function.code},
    });
    if let Some(reserved) = function.reserved_concurrent_executions {
        answer["Concurrency"] = json!({"ReservedConcurrentExecutions": reserved});
    }
    ok(&answer)
}

/// <https://docs.aws.amazon.com/lambda/latest/api/API_GetFunctionConcurrency.html>
pub fn concurrency(lambda: &Service, call: &Call<'_>) -> Outcome {
    let request: Unqualified = call.parse()?;
    let function = named(lambda, call, &request.function_name, None)?;
    ok(&without_nulls(json!({"ReservedConcurrentExecutions": function.reserved_concurrent_executions})))
}

/// <https://docs.aws.amazon.com/lambda/latest/api/API_GetFunctionEventInvokeConfig.html>
pub fn event_invoke_config(lambda: &Service, call: &Call<'_>) -> Outcome {
    let function = qualified(lambda, call)?;
    let configs = lambda.model.invoke_configs.iter();
    let config =
        configs.into_iter().find(|config| names::last_part(&config.function_name) == function.function_name);
    let config = config.ok_or_else(|| {
        let arn = names::function_arn(&function.function_name);
        let text = format!("The function {arn}:{LATEST} doesn't have an EventInvokeConfig");
        ApiError { status: 404, ..ApiError::new("ResourceNotFoundException", text) }
    })?;
    ok(&without_nulls(json!({
        "FunctionArn": format!("{}:{LATEST}", names::function_arn(&function.function_name)),
        "LastModified": seconds(lambda.since),
        "MaximumRetryAttempts": config.maximum_retry_attempts,
        "MaximumEventAgeInSeconds": config.maximum_event_age_in_seconds,
    })))
}

fn shown(lambda: &Service, function: &Function) -> Value {
    let name = &function.function_name;
    let modified = DateTime::from_timestamp_millis(lambda.since).unwrap_or_default();
    let group = function.logging_config.as_ref().map(|config| config.log_group.clone());
    let (code_size, mode) = (lambda.functions.code_size(name), function.tracing_config.as_ref());
    without_nulls(json!({
        "FunctionName": name,
        "FunctionArn": names::function_arn(name),
        "Runtime": function.runtime,
        "Role": function.role,
        "Handler": function.handler,
        "CodeSize": code_size,
        "Description": function.description.as_deref().unwrap_or_default(),
        "Timeout": function.timeout.unwrap_or(TIMEOUT_SECONDS),
        "MemorySize": function.memory_size.unwrap_or(MEMORY_MIB),
        "LastModified": modified.format("%Y-%m-%dT%H:%M:%S%.3f+0000").to_string(),
        "Version": LATEST,
        "Environment": function.environment,
        "DeadLetterConfig": function.dead_letter_config,
        "TracingConfig": {"Mode": mode.map_or("PassThrough", |config| config.mode.as_str())},
        "State": "Active",
        "LastUpdateStatus": "Successful",
        "PackageType": "Zip",
        "Architectures": function.architectures.clone().unwrap_or_else(|| vec!["x86_64".into()]),
        "EphemeralStorage": {"Size": STORAGE_MIB},
        "LoggingConfig": {"LogFormat": "Text", "LogGroup": group.unwrap_or_else(|| format!("/aws/lambda/{name}"))},
    }))
}
