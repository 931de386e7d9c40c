//! The part of the Amazon States Language that the local stack runs: Task, Choice, Wait and Pass states, with retries and
//! catches.
//!
//! <https://docs.aws.amazon.com/step-functions/latest/dg/concepts-amazon-states-language.html>

use super::payload;
use crate::template::resources::StateMachine;
use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Definition {
    #[serde(rename = "Comment")]
    _comment: Option<String>,
    pub start_at: String,
    pub states: BTreeMap<String, State>,
}

#[derive(Deserialize)]
#[serde(tag = "Type")]
pub enum State {
    Task(Task),
    Choice(Choice),
    Wait(Wait),
    Pass(Pass),
    Succeed(Succeed),
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Task {
    #[serde(rename = "Comment")]
    _comment: Option<String>,
    pub resource: String,
    pub parameters: Option<Value>,
    pub result_path: Option<String>,
    #[serde(default)]
    pub retry: Vec<Retrier>,
    #[serde(default)]
    pub catch: Vec<Catcher>,
    pub next: Option<String>,
    #[serde(default)]
    pub end: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Retrier {
    pub error_equals: Vec<String>,
    /// The defaults are those of the language.
    #[serde(default = "interval_seconds")]
    pub interval_seconds: u64,
    #[serde(default = "max_attempts")]
    pub max_attempts: u32,
    #[serde(default = "backoff_rate")]
    pub backoff_rate: u32,
    pub max_delay_seconds: Option<u64>,
    pub jitter_strategy: Option<Jitter>,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "UPPERCASE")]
pub enum Jitter {
    Full,
    None,
}

const fn interval_seconds() -> u64 {
    1
}

const fn backoff_rate() -> u32 {
    2
}

const fn max_attempts() -> u32 {
    3
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Catcher {
    pub error_equals: Vec<String>,
    pub result_path: Option<String>,
    pub next: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Choice {
    #[serde(rename = "Comment")]
    _comment: Option<String>,
    pub choices: Vec<Rule>,
    pub default: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Rule {
    pub variable: String,
    pub string_equals: String,
    pub next: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Wait {
    #[serde(rename = "Comment")]
    _comment: Option<String>,
    pub seconds: u64,
    pub next: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Pass {
    #[serde(rename = "Comment")]
    _comment: Option<String>,
    pub parameters: Option<Value>,
    pub result_path: Option<String>,
    pub next: String,
}

/// Ends the execution well.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Succeed {
    #[serde(rename = "Comment")]
    _comment: Option<String>,
}

impl Definition {
    /// Reads the definition that a template names, with a value for each `${Name}` in it.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn text(declared: &StateMachine, infra: &Path) -> Result<String> {
        let path = infra.join(&declared.definition_s3_location);
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        Ok(substituted(text, declared.definition_substitutions.iter().flatten()))
    }

    /// Reads and checks a definition, with a value for each `${Name}` in it.
    ///
    /// # Errors
    /// When it holds a state or field that is not implemented.
    pub fn parse<'a>(
        text: &str,
        substitutions: impl IntoIterator<Item = (&'a String, &'a String)>,
    ) -> Result<Self> {
        let text = substituted(text.to_owned(), substitutions);
        let mut json = serde_json::Deserializer::from_str(&text);
        let definition: Self = serde_path_to_error::deserialize(&mut json).map_err(|error| {
            let place = error.path().to_string();
            anyhow::Error::from(error.into_inner()).context(place)
        })?;
        definition.check()?;
        Ok(definition)
    }

    fn successors(&self) -> Vec<&String> {
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
                State::Succeed(_) => {}
            }
        }
        all
    }

    /// The ARNs of the functions that its tasks name.
    pub fn tasks(&self) -> impl Iterator<Item = &String> {
        self.states.values().filter_map(|state| match state {
            State::Task(task) => Some(&task.resource),
            _ => None,
        })
    }

    fn check(&self) -> Result<()> {
        for next in self.successors() {
            ensure!(self.states.contains_key(next), "there is no state {next}");
        }
        for (name, state) in &self.states {
            if let State::Task(task) = state {
                ensure!(task.end != task.next.is_some(), "{name} needs either Next or End");
                task.check_errors(name)?;
            }
        }
        Ok(())
    }
}

fn substituted<'a>(text: String, values: impl IntoIterator<Item = (&'a String, &'a String)>) -> String {
    values.into_iter().fold(text, |text, (name, value)| text.replace(&format!("${{{name}}}"), value))
}

impl Task {
    /// Of the errors that Step Functions has names for only the one for all is implemented: another would be waited for in vain.
    fn check_errors(&self, name: &str) -> Result<()> {
        let retried = self.retry.iter().flat_map(|retrier| &retrier.error_equals);
        for error in retried.chain(self.catch.iter().flat_map(|catcher| &catcher.error_equals)) {
            let is_known = !error.starts_with("States.") || error == "States.ALL";
            ensure!(is_known, "{name}: the error {error} is not implemented by the local stack");
        }
        Ok(())
    }
}

impl State {
    /// The name of its type.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Task(_) => "Task",
            Self::Choice(_) => "Choice",
            Self::Wait(_) => "Wait",
            Self::Pass(_) => "Pass",
            Self::Succeed(_) => "Succeed",
        }
    }
}

impl Choice {
    /// The state that the first matching rule names.
    #[must_use]
    pub fn next(&self, data: &Value) -> &String {
        let holds = |variable: &str, text: &String| {
            payload::read(variable, data).is_some_and(|value| *value == *text)
        };
        let chosen = self.choices.iter().find(|rule| holds(&rule.variable, &rule.string_equals));
        chosen.map_or(&self.default, |rule| &rule.next)
    }
}

impl Retrier {
    /// The pause before retry number `count`, from 1; with jitter it is the longest.
    #[must_use]
    pub fn delay(&self, count: u32) -> Duration {
        let factor = u64::from(self.backoff_rate).saturating_pow(count.saturating_sub(1));
        let max = self.max_delay_seconds.unwrap_or(u64::MAX);
        Duration::from_secs(self.interval_seconds.saturating_mul(factor).min(max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

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
        let timeout = json!([{"ErrorEquals": ["States.Timeout"], "MaxAttempts": 0}]);
        assert!(
            refused(|d| d["States"]["B"]["Retry"] = timeout.clone())
                .contains("the error States.Timeout is not implemented")
        );
    }
}
