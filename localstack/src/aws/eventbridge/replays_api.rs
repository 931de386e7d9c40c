//! EventBridge's calls about replays.
//!
//! <https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_StartReplay.html>
//! <https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_ListReplays.html>

use super::replays::{Plan, Refused, Replay, Replays, State};
use crate::aws::protocol::{ApiError, Call, Outcome, ok, seconds};
use crate::template::names;
use chrono::DateTime;
use serde::Deserialize;
use serde_json::{Value, json};
use std::ops::RangeInclusive;

/// The most replays of one answer, and the default.
const MAX_LISTED: usize = 100;
const MAX_NAME: usize = 64;
const MAX_DESCRIPTION: usize = 512;
/// The years 1 to 9999.
const SECONDS: RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct StartReplay {
    replay_name: String,
    description: Option<String>,
    event_source_arn: String,
    /// Epoch seconds, as the next one.
    event_start_time: f64,
    event_end_time: f64,
    destination: Destination,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Destination {
    arn: String,
    #[serde(default)]
    filter_arns: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Named {
    replay_name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct ListReplays {
    name_prefix: Option<String>,
    state: Option<State>,
    event_source_arn: Option<String>,
    next_token: Option<String>,
    limit: Option<usize>,
}

/// # Errors
/// As AWS's, by name, like the others here.
pub async fn start(replays: &Replays, call: &Call<'_>) -> Outcome {
    let request: StartReplay = call.parse()?;
    check_name("ReplayName", &request.replay_name)?;
    call.require("events:StartReplay", &replay_arn(&request.replay_name))?;
    call.require("events:StartReplay", &request.event_source_arn)?;
    let replay = replays.start(plan(replays, request)?)?;
    replays.flush().await;
    let mut answer = state(&replay);
    answer["ReplayStartTime"] = json!(seconds(replay.started_at.timestamp_millis()));
    ok(&answer)
}

pub async fn cancel(replays: &Replays, call: &Call<'_>) -> Outcome {
    let named = named(call)?;
    let cancelled = replays.cancel(&named.replay_name)?;
    replays.flush().await;
    ok(&state(&cancelled))
}

pub fn describe(replays: &Replays, call: &Call<'_>) -> Outcome {
    let named = named(call)?;
    let found = replays.get(&named.replay_name);
    ok(&described(&found.ok_or(Refused::Unknown(named.replay_name))?))
}

fn named(call: &Call<'_>) -> Result<Named, ApiError> {
    let named: Named = call.parse()?;
    check_name("ReplayName", &named.replay_name)?;
    call.require(&format!("events:{}", call.operation), &replay_arn(&named.replay_name))?;
    Ok(named)
}

/// What a request asks for, if it asks for what there is.
///
/// # Errors
/// As AWS's: the texts are those of its answers where they are known.
fn plan(replays: &Replays, request: StartReplay) -> Result<Plan, ApiError> {
    let StartReplay { replay_name, description, event_source_arn, destination, .. } = request;
    if description.as_ref().is_some_and(|text| text.chars().count() > MAX_DESCRIPTION) {
        return Err(invalid("Description", "Member must have length less than or equal to 512"));
    }
    let bus = named_by(&destination.arn, &names::bus_arn(""));
    let bus = bus.ok_or_else(|| invalid("Destination.Arn", "Must contain an event bus ARN."))?;
    if !replays.buses.has(bus, None) {
        return Err(missing(format!("Event bus {bus} does not exist.")));
    }
    let archive = archive(replays, &event_source_arn)?;
    if !replays.buses.keeps(bus, archive) {
        return Err(invalid("Destination.Arn", "Cross event bus replay is not permitted."));
    }
    let window = (
        millis("EventStartTime", request.event_start_time)?,
        millis("EventEndTime", request.event_end_time)?,
    );
    if window.0 >= window.1 {
        return Err(invalid("EventEndTime", "EventStartTime must be before EventEndTime."));
    }
    let rule = |arn: &String| {
        let rule = named_by(arn, &names::rule_arn(bus, ""));
        let rule =
            rule.ok_or_else(|| invalid("Destination.FilterArns", "Must contain rule ARNs of the bus."))?;
        let there = replays.buses.has(bus, Some(rule)).then(|| rule.to_owned());
        there.ok_or_else(|| missing(format!("Rule {rule} does not exist on EventBus {bus}.")))
    };
    let rules = destination.filter_arns.iter().map(rule).collect::<Result<_, _>>()?;
    let (archive, bus) = (archive.to_owned(), bus.to_owned());
    Ok(Plan { name: replay_name, description, archive, bus, rules, window })
}

/// The name of the archive of an ARN.
fn archive<'a>(replays: &Replays, arn: &'a str) -> Result<&'a str, ApiError> {
    let archive = named_by(arn, &archive_arn(""));
    let archive = archive.ok_or_else(|| invalid("EventSourceArn", "Must contain an archive ARN."))?;
    if !replays.buses.archives(archive) {
        return Err(invalid("EventSourceArn", &format!("Archive {archive} does not exist.")));
    }
    Ok(archive)
}

pub fn list(replays: &Replays, call: &Call<'_>) -> Outcome {
    let request: ListReplays = call.parse()?;
    call.require("events:ListReplays", "*")?;
    let filters =
        [request.name_prefix.is_some(), request.state.is_some(), request.event_source_arn.is_some()];
    if filters.iter().filter(|filter| **filter).count() > 1 {
        let text = "At most one filter is allowed for ListReplays: State, EventSourceArn, or NamePrefix.";
        return Err(ApiError::new("ValidationException", text));
    }
    if let Some(prefix) = &request.name_prefix {
        check_name("NamePrefix", prefix)?;
    }
    let limit = request.limit.unwrap_or(MAX_LISTED);
    if !(1..=MAX_LISTED).contains(&limit) {
        return Err(invalid("Limit", "Member must be between 1 and 100"));
    }
    let wanted = |replay: &&Replay| {
        let Plan { name, archive, .. } = &replay.plan;
        request.name_prefix.as_ref().is_none_or(|prefix| name.starts_with(prefix))
            && request.state.is_none_or(|state| replay.state == state)
            && request.event_source_arn.as_ref().is_none_or(|arn| *arn == archive_arn(archive))
            && request.next_token.as_ref().is_none_or(|token| name > token)
    };
    let all = replays.all();
    let mut found = all.iter().filter(wanted);
    let page: Vec<&Replay> = found.by_ref().take(limit).collect();
    let mut answer = json!({"Replays": page.iter().map(|replay| shown(replay)).collect::<Vec<_>>()});
    if let (Some(last), Some(_)) = (page.last(), found.next()) {
        answer["NextToken"] = last.plan.name.as_str().into();
    }
    ok(&answer)
}

/// What every answer about one replay has.
fn state(replay: &Replay) -> Value {
    let mut shown = json!({"ReplayArn": replay_arn(&replay.plan.name), "State": replay.state});
    if let Some(reason) = &replay.reason {
        shown["StateReason"] = reason.as_str().into();
    }
    shown
}

/// A replay in a list.
fn shown(replay: &Replay) -> Value {
    let Replay { plan, state, reason, started_at, ended_at, last } = replay;
    let mut shown = json!({
        "ReplayName": plan.name,
        "EventSourceArn": archive_arn(&plan.archive),
        "State": state,
        "EventStartTime": seconds(plan.window.0),
        "EventEndTime": seconds(plan.window.1),
        "ReplayStartTime": seconds(started_at.timestamp_millis()),
    });
    let last = last.as_ref().and_then(|(time, _)| DateTime::parse_from_rfc3339(time).ok());
    let times = [
        ("EventLastReplayedTime", last.map(|time| time.timestamp_millis())),
        ("ReplayEndTime", ended_at.map(|time| time.timestamp_millis())),
    ];
    for (name, millis) in times {
        if let Some(millis) = millis {
            shown[name] = json!(seconds(millis));
        }
    }
    if let Some(reason) = reason {
        shown["StateReason"] = reason.as_str().into();
    }
    shown
}

/// A replay by itself.
fn described(replay: &Replay) -> Value {
    let Plan { name, description, bus, rules, .. } = &replay.plan;
    let mut described = shown(replay);
    described["ReplayArn"] = replay_arn(name).into();
    described["Destination"] = json!({"Arn": names::bus_arn(bus)});
    if !rules.is_empty() {
        let arns = rules.iter().map(|rule| names::rule_arn(bus, rule));
        described["Destination"]["FilterArns"] = arns.collect();
    }
    if let Some(description) = description {
        described["Description"] = description.as_str().into();
    }
    described
}

fn replay_arn(replay: &str) -> String {
    names::arn("events", &format!("replay/{replay}"))
}

fn archive_arn(archive: &str) -> String {
    names::arn("events", &format!("archive/{archive}"))
}

/// What stands behind the beginning of an ARN.
fn named_by<'a>(arn: &'a str, beginning: &str) -> Option<&'a str> {
    arn.strip_prefix(beginning).filter(|name| !name.is_empty())
}

