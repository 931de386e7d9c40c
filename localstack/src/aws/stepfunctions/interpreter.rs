//! What an execution does next: the language itself, without a function to invoke and without a clock to wait for. The
//! machines run it, and so do the tests that have to decide when a task is answered.
//!
//! <https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html>

use super::definition::{Definition, Jitter, State, Task};
use super::execution::{Execution, NotPlaced, Status};
use super::payload::{self, NothingAt};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use std::time::Duration;

/// What an execution needs before it can go on.
#[derive(Debug)]
pub enum Next {
    /// The answer of a function, for [`Definition::answer`].
    Invoke {
        /// The function's ARN.
        function: String,
        payload: Value,
    },
    /// Nothing but time; the execution has entered the next state.
    Wait(Pause),
}

/// A pause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pause {
    /// How long it is at most.
    pub length: Duration,
    /// Whether its length is random.
    pub jitter: bool,
}

/// Why an execution fails that no state may catch: an error of the flow itself.
#[derive(Debug, thiserror::Error)]
pub enum FlowError {
    #[error("there is no state {0}")]
    NoState(String),
    #[error("{0} is no task")]
    NoTask(String),
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskFailure {
    pub name: String,
    pub cause: String,
}

impl TaskFailure {
    /// What a function reports of its own error, in the shape in which Lambda hands it on.
    #[must_use]
    pub fn reported(text: &str) -> Self {
        let reported: Value = serde_json::from_str(text).unwrap_or_default();
        let name = reported["errorType"].as_str().unwrap_or("Unknown").to_owned();
        Self { name, cause: text.to_owned() }
    }

    fn is_one_of(&self, names: &[String]) -> bool {
        names.iter().any(|name| name == "States.ALL" || *name == self.name)
    }
}

impl Definition {
    /// What a running execution needs next.
    ///
    /// # Errors
    /// An error that ends the execution.
    pub fn next(&self, execution: &mut Execution, now: DateTime<Utc>) -> Result<Next, FlowError> {
        match self.states.get(&execution.state) {
            None => return Err(FlowError::NoState(execution.state.clone())),
            Some(State::Task(task)) => return invoke(task, execution),
            Some(State::Choice(choice)) => {
                let next = choice.next(&execution.data).clone();
                execution.go_on(Some(&next), now);
            }
            Some(State::Succeed(_)) => execution.go_on(None, now),
            Some(State::Wait(wait)) => {
                execution.go_on(Some(&wait.next), now);
                return Ok(Next::Wait(Pause { length: Duration::from_secs(wait.seconds), jitter: false }));
            }
            Some(State::Pass(pass)) => {
                let made = payload::fill(pass.parameters.as_ref(), &execution.data, &Value::Null)?;
                execution.place(pass.result_path.as_deref(), made)?;
                execution.go_on(Some(&pass.next), now);
            }
        }
        Ok(Next::Wait(Pause::default()))
    }

    /// Goes on with the answer of the function that [`Definition::next`] named; gives the pause before it.
    ///
    /// # Errors
    /// As [`Definition::next`].
    pub fn answer(
        &self,
        execution: &mut Execution,
        answer: Result<Value, TaskFailure>,
        now: DateTime<Utc>,
    ) -> Result<Pause, FlowError> {
        let Some(State::Task(task)) = self.states.get(&execution.state) else {
            return Err(FlowError::NoTask(execution.state.clone()));
        };
        match answer {
            Ok(result) => {
                execution.place(task.result_path.as_deref(), result.clone())?;
                execution.record("succeeded", None, result, now);
                execution.go_on(task.next.as_ref(), now);
                Ok(Pause::default())
            }
            Err(failure) => match retry(task, execution, &failure, now) {
                Some(pause) => Ok(pause),
                None => catch(task, execution, &failure, now).map(|()| Pause::default()),
            },
        }
    }
}

fn invoke(task: &Task, execution: &Execution) -> Result<Next, FlowError> {
    let retries: u32 = execution.retries.values().sum();
    let context = json!({"State": {"Name": execution.state, "RetryCount": retries},
        "Execution": {"Id": execution.id, "Name": execution.id}});
    let payload = payload::fill(task.parameters.as_ref(), &execution.data, &context)?;
    Ok(Next::Invoke { function: task.resource.clone(), payload })
}

/// The pause before the next try of a task; none when it has no more.
fn retry(task: &Task, execution: &mut Execution, failure: &TaskFailure, now: DateTime<Utc>) -> Option<Pause> {
    let mut retriers = task.retry.iter().enumerate();
    let (place, retrier) = retriers.find(|(_, retrier)| failure.is_one_of(&retrier.error_equals))?;
    let count = execution.retries.entry(place).or_default();
    if *count >= retrier.max_attempts {
        return None;
    }
    *count += 1;
    let pause =
        Pause { length: retrier.delay(*count), jitter: retrier.jitter_strategy == Some(Jitter::Full) };
    execution.record("retried", Some(&failure.name), failure.cause.as_str().into(), now);
    Some(pause)
}

/// Goes on with the state that catches a failure, or fails the execution.
fn catch(
    task: &Task,
    execution: &mut Execution,
    failure: &TaskFailure,
    now: DateTime<Utc>,
) -> Result<(), FlowError> {
    let Some(catcher) = task.catch.iter().find(|catcher| failure.is_one_of(&catcher.error_equals)) else {
        execution.record("failed", Some(&failure.name), failure.cause.as_str().into(), now);
        execution.status = Status::Failed;
        return Ok(());
    };
    execution.record("caught", Some(&failure.name), failure.cause.as_str().into(), now);
    let caught = json!({"Error": failure.name, "Cause": failure.cause});
    execution.place(catcher.result_path.as_deref(), caught)?;
    execution.go_on(Some(&catcher.next), now);
    Ok(())
}
