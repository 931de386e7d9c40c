//! EventBridge's calls that show rules, those of the templates and those that were made, and the one that tries a pattern.
//!
//! <https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_ListRules.html>
//! <https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_ListTargetsByRule.html>
//! <https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_TestEventPattern.html>

use super::buses_api::{LISTED, no_bus};
use super::rules_api::{no_rule, refused};
use super::service::Service;
use crate::aws::protocol::pages::{limit, page};
use crate::aws::protocol::{ApiError, Call, Outcome, ok, without_nulls};
use crate::template::names;
use quamina::Quamina;
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct ListRules {
    name_prefix: Option<String>,
    event_bus_name: Option<String>,
    next_token: Option<String>,
    limit: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct DescribeRule {
    name: String,
    event_bus_name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct ListTargets {
    rule: String,
    event_bus_name: Option<String>,
    next_token: Option<String>,
    limit: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct ListNames {
    target_arn: String,
    event_bus_name: Option<String>,
    next_token: Option<String>,
    limit: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct TestPattern {
    event_pattern: String,
    event: String,
}

/// A rule, declared or made.
struct Shown {
    name: String,
    description: Option<String>,
    pattern: String,
    /// Each has at least an id and an ARN.
    targets: Vec<Value>,
}

/// The rules of a bus.
fn rules(events: &Service, bus: &str) -> Result<Vec<Shown>, ApiError> {
    if !events.buses.has(bus, None) {
        return Err(no_bus(bus));
    }
    let declared = events.model.rules.iter().filter(|rule| rule.event_bus_name == bus);
    let mut rules: Vec<Shown> = declared
        .map(|rule| Shown {
            name: rule.name.clone(),
            description: rule.description.clone(),
            pattern: rule.event_pattern.to_string(),
            targets: rule.targets.iter().map(|target| without_nulls(json!(target))).collect(),
        })
        .collect();
    let made = events.buses.made.read();
    rules.extend(made.iter().filter(|((of, _), _)| of == bus).map(|((_, name), rule)| {
        let target = |(id, queue): (&String, &String)| json!({"Id": id, "Arn": names::queue_arn(queue)});
        let (name, pattern) = (name.clone(), rule.pattern.to_string());
        Shown { name, description: None, pattern, targets: rule.targets.iter().map(target).collect() }
    }));
    Ok(rules)
}

fn shown(bus: &str, rule: &Shown) -> Value {
    without_nulls(json!({
        "Name": rule.name,
        "Arn": names::rule_arn(bus, &rule.name),
        "EventBusName": bus,
        "State": "ENABLED",
        "Description": rule.description,
        "EventPattern": rule.pattern,
    }))
}

pub fn list(events: &Service, call: &Call<'_>) -> Outcome {
    let request: ListRules = call.parse()?;
    let bus = names::last_part(request.event_bus_name.as_deref().unwrap_or("default"));
    call.require("events:ListRules", &names::rule_arn(bus, "*"))?;
    let limit = limit(("Limit", request.limit), &LISTED, "ValidationException")?;
    let mut rules = rules(events, bus)?;
    rules.retain(|rule| request.name_prefix.as_ref().is_none_or(|prefix| rule.name.starts_with(prefix)));
    let (rules, next) = page(rules, |rule| rule.name.clone(), request.next_token.as_deref(), limit);
    let rules: Vec<Value> = rules.iter().map(|rule| shown(bus, rule)).collect();
    ok(&without_nulls(json!({"Rules": rules, "NextToken": next})))
}

/// A rule that is there, if the caller may look at it.
fn rule(events: &Service, call: &Call<'_>, bus: &str, name: &str) -> Result<Shown, ApiError> {
    call.require(&format!("events:{}", call.operation), &names::rule_arn(bus, name))?;
    let found = rules(events, bus)?.into_iter().find(|rule| rule.name == name);
    found.ok_or_else(|| no_rule(name, bus))
}

pub fn describe(events: &Service, call: &Call<'_>) -> Outcome {
    let DescribeRule { name, event_bus_name } = call.parse()?;
    let bus = names::last_part(event_bus_name.as_deref().unwrap_or("default"));
    let mut answer = shown(bus, &rule(events, call, bus, &name)?);
    answer["CreatedBy"] = names::ACCOUNT.into();
    ok(&answer)
}

pub fn list_targets(events: &Service, call: &Call<'_>) -> Outcome {
    let request: ListTargets = call.parse()?;
    let bus = names::last_part(request.event_bus_name.as_deref().unwrap_or("default"));
    let rule = rule(events, call, bus, &request.rule)?;
    let limit = limit(("Limit", request.limit), &LISTED, "ValidationException")?;
    let id = |target: &Value| target["Id"].as_str().unwrap_or_default().to_owned();
    let (targets, next) = page(rule.targets, id, request.next_token.as_deref(), limit);
    ok(&without_nulls(json!({"Targets": targets, "NextToken": next})))
}

/// <https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_ListRuleNamesByTarget.html>
pub fn list_names_by_target(events: &Service, call: &Call<'_>) -> Outcome {
    let request: ListNames = call.parse()?;
    let bus = names::last_part(request.event_bus_name.as_deref().unwrap_or("default"));
    call.require("events:ListRuleNamesByTarget", &names::rule_arn(bus, "*"))?;
    let limit = limit(("Limit", request.limit), &LISTED, "ValidationException")?;
    let mut rules = rules(events, bus)?;
    rules.retain(|rule| rule.targets.iter().any(|target| target["Arn"] == *request.target_arn));
    let names = rules.into_iter().map(|rule| rule.name).collect();
    let (names, next) = page(names, String::clone, request.next_token.as_deref(), limit);
    ok(&without_nulls(json!({"RuleNames": names, "NextToken": next})))
}

/// What an event has to have before it is tried.
const MANDATORY: [&str; 7] = ["id", "account", "source", "time", "region", "resources", "detail-type"];

pub fn test_pattern(_: &Service, call: &Call<'_>) -> Outcome {
    let TestPattern { event_pattern, event } = call.parse()?;
    call.require("events:TestEventPattern", "*")?;
    let invalid = |why: String| {
        ApiError::new("InvalidEventPatternException", format!("Event pattern is not valid. Reason: {why}"))
    };
    // What reads patterns calls itself for each level, and has no limit; this has one.
    serde_json::from_str::<Value>(&event_pattern).map_err(|error| invalid(error.to_string()))?;
    let mut matcher = Quamina::new();
    matcher.add_pattern((), &event_pattern).map_err(|error| invalid(format!("{error:?}")))?;
    let read: Value =
        serde_json::from_str(&event).map_err(|error| refused(format!("Event is not valid JSON: {error}")))?;
    if let Some(missing) = MANDATORY.iter().find(|field| read.get(**field).is_none()) {
        return Err(refused(format!("Event has no {missing}, which is mandatory")));
    }
    let matching =
        matcher.matches_for_event(event.as_bytes()).map_err(|error| refused(format!("{error:?}")))?;
    ok(&json!({"Result": !matching.is_empty()}))
}
