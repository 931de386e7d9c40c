//! Standard state machines at work. The journal keeps an execution after every step, so that it goes on where it stopped; in memory
//! are those that run.
//!
//! <https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html>

use super::definition::Definition;
use super::execution::{Execution, Status};
use super::interpreter::{FlowError, Next, Pause, TaskFailure};
use crate::aws::lambda::{Function, Functions, InvokeError};
use crate::support::journal::{Entry, Journal, PAGE};
use crate::support::meter::{Meter, Unit};
use crate::template::resources::StateMachine as Declared;
use anyhow::{Context, Result};
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use rsa::rand_core::{OsRng, RngCore};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::task::AbortHandle;
use uuid::Uuid;

/// An execution that waits so long is at rest: nothing comes of it for now.
const LONG: Duration = Duration::from_secs(3600);
/// The prefix of executions in the journal, by their ids.
const PREFIX: &str = "execution/";
/// The prefix of the ids of those that run.
const RUNNING: &str = "execution-running/";
/// The prefix of the ids of a state machine's executions, the newest first.
const NEWEST: &str = "execution-newest/";
/// How long an execution that has ended is known.
///
/// <https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html>
pub(super) const KNOWN: TimeDelta = TimeDelta::days(90);

/// A state machine as it is declared, and what it invokes.
pub struct Machine {
    pub declared: Declared,
    /// The definition as it stands in its file, with its values.
    pub text: String,
    pub definition: Definition,
    /// By ARN.
    functions: HashMap<String, Arc<Function>>,
}

/// Every state machine and its executions. Clones share them.
#[derive(Clone)]
pub struct StateMachines(Arc<Shared>);

struct Shared {
    machines: BTreeMap<String, Machine>,
    /// What ends an execution that runs, by its id.
    running: Mutex<HashMap<String, AbortHandle>>,
    /// Those that run, by their ids.
    executions: Mutex<BTreeMap<String, Execution>>,
    /// The ids of executions in a long pause.
    resting: Mutex<BTreeSet<String>>,
    journal: Journal,
    time_scale: u32,
    meter: Meter,
}

/// What state machines are built from.
pub struct Setup<'a> {
    pub functions: &'a Functions,
    /// The folder that definitions are named in.
    pub infra: &'a Path,
    /// Divides every wait.
    pub time_scale: u32,
    pub journal: &'a Journal,
    pub meter: &'a Meter,
}

fn key(id: &str) -> String {
    format!("{PREFIX}{id}")
}

fn entry(execution: &Execution) -> Entry {
    let value = serde_json::to_string(execution).unwrap_or_default();
    Entry::Record { key: key(&execution.id), value }
}

impl From<&InvokeError> for TaskFailure {
    fn from(error: &InvokeError) -> Self {
        let named = |name: &str| Self { name: name.to_owned(), cause: error.to_string() };
        match error {
            InvokeError::Timeout(_) => named("Sandbox.Timedout"),
            InvokeError::Crashed => named("Runtime.ExitError"),
            InvokeError::Failed(text) => Self::reported(text),
            InvokeError::Throttled(_) => named("Lambda.TooManyRequestsException"),
        }
    }
}

impl StateMachines {
    /// The state machines as declared, with the executions that were running when the stack stopped.
    ///
    /// # Errors
    /// When a definition is refused, or names a function that no template declares.
    pub fn new(declared: &[Declared], setup: &Setup<'_>) -> Result<Self> {
        let mut machines = BTreeMap::new();
        for machine in declared {
            let text = Definition::text(machine, setup.infra)?;
            let definition = Definition::parse(&text, []);
            let definition = definition.with_context(|| machine.definition_s3_location.clone())?;
            let function = |arn: &String| setup.functions.get(arn).map(|function| (arn.clone(), function));
            let functions = definition.tasks().map(function).collect::<Result<_>>()?;
            let made = Machine { declared: machine.clone(), text, definition, functions };
            machines.insert(machine.state_machine_name.clone(), made);
        }
        let running = setup.journal.records::<bool>(RUNNING).into_keys();
        let running = running.filter_map(|id| Some((id.clone(), setup.journal.record(&key(&id))?)));
        let executions = Mutex::new(running.collect());
        Ok(Self(Arc::new(Shared {
            machines,
            running: Mutex::default(),
            executions,
            resting: Mutex::default(),
            journal: setup.journal.clone(),
            time_scale: setup.time_scale.max(1),
            meter: setup.meter.clone(),
        })))
    }