fn check_name(field: &str, name: &str) -> Result<(), ApiError> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if (1..=MAX_NAME).contains(&name.len()) && name.chars().all(fits) {
        return Ok(());
    }
    Err(invalid(field, r"Member must have 1 to 64 characters and satisfy [\.\-_A-Za-z0-9]+"))
}

fn millis(field: &str, seconds: f64) -> Result<i64, ApiError> {
    #[allow(clippy::float_arithmetic, clippy::cast_possible_truncation, reason = "AWS's own time stamp")]
    let millis = (seconds * 1000.0).round() as i64;
    let fits = SECONDS.contains(&millis.div_euclid(1000));
    fits.then_some(millis).ok_or_else(|| invalid(field, "Must be a time of the years 1 to 9999."))
}

fn invalid(field: &str, reason: &str) -> ApiError {
    ApiError::new("ValidationException", format!("Parameter {field} is not valid. Reason: {reason}"))
}

fn missing(text: String) -> ApiError {
    ApiError::new("ResourceNotFoundException", text)
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        let code = match refused {
            Refused::Exists(_) => "ResourceAlreadyExistsException",
            Refused::TooMany => "LimitExceededException",
            Refused::Unknown(_) => "ResourceNotFoundException",
            Refused::HasEnded(_) => "IllegalStatusException",
        };
        Self::new(code, refused.to_string())
    }
}
