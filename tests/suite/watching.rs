//! What watches a stage: every alarm has its entry in the runbook, every entry its alarm and a command that there is; alarms,
//! dashboard and queries name metrics and logs that the code really writes; and what can go wrong has an alarm.

use crate::platform::{BINARIES, root};
use chassis::metrics::{DELIVERIES, LAG, Metric, NAMESPACE};
use contracts::{Contracts, wiring};
use localstack::stack::watching::{Series, drawn, watched};
use localstack::template::names::last_part;
use localstack::template::resources::{Alarm, Model};
use orders::saga::measures::{DURATION, ENDED, LOST, OVERDUE, SUCCESS, UNDONE};
use payments::compensation::REFUNDS;
use payments::provider::circuit_breaker::{CALLS, CIRCUIT};
use payments::reactor::CAPTURES;
use registry::SERVICES;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

/// The page, as alarms name it.
const BOOK: &str = "services/operator/RUNBOOK.md";

/// Every metric that the code emits, with the services that do.
fn emitted() -> Vec<(&'static Metric, Vec<&'static str>)> {
    let (all, orders, payments) = (SERVICES.to_vec(), vec!["orders"], vec!["payments"]);
    let of_all = [&DELIVERIES, &LAG].map(|metric| (metric, all.clone()));
    let of_orders =
        [&DURATION, &ENDED, &LOST, &OVERDUE, &SUCCESS, &UNDONE].map(|metric| (metric, orders.clone()));
    let of_payments = [&CALLS, &CAPTURES, &CIRCUIT, &REFUNDS].map(|metric| (metric, payments.clone()));
    of_all.into_iter().chain(of_orders).chain(of_payments).collect()
}

fn model() -> Model {
    wiring::model(&Contracts::of(&root())).unwrap()
}

/// The entry that an alarm's description names.
fn entry_of(alarm: &Alarm) -> String {
    let description = alarm.alarm_description.clone().unwrap_or_default();
    let named: Vec<&str> = description.split(&format!("{BOOK}#")).collect();
    let [_, anchor] = named.as_slice() else { panic!("{}: names no entry of {BOOK}", alarm.alarm_name) };
    anchor.trim().to_owned()
}

/// The entries of the runbook: the heading, and what stands below it.
fn entries() -> Vec<(String, String)> {
    let book = fs::read_to_string(root().join(BOOK)).unwrap();
    let parts = book.split("\n### ").skip(1).filter_map(|part| part.split_once('\n'));
    let text = |below: &str| below.split("\n## ").next().unwrap_or_default().to_owned();
    parts.map(|(heading, below)| (heading.trim().to_owned(), text(below))).collect()
}

/// Guards: an alarm that rings at night and that no page explains, and an entry about an alarm that is gone.
#[test]
fn every_alarm_has_one_entry_and_every_entry_an_alarm() {
    let entries = entries();
    let headings: BTreeSet<String> = entries.iter().map(|(heading, _)| heading.clone()).collect();
    assert_eq!(headings.len(), entries.len(), "two entries have one heading");
    // With a relay in the place of a pipe the alarms are the same ones.
    let relayed = wiring::model_with(&Contracts::of(&root()), &wiring::RELAYED).unwrap();
    let name = |alarm: &Alarm| alarm.alarm_name.clone();
    let (alarms, others) = (model().alarms, relayed.alarms);
    assert_eq!(alarms.iter().map(name).collect::<Vec<_>>(), others.iter().map(name).collect::<Vec<_>>());
    let named: BTreeSet<String> = alarms.iter().map(entry_of).collect();
    assert_eq!(named, headings);
    for alarm in &alarms {
        // `function-failing` is the entry of `payments-reactor-failing`.
        let (name, entry) = (&alarm.alarm_name, entry_of(alarm));
        let end = entry.rsplit_once("function").map_or(entry.as_str(), |(_, end)| end);
        assert!(name.ends_with(end) && name.starts_with("dev-quadrille-"), "{name} names {entry}");
    }
}

