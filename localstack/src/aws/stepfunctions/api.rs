//! Step Functions' calls: executions and their history, to look at.
//!
//! <https://docs.aws.amazon.com/step-functions/latest/apireference/API_GetExecutionHistory.html>

use super::execution::{Execution, HistoryEvent, Status};
use super::machines::StateMachines;
use crate::aws::protocol::{ApiError, Call, Outcome, ok, seconds};
use crate::template::names;
use serde::Deserialize;
use serde_json::{Value, json};
use std::cmp::Reverse;

/// The most entries of one answer, and the default.
const MAX_ENTRIES: usize = 1000;

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

fn started(execution: &Execution) -> i64 {
    execution.history.first().map_or(0, |first| first.at)
}

fn shown(execution: &Execution) -> Value {
    let mut shown = json!({
        "executionArn": arn(execution),
        "stateMachineArn": names::state_machine_arn(&execution.machine),
        "name": execution.id,
        "status": execution.status,
        "startDate": seconds(started(execution)),
    });
    if let Some(last) = execution.history.last().filter(|_| execution.status != Status::Running) {
        shown["stopDate"] = json!(seconds(last.at));
    }
    shown
}

/// The history as AWS numbers and names it: entering and leaving states, and each failed try of a task.
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

fn event(HistoryEvent { at, state, what, error }: &HistoryEvent) -> (i64, &'static str, &'static str, Value) {
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

pub fn answer(machines: &StateMachines, call: &Call<'_>) -> Outcome {
    call.require(&format!("states:{}", call.operation), "*")?;
    let request: Request = call.parse()?;
    if call.operation == "ListExecutions" {
        return list(machines, &request);
    }
    let wanted = request.execution_arn.as_deref().unwrap_or_default();
    let found = machines.all().into_iter().find(|execution| arn(execution) == wanted);
    let found = found.ok_or_else(|| ApiError::new("ExecutionDoesNotExist", "no such execution"))?;
    match call.operation {
        "DescribeExecution" => {
            let mut answer = shown(&found);
            answer["input"] = found.input.to_string().into();
            answer["output"] = found.data.to_string().into();
            ok(&answer)
        }
        "GetExecutionHistory" => history(&found, &request),
        _ => Err(call.unknown()),
    }
}

/// Newest first.
fn list(machines: &StateMachines, request: &Request) -> Outcome {
    let machine = request.state_machine_arn.as_deref().unwrap_or_default();
    let mut executions = machines.all();
    executions.retain(|execution| execution.machine == names::last_part(machine));
    if let Some(status) = &request.status_filter {
        executions.retain(|execution| json!(execution.status) == status.as_str());
    }
    executions.sort_by_key(|execution| Reverse(started(execution)));
    executions.truncate(request.max_results.unwrap_or(MAX_ENTRIES).min(MAX_ENTRIES));
    ok(&json!({"executions": executions.iter().map(shown).collect::<Vec<_>>()}))
}

fn history(execution: &Execution, request: &Request) -> Outcome {
    let mut events = events(execution);
    if request.reverse_order == Some(true) {
        events.reverse();
    }
    events.truncate(request.max_results.unwrap_or(MAX_ENTRIES).min(MAX_ENTRIES));
    if request.include_execution_data == Some(false) {
        let details = events.iter_mut().filter_map(Value::as_object_mut).flat_map(|event| event.values_mut());
        for detail in details.filter_map(Value::as_object_mut) {
            detail.remove("input");
            detail.remove("output");
        }
    }
    ok(&json!({ "events": events }))
}
