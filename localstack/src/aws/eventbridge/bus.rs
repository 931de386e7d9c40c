//! EventBridge: rules match events by pattern and hand them to their targets; an archive keeps them.
//!
//! <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-event-patterns.html>
//! <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-events-structure.html>

use crate::aws::sqs::{Queue, Queues};
use crate::aws::stepfunctions::Machines;
use crate::faults::{Delivery, Faults};
use crate::support::journal::{Entry, Journal};
use crate::template::names::{self, ACCOUNT, REGION};
use crate::template::resources::{self, Model};
use anyhow::{Context, Result, anyhow, ensure};
use chrono::{DateTime, SecondsFormat, Utc};
use quamina::Quamina;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use uuid::Uuid;

/// The most bytes an entry may have: <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-putevents.html>.
const MAX_ENTRY_BYTES: usize = 256 * 1024;

/// One entry of PutEvents.
#[derive(Clone, Debug)]
pub struct Put {
    /// `quadrille.orders`
    pub source: String,
    /// `order.created`
    pub detail_type: String,
    /// A JSON object as text.
    pub detail: String,
    /// When it happened.
    pub time: DateTime<Utc>,
    /// What it concerns.
    pub resources: Vec<String>,
}

/// Why an entry was not taken: PutEvents' `ErrorCode` and `ErrorMessage`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotTaken {
    /// `MalformedDetail`
    pub code: &'static str,
    /// In words.
    pub message: String,
}

/// Who wants an event: one pass over it finds them all.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Interest {
    Rule(usize),
    Archive(String),
}

/// Where a rule leads.
enum Target {
    Queue(Arc<Queue>),
    /// An execution of a state machine, on the whole event or on its detail.
    Machine(String, Scope),
}

/// How much of an event an execution is started with.
#[derive(Clone, Copy)]
enum Scope {
    Event,
    Detail,
}

impl Target {
    fn new(declared: &resources::Target, queues: &Queues, machines: &Machines) -> Result<Self> {
        if !declared.arn.contains(":stateMachine:") {
            ensure!(declared.input_path.is_none(), "InputPath is implemented for state machines only");
            return Ok(Self::Queue(queues.by_arn(&declared.arn)?));
        }
        let name = names::last_part(&declared.arn);
        ensure!(machines.knows(name), "no template declares the state machine {name}");
        let scope = match declared.input_path.as_deref() {
            None => Scope::Event,
            Some("$.detail") => Scope::Detail,
            Some(other) => anyhow::bail!("the InputPath {other} is not implemented by the local stack"),
        };
        Ok(Self::Machine(name.to_owned(), scope))
    }
}

struct Bus {
    interests: Quamina<Interest>,
    targets: Vec<Vec<Target>>,
}

/// Every bus, by name. Clones share them.
#[derive(Clone)]
pub struct Buses {
    buses: Arc<HashMap<String, Bus>>,
    machines: Machines,
    journal: Journal,
    faults: Faults,
}

fn matcher(patterns: Vec<(Interest, &Value, String)>) -> Result<Quamina<Interest>> {
    let mut matcher = Quamina::new();
    for (interest, pattern, name) in patterns {
        // What the matcher does not implement is an error here, never a rule that quietly matches nothing.
        let added = matcher.add_pattern(interest, &pattern.to_string());
        added
            .map_err(|e| anyhow!("{name}: the event pattern is not implemented by the local stack: {e:?}"))?;
    }
    Ok(matcher)
}