/// The commands of an entry: their names, and their flags.
fn commands(text: &str) -> Vec<(Vec<&str>, Vec<&str>)> {
    let code = text.split('`').skip(1).step_by(2).filter_map(|code| code.strip_prefix("quadrille "));
    let is_name = |part: &&str| part.starts_with(|c: char| c.is_ascii_lowercase());
    code.map(|code| {
        let parts: Vec<&str> = code.split_whitespace().collect();
        let names = parts.iter().copied().take_while(is_name).collect();
        (names, parts.iter().copied().filter(|part| part.starts_with("--")).collect())
    })
    .collect()
}

/// What `quadrille COMMAND --help` says; none where there is no such command.
fn help(names: &[&str]) -> Option<String> {
    let run = Command::new(BINARIES.join("quadrille")).args(names).arg("--help").output().unwrap();
    run.status.success().then(|| String::from_utf8_lossy(&run.stdout).into_owned())
}

/// Guards: a runbook that names a command or a flag that there is not, and an entry that repairs nothing.
#[test]
fn every_entry_names_a_command_that_there_is() {
    let (entries, mut helped) = (entries(), BTreeMap::new());
    for (heading, text) in &entries {
        for part in ["- Means: ", "- Look at: ", "- Repair: "] {
            assert_eq!(text.matches(part).count(), 1, "{heading}: {part}");
        }
        let commands = commands(text);
        assert!(!commands.is_empty(), "{heading} names no command");
        for (names, flags) in commands {
            let command = names.join(" ");
            let help = helped.entry(command.clone()).or_insert_with(|| help(&names));
            let help = help.as_ref().unwrap_or_else(|| panic!("{heading}: there is no quadrille {command}"));
            for flag in flags {
                assert!(help.contains(flag), "{heading}: quadrille {command} has no {flag}");
            }
        }
    }
}

/// Whether a series is one that the code emits, or a search for some.
fn is_emitted(series: &Series) -> bool {
    let value =
        |name: &str| series.dimensions.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_deref());
    emitted().into_iter().filter(|(metric, _)| metric.name == series.metric).any(|(metric, services)| {
        let names: BTreeSet<&str> = series.dimensions.iter().map(|(name, _)| name.as_str()).collect();
        let allowed =
            |name: &str, values: &[&str]| value(name).flatten().is_none_or(|it| values.contains(&it));
        names == metric.dimensions().into_iter().collect()
            && allowed("stage", &["dev"])
            && allowed("service", &services)
            && metric.dimension.is_none_or(|(name, values)| allowed(name, values))
    })
}

/// Guards: an alarm or a graph of a metric that no code emits, under exactly these dimensions and values, never shows anything;
/// a metric that nothing shows costs for nothing.
#[test]
fn what_is_watched_is_emitted_and_what_is_emitted_is_shown() {
    let model = model();
    let alarms: Vec<Series> = model.alarms.iter().flat_map(watched).collect();
    let graphs: Vec<Series> = model.dashboards.iter().flat_map(|it| drawn(it).unwrap()).collect();
    for series in alarms.iter().chain(&graphs).filter(|series| series.namespace == NAMESPACE) {
        assert!(is_emitted(series), "no code emits {series:?}");
    }
    for (metric, services) in emitted() {
        let (name, values) = metric.dimension.unwrap_or(("", &[""]));
        for (service, value) in services.iter().flat_map(|service| values.iter().map(move |v| (service, v))) {
            let is = |series: &&Series| {
                let has = |name: &str, value: &str| {
                    let found =
                        series.dimensions.iter().find(|(n, _)| n == name).and_then(|(_, v)| v.clone());
                    found.is_none_or(|found| found == value)
                };
                series.metric == metric.name && has("service", service) && has(name, value)
            };
            assert!(graphs.iter().any(|series| is(&series)), "no graph shows {} {value}", metric.name);
        }
    }
}

/// The Rust files below a folder.
fn sources(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(fs::read_to_string(&path).unwrap());
        }
    }
}