    fn executions(&self) -> MutexGuard<'_, BTreeMap<String, Execution>> {
        self.0.executions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every execution that is known, in no particular order.
    #[must_use]
    pub fn all(&self) -> Vec<Execution> {
        self.0.journal.records(PREFIX).into_values().collect()
    }

    /// The executions of a state machine behind a place in their order, the newest first, with their places. At most a page of them
    /// is looked at; the place of the last one stands beside those that are wanted.
    #[must_use]
    pub fn newest(
        &self,
        machine: &str,
        after: Option<&str>,
        is_wanted: impl Fn(&Execution) -> bool,
    ) -> (Vec<(String, Execution)>, Option<String>) {
        let places = self.0.journal.page::<bool>(&format!("{NEWEST}{machine}/"), after, PAGE);
        let last = places.last().filter(|_| places.len() == PAGE).map(|(place, _)| place.clone());
        let execution = |(place, _): (String, bool)| {
            let execution = self.execution(place.split_once('/')?.1)?;
            Some((place, execution))
        };
        let found = places.into_iter().filter_map(execution);
        (found.filter(|(_, execution)| is_wanted(execution)).collect(), last)
    }

    /// Forgets the executions that ended long ago.
    pub async fn forget(&self, now: DateTime<Utc>) {
        while self.forget_some(now) {
            // Others take their turn.
            tokio::task::yield_now().await;
        }
    }

    /// At most a page of each state machine. Whether there may be more.
    fn forget_some(&self, now: DateTime<Utc>) -> bool {
        let mut is_full = false;
        let oldest = (now - KNOWN).timestamp_millis();
        for machine in self.0.machines.keys() {
            let prefix = format!("{NEWEST}{machine}/");
            let places = self.0.journal.last::<bool>(&prefix, PAGE).into_iter();
            let old = places.filter_map(|(place, _)| {
                let id = place.split_once('/')?.1;
                let is_old = self.execution(id)?.ended().is_some_and(|ended| ended < oldest);
                is_old.then(|| [key(id), format!("{prefix}{place}")])
            });
            let old: Vec<Entry> = old.flatten().map(|key| Entry::Forgotten { key }).collect();
            is_full |= old.len() >= 2 * PAGE;
            self.0.journal.write(old);
        }
        is_full
    }

    fn resting(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.0.resting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether no execution is running, except those that wait for hours.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let resting = self.resting();
        self.executions().keys().all(|id| resting.contains(id))
    }

    #[must_use]
    pub fn has(&self, machine: &str) -> bool {
        self.0.machines.contains_key(machine)
    }

    /// The ARNs of the functions that a state machine invokes.
    pub fn functions_of(&self, machine: &str) -> impl Iterator<Item = &String> {
        self.0.machines.get(machine).into_iter().flat_map(|machine| machine.functions.keys())
    }

    /// Goes on with the executions that were running when the stack stopped.
    pub fn resume(&self) {
        let running: Vec<Execution> = self.executions().values().cloned().collect();
        running.into_iter().for_each(|execution| self.spawn(execution));
    }

    /// The state machines, by name.
    pub fn machines(&self) -> impl Iterator<Item = &Machine> {
        self.0.machines.values()
    }

    #[must_use]
    pub fn machine(&self, name: &str) -> Option<&Machine> {
        self.0.machines.get(name)
    }

    /// An execution, by its id.
    #[must_use]
    pub fn execution(&self, id: &str) -> Option<Execution> {
        let running = self.executions().get(id).cloned();
        running.or_else(|| self.0.journal.record(&key(id)))
    }

    /// How many executions are in memory.
    #[cfg(test)]
    pub(super) fn running_now(&self) -> usize {
        self.executions().len()
    }

    /// Starts an execution; returns its id.
    ///
    /// # Errors
    /// When there is no such state machine.
    pub fn start_execution(&self, machine: &str, input: Value) -> Result<String> {
        let machine = self.machine(machine).context("there is no such state machine")?;
        Ok(self.start(machine, Uuid::new_v4().to_string(), input).0.id)
    }

    /// Starts an execution, unless there is one of this id: that is the answer then. Says whether it was started.
    #[must_use]
    pub fn start(&self, machine: &Machine, id: String, input: Value) -> (Execution, bool) {
        let mut executions = self.executions();
        let known = executions.get(&id).cloned().or_else(|| self.0.journal.record(&key(&id)));
        if let Some(known) = known {
            return (known, false);
        }
        let name = &machine.declared.state_machine_name;
        let mut execution = Execution::new(id, name, &machine.definition.start_at, input);
        let now = Utc::now().timestamp_millis();
        execution.started_at = Some(now);
        let place = format!("{NEWEST}{name}/{:020}/{}", i64::MAX - now, execution.id);
        let listed = [format!("{RUNNING}{}", execution.id), place];
        executions.insert(execution.id.clone(), execution.clone());
        let listed = listed.map(|key| Entry::Record { key, value: "true".into() });
        self.0.journal.write([vec![entry(&execution)], listed.into()].concat());
        // Before anybody can stop it: what stops it finds what runs.
        self.spawn(execution.clone());
        drop(executions);
        (execution, true)
    }

