//! Standard state machines at work. The journal keeps an execution after every step, so that it goes on where it stopped.
//!
//! <https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html>

use super::definition::{Definition, State, Task};
use super::execution::{Execution, NotPlaced, Status};
use super::payload::{self, NothingAt};
use crate::aws::lambda::{Function, Functions, InvokeError};
use crate::support::journal::{Entry, Journal, Past};
use crate::template::resources::StateMachine as Declared;
use anyhow::{Context, Result};
use bytes::Bytes;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The most entries of a history: an execution that goes in a circle ends.
const MAX_HISTORY: usize = 1000;
/// The prefix of executions in the journal.
const PREFIX: &str = "execution/";

struct Machine {
    definition: Definition,
    /// By ARN.
    functions: HashMap<String, Arc<Function>>,
}

/// Every state machine and its executions. Clones share them.
#[derive(Clone)]
pub struct StateMachines(Arc<Shared>);

struct Shared {
    machines: HashMap<String, Machine>,
    executions: Mutex<BTreeMap<String, Execution>>,
    journal: Journal,
    time_scale: u32,
}

/// What state machines are built from.
pub struct Setup<'a> {
    pub functions: &'a Functions,
    /// The folder that definitions are named in.
    pub infra: &'a Path,
    /// Divides every wait.
    pub time_scale: u32,
    pub journal: &'a Journal,
    pub past: &'a Past,
}

