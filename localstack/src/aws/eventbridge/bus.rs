//! Buses: rules match events by pattern and hand them to their targets; archives keep them.
//!
//! <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-event-patterns.html>
//! <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-events-structure.html>

use super::made::MadeRules;
use crate::aws::sqs::{Queue, Queues};
use crate::aws::stepfunctions::StateMachines;
use crate::faults::{Delivery, Faults};
use crate::support::depth::is_deep;
use crate::support::journal::{Entry, Journal};
use crate::support::meter::{Meter, Unit};
use crate::template::names::{self, ACCOUNT, REGION};
use crate::template::resources::{self, Model};
use anyhow::{Context, Result, anyhow, bail, ensure};
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use quamina::Quamina;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use uuid::Uuid;

/// <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-putevents.html>
const MAX_ENTRY_BYTES: usize = 256 * 1024;
/// One entry of PutEvents.
#[derive(Clone, Debug)]
pub struct PutEventsEntry {
    /// `quadrille.orders`
    pub source: String,
    /// `order.created`
    pub detail_type: String,
    /// A JSON object as text.
    pub detail: String,
    pub time: DateTime<Utc>,
    pub resources: Vec<String>,
}

impl PutEventsEntry {
    /// <https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEventsResultEntry.html>
    fn check(&self) -> Result<(), EntryError> {
        let fields = [("Source", &self.source), ("DetailType", &self.detail_type), ("Detail", &self.detail)];
        if let Some((name, _)) = fields.into_iter().find(|(_, value)| value.is_empty()) {
            return Err(EntryError::Missing(name));
        }
        if self.source.starts_with("aws.") {
            return Err(EntryError::NotAuthorized);
        }
        let is_object = self.detail.trim_start().starts_with('{');
        if !is_object || serde_json::from_str::<IgnoredAny>(&self.detail).is_err() || is_deep(&self.detail) {
            return Err(EntryError::MalformedDetail);
        }
        if self.detail.len() > MAX_ENTRY_BYTES {
            return Err(EntryError::TooLarge);
        }
        Ok(())
    }
}

/// An event as an archive keeps it.
pub struct Archived<'a> {
    pub json: &'a str,
    pub detail_type: &'a str,
}

/// Why the bus refused an entry; the text is PutEvents' `ErrorMessage`.
#[derive(Debug, thiserror::Error)]
pub enum EntryError {
    #[error("there is no such bus")]
    NoSuchBus,
    /// A field that is missing, or empty.
    #[error("Parameter {0} is not valid. Reason: {0} is a required argument.")]
    Missing(&'static str),
    /// Sources that begin with `aws.` are AWS's own.
    #[error("Not authorized for the source.")]
    NotAuthorized,
    #[error("Detail is malformed.")]
    MalformedDetail,
    #[error("more than {MAX_ENTRY_BYTES} bytes")]
    TooLarge,
    #[error("refused by the fault dial")]
    Refused,
    #[error("{0}")]
    NotDelivered(#[source] anyhow::Error),
}

impl EntryError {
    /// PutEvents' `ErrorCode`.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoSuchBus => "ResourceNotFoundException",
            Self::Missing(_) => "InvalidArgument",
            Self::NotAuthorized => "NotAuthorizedForSourceException",
            Self::MalformedDetail => "MalformedDetail",
            Self::TooLarge => "EntryTooLarge",
            Self::Refused | Self::NotDelivered(_) => "InternalFailure",
        }
    }
}

/// A receiver of events: one pass over an event finds every receiver.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Receiver {
    /// By its place among the bus's rules.
    Rule(usize),
    /// By name.
    Archive(String),
}

enum Target {
    Queue(Arc<Queue>),
    /// A state machine's name, and its execution's input.
    Execution(String, Input),
}

/// How much of an event an execution gets as its input.
#[derive(Clone, Copy)]
enum Input {
    Event,
    Detail,
}

