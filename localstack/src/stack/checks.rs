//! Checks at the start: permissions between resources. On AWS a missing one would show only as events that never arrive.

use crate::aws::iam::Iam;
use crate::aws::resource_policies;
use crate::aws::stepfunctions::StateMachines;
use crate::template::names;
use crate::template::resources::Model;
use anyhow::{Context, Result, ensure};
use std::collections::BTreeSet;

/// Checks the permissions between resources.
///
/// # Errors
/// The first that is missing.
pub fn check(model: &Model, iam: &Iam) -> Result<()> {
    resource_policies::check_queues(model)?;
    resource_policies::check_trust(model)?;
    for pipe in &model.pipes {
        iam.require(&pipe.role_arn, &STREAM, &pipe.source)?;
        iam.require(&pipe.role_arn, &["lambda:InvokeFunction"], &pipe.enrichment)?;
        iam.require(&pipe.role_arn, &["events:PutEvents"], &pipe.target)?;
        if let Some(dead) = &pipe.source_parameters.stream.dead_letter_config {
            iam.require(&pipe.role_arn, &["sqs:SendMessage"], &dead.arn)?;
        }
    }
    check_logs(model, iam)?;
    check_traced(model, iam)?;
    for mapping in &model.mappings {
        let queue = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"];
        iam.require(role_of(model, &mapping.function_name)?, &queue, &mapping.event_source_arn)?;
    }
    for mapping in &model.stream_mappings {
        let role = role_of(model, &mapping.function_name)?;
        iam.require(role, &STREAM, &mapping.event_source_arn)?;
        if let Some(config) = &mapping.destination_config {
            iam.require(role, &["sqs:SendMessage"], &config.on_failure.destination)?;
        }
    }
    check_readers(model)
}

/// A function that may not write its log runs nevertheless, and nobody sees what it does.
fn check_logs(model: &Model, iam: &Iam) -> Result<()> {
    const WRITE: [&str; 2] = ["logs:CreateLogStream", "logs:PutLogEvents"];
    for function in &model.functions {
        if let Some(logs) = &function.logging_config {
            iam.require(&function.role, &WRITE, &names::log_stream_arn(&logs.log_group, "any"))?;
        }
    }
    Ok(())
}

/// What is traced may send its segments. X-Ray has no resources: a permission is on every one. Lambda refuses to trace a function
/// whose role lacks it: <https://github.com/functionalone/serverless-iam-roles-per-function/issues/39>.
///
/// <https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsx-ray.html>,
/// <https://docs.aws.amazon.com/lambda/latest/dg/services-xray.html>,
/// <https://docs.aws.amazon.com/step-functions/latest/dg/xray-iam.html>
fn check_traced(model: &Model, iam: &Iam) -> Result<()> {
    const SEND: [&str; 2] = ["xray:PutTelemetryRecords", "xray:PutTraceSegments"];
    const SAMPLE: [&str; 2] = ["xray:GetSamplingRules", "xray:GetSamplingTargets"];
    let anything = names::arn("xray", "*");
    for function in &model.functions {
        if function.tracing_config.as_ref().is_some_and(|config| config.mode == "Active") {
            iam.require(&function.role, &SEND, &anything)?;
        }
    }
    for machine in &model.machines {
        if machine.tracing_configuration.as_ref().is_some_and(|tracing| tracing.enabled) {
            iam.require(&machine.role_arn, &SEND, &anything)?;
            iam.require(&machine.role_arn, &SAMPLE, &anything)?;
        }
    }
    Ok(())
}

/// What the role of a stream's reader has to allow, be it a pipe or a function.
///
/// <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-pipes-permissions.html>,
/// <https://docs.aws.amazon.com/lambda/latest/dg/services-dynamodb-eventsourcemapping.html>
const STREAM: [&str; 4] =
    ["dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator", "dynamodb:ListStreams"];

/// The role of a function by its name or ARN.
fn role_of<'a>(model: &'a Model, function: &str) -> Result<&'a str> {
    let name = names::last_part(function);
    let declared = model.functions.iter().find(|function| function.function_name == name);
    Ok(&declared.with_context(|| format!("no template declares the function {name}"))?.role)
}

/// The local stack wakes one reader of each stream.
fn check_readers(model: &Model) -> Result<()> {
    let mut streams = BTreeSet::new();
    let mappings = model.stream_mappings.iter().map(|mapping| &mapping.event_source_arn);
    for stream in model.pipes.iter().map(|pipe| &pipe.source).chain(mappings) {
        ensure!(streams.insert(stream), "{stream}: two readers of one stream are not implemented");
    }
    Ok(())
}

/// Checks that a rule may start its state machine, and that the state machine may invoke its functions.
///
/// # Errors
/// The first permission that is missing.
pub fn check_machines(model: &Model, iam: &Iam, machines: &StateMachines) -> Result<()> {
    for target in model.rules.iter().flat_map(|rule| &rule.targets) {
        if names::is_state_machine(&target.arn) {
            let role = target.role_arn.as_deref().context("a state machine target needs a RoleArn")?;
            iam.require(role, &["states:StartExecution"], &target.arn)?;
        }
    }
    for machine in &model.machines {
        for function in machines.functions_of(&machine.state_machine_name) {
            iam.require(&machine.role_arn, &["lambda:InvokeFunction"], function)?;
        }
    }
    Ok(())
}
