//! EventBridge's calls that show buses.
//!
//! <https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_ListEventBuses.html>
//! <https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_DescribeEventBus.html>

use super::service::Service;
use crate::aws::protocol::pages::{limit, page};
use crate::aws::protocol::{ApiError, Call, Outcome, ok, seconds, without_nulls};
use crate::template::names;
use serde::Deserialize;
use serde_json::{Value, json};
use std::ops::RangeInclusive;

/// How many entries one answer of EventBridge has.
pub const LISTED: RangeInclusive<i64> = 1..=100;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct ListEventBuses {
    name_prefix: Option<String>,
    next_token: Option<String>,
    limit: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct DescribeEventBus {
    name: Option<String>,
}

pub fn list(events: &Service, call: &Call<'_>) -> Outcome {
    let request: ListEventBuses = call.parse()?;
    call.require("events:ListEventBuses", "*")?;
    let limit = limit(("Limit", request.limit), &LISTED, "ValidationException")?;
    let prefix = request.name_prefix.unwrap_or_default();
    let buses = events.model.buses.iter().map(|bus| bus.name.clone());
    let buses = buses.filter(|bus| bus.starts_with(&prefix)).collect();
    let (buses, next) = page(buses, String::clone, request.next_token.as_deref(), limit);
    let buses: Vec<Value> = buses.iter().map(|bus| shown(events, bus)).collect();
    ok(&without_nulls(json!({"EventBuses": buses, "NextToken": next})))
}

pub fn describe(events: &Service, call: &Call<'_>) -> Outcome {
    let request: DescribeEventBus = call.parse()?;
    let name = names::last_part(request.name.as_deref().unwrap_or("default"));
    call.require("events:DescribeEventBus", &names::bus_arn(name))?;
    if !events.buses.has(name, None) {
        return Err(no_bus(name));
    }
    ok(&shown(events, name))
}

fn shown(events: &Service, bus: &str) -> Value {
    let since = seconds(events.since);
    json!({"Name": bus, "Arn": names::bus_arn(bus), "CreationTime": since, "LastModifiedTime": since})
}

pub fn no_bus(bus: &str) -> ApiError {
    ApiError::new("ResourceNotFoundException", format!("Event bus {bus} does not exist."))
}