impl Buses {
    /// Wires rules and archives to their buses.
    ///
    /// # Errors
    /// When a rule names a bus or a target that nobody declared, or a pattern that is not implemented.
    pub fn start(
        model: &Model,
        (queues, machines): (&Queues, &Machines),
        (journal, faults): (&Journal, &Faults),
    ) -> Result<Self> {
        let mut buses = HashMap::new();
        for declared in &model.buses {
            let rules: Vec<_> = model.rules.iter().filter(|r| r.event_bus_name == declared.name).collect();
            let patterns = rules.iter().enumerate();
            let patterns =
                patterns.map(|(n, r)| (Interest::Rule(n), &r.event_pattern, format!("rule {}", r.name)));
            let targets = rules.iter().map(|rule| {
                let target = |declared| Target::new(declared, queues, machines);
                rule.targets.iter().map(target).collect()
            });
            let targets = targets.collect::<Result<Vec<Vec<_>>>>()?;
            let archives = model.archives.iter().filter(|a| names::last_part(&a.source_arn) == declared.name);
            let everything = json!({"source": [{"exists": true}]});
            let archives = archives.map(|a| {
                let pattern = a.event_pattern.as_ref().unwrap_or(&everything);
                (Interest::Archive(a.archive_name.clone()), pattern, format!("archive {}", a.archive_name))
            });
            let bus = Bus { interests: matcher(patterns.chain(archives).collect())?, targets };
            buses.insert(declared.name.clone(), bus);
        }
        for rule in &model.rules {
            ensure!(
                buses.contains_key(&rule.event_bus_name),
                "rule {}: no template declares the bus {}",
                rule.name,
                rule.event_bus_name
            );
        }
        let (machines, journal, faults) = (machines.clone(), journal.clone(), faults.clone());
        Ok(Self { buses: Arc::new(buses), machines, journal, faults })
    }

    /// Takes one entry and hands it to every target whose rule matches; gives the event's id.
    ///
    /// # Errors
    /// [`NotTaken`], as PutEvents reports it for a single entry.
    pub fn put(&self, bus: &str, put: &Put) -> Result<String, NotTaken> {
        let not_taken = |code, message: String| NotTaken { code, message };
        let bus = self.buses.get(names::last_part(bus));
        let bus = bus.ok_or_else(|| not_taken("ResourceNotFoundException", "there is no such bus".into()))?;
        let is_object = put.detail.trim_start().starts_with('{');
        if !is_object || serde_json::from_str::<IgnoredAny>(&put.detail).is_err() {
            return Err(not_taken("MalformedDetail", "Detail is malformed.".into()));
        }
        if put.detail.len() > MAX_ENTRY_BYTES {
            return Err(not_taken("EntryTooLarge", format!("more than {MAX_ENTRY_BYTES} bytes")));
        }
        let id = Uuid::new_v4().to_string();
        let event = event(&id, put);
        self.deliver(bus, &put.detail_type, &event)
            .map_err(|e| not_taken("InternalFailure", e.to_string()))?;
        Ok(id)
    }

    fn deliver(&self, bus: &Bus, kind: &str, event: &str) -> Result<()> {
        for interest in bus.interests.matches_for_event(event.as_bytes()).map_err(|e| anyhow!("{e:?}"))? {
            match interest {
                Interest::Archive(archive) => {
                    let (at, event) = (Utc::now().timestamp_millis(), event.to_owned());
                    self.journal.write(vec![Entry::Archived { archive, at, event }]);
                }
                Interest::Rule(rule) => {
                    for target in bus.targets.get(rule).context("a rule without targets")? {
                        self.hand_over(target, kind, event)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn hand_over(&self, target: &Target, kind: &str, event: &str) -> Result<()> {
        match target {
            Target::Queue(queue) => {
                let Delivery { copies, later } = self.faults.delivery(&queue.name, kind);
                for _ in 0..copies {
                    queue.send_later(event, later);
                }
            }
            Target::Machine(name, scope) => {
                let mut event: Value = serde_json::from_str(event)?;
                let input = match scope {
                    Scope::Event => event,
                    Scope::Detail => event["detail"].take(),
                };
                self.machines.start(name, input)?;
            }
        }
        Ok(())
    }
}

/// The event as targets see it. The detail is spliced in as it came: parsing it again would cost more than
/// the rest of the delivery.
fn event(id: &str, put: &Put) -> String {
    let time = put.time.to_rfc3339_opts(SecondsFormat::Secs, true);
    let (source, kind) = (Value::from(put.source.as_str()), Value::from(put.detail_type.as_str()));
    let resources = json!(put.resources);
    format!(
        r#"{{"version":"0","id":"{id}","detail-type":{kind},"source":{source},"account":"{ACCOUNT}","time":"{time}","region":"{REGION}","resources":{resources},"detail":{}}}"#,
        put.detail
    )
}