impl Target {
    fn new(declared: &resources::Target, connections: &Connections<'_>) -> Result<Self> {
        if !names::is_state_machine(&declared.arn) {
            ensure!(declared.input_path.is_none(), "InputPath is implemented for state machines only");
            return Ok(Self::Queue(connections.queues.by_arn(&declared.arn)?));
        }
        let name = names::last_part(&declared.arn);
        ensure!(connections.machines.has(name), "no template declares the state machine {name}");
        let input = match declared.input_path.as_deref() {
            None => Input::Event,
            Some("$.detail") => Input::Detail,
            Some(other) => bail!("the InputPath {other} is not implemented by the local stack"),
        };
        Ok(Self::Execution(name.to_owned(), input))
    }
}

struct Bus {
    receivers: Quamina<Receiver>,
    /// By their place, as the targets: name and pattern.
    rules: Vec<(String, Value)>,
    /// By the place of their rule.
    targets: Vec<Vec<Target>>,
    /// Their names, and for how many days each keeps its events; for ever without.
    archives: Vec<(String, Option<u32>)>,
}

/// What buses are connected to.
pub struct Connections<'a> {
    pub queues: &'a Queues,
    pub machines: &'a StateMachines,
    pub journal: &'a Journal,
    pub faults: &'a Faults,
    pub meter: &'a Meter,
}

/// Every bus, by name. Clones share them.
#[derive(Clone)]
pub struct Buses {
    buses: Arc<HashMap<String, Bus>>,
    /// The rules that were made while the stack runs.
    pub(super) made: MadeRules,
    machines: StateMachines,
    journal: Journal,
    faults: Faults,
    meter: Meter,
}

fn add(
    receivers: &mut Quamina<Receiver>,
    receiver: Receiver,
    pattern: &Value,
    named: impl Fn() -> String,
) -> Result<()> {
    // A pattern that the matcher does not implement is an error, never a rule that quietly matches nothing.
    receivers
        .add_pattern(receiver, &pattern.to_string())
        .map_err(|e| anyhow!("{}: the event pattern is not implemented by the local stack: {e:?}", named()))
}

impl Bus {
    fn new(name: &str, model: &Model, connections: &Connections<'_>) -> Result<Self> {
        let rules: Vec<_> = model.rules.iter().filter(|rule| rule.event_bus_name == name).collect();
        let targets = |rule: &&resources::Rule| -> Result<Vec<Target>> {
            rule.targets.iter().map(|declared| Target::new(declared, connections)).collect()
        };
        let targets = rules.iter().map(targets).collect::<Result<_>>()?;
        let mut receivers = Quamina::new();
        for (place, rule) in rules.iter().enumerate() {
            let named = || format!("rule {}", rule.name);
            add(&mut receivers, Receiver::Rule(place), &rule.event_pattern, named)?;
        }
        let every_event = json!({"source": [{"exists": true}]});
        let mut archives = Vec::new();
        for archive in model.archives.iter().filter(|a| names::last_part(&a.source_arn) == name) {
            let days = archive.retention_days.filter(|days| *days > 0);
            archives.push((archive.archive_name.clone(), days));
            let pattern = archive.event_pattern.as_ref().unwrap_or(&every_event);
            let receiver = Receiver::Archive(archive.archive_name.clone());
            add(&mut receivers, receiver, pattern, || format!("archive {}", archive.archive_name))?;
        }
        let rules = rules.iter().map(|rule| (rule.name.clone(), rule.event_pattern.clone())).collect();
        Ok(Self { receivers, rules, targets, archives })
    }
}

impl Buses {
    /// Connects rules and archives to their buses.
    ///
    /// # Errors
    /// When a rule names a bus or a target that no template declares, or a pattern that is not implemented.
    pub fn start(model: &Model, connections: &Connections<'_>) -> Result<Self> {
        let bus = |name: &String| Ok((name.clone(), Bus::new(name, model, connections)?));
        let buses =
            model.buses.iter().map(|declared| bus(&declared.name)).collect::<Result<HashMap<_, _>>>()?;
        for rule in &model.rules {
            ensure!(
                buses.contains_key(&rule.event_bus_name),
                "rule {}: no template declares the bus {}",
                rule.name,
                rule.event_bus_name
            );
        }
        Ok(Self {
            buses: Arc::new(buses),
            made: MadeRules::new(connections.queues),
            machines: connections.machines.clone(),
            journal: connections.journal.clone(),
            faults: connections.faults.clone(),
            meter: connections.meter.clone(),
        })
    }

