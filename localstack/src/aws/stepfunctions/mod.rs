//! Step Functions' standard state machines: Task, Choice, Wait and Pass states, with retries and catches, kept in the
//! journal after every step so that an execution goes on where it stopped.
//!
//! <https://docs.aws.amazon.com/step-functions/latest/dg/concepts-amazon-states-language.html>
//! <https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html>

pub mod api;

use crate::aws::lambda::{Function, Functions, InvokeError};
use crate::support::journal::{self, Entry, Journal};
use crate::template::resources::StateMachine;
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use chrono::Utc;
use rsa::rand_core::{OsRng, RngCore};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use uuid::Uuid;

/// The most steps of one execution: a flow that goes in a circle ends.
const MAX_STEPS: usize = 1000;
/// Where the journal keeps executions.
const PREFIX: &str = "execution/";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Definition {
    #[serde(rename = "Comment")]
    _comment: Option<String>,
    start_at: String,
    states: BTreeMap<String, State>,
}

#[derive(Deserialize)]
#[serde(tag = "Type")]
enum State {
    Task(Task),
    Choice(Choice),
    Wait(Wait),
    Pass(Pass),
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Task {
    #[serde(rename = "Comment")]
    _comment: Option<String>,
    resource: String,
    parameters: Option<Value>,
    result_path: Option<String>,
    #[serde(default)]
    retry: Vec<Retrier>,
    #[serde(default)]
    catch: Vec<Catcher>,
    next: Option<String>,
    #[serde(default)]
    end: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Retrier {
    error_equals: Vec<String>,
    #[serde(default = "one")]
    interval_seconds: u64,
    #[serde(default = "three")]
    max_attempts: u32,
    #[serde(default = "two")]
    backoff_rate: u32,
    max_delay_seconds: Option<u64>,
    jitter_strategy: Option<Jitter>,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "UPPERCASE")]
enum Jitter {
    Full,
    None,
}

const fn one() -> u64 {
    1
}

const fn two() -> u32 {
    2
}

const fn three() -> u32 {
    3
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Catcher {
    error_equals: Vec<String>,
    result_path: Option<String>,
    next: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Choice {
    #[serde(rename = "Comment")]
    _comment: Option<String>,
    choices: Vec<Rule>,
    default: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Rule {
    variable: String,
    string_equals: String,
    next: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Wait {
    #[serde(rename = "Comment")]
    _comment: Option<String>,
    seconds: u64,
    next: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Pass {
    #[serde(rename = "Comment")]
    _comment: Option<String>,
    parameters: Option<Value>,
    result_path: Option<String>,
    next: String,
}

impl Definition {
    fn nexts(&self) -> Vec<&String> {
        let mut all = vec![&self.start_at];
        for state in self.states.values() {
            match state {
                State::Task(task) => {
                    all.extend(&task.next);
                    all.extend(task.catch.iter().map(|catcher| &catcher.next));
                }
                State::Choice(choice) => {
                    all.push(&choice.default);
                    all.extend(choice.choices.iter().map(|rule| &rule.next));
                }
                State::Wait(wait) => all.push(&wait.next),
                State::Pass(pass) => all.push(&pass.next),
            }
        }
        all
    }

    /// The ARNs of the functions that its tasks name.
    fn tasks(&self) -> impl Iterator<Item = &String> {
        self.states.values().filter_map(|state| match state {
            State::Task(task) => Some(&task.resource),
            _ => None,
        })
    }

    fn check(&self) -> Result<()> {
        for next in self.nexts() {
            ensure!(self.states.contains_key(next), "there is no state {next}");
        }
        for (name, state) in &self.states {
            if let State::Task(task) = state {
                ensure!(task.end != task.next.is_some(), "{name} needs either Next or End");
            }
        }
        Ok(())
    }
}

/// How an execution stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Status {
    /// Underway.
    Running,
    /// Came to an end state.
    Succeeded,
    /// An error that nothing caught.
    Failed,
}

/// One thing that happened to an execution.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Happened {
    /// Epoch milliseconds.
    pub at: i64,
    /// The state.
    pub state: String,
    /// `entered`, `succeeded`, `retried`, `caught` or `failed`.
    pub what: String,
    /// The error's name, where there was one.
    pub error: Option<String>,
}

/// An execution.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Execution {
    /// Its name.
    pub id: String,
    /// The state machine's name.
    pub machine: String,
    /// How it stands.
    pub status: Status,
    /// What it was started with.
    pub input: Value,
    /// What has become of it.
    pub data: Value,
    /// Everything that happened, oldest first.
    pub history: Vec<Happened>,
    state: String,
    retries: BTreeMap<usize, u32>,
}

struct Machine {
    definition: Definition,
    functions: HashMap<String, Arc<Function>>,
}

/// Every state machine and its executions. Clones share them.
#[derive(Clone)]
pub struct Machines(Arc<Shared>);

struct Shared {
    machines: HashMap<String, Machine>,
    executions: Mutex<BTreeMap<String, Execution>>,
    journal: Journal,
    hurry: u32,
}

fn define(declared: &StateMachine, infra: &Path) -> Result<Definition> {
    let path = infra.join(&declared.definition_s3_location);
    let mut text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    for (name, value) in declared.definition_substitutions.iter().flatten() {
        text = text.replace(&format!("${{{name}}}"), value);
    }
    let mut json = serde_json::Deserializer::from_str(&text);
    let definition: Definition = serde_path_to_error::deserialize(&mut json)
        .map_err(|e| anyhow::anyhow!("{}: {}: {}", path.display(), e.path(), e.inner()))?;
    definition.check().with_context(|| path.display().to_string())?;
    Ok(definition)
}

impl Machines {
    /// The state machines as declared, with the executions that the journal kept.
    ///
    /// # Errors
    /// When a definition is refused, or names a function that nobody declared.
    pub fn new(
        declared: &[StateMachine],
        functions: &Functions,
        (infra, hurry): (&Path, u32),
        (journal, kept): (&Journal, &[(String, String)]),
    ) -> Result<Self> {
        let mut machines = HashMap::new();
        for machine in declared {
            let definition = define(machine, infra)?;
            let of = |arn: &String| functions.get(arn).map(|function| (arn.clone(), function));
            let functions = definition.tasks().map(of).collect::<Result<_>>()?;
            machines.insert(machine.state_machine_name.clone(), Machine { definition, functions });
        }
        let executions = Mutex::new(journal::book(kept, PREFIX)?);
        let shared = Shared { machines, executions, journal: journal.clone(), hurry: hurry.max(1) };
        Ok(Self(Arc::new(shared)))
    }

    fn executions(&self) -> MutexGuard<'_, BTreeMap<String, Execution>> {
        self.0.executions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every execution, in no particular order.
    #[must_use]
    pub fn all(&self) -> Vec<Execution> {
        self.executions().values().cloned().collect()
    }

    /// Whether none is underway.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.executions().values().all(|execution| execution.status != Status::Running)
    }

    /// Whether there is a state machine of this name.
    #[must_use]
    pub fn knows(&self, machine: &str) -> bool {
        self.0.machines.contains_key(machine)
    }

    /// The ARNs of the functions that a state machine invokes.
    pub fn tasks(&self, machine: &str) -> impl Iterator<Item = &String> {
        self.0.machines.get(machine).into_iter().flat_map(|machine| machine.functions.keys())
    }

    /// Goes on with what was underway when the stack stopped.
    pub fn resume(&self) {
        let running = self.all().into_iter().filter(|execution| execution.status == Status::Running);
        running.for_each(|execution| self.spawn(execution));
    }

    /// Starts an execution; gives its id.
    ///
    /// # Errors
    /// When there is no such state machine.
    pub fn start(&self, machine: &str, input: Value) -> Result<String> {
        let definition = &self.0.machines.get(machine).context("there is no such state machine")?.definition;
        let execution = Execution {
            id: Uuid::new_v4().to_string(),
            machine: machine.to_owned(),
            status: Status::Running,
            data: input.clone(),
            input,
            history: Vec::new(),
            state: definition.start_at.clone(),
            retries: BTreeMap::new(),
        };
        let id = execution.id.clone();
        self.keep(&execution);
        self.spawn(execution);
        Ok(id)
    }

    fn keep(&self, execution: &Execution) {
        let value = serde_json::to_string(execution).unwrap_or_default();
        self.0.journal.write(vec![Entry::Book { key: format!("{PREFIX}{}", execution.id), value }]);
        self.executions().insert(execution.id.clone(), execution.clone());
    }

    fn spawn(&self, execution: Execution) {
        let machines = self.clone();
        tokio::spawn(async move { machines.run(execution).await });
    }

    async fn run(&self, mut execution: Execution) {
        while execution.status == Status::Running {
            self.step(&mut execution).await;
            if execution.history.len() > MAX_STEPS {
                execution.happened("failed", Some("States.Runtime"));
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
        let outcome = match machine.definition.states.get(&execution.state) {
            None => Err(format!("there is no state {}", execution.state)),
            Some(State::Task(task)) => self.task(machine, task, execution).await,
            Some(State::Choice(choice)) => {
                let chosen = choice.choices.iter().find(|rule| {
                    read(&rule.variable, &execution.data).is_some_and(|value| *value == rule.string_equals)
                });
                execution.go_on(Some(chosen.map_or(&choice.default, |rule| &rule.next)));
                Ok(())
            }
            Some(State::Wait(wait)) => {
                self.pause(Duration::from_secs(wait.seconds)).await;
                execution.go_on(Some(&wait.next));
                Ok(())
            }
            Some(State::Pass(pass)) => {
                let made = fill(pass.parameters.as_ref(), &execution.data, &Value::Null);
                made.and_then(|made| execution.put(pass.result_path.as_deref(), made))
                    .map(|()| execution.go_on(Some(&pass.next)))
            }
        };
        if let Err(reason) = outcome {
            tracing::error!("execution {} of {}: {reason}", execution.id, execution.machine);
            execution.happened("failed", Some("States.Runtime"));
            execution.status = Status::Failed;
        }
    }

    async fn pause(&self, length: Duration) {
        tokio::time::sleep(length / self.0.hurry).await;
    }

    async fn task(&self, machine: &Machine, task: &Task, execution: &mut Execution) -> Result<(), String> {
        let retries: u32 = execution.retries.values().sum();
        let context = json!({"State": {"Name": execution.state, "RetryCount": retries},
            "Execution": {"Id": execution.id, "Name": execution.id}});
        let payload = fill(task.parameters.as_ref(), &execution.data, &context)?;
        let function = machine.functions.get(&task.resource).ok_or("no function")?;
        let error = match function.invoke(Bytes::from(payload.to_string())).await {
            Ok(answer) => {
                let result = serde_json::from_slice(&answer).map_err(|e| e.to_string())?;
                execution.put(task.result_path.as_deref(), result)?;
                execution.happened("succeeded", None);
                execution.go_on(task.next.as_ref());
                return Ok(());
            }
            Err(error) => failure(&error),
        };
        let matches = |names: &[String]| names.iter().any(|name| name == "States.ALL" || *name == error.name);
        let retrier = task.retry.iter().enumerate().find(|(_, retrier)| matches(&retrier.error_equals));
        if let Some((n, retrier)) = retrier {
            let count = execution.retries.entry(n).or_default();
            if *count < retrier.max_attempts {
                *count += 1;
                let wait = retrier.delay(*count);
                execution.happened("retried", Some(&error.name));
                self.keep(execution);
                self.pause(wait).await;
                return Ok(());
            }
        }
        match task.catch.iter().find(|catcher| matches(&catcher.error_equals)) {
            Some(catcher) => {
                execution.happened("caught", Some(&error.name));
                let caught = json!({"Error": error.name, "Cause": error.cause});
                execution.put(catcher.result_path.as_deref(), caught)?;
                execution.go_on(Some(&catcher.next));
            }
            None => {
                execution.happened("failed", Some(&error.name));
                execution.status = Status::Failed;
            }
        }
        Ok(())
    }
}

impl Retrier {
    /// The pause before retry number `count`, from 1.
    fn delay(&self, count: u32) -> Duration {
        let factor = u64::from(self.backoff_rate).saturating_pow(count.saturating_sub(1));
        let most = self.max_delay_seconds.unwrap_or(u64::MAX);
        let millis = self.interval_seconds.saturating_mul(factor).min(most).saturating_mul(1000);
        match self.jitter_strategy {
            Some(Jitter::Full) => Duration::from_millis(OsRng.next_u64() % millis.max(1)),
            Some(Jitter::None) | None => Duration::from_millis(millis),
        }
    }
}

struct TaskFailure {
    name: String,
    cause: String,
}

/// An invocation's failure as the flow sees it.
fn failure(error: &InvokeError) -> TaskFailure {
    let named = |name: &str| TaskFailure { name: name.to_owned(), cause: error.to_string() };
    match error {
        InvokeError::Timeout(_) => named("Sandbox.Timedout"),
        InvokeError::Crashed => named("Runtime.ExitError"),
        InvokeError::Failed(text) => {
            let said: Value = serde_json::from_str(text).unwrap_or_default();
            let name = said["errorType"].as_str().unwrap_or("Unknown").to_owned();
            TaskFailure { name, cause: text.clone() }
        }
    }
}

impl Execution {
    fn happened(&mut self, what: &str, error: Option<&str>) {
        let (at, state) = (Utc::now().timestamp_millis(), self.state.clone());
        self.history.push(Happened { at, state, what: what.to_owned(), error: error.map(str::to_owned) });
    }

    /// Enters the next state, or ends.
    fn go_on(&mut self, next: Option<&String>) {
        self.retries.clear();
        match next {
            None => self.status = Status::Succeeded,
            Some(next) => {
                self.state.clone_from(next);
                self.happened("entered", None);
            }
        }
    }

    /// Places a result: at a path of the input, or instead of it.
    fn put(&mut self, path: Option<&str>, result: Value) -> Result<(), String> {
        match path {
            None | Some("$") => self.data = result,
            Some(path) => {
                let field = path.strip_prefix("$.").filter(|field| !field.contains(['.', '[']));
                let field = field.ok_or_else(|| format!("the ResultPath {path} is not implemented"))?;
                let map = self.data.as_object_mut().ok_or("the state's input is not an object")?;
                map.insert(field.to_owned(), result);
            }
        }
        Ok(())
    }
}

/// The value at a path: `$`, `$.a.b`.
fn read<'a>(path: &str, data: &'a Value) -> Option<&'a Value> {
    match path.strip_prefix('$')? {
        "" => Some(data),
        rest => rest.strip_prefix('.')?.split('.').try_fold(data, |value, name| value.get(name)),
    }
}

/// Fills a payload template: fields whose names end in `.$` are paths.
fn fill(template: Option<&Value>, data: &Value, context: &Value) -> Result<Value, String> {
    let Some(template) = template else { return Ok(data.clone()) };
    let Value::Object(fields) = template else { return Ok(template.clone()) };
    let mut filled = Map::new();
    for (name, value) in fields {
        match (name.strip_suffix(".$"), value.as_str()) {
            (Some(name), Some(path)) => {
                let found = match path.strip_prefix("$$") {
                    Some(rest) => read(&format!("${rest}"), context),
                    None => read(path, data),
                };
                let found = found.ok_or_else(|| format!("there is nothing at {path}"))?;
                filled.insert(name.to_owned(), found.clone());
            }
            _ => {
                filled.insert(name.clone(), fill(Some(value), data, context)?);
            }
        }
    }
    Ok(Value::Object(filled))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_take_from_the_input_and_from_the_context() {
        let template =
            json!({"task": "Refund", "event.$": "$", "n.$": "$$.State.RetryCount", "in": {"x.$": "$.a.b"}});
        let (data, context) = (json!({"a": {"b": 7}}), json!({"State": {"RetryCount": 2}}));
        let filled = fill(Some(&template), &data, &context).unwrap();
        assert_eq!(filled, json!({"task": "Refund", "event": data, "n": 2, "in": {"x": 7}}));
        assert!(fill(Some(&json!({"x.$": "$.nothing"})), &data, &context).is_err());
    }

    #[test]
    fn delays_grow_to_their_limit() {
        let retrier = Retrier {
            error_equals: Vec::new(),
            interval_seconds: 5,
            max_attempts: 9,
            backoff_rate: 2,
            max_delay_seconds: Some(18),
            jitter_strategy: None,
        };
        let delays: Vec<u64> = (1..5).map(|n| retrier.delay(n).as_secs()).collect();
        assert_eq!(delays, [5, 10, 18, 18]);
    }

    fn refused(change: impl Fn(&mut Value)) -> String {
        let mut text: Value = json!({"StartAt": "A", "States": {"A": {"Type": "Wait", "Seconds": 1, "Next": "B"},
            "B": {"Type": "Task", "Resource": "x", "End": true}}});
        change(&mut text);
        match serde_json::from_value::<Definition>(text) {
            Err(error) => error.to_string(),
            Ok(definition) => definition.check().unwrap_err().to_string(),
        }
    }

    /// Guards: refuse, don't ignore.
    #[test]
    fn what_is_not_implemented_is_refused() {
        assert!(refused(|d| d["States"]["A"]["Type"] = "Parallel".into()).contains("Parallel"));
        assert!(refused(|d| d["States"]["B"]["Assign"] = json!({})).contains("Assign"));
        assert!(refused(|d| d["States"]["A"]["Next"] = "C".into()).contains("there is no state C"));
        assert!(refused(|d| d["States"]["B"]["End"] = false.into()).contains("either Next or End"));
    }
}
