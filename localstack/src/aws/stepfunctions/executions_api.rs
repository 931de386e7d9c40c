//! Step Functions' calls about executions: they are started, stopped, and looked at.
//!
//! <https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html>
//! <https://docs.aws.amazon.com/step-functions/latest/apireference/API_ListExecutions.html>

use super::execution::{Execution, Status};
use super::history::events;
use super::service::{Included, Service, limit};
use crate::aws::protocol::pages::page;
use crate::aws::protocol::{ApiError, Call, Outcome, ok, seconds, without_nulls};
use crate::support::depth::{MAX_DEPTH, is_deep};
use crate::template::names;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

const MAX_INPUT: usize = 256 * 1024;
const MAX_NAME: usize = 80;
const MAX_ERROR: usize = 256;
const MAX_CAUSE: usize = 32_768;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct StartExecution {
    state_machine_arn: String,
    name: Option<String>,
    input: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct StopExecution {
    execution_arn: String,
    error: Option<String>,
    cause: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DescribeExecution {
    execution_arn: String,
    #[serde(default)]
    included_data: Included,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ListExecutions {
    state_machine_arn: Option<String>,
    status_filter: Option<Status>,
    max_results: Option<i64>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct GetExecutionHistory {
    execution_arn: String,
    max_results: Option<i64>,
    #[serde(default)]
    reverse_order: bool,
    next_token: Option<String>,
    include_execution_data: Option<bool>,
}

fn arn(execution: &Execution) -> String {
    names::arn("states", &format!("execution:{}:{}", execution.machine, execution.id))
}

/// An execution in a list.
fn shown(execution: &Execution) -> Value {
    without_nulls(json!({
        "executionArn": arn(execution),
        "stateMachineArn": names::state_machine_arn(&execution.machine),
        "name": execution.id,
        "status": execution.status,
        "startDate": seconds(execution.started()),
        "stopDate": execution.ended().map(seconds),
    }))
}

/// The same call again starts nothing while the first execution runs.
pub async fn start(states: &Service, call: &Call<'_>) -> Outcome {
    let request: StartExecution = call.parse()?;
    let machine = states.machine(call, &request.state_machine_arn)?;
    let input = input(request.input.as_deref().unwrap_or("{}"))?;
    let name = request.name.unwrap_or_else(|| Uuid::new_v4().to_string());
    check_name(&name)?;
    let (started, is_new) = states.machines.start(machine, name, input.clone());
    let is_same = |known: &Execution| {
        let of = &machine.declared.state_machine_name;
        known.status == Status::Running && known.input == input && known.machine == *of
    };
    if !is_new && !is_same(&started) {
        let text = format!("Execution Already Exists: '{}'", arn(&started));
        return Err(ApiError::new("ExecutionAlreadyExists", text));
    }
    states.machines.flush().await;
    ok(&json!({"executionArn": arn(&started), "startDate": seconds(started.started())}))
}

fn input(text: &str) -> Result<Value, ApiError> {
    let refused = |why: String| {
        ApiError::new("InvalidExecutionInput", format!("Invalid State Machine Execution Input: {why}"))
    };
    if text.len() > MAX_INPUT {
        return Err(refused(format!("it has more than {MAX_INPUT} bytes")));
    }
    if is_deep(text) {
        return Err(refused(format!("it nests deeper than {MAX_DEPTH}")));
    }
    serde_json::from_str(text).map_err(|error| refused(error.to_string()))
}

fn check_name(name: &str) -> Result<(), ApiError> {
    const NOT_ALLOWED: &str = "<>{}[]?*\"#%\\^|~`$&,;:/";
    let is_legal = |c: char| !c.is_control() && !c.is_whitespace() && !NOT_ALLOWED.contains(c);
    if (1..=MAX_NAME).contains(&name.chars().count()) && name.chars().all(is_legal) {
        return Ok(());
    }
    Err(ApiError::new("InvalidName", format!("Invalid Name: '{name}'")))
}

/// One that has ended stays as it is, and AWS does not mind.
pub async fn stop(states: &Service, call: &Call<'_>) -> Outcome {
    let StopExecution { execution_arn, error, cause } = call.parse()?;
    let execution = states.execution(call, &execution_arn)?;
    for (field, text, most) in [("error", &error, MAX_ERROR), ("cause", &cause, MAX_CAUSE)] {
        if text.as_ref().is_some_and(|text| text.chars().count() > most) {
            return Err(ApiError::new(
                "ValidationException",
                format!("{field} has at most {most} characters"),
            ));
        }
    }
    let stopped = states.machines.stop(&execution.id, error.as_deref(), cause.as_deref());
    states.machines.flush().await;
    ok(&json!({"stopDate": seconds(stopped.unwrap_or_default())}))
}

pub fn describe(states: &Service, call: &Call<'_>) -> Outcome {
    let request: DescribeExecution = call.parse()?;
    let execution = states.execution(call, &request.execution_arn)?;
    let mut answer = shown(&execution);
    if let Some((error, cause)) = execution.failure() {
        answer["error"] = error.into();
        answer["cause"] = cause.into();
    }
    let included = request.included_data == Included::AllData;
    answer["inputDetails"] = json!({"included": included});
    if included {
        answer["input"] = execution.input.to_string().into();
    }
    if execution.status == Status::Succeeded {
        answer["outputDetails"] = json!({"included": included});
        if included {
            answer["output"] = execution.data.to_string().into();
        }
    }
    ok(&answer)
}

/// Newest first.
pub fn list(states: &Service, call: &Call<'_>) -> Outcome {
    let request: ListExecutions = call.parse()?;
    let machine = request.state_machine_arn.as_deref().ok_or_else(|| {
        ApiError::new("ValidationException", "stateMachineArn is required: there are no runs of maps here")
    })?;
    let machine = &states.machine(call, machine)?.declared.state_machine_name;
    let limit = limit(request.max_results, 100)?;
    let is_wanted =
        |execution: &Execution| request.status_filter.is_none_or(|status| execution.status == status);
    let (mut executions, mut next) =
        states.machines.newest(machine, request.next_token.as_deref(), is_wanted);
    if executions.len() > limit {
        executions.truncate(limit);
        next = executions.last().map(|(place, _)| place.clone());
    }
    let executions: Vec<Value> = executions.iter().map(|(_, execution)| shown(execution)).collect();
    ok(&without_nulls(json!({"executions": executions, "nextToken": next})))
}

pub fn history(states: &Service, call: &Call<'_>) -> Outcome {
    let request: GetExecutionHistory = call.parse()?;
    let execution = states.execution(call, &request.execution_arn)?;
    let limit = limit(request.max_results, 100)?;
    let missing = || ApiError::new("ExecutionDoesNotExist", "its state machine is declared no more");
    let machine = states.machines.machine(&execution.machine).ok_or_else(missing)?;
    let mut events = events(&execution, &machine.definition, &machine.declared.role_arn);
    if request.include_execution_data == Some(false) {
        events.iter_mut().for_each(without_data);
    }
    let count = events.len();
    let key = |event: &Value| {
        let id = usize::try_from(event["id"].as_u64().unwrap_or_default()).unwrap_or_default();
        format!("{:010}", if request.reverse_order { count - id } else { id })
    };
    let (events, next) = page(events, key, request.next_token.as_deref(), limit);
    ok(&without_nulls(json!({"events": events, "nextToken": next})))
}

fn without_data(event: &mut Value) {
    let details = event.as_object_mut().into_iter().flat_map(|event| event.values_mut());
    for detail in details.filter_map(Value::as_object_mut) {
        detail.remove("input");
        detail.remove("output");
    }
}
