//! CloudFormation's calls that show stacks: the templates, as they are deployed here.
//!
//! <https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_DescribeStacks.html>
//! <https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_ListStackResources.html>

use crate::aws::protocol::operations::{Operations, Run};
use crate::aws::protocol::pages::page;
use crate::aws::protocol::{ApiError, Call, Outcome, ok, parse, without_nulls};
use crate::template::names;
use crate::template::resources::Model;
use crate::template::stack::{Deployed, Stack};
use chrono::{DateTime, SecondsFormat};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::sync::Arc;
use uuid::Uuid;

pub const NAMESPACE: &str = "http://cloudformation.amazonaws.com/doc/2010-05-15/";
/// Of the calls: no other service here has it.
pub const VERSION: &str = "2010-05-15";
/// How many entries one answer has.
const LISTED: usize = 100;
const COMPLETE: &str = "CREATE_COMPLETE";

pub static OPERATIONS: &Operations<Service> = &[
    ("DescribeStackResource", Run::Now(describe_resource)),
    ("DescribeStackResources", Run::Now(describe_resources)),
    ("DescribeStacks", Run::Now(describe)),
    ("ListStackResources", Run::Now(list_resources)),
    ("ListStacks", Run::Now(list)),
];

/// The stacks as callers see them.
pub struct Service {
    pub model: Arc<Model>,
    /// When the stack started, in epoch milliseconds.
    pub since: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct ListStacks {
    next_token: Option<String>,
    #[serde(default)]
    stack_status_filter: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct DescribeStacks {
    stack_name: Option<String>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct DescribeResource {
    stack_name: String,
    logical_resource_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct DescribeResources {
    stack_name: Option<String>,
    logical_resource_id: Option<String>,
    physical_resource_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct ListResources {
    stack_name: String,
    next_token: Option<String>,
}

/// A request; CloudFormation has one code for everything that it refuses.
fn read<T: DeserializeOwned>(call: &Call<'_>) -> Result<T, ApiError> {
    parse(call.body).map_err(|error| invalid(error.message))
}

fn invalid(text: impl Into<String>) -> ApiError {
    ApiError::new("ValidationError", text)
}

/// AWS's id of a stack ends with a random one; this one is the same after a restart.
fn id(stack: &str) -> String {
    let id = Uuid::new_v5(&Uuid::NAMESPACE_OID, stack.as_bytes());
    names::arn("cloudformation", &format!("stack/{stack}/{id}"))
}

impl Service {
    /// The stack with this name or id, if the caller may do there what it asks for.
    fn stack(&self, call: &Call<'_>, named: &str) -> Result<&Stack, ApiError> {
        let found = self.model.stacks.iter().find(|stack| stack.name == named || id(&stack.name) == named);
        let arn = found.map_or_else(|| id(named), |stack| id(&stack.name));
        call.require(&format!("cloudformation:{}", call.operation), &arn)?;
        found.ok_or_else(|| invalid(format!("Stack with id {named} does not exist")))
    }

    fn since(&self) -> String {
        let time = DateTime::from_timestamp_millis(self.since).unwrap_or_default();
        time.to_rfc3339_opts(SecondsFormat::Millis, true)
    }

    fn resource(&self, stack: &Stack, resource: &Deployed) -> Value {
        json!({
            "StackName": stack.name,
            "StackId": id(&stack.name),
            "LogicalResourceId": resource.logical_id,
            "PhysicalResourceId": resource.physical_id,
            "ResourceType": resource.kind,
            "ResourceStatus": COMPLETE,
        })
    }
}

fn list(stacks: &Service, call: &Call<'_>) -> Outcome {
    let request: ListStacks = read(call)?;
    call.require("cloudformation:ListStacks", "*")?;
    let filter = &request.stack_status_filter;
    let wanted = filter.is_empty() || filter.iter().any(|status| status == COMPLETE);
    let all = stacks.model.stacks.iter().filter(|_| wanted).collect();
    let (found, next) = page(all, |stack: &&Stack| stack.name.clone(), request.next_token.as_deref(), LISTED);
    let found = found.into_iter().map(|stack| {
        json!({
            "StackId": id(&stack.name),
            "StackName": stack.name,
            "TemplateDescription": stack.description,
            "CreationTime": stacks.since(),
            "StackStatus": COMPLETE,
        })
    });
    ok(&without_nulls(
        json!({"StackSummaries": found.map(without_nulls).collect::<Vec<_>>(), "NextToken": next}),
    ))
}

fn describe(stacks: &Service, call: &Call<'_>) -> Outcome {
    let request: DescribeStacks = read(call)?;
    let found = match &request.stack_name {
        Some(name) => vec![stacks.stack(call, name)?],
        None => {
            call.require("cloudformation:DescribeStacks", "*")?;
            stacks.model.stacks.iter().collect()
        }
    };
    let (found, next) = page(found, |stack| stack.name.clone(), request.next_token.as_deref(), LISTED);
    let found: Vec<Value> = found.into_iter().map(|stack| described(stacks, stack)).collect();
    ok(&without_nulls(json!({"Stacks": found, "NextToken": next})))
}

fn described(stacks: &Service, stack: &Stack) -> Value {
    let parameter = |(name, value): &(String, String)| json!({"ParameterKey": name, "ParameterValue": value});
    let outputs = stack.outputs.iter().map(|output| {
        without_nulls(json!({
            "OutputKey": output.name, "OutputValue": output.value, "Description": output.description,
        }))
    });
    without_nulls(json!({
        "StackId": id(&stack.name),
        "StackName": stack.name,
        "Description": stack.description,
        "Parameters": stack.parameters.iter().map(parameter).collect::<Vec<_>>(),
        "CreationTime": stacks.since(),
        "StackStatus": COMPLETE,
        "DisableRollback": false,
        "EnableTerminationProtection": false,
        "Outputs": outputs.collect::<Vec<_>>(),
    }))
}

/// <https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_DescribeStackResource.html>
fn describe_resource(stacks: &Service, call: &Call<'_>) -> Outcome {
    let request: DescribeResource = read(call)?;
    let stack = stacks.stack(call, &request.stack_name)?;
    let found = stack.resources.iter().find(|resource| resource.logical_id == request.logical_resource_id);
    let resource = found.ok_or_else(|| {
        invalid(format!("Resource {} does not exist for stack {}", request.logical_resource_id, stack.name))
    })?;
    let mut detail = stacks.resource(stack, resource);
    detail["LastUpdatedTimestamp"] = stacks.since().into();
    ok(&json!({"StackResourceDetail": detail}))
}

/// <https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_DescribeStackResources.html>
fn describe_resources(stacks: &Service, call: &Call<'_>) -> Outcome {
    let request: DescribeResources = read(call)?;
    let stack = match (&request.stack_name, &request.physical_resource_id) {
        (Some(name), None) => stacks.stack(call, name)?,
        (None, Some(physical)) => {
            let has = |stack: &&Stack| stack.resources.iter().any(|it| it.physical_id == *physical);
            let found = stacks.model.stacks.iter().find(has);
            let found = found.ok_or_else(|| invalid(format!("Stack for {physical} does not exist")))?;
            stacks.stack(call, &found.name)?
        }
        _ => return Err(invalid("either StackName or PhysicalResourceId is required")),
    };
    let wanted = |it: &&Deployed| request.logical_resource_id.as_ref().is_none_or(|id| it.logical_id == *id);
    let found = stack.resources.iter().filter(wanted).map(|resource| {
        let mut shown = stacks.resource(stack, resource);
        shown["Timestamp"] = stacks.since().into();
        shown
    });
    ok(&json!({"StackResources": found.collect::<Vec<_>>()}))
}

fn list_resources(stacks: &Service, call: &Call<'_>) -> Outcome {
    let request: ListResources = read(call)?;
    let stack = stacks.stack(call, &request.stack_name)?;
    let all = stack.resources.iter().collect();
    let key = |it: &&Deployed| it.logical_id.clone();
    let (found, next) = page(all, key, request.next_token.as_deref(), LISTED);
    let found = found.into_iter().map(|resource| {
        json!({
            "LogicalResourceId": resource.logical_id,
            "PhysicalResourceId": resource.physical_id,
            "ResourceType": resource.kind,
            "LastUpdatedTimestamp": stacks.since(),
            "ResourceStatus": COMPLETE,
        })
    });
    ok(&without_nulls(json!({"StackResourceSummaries": found.collect::<Vec<_>>(), "NextToken": next})))
}
