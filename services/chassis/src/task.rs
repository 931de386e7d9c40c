//! Tasks: work that a state machine, a schedule or an operator hands to a function, one input at a time.

use crate::failure::Failure;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::future::Future;

/// Work on one input.
pub trait Task: Send + Sync + 'static {
    /// What it is handed.
    type Input: DeserializeOwned + Send;

    /// Does it; may be repeated.
    fn run(&self, input: Self::Input) -> impl Future<Output = Result<Value, TaskError>> + Send;
}

/// Why a task failed: a name that the state machine matches, and a text for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskError {
    /// `Transient`
    pub name: &'static str,
    /// In words.
    pub message: String,
    /// Whether nothing is wrong: the state machine asks again later.
    pub is_wait: bool,
}

impl TaskError {
    /// An error of this name.
    pub fn new(name: &'static str, message: impl Into<String>) -> Self {
        Self { name, message: message.into(), is_wait: false }
    }

    /// There is no answer yet; the state machine asks again, by this name.
    pub fn not_yet(name: &'static str, message: impl Into<String>) -> Self {
        Self { is_wait: true, ..Self::new(name, message) }
    }
}

impl From<Failure> for TaskError {
    fn from(failure: Failure) -> Self {
        let name = match failure {
            Failure::Conflict { .. } => "Conflict",
            Failure::Transient(_) => "Transient",
            Failure::Poison(_) => "Poison",
        };
        Self::new(name, failure.to_string())
    }
}