    /// What counts what AWS would bill.
    #[must_use]
    pub const fn meter(&self) -> &Meter {
        &self.meter
    }

    /// Hands an event to every target whose rule matches; returns the event's id.
    ///
    /// # Errors
    /// [`EntryError`], as PutEvents reports it for a single entry.
    pub fn put(&self, bus: &str, entry: &PutEventsEntry) -> Result<String, EntryError> {
        let name = names::last_part(bus);
        let bus = self.buses.get(name).ok_or(EntryError::NoSuchBus)?;
        entry.check()?;
        if self.faults.bus_refuses(&entry.detail_type) {
            return Err(EntryError::Refused);
        }
        let id = Uuid::new_v4().to_string();
        let event = event(&id, entry);
        self.meter.count_pieces(Unit::Events, name, event.len());
        self.deliver(bus, &entry.detail_type, &event).map_err(EntryError::NotDelivered)?;
        self.hand_to_made(name, &[], &entry.detail_type, &event).map_err(EntryError::NotDelivered)?;
        Ok(id)
    }

    /// Whether there is an archive of this name.
    #[must_use]
    pub fn archives(&self, archive: &str) -> bool {
        self.buses.keys().any(|bus| self.keeps(bus, archive))
    }

    /// Whether a bus has an archive of this name.
    #[must_use]
    pub fn keeps(&self, bus: &str, archive: &str) -> bool {
        self.buses.get(bus).is_some_and(|bus| bus.archives.iter().any(|(name, _)| name == archive))
    }

    /// The time from which an archive has its events: older ones it has forgotten. `None` when it forgets none.
    ///
    /// <https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_CreateArchive.html>
    #[must_use]
    pub fn remembers_from(&self, archive: &str, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let archives = self.buses.values().flat_map(|bus| &bus.archives);
        let (_, days) = archives.into_iter().find(|(name, _)| name == archive)?;
        days.map(|days| now - TimeDelta::days(days.into()))
    }

    /// Deletes the events that their archives keep no longer. A minute's events go together, when none of them is kept.
    pub(super) fn forget_archived(&self, now: DateTime<Utc>) {
        for (archive, days) in self.buses.values().flat_map(|bus| &bus.archives) {
            let Some(days) = days else { continue };
            let oldest = (now - TimeDelta::days((*days).into())).timestamp();
            while self.journal.forget_archived(archive, oldest) > 0 {}
        }
    }

    /// Whether there is a bus of this name, and on it this rule.
    #[must_use]
    pub fn has(&self, bus: &str, rule: Option<&str>) -> bool {
        let has = |bus: &Bus| rule.is_none_or(|rule| bus.rules.iter().any(|(name, _)| name == rule));
        self.buses.get(bus).is_some_and(has)
    }