    /// Ends an execution that runs, and says when it ended; `None` when there is none. The function that it waits for runs on.
    #[must_use]
    pub fn stop(&self, id: &str, error: Option<&str>, cause: Option<&str>) -> Option<i64> {
        let ended = self.abort(id, error, cause)?;
        if let Some(running) = self.running().remove(id) {
            running.abort();
        }
        self.resting().remove(id);
        ended
    }

    fn abort(&self, id: &str, error: Option<&str>, cause: Option<&str>) -> Option<Option<i64>> {
        let mut executions = self.executions();
        let Some(mut execution) = executions.remove(id) else {
            drop(executions);
            return Some(self.execution(id)?.ended());
        };
        execution.record("aborted", error, cause.into(), Utc::now());
        execution.status = Status::Aborted;
        self.write(&execution);
        Some(execution.ended())
    }

    /// Returns once everything that happened so far is on disk.
    pub async fn flush(&self) {
        self.0.journal.flush().await;
    }

    fn running(&self) -> MutexGuard<'_, HashMap<String, AbortHandle>> {
        self.0.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, execution: &Execution) {
        let ended = (execution.status != Status::Running)
            .then(|| Entry::Forgotten { key: format!("{RUNNING}{}", execution.id) });
        self.0.journal.write(std::iter::once(entry(execution)).chain(ended).collect());
    }

    /// Keeps an execution as it is now, unless it was stopped meanwhile.
    fn keep(&self, execution: &mut Execution) {
        execution.check(Utc::now());
        let mut executions = self.executions();
        let Some(kept) = executions.get_mut(&execution.id) else { return };
        self.write(execution);
        if execution.status == Status::Running {
            kept.clone_from(execution);
        } else {
            executions.remove(&execution.id);
        }
    }

    fn spawn(&self, execution: Execution) {
        let (machines, id) = (self.clone(), execution.id.clone());
        let mut running = self.running();
        let task = tokio::spawn(async move {
            let id = execution.id.clone();
            machines.run(execution).await;
            machines.running().remove(&id);
        });
        running.insert(id, task.abort_handle());
    }

    async fn run(&self, mut execution: Execution) {
        while execution.status == Status::Running {
            self.step(&mut execution).await;
            self.keep(&mut execution);
        }
    }

    async fn step(&self, execution: &mut Execution) {
        let Some(machine) = self.0.machines.get(&execution.machine) else {
            execution.status = Status::Failed;
            return;
        };
        self.0.meter.count(Unit::Transitions, &execution.machine, 1);
        if let Err(error) = self.enter(machine, execution).await {
            tracing::error!("execution {} of {}: {error}", execution.id, execution.machine);
            execution.fail(&error.to_string(), Utc::now());
        }
    }

    async fn enter(&self, machine: &Machine, execution: &mut Execution) -> Result<(), FlowError> {
        let pause = match machine.definition.next(execution, Utc::now())? {
            Next::Wait(pause) => pause,
            Next::Invoke { function, payload } => {
                let function = machine.functions.get(&function).ok_or(FlowError::NoFunction)?;
                let answer = match function.invoke(Bytes::from(payload.to_string())).await {
                    Ok(answer) => Ok(serde_json::from_slice(&answer)?),
                    Err(error) => Err(TaskFailure::from(&error)),
                };
                let pause = machine.definition.answer(execution, answer, Utc::now())?;
                // Before the pause: after a restart a retry is not forgotten.
                self.keep(execution);
                pause
            }
        };
        if pause.length >= LONG {
            self.resting().insert(execution.id.clone());
        }
        self.wait(pause).await;
        self.resting().remove(&execution.id);
        Ok(())
    }

    async fn wait(&self, Pause { length, jitter }: Pause) {
        let most = u64::try_from(length.as_millis()).unwrap_or(u64::MAX).max(1);
        let length = if jitter { Duration::from_millis(OsRng.next_u64() % most) } else { length };
        tokio::time::sleep(length / self.0.time_scale).await;
    }
}
