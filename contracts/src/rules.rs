//! The rules by which events reach a consumer. Each has three: for live events and replays to everyone, for replays to it
//! alone, and for what is replayed from the bus's archive. All three let in exactly what its crate consumes.

use crate::{Consumer, Contracts};
use events::catalogue::Entry;
use events::source_of;
use localstack::template::{names, resources};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// The ends of the rules' names.
pub const RULES: [&str; 3] = ["events", "replays", "archive"];

/// The bus of the stage that the gate looks at.
pub(crate) const BUS: &str = "dev-quadrille";

/// The template of a service.
pub(crate) fn template_of(service: &str) -> String {
    format!("infra/{service}.yaml")
}

/// What a rule matches beside sources, types and versions.
fn replays(rule: &str, consumer: &str) -> Value {
    let absent = json!([{"exists": false}]);
    match rule {
        "archive" => json!({"replay-name": [{"exists": true}]}),
        "replays" => {
            json!({"detail": {"metadata": {"replay": {"consumer": [consumer]}}}, "replay-name": absent})
        }
        _ => json!({"detail": {"metadata": {"replay": {"consumer": absent}}}, "replay-name": absent}),
    }
}

/// What is wrong with the rules of a consumer, and with the way behind them.
pub(crate) fn breaches(contracts: &Contracts, consumer: &Consumer, model: &resources::Model) -> Vec<String> {
    let (mut found, file) = (Vec::new(), template_of(consumer.service));
    let named = |end: &str| format!("dev-quadrille-{}-{end}", consumer.service);
    for end in RULES {
        match model.rules.iter().find(|rule| rule.name == named(end)) {
            Some(rule) => {
                found.extend(differences(contracts, consumer, end, &rule.event_pattern));
                found.extend(way_in(consumer.service, end, rule));
            }
            None => found.push(format!("{file}: there is no rule {}", named(end))),
        }
    }
    let queue = named("events");
    let others = model.rules.iter().filter(|rule| RULES.iter().all(|end| rule.name != named(end)));
    let others =
        others.filter(|rule| rule.targets.iter().any(|target| names::last_part(&target.arn) == queue));
    found.extend(others.map(|other| format!("{file}: the rule {} fills {queue} too", other.name)));
    if !model.queues.iter().any(|known| known.queue_name == queue) {
        found.push(format!("{file}: there is no queue {queue}"));
    }
    let fed = |m: &&resources::EventSourceMapping| names::last_part(&m.event_source_arn) == queue;
    let reactor = named("reactor");
    if model.mappings.iter().find(fed).is_none_or(|m| names::last_part(&m.function_name) != reactor) {
        found.push(format!("{file}: {queue} does not feed {reactor}"));
    }
    found
}

/// A rule leads from the one bus to its service's own queue.
fn way_in(service: &str, end: &str, rule: &resources::Rule) -> Vec<String> {
    let (file, queue) = (template_of(service), format!("dev-quadrille-{service}-events"));
    let mut found = Vec::new();
    if rule.event_bus_name != BUS {
        found.push(format!("{file}: the rule {end} listens to the bus {}", rule.event_bus_name));
    }
    if rule.targets.len() != 1 || rule.targets.iter().any(|target| names::last_part(&target.arn) != queue) {
        found.push(format!("{file}: the rule {end} has to lead to {queue} and nowhere else"));
    }
    found
}

fn differences(contracts: &Contracts, consumer: &Consumer, end: &str, pattern: &Value) -> Vec<String> {
    let kinds: BTreeSet<String> = consumer.subscriptions.iter().map(|s| s.kind.to_owned()).collect();
    let consumed = |entry: &&Entry| kinds.contains(entry.kind);
    let sources = contracts.entries.iter().filter(consumed).map(|entry| source_of(entry.producer)).collect();
    let (mut found, file) = (Vec::new(), template_of(consumer.service));
    for (field, wanted) in [("detail-type", kinds), ("source", sources)] {
        let has: BTreeSet<String> = pattern[field]
            .as_array()
            .into_iter()
            .flatten()
            .map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
            .collect();
        for one in wanted.difference(&has) {
            found.push(format!("{file}: the rule {end} does not let in the {field} {one}"));
        }
        for one in has.difference(&wanted) {
            let views = format!("services/{}/src/subscriptions.rs", consumer.service);
            found.push(format!(
                "{file}: the rule {end} lets in the {field} {one}, which no subscription in {views} needs"
            ));
        }
    }
    found.extend(rest(consumer, end, pattern));
    found
}

/// What a rule matches beside source and type: replays as it should, and of the versions, if any, exactly those that the
/// crate reads.
fn rest(consumer: &Consumer, end: &str, pattern: &Value) -> Option<String> {
    let mut has = pattern.clone();
    let fields = has.as_object_mut()?;
    fields.retain(|field, _| field != "source" && field != "detail-type");
    let mut wanted = replays(end, consumer.service);
    if has.pointer("/detail/metadata/version").is_some() {
        let read: BTreeSet<u32> = consumer.subscriptions.iter().map(|s| s.version).collect();
        wanted["detail"]["metadata"]["version"] = json!(read);
    }
    let file = template_of(consumer.service);
    (has != wanted).then(|| {
        format!("{file}: beside source and type, the rule {end} has to match {wanted}, and not {has}")
    })
}
