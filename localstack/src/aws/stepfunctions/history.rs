//! An execution's history as AWS numbers and names it. The machines keep less; what follows from it is added here.
//!
//! <https://docs.aws.amazon.com/step-functions/latest/apireference/API_HistoryEvent.html>

use super::definition::{Definition, State};
use super::execution::{Execution, HistoryEvent, Status};
use crate::aws::protocol::seconds;
use serde_json::{Value, json};

/// The events so far, oldest first. `role` is that of the state machine.
pub struct History<'a> {
    definition: &'a Definition,
    events: Vec<Value>,
}

/// The events of an execution, oldest first.
#[must_use]
pub fn events(execution: &Execution, definition: &Definition, role: &str) -> Vec<Value> {
    let mut history = History { definition, events: Vec::new() };
    let started = execution.started();
    let input = execution.input.to_string();
    let details = json!({"input": input, "inputDetails": {"truncated": false}, "roleArn": role});
    history.push(started, "ExecutionStarted", "executionStarted", details);
    history.enter(started, &definition.start_at, &execution.input);
    let mut state = definition.start_at.as_str();
    for event in &execution.history {
        if event.what == "entered" {
            history.leave(event.at, state, &event.data);
            history.enter(event.at, &event.state, &event.data);
            state = &event.state;
        } else {
            history.add(event);
        }
    }
    if let (Some(ended), Status::Succeeded) = (execution.ended(), execution.status) {
        history.leave(ended, state, &execution.data);
        history.push(ended, "ExecutionSucceeded", "executionSucceeded", output(&execution.data));
    }
    history.events
}

fn output(data: &Value) -> Value {
    json!({"output": data.to_string(), "outputDetails": {"truncated": false}})
}

impl History<'_> {
    fn push(&mut self, at: i64, kind: &str, details: &str, detail: Value) {
        let id = self.events.len() + 1;
        let mut event = json!({"timestamp": seconds(at), "type": kind, "id": id, "previousEventId": id - 1});
        if !detail.is_null() {
            event[format!("{details}EventDetails")] = detail;
        }
        self.events.push(event);
    }

    fn kind(&self, state: &str) -> &'static str {
        self.definition.states.get(state).map_or("Task", State::kind)
    }

    fn enter(&mut self, at: i64, state: &str, data: &Value) {
        let details = json!({"name": state, "input": data.to_string(), "inputDetails": {"truncated": false}});
        self.push(at, &format!("{}StateEntered", self.kind(state)), "stateEntered", details);
        self.schedule(at, state);
    }

    fn leave(&mut self, at: i64, state: &str, data: &Value) {
        let mut details = output(data);
        details["name"] = state.into();
        self.push(at, &format!("{}StateExited", self.kind(state)), "stateExited", details);
    }

    /// A task's function is run, or run again.
    fn schedule(&mut self, at: i64, state: &str) {
        let Some(State::Task(task)) = self.definition.states.get(state) else { return };
        let details = json!({"resource": task.resource});
        self.push(at, "LambdaFunctionScheduled", "lambdaFunctionScheduled", details);
        self.push(at, "LambdaFunctionStarted", "", Value::Null);
    }

    fn add(&mut self, event: &HistoryEvent) {
        let HistoryEvent { at, state, what, error, data } = event;
        let details = json!({"error": error, "cause": data});
        let details = crate::aws::protocol::without_nulls(details);
        let is_task = self.kind(state) == "Task" && error.as_deref() != Some("States.Runtime");
        match what.as_str() {
            "succeeded" => self.push(*at, "LambdaFunctionSucceeded", "lambdaFunctionSucceeded", output(data)),
            "aborted" => self.push(*at, "ExecutionAborted", "executionAborted", details),
            what => {
                if is_task {
                    self.push(*at, "LambdaFunctionFailed", "lambdaFunctionFailed", details.clone());
                }
                match what {
                    "retried" => self.schedule(*at, state),
                    "failed" => self.push(*at, "ExecutionFailed", "executionFailed", details),
                    _ => {}
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;

    fn definition() -> Definition {
        let definition = json!({"StartAt": "A", "States": {
            "A": {"Type": "Task", "Resource": "f", "Next": "B", "Retry": [{"ErrorEquals": ["States.ALL"]}]},
            "B": {"Type": "Pass", "Next": "C"}, "C": {"Type": "Succeed"}}});
        serde_json::from_value(definition).unwrap()
    }

    /// Guards: the types, the order and the numbers of events are AWS's.
    #[test]
    fn a_history_reads_as_aws_writes_it() {
        let mut execution = Execution::new("e".into(), "m", "A", json!({"x": 1}));
        let now = DateTime::UNIX_EPOCH;
        execution.record("retried", Some("Busy"), "later".into(), now);
        execution.record("succeeded", None, json!(2), now);
        execution.go_on(Some(&"B".to_owned()), now);
        execution.go_on(Some(&"C".to_owned()), now);
        execution.go_on(None, now);
        let events = events(&execution, &definition(), "role");
        let kinds: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
        assert_eq!(
            kinds,
            [
                "ExecutionStarted",
                "TaskStateEntered",
                "LambdaFunctionScheduled",
                "LambdaFunctionStarted",
                "LambdaFunctionFailed",
                "LambdaFunctionScheduled",
                "LambdaFunctionStarted",
                "LambdaFunctionSucceeded",
                "TaskStateExited",
                "PassStateEntered",
                "PassStateExited",
                "SucceedStateEntered",
                "SucceedStateExited",
                "ExecutionSucceeded",
            ]
        );
        assert_eq!(
            (&events[4]["lambdaFunctionFailedEventDetails"]["error"], &events[4]["id"]),
            (&json!("Busy"), &json!(5))
        );
        assert_eq!(events[1]["stateEnteredEventDetails"]["input"], r#"{"x":1}"#);
        execution.record("aborted", None, Value::Null, now);
        execution.status = Status::Aborted;
        let events = super::events(&execution, &definition(), "role");
        assert_eq!(events.last().unwrap()["executionAbortedEventDetails"], json!({}));
    }
}