/// Guards: a metric that is missing in the list above would not be held against the alarms.
#[test]
fn every_metric_is_listed() {
    let mut files = Vec::new();
    sources(&root().join("services"), &mut files);
    let declared: usize = files.iter().map(|text| text.matches(": Metric =").count()).sum();
    assert_eq!(declared, emitted().len());
    let names: BTreeSet<&str> = emitted().iter().map(|(metric, _)| metric.name).collect();
    assert_eq!(names.len(), declared, "two metrics have one name");
}

/// Whether an alarm watches a metric of a resource.
fn has_alarm(model: &Model, metric: &str, dimension: &str, value: &str) -> bool {
    let is = |series: &Series| {
        let is_its =
            |(name, of): &(String, Option<String>)| name == dimension && of.as_deref() == Some(value);
        series.metric == metric && series.dimensions.iter().any(is_its)
    };
    model.alarms.iter().any(|alarm| watched(alarm).iter().any(is))
}

/// Guards: a service that is added, or a function, a queue, a rule, a pipe, comes with its alarms.
#[test]
fn everything_that_can_fail_has_its_alarms() {
    let contracts = Contracts::of(&root());
    for model in [model(), wiring::model_with(&contracts, &wiring::RELAYED).unwrap()] {
        let mut without = Vec::new();
        let mut need = |metric: &str, dimension: &str, value: &str| {
            let has = has_alarm(&model, metric, dimension, value);
            without.extend((!has).then(|| format!("{metric} of {value}")));
        };
        for service in SERVICES {
            need(LAG.name, "service", service);
            need(DELIVERIES.name, "service", service);
            need("Duration", "FunctionName", &format!("dev-quadrille-{service}-reactor"));
            need("FailedInvocations", "RuleName", &format!("dev-quadrille-{service}-events"));
            need("InvocationsFailedToBeSentToDlq", "RuleName", &format!("dev-quadrille-{service}-events"));
        }
        for function in model.functions.iter().map(|function| function.function_name.as_str()) {
            need("Throttles", "FunctionName", function);
            // A pipe fails when its function does.
            match function.strip_suffix("-outbox") {
                Some(pipe) => need("ExecutionFailed", "PipeName", pipe),
                None => need("Errors", "FunctionName", function),
            }
        }
        for queue in model.queues.iter().filter(|queue| queue.redrive_policy.is_some()) {
            need("ApproximateAgeOfOldestMessage", "QueueName", &queue.queue_name);
        }
        for pipe in &model.pipes {
            need("EventCount", "PipeName", &pipe.name);
        }
        for mapping in &model.stream_mappings {
            need("Invocations", "FunctionName", last_part(&mapping.function_name));
        }
        for schedule in &model.schedules {
            need("Invocations", "FunctionName", last_part(&schedule.target.arn));
        }
        for api in &model.apis {
            need("5xx", "ApiId", &api.name);
        }
        let ends = ["ExecutionsFailed", "ExecutionsTimedOut", "ExecutionsAborted"];
        for (machine, end) in model.machines.iter().flat_map(|machine| ends.map(|end| (machine, end))) {
            let arn = localstack::template::names::state_machine_arn(&machine.state_machine_name);
            need(end, "StateMachineArn", &arn);
        }
        assert_eq!(without, Vec::<String>::new());
    }
}

/// Guards: a saved query that leaves a service out. One correlation id finds the lines of every reactor and API, and of the
/// compensator.
#[test]
fn every_hop_is_in_the_query() {
    let model = model();
    let query = model.queries.iter().find(|query| query.name.ends_with("/one correlation id")).unwrap();
    let logs: BTreeSet<&str> = query.log_group_names.iter().map(String::as_str).collect();
    let hops =
        model.functions.iter().filter(|it| ["reactor", "api", "compensator"].contains(&it.handler.as_str()));
    let hops: Vec<String> = hops.map(|hop| format!("/aws/lambda/{}", hop.function_name)).collect();
    assert_eq!(logs, hops.iter().map(String::as_str).collect());
}
