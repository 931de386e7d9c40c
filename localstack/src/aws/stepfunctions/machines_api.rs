//! Step Functions' calls that show state machines: as they are declared.
//!
//! <https://docs.aws.amazon.com/step-functions/latest/apireference/API_DescribeStateMachine.html>

use super::machines::Machine;
use super::service::{Included, Service, limit};
use crate::aws::protocol::pages::page;
use crate::aws::protocol::{ApiError, Call, Outcome, ok, seconds, without_nulls};
use crate::template::names;
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ListStateMachines {
    max_results: Option<i64>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DescribeStateMachine {
    state_machine_arn: String,
    #[serde(default)]
    included_data: Included,
}

/// What every answer about a state machine has.
fn shown(states: &Service, machine: &Machine) -> Value {
    let declared = &machine.declared;
    json!({
        "stateMachineArn": names::state_machine_arn(&declared.state_machine_name),
        "name": declared.state_machine_name,
        "type": declared.state_machine_type,
        "creationDate": seconds(states.since),
    })
}

pub fn list(states: &Service, call: &Call<'_>) -> Outcome {
    let request: ListStateMachines = call.parse()?;
    call.require("states:ListStateMachines", "*")?;
    let limit = limit(request.max_results, 100)?;
    let name = |machine: &&Machine| machine.declared.state_machine_name.clone();
    let (machines, next) =
        page(states.machines.machines().collect(), name, request.next_token.as_deref(), limit);
    let machines: Vec<Value> = machines.into_iter().map(|machine| shown(states, machine)).collect();
    ok(&without_nulls(json!({"stateMachines": machines, "nextToken": next})))
}

pub fn describe(states: &Service, call: &Call<'_>) -> Outcome {
    let request: DescribeStateMachine = call.parse()?;
    let machine = states.machine(call, &request.state_machine_arn)?;
    if request.included_data == Included::MetadataOnly {
        let text = "includedData: METADATA_ONLY is not implemented by the local stack for a state machine";
        return Err(ApiError::new("ValidationException", text));
    }
    let mut answer = shown(states, machine);
    answer["status"] = "ACTIVE".into();
    answer["definition"] = machine.text.as_str().into();
    answer["roleArn"] = machine.declared.role_arn.as_str().into();
    let traces = machine.declared.tracing_configuration.as_ref().is_some_and(|config| config.enabled);
    answer["tracingConfiguration"] = json!({"enabled": traces});
    ok(&answer)
}
