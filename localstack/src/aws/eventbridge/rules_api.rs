//! EventBridge's calls that make and delete rules. Those of the templates cannot be changed; those that are made send to queues
//! that are made.
//!
//! <https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutRule.html>
//! <https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutTargets.html>
//! <https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_RemoveTargets.html>
//! <https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_DeleteRule.html>

use super::bus::Buses;
use super::buses_api::no_bus;
use crate::aws::protocol::{ApiError, Call, Outcome, ok};
use crate::template::names;
use serde::Deserialize;
use serde_json::{Value, json};

const MAX_NAME: usize = 64;
/// <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-quota.html>
const MAX_TARGETS: usize = 5;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct PutRule {
    name: String,
    event_bus_name: Option<String>,
    event_pattern: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Rule {
    name: String,
    event_bus_name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct PutTargets {
    rule: String,
    event_bus_name: Option<String>,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Target {
    id: String,
    arn: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct RemoveTargets {
    rule: String,
    event_bus_name: Option<String>,
    ids: Vec<String>,
}

pub fn refused(why: impl Into<String>) -> ApiError {
    ApiError::new("ValidationException", why)
}

pub fn no_rule(rule: &str, bus: &str) -> ApiError {
    let message = format!("Rule {rule} does not exist on EventBus {bus}.");
    ApiError::new("ResourceNotFoundException", message)
}

/// A bus that is there, and a rule of it that no template declares.
fn place(
    buses: &Buses,
    call: &Call<'_>,
    bus: Option<&str>,
    rule: &str,
) -> Result<(String, String), ApiError> {
    let bus = names::last_part(bus.unwrap_or("default"));
    call.require(&format!("events:{}", call.operation), &names::rule_arn(bus, rule))?;
    let is_legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if !(1..=MAX_NAME).contains(&rule.len()) || !rule.chars().all(is_legal) {
        return Err(refused(format!(
            "a rule's name has 1 to {MAX_NAME} characters of [.-_A-Za-z0-9]: {rule}"
        )));
    }
    let declared = buses.declared(bus).ok_or_else(|| no_bus(bus))?;
    if declared.iter().any(|(name, _)| name == rule) {
        return Err(refused(format!(
            "{rule}: {} for a rule that a template declares is not implemented by the local stack",
            call.operation
        )));
    }
    Ok((bus.to_owned(), rule.to_owned()))
}

/// # Errors
/// As AWS's, by name; `ValidationException` too for what the local stack does not implement.
pub fn put_rule(buses: &Buses, call: &Call<'_>) -> Outcome {
    let PutRule { name, event_bus_name, event_pattern } = call.parse()?;
    let (bus, rule) = place(buses, call, event_bus_name.as_deref(), &name)?;
    let text = event_pattern
        .ok_or_else(|| refused("a rule without EventPattern is not implemented by the local stack"))?;
    let invalid = |why: String| {
        ApiError::new("InvalidEventPatternException", format!("Event pattern is not valid. Reason: {why}"))
    };
    let pattern: Value = serde_json::from_str(&text).map_err(|e| invalid(e.to_string()))?;
    buses.made.put(&bus, &rule, pattern).map_err(|e| invalid(e.to_string()))?;
    ok(&json!({"RuleArn": names::rule_arn(&bus, &rule)}))
}

/// A rule that is not there is deleted already.
pub fn delete_rule(buses: &Buses, call: &Call<'_>) -> Outcome {
    let Rule { name, event_bus_name } = call.parse()?;
    let key = place(buses, call, event_bus_name.as_deref(), &name)?;
    let mut rules = buses.made.write();
    if rules.get(&key).is_some_and(|rule| !rule.targets.is_empty()) {
        return Err(refused("Rule can't be deleted since it has targets."));
    }
    rules.remove(&key);
    ok(&json!({}))
}

pub fn put_targets(buses: &Buses, call: &Call<'_>) -> Outcome {
    let PutTargets { rule, event_bus_name, targets } = call.parse()?;
    let key = place(buses, call, event_bus_name.as_deref(), &rule)?;
    let queue = |target: &Target| names::last_part(&target.arn).to_owned();
    if let Some(other) = targets.iter().find(|target| !buses.made.has_queue(&queue(target))) {
        return Err(refused(format!(
            "{}: a target that is no queue made by CreateQueue is not implemented by the local stack",
            other.arn
        )));
    }
    let mut rules = buses.made.write();
    let there = rules.get_mut(&key).ok_or_else(|| no_rule(&key.1, &key.0))?;
    let mut all = there.targets.clone();
    all.extend(targets.iter().map(|target| (target.id.clone(), queue(target))));
    if all.len() > MAX_TARGETS {
        let message =
            format!("The requested resource exceeds the maximum number allowed: {MAX_TARGETS} targets");
        return Err(ApiError::new("LimitExceededException", message));
    }
    there.targets = all;
    ok(&json!({"FailedEntryCount": 0, "FailedEntries": []}))
}

pub fn remove_targets(buses: &Buses, call: &Call<'_>) -> Outcome {
    let RemoveTargets { rule, event_bus_name, ids } = call.parse()?;
    let key = place(buses, call, event_bus_name.as_deref(), &rule)?;
    let mut rules = buses.made.write();
    let there = rules.get_mut(&key).ok_or_else(|| no_rule(&key.1, &key.0))?;
    let mut failed = Vec::new();
    for id in ids {
        if there.targets.remove(&id).is_none() {
            failed.push(json!({"TargetId": id, "ErrorCode": "ResourceNotFoundException",
                "ErrorMessage": "Rule does not have a target with this id."}));
        }
    }
    ok(&json!({"FailedEntryCount": failed.len(), "FailedEntries": failed}))
}
