//! The calls that show schedules: as they are declared, all of them in the one group that there is.
//!
//! <https://docs.aws.amazon.com/scheduler/latest/APIReference/API_GetSchedule.html>
//! <https://docs.aws.amazon.com/scheduler/latest/APIReference/API_ListSchedules.html>

use crate::aws::protocol::operations::{Operations, Run};
use crate::aws::protocol::pages::{limit, page};
use crate::aws::protocol::rest::Route;
use crate::aws::protocol::{ApiError, Call, Outcome, ok, seconds, text, without_nulls};
use crate::template::names;
use crate::template::resources::{Model, Schedule};
use hyper::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use std::ops::RangeInclusive;
use std::sync::Arc;

/// How the paths of these calls begin.
pub const PATHS: [&str; 2] = ["/schedules", "/schedule-groups"];
const LISTED: RangeInclusive<i64> = 1..=100;
/// The group of a schedule that names none.
const DEFAULT: &str = "default";

pub const ROUTES: [Route; 4] = [
    (Method::GET, "/schedules", "ListSchedules"),
    (Method::GET, "/schedules/{Name}", "GetSchedule"),
    (Method::GET, "/schedule-groups", "ListScheduleGroups"),
    (Method::GET, "/schedule-groups/{Name}", "GetScheduleGroup"),
];

pub static OPERATIONS: &Operations<Service> = &[
    ("GetSchedule", Run::Now(get)),
    ("GetScheduleGroup", Run::Now(get_group)),
    ("ListScheduleGroups", Run::Now(list_groups)),
    ("ListSchedules", Run::Now(list)),
];

/// The schedules as callers see them.
pub struct Service {
    pub model: Arc<Model>,
    /// When the stack started, in epoch milliseconds.
    pub since: i64,
}

/// The names are those of the query.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListSchedules {
    #[serde(rename = "ScheduleGroup")]
    group: Option<String>,
    #[serde(rename = "NamePrefix")]
    prefix: Option<String>,
    #[serde(rename = "State")]
    state: Option<String>,
    #[serde(rename = "NextToken")]
    token: Option<String>,
    #[serde(rename = "MaxResults", default, deserialize_with = "text::parsed")]
    max: Option<i64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GetSchedule {
    #[serde(rename = "Name")]
    name: String,
    #[serde(rename = "groupName")]
    group: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct ListGroups {
    name_prefix: Option<String>,
    next_token: Option<String>,
    #[serde(default, deserialize_with = "text::parsed")]
    max_results: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Named {
    name: String,
}

fn arn(schedule: &str) -> String {
    names::arn("scheduler", &format!("schedule/{DEFAULT}/{schedule}"))
}

fn group_arn(group: &str) -> String {
    names::arn("scheduler", &format!("schedule-group/{group}"))
}

fn missing(what: &str) -> ApiError {
    ApiError { status: 404, ..ApiError::new("ResourceNotFoundException", format!("{what} does not exist.")) }
}

fn listed(of: &Service, schedule: &Schedule) -> Value {
    let since = seconds(of.since);
    json!({
        "Arn": arn(&schedule.name),
        "Name": schedule.name,
        "GroupName": DEFAULT,
        "State": "ENABLED",
        "CreationDate": since,
        "LastModificationDate": since,
        "Target": {"Arn": schedule.target.arn},
    })
}

fn list(of: &Service, call: &Call<'_>) -> Outcome {
    let request: ListSchedules = call.parse()?;
    call.require("scheduler:ListSchedules", "*")?;
    if let Some(group) = request.group.filter(|group| group != DEFAULT) {
        return Err(missing(&format!("Schedule group {group}")));
    }
    let limit = limit(("MaxResults", request.max), &LISTED, "ValidationException")?;
    let is_wanted = |schedule: &&Schedule| {
        request.prefix.as_ref().is_none_or(|prefix| schedule.name.starts_with(prefix))
            && request.state.as_ref().is_none_or(|state| state == "ENABLED")
    };
    let schedules = of.model.schedules.iter().filter(is_wanted).collect();
    let (schedules, next) = page(schedules, |it| it.name.clone(), request.token.as_deref(), limit);
    let schedules: Vec<Value> = schedules.into_iter().map(|schedule| listed(of, schedule)).collect();
    ok(&without_nulls(json!({"Schedules": schedules, "NextToken": next})))
}

fn get(of: &Service, call: &Call<'_>) -> Outcome {
    let GetSchedule { name, group } = call.parse()?;
    call.require("scheduler:GetSchedule", &arn(&name))?;
    let found = of.model.schedules.iter().find(|schedule| schedule.name == name);
    let found = found.filter(|_| group.is_none_or(|group| group == DEFAULT));
    let schedule = found.ok_or_else(|| missing(&format!("Schedule {name}")))?;
    let mut answer = listed(of, schedule);
    answer["Description"] = json!(schedule.description);
    answer["ScheduleExpression"] = schedule.schedule_expression.as_str().into();
    answer["ScheduleExpressionTimezone"] = "UTC".into();
    answer["FlexibleTimeWindow"] = json!(schedule.flexible_time_window);
    answer["Target"] = json!(schedule.target);
    answer["ActionAfterCompletion"] = "NONE".into();
    ok(&without_nulls(answer))
}

fn group(of: &Service) -> Value {
    let since = seconds(of.since);
    json!({"Arn": group_arn(DEFAULT), "Name": DEFAULT, "State": "ACTIVE", "CreationDate": since, "LastModificationDate": since})
}

fn list_groups(of: &Service, call: &Call<'_>) -> Outcome {
    let request: ListGroups = call.parse()?;
    call.require("scheduler:ListScheduleGroups", "*")?;
    let limit = limit(("MaxResults", request.max_results), &LISTED, "ValidationException")?;
    let prefix = request.name_prefix.unwrap_or_default();
    let groups = [DEFAULT].into_iter().filter(|group| group.starts_with(&prefix)).collect();
    let (groups, next) =
        page(groups, |group: &&str| (*group).to_owned(), request.next_token.as_deref(), limit);
    let groups: Vec<Value> = groups.into_iter().map(|_| group(of)).collect();
    ok(&without_nulls(json!({"ScheduleGroups": groups, "NextToken": next})))
}

fn get_group(of: &Service, call: &Call<'_>) -> Outcome {
    let Named { name } = call.parse()?;
    call.require("scheduler:GetScheduleGroup", &group_arn(&name))?;
    if name != DEFAULT {
        return Err(missing(&format!("Schedule group {name}")));
    }
    ok(&group(of))
}