/// Why an execution fails that no state may catch: an error of the flow itself.
#[derive(Debug, thiserror::Error)]
enum FlowError {
    #[error("there is no state {0}")]
    NoState(String),
    #[error("no function")]
    NoFunction,
    #[error(transparent)]
    NothingAt(#[from] NothingAt),
    #[error(transparent)]
    NotPlaced(#[from] NotPlaced),
    /// A function's answer that is not JSON.
    #[error(transparent)]
    Answer(#[from] serde_json::Error),
}

/// A failed invocation as retriers and catchers see it.
struct TaskFailure {
    name: String,
    cause: String,
}

impl From<&InvokeError> for TaskFailure {
    fn from(error: &InvokeError) -> Self {
        let named = |name: &str| Self { name: name.to_owned(), cause: error.to_string() };
        match error {
            InvokeError::Timeout(_) => named("Sandbox.Timedout"),
            InvokeError::Crashed => named("Runtime.ExitError"),
            InvokeError::Failed(text) => {
                let reported: Value = serde_json::from_str(text).unwrap_or_default();
                let name = reported["errorType"].as_str().unwrap_or("Unknown").to_owned();
                Self { name, cause: text.clone() }
            }
        }
    }
}

impl TaskFailure {
    fn is_one_of(&self, names: &[String]) -> bool {
        names.iter().any(|name| name == "States.ALL" || *name == self.name)
    }
}

impl StateMachines {
    /// The state machines as declared, with the executions that the journal kept.
    ///
    /// # Errors
    /// When a definition is refused, or names a function that no template declares.
    pub fn new(declared: &[Declared], setup: &Setup<'_>) -> Result<Self> {
        let mut machines = HashMap::new();
        for machine in declared {
            let definition = Definition::load(machine, setup.infra)?;
            let function = |arn: &String| setup.functions.get(arn).map(|function| (arn.clone(), function));
            let functions = definition.tasks().map(function).collect::<Result<_>>()?;
            machines.insert(machine.state_machine_name.clone(), Machine { definition, functions });
        }
        let executions = Mutex::new(setup.past.records(PREFIX)?);
        let (journal, time_scale) = (setup.journal.clone(), setup.time_scale.max(1));
        Ok(Self(Arc::new(Shared { machines, executions, journal, time_scale })))
    }

    fn executions(&self) -> MutexGuard<'_, BTreeMap<String, Execution>> {
        self.0.executions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every execution, in no particular order.
    #[must_use]
    pub fn all(&self) -> Vec<Execution> {
        self.executions().values().cloned().collect()
    }

    /// Whether no execution is running.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.executions().values().all(|execution| execution.status != Status::Running)
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
        let running = self.all().into_iter().filter(|execution| execution.status == Status::Running);
        running.for_each(|execution| self.spawn(execution));
    }

    /// Starts an execution; returns its id.
    ///
    /// # Errors
    /// When there is no such state machine.
    pub fn start_execution(&self, machine: &str, input: Value) -> Result<String> {
        let definition = &self.0.machines.get(machine).context("there is no such state machine")?.definition;
        let execution = Execution::new(machine, &definition.start_at, input);
        let id = execution.id.clone();
        self.keep(&execution);
        self.spawn(execution);
        Ok(id)
    }

    fn keep(&self, execution: &Execution) {
        let value = serde_json::to_string(execution).unwrap_or_default();
        self.0.journal.write(vec![Entry::Record { key: format!("{PREFIX}{}", execution.id), value }]);
        self.executions().insert(execution.id.clone(), execution.clone());
    }

    fn spawn(&self, execution: Execution) {
        let machines = self.clone();
        tokio::spawn(async move { machines.run(execution).await });
    }

    async fn run(&self, mut execution: Execution) {
        while execution.status == Status::Running {
            self.step(&mut execution).await;
            if execution.history.len() > MAX_HISTORY {
                execution.record("failed", Some("States.Runtime"));
                execution.status = Status::Failed;
            }
            self.keep(&execution);
        }
    }

    async fn step(&self, execution: &mut Execution) {
        let Some(machine) = self.0.machines.get(&execution.machine) else {
            execution.status = Status::Failed;
            return;
        };
        if let Err(error) = self.enter(machine, execution).await {
            tracing::error!("execution {} of {}: {error}", execution.id, execution.machine);
            execution.record("failed", Some("States.Runtime"));
            execution.status = Status::Failed;
        }
    }

    async fn enter(&self, machine: &Machine, execution: &mut Execution) -> Result<(), FlowError> {
        match machine.definition.states.get(&execution.state) {
            None => return Err(FlowError::NoState(execution.state.clone())),
            Some(State::Task(task)) => self.task(machine, task, execution).await?,
            Some(State::Choice(choice)) => {
                let next = choice.next(&execution.data).clone();
                execution.go_on(Some(&next));
            }
            Some(State::Wait(wait)) => {
                self.pause(Duration::from_secs(wait.seconds)).await;
                execution.go_on(Some(&wait.next));
            }
            Some(State::Pass(pass)) => {
                let made = payload::fill(pass.parameters.as_ref(), &execution.data, &Value::Null)?;
                execution.place(pass.result_path.as_deref(), made)?;
                execution.go_on(Some(&pass.next));
            }
        }
        Ok(())
    }

    async fn pause(&self, length: Duration) {
        tokio::time::sleep(length / self.0.time_scale).await;
    }

    async fn task(&self, machine: &Machine, task: &Task, execution: &mut Execution) -> Result<(), FlowError> {
        let retries: u32 = execution.retries.values().sum();
        let context = json!({"State": {"Name": execution.state, "RetryCount": retries},
            "Execution": {"Id": execution.id, "Name": execution.id}});
        let payload = payload::fill(task.parameters.as_ref(), &execution.data, &context)?;
        let function = machine.functions.get(&task.resource).ok_or(FlowError::NoFunction)?;
        match function.invoke(Bytes::from(payload.to_string())).await {
            Ok(answer) => {
                let result = serde_json::from_slice(&answer)?;
                execution.place(task.result_path.as_deref(), result)?;
                execution.record("succeeded", None);
                execution.go_on(task.next.as_ref());
                Ok(())
            }
            Err(error) => {
                let failure = TaskFailure::from(&error);
                if self.retry(task, execution, &failure).await {
                    Ok(())
                } else {
                    catch(task, execution, &failure)
                }
            }
        }
    }

    /// Waits for the next try of a task; returns whether it has one.
    async fn retry(&self, task: &Task, execution: &mut Execution, failure: &TaskFailure) -> bool {
        let mut retriers = task.retry.iter().enumerate();
        let Some((place, retrier)) = retriers.find(|(_, retrier)| failure.is_one_of(&retrier.error_equals))
        else {
            return false;
        };
        let count = execution.retries.entry(place).or_default();
        if *count >= retrier.max_attempts {
            return false;
        }
        *count += 1;
        let wait = retrier.delay(*count);
        execution.record("retried", Some(&failure.name));
        self.keep(execution);
        self.pause(wait).await;
        true
    }
}

/// Goes on with the state that catches a failure, or fails the execution.
fn catch(task: &Task, execution: &mut Execution, failure: &TaskFailure) -> Result<(), FlowError> {
    let Some(catcher) = task.catch.iter().find(|catcher| failure.is_one_of(&catcher.error_equals)) else {
        execution.record("failed", Some(&failure.name));
        execution.status = Status::Failed;
        return Ok(());
    };
    execution.record("caught", Some(&failure.name));
    let caught = json!({"Error": failure.name, "Cause": failure.cause});
    execution.place(catcher.result_path.as_deref(), caught)?;
    execution.go_on(Some(&catcher.next));
    Ok(())
}