    /// Hands an archived event to the targets of the rules that match it under its replay's name, if they are among `rules`
    /// or that is empty. No archive keeps it once more.
    ///
    /// <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-archive.html>
    ///
    /// # Errors
    /// When the event cannot be read, or a target does not take it.
    pub fn replay(&self, name: &str, replay: &str, rules: &[String], event: &Archived<'_>) -> Result<()> {
        let bus = self.buses.get(name).context("there is no such bus")?;
        let rest = event.json.strip_prefix('{').context("the archived event is no object")?;
        let replayed = format!(r#"{{"replay-name":{},{rest}"#, Value::from(replay));
        for receiver in bus.receivers.matches_for_event(replayed.as_bytes()).map_err(|e| anyhow!("{e:?}"))? {
            let Receiver::Rule(place) = receiver else { continue };
            if rules.is_empty() || bus.rules.get(place).is_some_and(|(rule, _)| rules.contains(rule)) {
                self.hand_over_all(bus, place, event.detail_type, &replayed)?;
            }
        }
        self.hand_to_made(name, rules, event.detail_type, &replayed)
    }

    /// Hands an event to the rules that were made, to all or to those among `rules`.
    fn hand_to_made(&self, bus: &str, rules: &[String], detail_type: &str, event: &str) -> Result<()> {
        for queue in self.made.matching(bus, rules, event)? {
            self.hand_over(&Target::Queue(queue), detail_type, event)?;
        }
        Ok(())
    }

    /// The rules of a bus that the templates declare, and their patterns.
    pub(super) fn declared(&self, bus: &str) -> Option<&[(String, Value)]> {
        self.buses.get(bus).map(|bus| bus.rules.as_slice())
    }

    /// Returns once everything that was delivered so far is on disk.
    pub async fn flush(&self) {
        self.journal.flush().await;
    }

    fn deliver(&self, bus: &Bus, detail_type: &str, event: &str) -> Result<()> {
        for receiver in bus.receivers.matches_for_event(event.as_bytes()).map_err(|e| anyhow!("{e:?}"))? {
            match receiver {
                Receiver::Archive(archive) => {
                    self.meter.count_bytes(Unit::ArchiveBytes, &archive, event.len());
                    let (at, event) = (Utc::now().timestamp_millis(), event.to_owned());
                    self.journal.write(vec![Entry::Archived { archive, at, event }]);
                }
                Receiver::Rule(place) => self.hand_over_all(bus, place, detail_type, event)?,
            }
        }
        Ok(())
    }

    fn hand_over_all(&self, bus: &Bus, place: usize, detail_type: &str, event: &str) -> Result<()> {
        let targets = bus.targets.get(place).context("a rule without targets")?;
        targets.iter().try_for_each(|target| self.hand_over(target, detail_type, event))
    }

    fn hand_over(&self, target: &Target, detail_type: &str, event: &str) -> Result<()> {
        match target {
            Target::Queue(queue) => {
                let Delivery { copies, delay } = self.faults.delivery(&queue.name, detail_type);
                for _ in 0..copies {
                    self.meter.count_pieces(Unit::QueueRequests, &queue.name, event.len());
                    queue.send_delayed(event, delay);
                }
            }
            Target::Execution(machine, input) => {
                let mut event: Value = serde_json::from_str(event)?;
                let input = match input {
                    Input::Event => event,
                    Input::Detail => event["detail"].take(),
                };
                self.machines.start_execution(machine, input)?;
            }
        }
        Ok(())
    }
}

/// The event as targets see it. The detail is spliced in as it came: parsing it again would cost more than
/// the rest of the delivery.
fn event(id: &str, entry: &PutEventsEntry) -> String {
    let time = entry.time.to_rfc3339_opts(SecondsFormat::Secs, true);
    let (source, kind) = (Value::from(entry.source.as_str()), Value::from(entry.detail_type.as_str()));
    let resources = json!(entry.resources);
    format!(
        r#"{{"version":"0","id":"{id}","detail-type":{kind},"source":{source},"account":"{ACCOUNT}","time":"{time}","region":"{REGION}","resources":{resources},"detail":{}}}"#,
        entry.detail
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A rule may match the version of an event, a number inside its detail.
    #[test]
    fn a_rule_matches_the_version_in_the_metadata() {
        let pattern = json!({
            "source": ["quadrille.orders"], "detail-type": ["order.confirmed"],
            "detail": {"metadata": {"version": [1]}}, "replay-name": [{"exists": false}],
        });
        let mut receivers = Quamina::new();
        add(&mut receivers, Receiver::Rule(0), &pattern, || "a rule".into()).unwrap();
        let matches = |version: u32| {
            let entry = PutEventsEntry {
                source: "quadrille.orders".into(),
                detail_type: "order.confirmed".into(),
                detail: json!({"metadata": {"version": version}, "data": {"version": 1}}).to_string(),
                time: DateTime::UNIX_EPOCH,
                resources: Vec::new(),
            };
            !receivers.matches_for_event(event("1", &entry).as_bytes()).unwrap().is_empty()
        };
        assert_eq!((matches(1), matches(2)), (true, false));
    }
}
