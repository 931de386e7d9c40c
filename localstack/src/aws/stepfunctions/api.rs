//! Step Functions' calls: executions, and what happened in them, to look at.
//!
//! <https://docs.aws.amazon.com/step-functions/latest/apireference/API_GetExecutionHistory.html>

use crate::aws::endpoint::{Endpoint, Fault, Outcome, ok, parse, unknown};
use crate::aws::iam::Caller;
use crate::aws::stepfunctions::{Execution, Happened, Status};
use crate::template::names;
use serde::Deserialize;
use serde_json::{Value, json};
use std::cmp::Reverse;

/// The most entries of one answer, and what there are without a wish.
const MOST: usize = 1000;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Request {
    state_machine_arn: Option<String>,
    execution_arn: Option<String>,
    status_filter: Option<String>,
    max_results: Option<usize>,
    include_execution_data: Option<bool>,
    reverse_order: Option<bool>,
}

fn arn(execution: &Execution) -> String {
    names::arn("states", &format!("execution:{}:{}", execution.machine, execution.id))
}

/// Epoch seconds, as AWS writes times here.
#[allow(clippy::float_arithmetic, clippy::cast_precision_loss, reason = "AWS's own time stamp")]
fn seconds(millis: i64) -> f64 {
    millis as f64 / 1000.0
}

fn started(execution: &Execution) -> i64 {
    execution.history.first().map_or(0, |happened| happened.at)
}

fn shown(execution: &Execution) -> Value {
    let mut shown = json!({
        "executionArn": arn(execution),
        "stateMachineArn": names::arn("states", &format!("stateMachine:{}", execution.machine)),
        "name": execution.id,
        "status": execution.status,
        "startDate": seconds(started(execution)),
    });
    if let Some(last) = execution.history.last().filter(|_| execution.status != Status::Running) {
        shown["stopDate"] = json!(seconds(last.at));
    }
    shown
}

/// What happened, as AWS numbers and names it: entering and leaving states, and each failed try of a task.
fn events(execution: &Execution) -> Vec<Value> {
    let input = json!({"input": execution.input.to_string()});
    let mut events = vec![(started(execution), "ExecutionStarted", "executionStartedEventDetails", input)];
    events.extend(execution.history.iter().map(event));
    if let (Some(last), Status::Succeeded) = (execution.history.last(), execution.status) {
        let output = json!({"output": execution.data.to_string()});
        events.push((last.at, "ExecutionSucceeded", "executionSucceededEventDetails", output));
    }
    let numbered = events.into_iter().zip(1..).map(|((at, kind, details, detail), id)| {
        json!({"timestamp": seconds(at), "type": kind, "id": id, "previousEventId": id - 1, details: detail})
    });
    numbered.collect()
}

fn event(Happened { at, state, what, error }: &Happened) -> (i64, &'static str, &'static str, Value) {
    match (what.as_str(), error) {
        ("entered", _) => (*at, "TaskStateEntered", "stateEnteredEventDetails", json!({ "name": state })),
        ("succeeded", _) => (*at, "TaskStateExited", "stateExitedEventDetails", json!({ "name": state })),
        ("failed", Some(error)) => {
            (*at, "ExecutionFailed", "executionFailedEventDetails", json!({"error": error, "cause": state}))
        }
        (_, error) => {
            let error = error.as_deref().unwrap_or(what);
            let details =
                json!({"error": error, "cause": state, "resourceType": "lambda", "resource": "invoke"});
            (*at, "TaskFailed", "taskFailedEventDetails", details)
        }
    }
}

impl Endpoint {
    /// Executions, newest first, and what happened in one.
    pub(crate) fn states(&self, caller: &Caller, operation: &str, body: &[u8]) -> Outcome {
        self.allow(caller, &format!("states:{operation}"), "*")?;
        let request: Request = parse(body)?;
        let mut all = self.machines.all();
        if operation == "ListExecutions" {
            let machine = request.state_machine_arn.unwrap_or_default();
            all.retain(|execution| execution.machine == names::last_part(&machine));
            if let Some(status) = &request.status_filter {
                all.retain(|execution| json!(execution.status) == status.as_str());
            }
            all.sort_by_key(|execution| Reverse(started(execution)));
            all.truncate(request.max_results.unwrap_or(MOST).min(MOST));
            return ok(&json!({"executions": all.iter().map(shown).collect::<Vec<_>>()}));
        }
        let wanted = request.execution_arn.unwrap_or_default();
        let found = all.into_iter().find(|execution| arn(execution) == wanted);
        let found = found.ok_or_else(|| Fault::new("ExecutionDoesNotExist", "no such execution"))?;
        match operation {
            "DescribeExecution" => {
                let mut answer = shown(&found);
                answer["input"] = found.input.to_string().into();
                answer["output"] = found.data.to_string().into();
                ok(&answer)
            }
            "GetExecutionHistory" => {
                let mut events = events(&found);
                if request.reverse_order == Some(true) {
                    events.reverse();
                }
                events.truncate(request.max_results.unwrap_or(MOST).min(MOST));
                if request.include_execution_data == Some(false) {
                    let fields = ["input", "output"];
                    let details =
                        events.iter_mut().filter_map(Value::as_object_mut).flat_map(|e| e.values_mut());
                    details
                        .filter_map(Value::as_object_mut)
                        .for_each(|d| fields.iter().for_each(|f| drop(d.remove(*f))));
                }
                ok(&json!({ "events": events }))
            }
            _ => Err(unknown(operation)),
        }
    }
}
