//! One execution of a state machine: its data, its state and its history.

use crate::support::depth::is_deep;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// The most entries of a history: an execution that goes in a circle ends.
const MAX_HISTORY: usize = 1000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Status {
    Running,
    Succeeded,
    /// By an error that no state caught.
    Failed,
    /// By hand.
    Aborted,
}

/// One entry of an execution's history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryEvent {
    /// Epoch milliseconds.
    pub at: i64,
    pub state: String,
    /// `entered`, `succeeded`, `retried`, `caught`, `failed` or `aborted`.
    pub what: String,
    /// The error's name, where there was one.
    pub error: Option<String>,
    /// The input of a state that was entered, the answer of a task that succeeded, the text that explains an error. Journals from
    /// before it was kept lack it.
    #[serde(default)]
    pub data: Value,
}

/// The journal keeps it as JSON: the fields are part of that format.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Execution {
    pub id: String,
    /// The state machine's name.
    pub machine: String,
    pub status: Status,
    pub input: Value,
    /// The input of the current state, and in the end the output.
    pub data: Value,
    /// Oldest first.
    pub history: Vec<HistoryEvent>,
    /// The current state.
    pub state: String,
    /// Retries of the current state, by the place of their retrier.
    pub retries: BTreeMap<usize, u32>,
    /// Epoch milliseconds. Journals from before it was kept lack it.
    #[serde(default)]
    pub started_at: Option<i64>,
}

/// Why a result has no place in the data.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotPlaced {
    #[error("the ResultPath {0} is not implemented")]
    Path(String),
    #[error("the state's input is not an object")]
    NoObject,
}

impl Execution {
    /// An execution that enters the first state of its machine.
    #[must_use]
    pub fn new(id: String, machine: &str, first: &str, input: Value) -> Self {
        Self {
            id,
            machine: machine.to_owned(),
            status: Status::Running,
            data: input.clone(),
            input,
            history: Vec::new(),
            state: first.to_owned(),
            retries: BTreeMap::new(),
            started_at: None,
        }
    }

    /// When it started, in epoch milliseconds.
    #[must_use]
    pub fn started(&self) -> i64 {
        self.started_at.or_else(|| Some(self.history.first()?.at)).unwrap_or_default()
    }

    /// When it ended, in epoch milliseconds; `None` while it runs.
    #[must_use]
    pub fn ended(&self) -> Option<i64> {
        let last = self.history.last().filter(|_| self.status != Status::Running)?;
        Some(last.at)
    }

    /// The error that ended it, and the text that explains it.
    #[must_use]
    pub fn failure(&self) -> Option<(&str, &str)> {
        let last = self.history.last().filter(|last| matches!(last.what.as_str(), "failed" | "aborted"))?;
        Some((last.error.as_deref().unwrap_or_default(), last.data.as_str().unwrap_or_default()))
    }

    /// Notes what happened in the current state; `data` as [`HistoryEvent`] has it.
    pub fn record(&mut self, what: &str, error: Option<&str>, data: Value, now: DateTime<Utc>) {
        let (at, state) = (now.timestamp_millis(), self.state.clone());
        let (what, error) = (what.to_owned(), error.map(str::to_owned));
        self.history.push(HistoryEvent { at, state, what, error, data });
    }

    /// Enters the next state, or ends.
    pub fn go_on(&mut self, next: Option<&String>, now: DateTime<Utc>) {
        self.retries.clear();
        match next {
            None => self.status = Status::Succeeded,
            Some(next) => {
                self.state.clone_from(next);
                self.record("entered", None, self.data.clone(), now);
            }
        }
    }

    /// Ends it where it is too much to go on with, or to be read again.
    pub fn check(&mut self, now: DateTime<Utc>) {
        if is_deep(&self.data.to_string()) {
            self.data = Value::Null;
            self.history.iter_mut().rev().take(2).for_each(|event| event.data = Value::Null);
            self.fail("the data nest too deep", now);
        }
        if self.status == Status::Running && self.history.len() > MAX_HISTORY {
            self.fail("too many events", now);
        }
    }

    /// Ends it by an error that no state may catch.
    pub fn fail(&mut self, why: &str, now: DateTime<Utc>) {
        self.record("failed", Some("States.Runtime"), why.into(), now);
        self.status = Status::Failed;
    }

    /// Places a result at a path of the data, or instead of the data.
    ///
    /// # Errors
    /// When the path is not implemented or the data has no place for it.
    pub fn place(&mut self, path: Option<&str>, result: Value) -> Result<(), NotPlaced> {
        match path {
            None | Some("$") => self.data = result,
            Some(path) => {
                let field = path.strip_prefix("$.").filter(|field| !field.contains(['.', '[']));
                let field = field.ok_or_else(|| NotPlaced::Path(path.to_owned()))?;
                let map = self.data.as_object_mut().ok_or(NotPlaced::NoObject)?;
                map.insert(field.to_owned(), result);
            }
        }
        Ok(())
    }
}
