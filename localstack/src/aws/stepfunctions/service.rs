//! What Step Functions' calls have in common: the state machines, and how a call names them and their executions.

use super::execution::Execution;
use super::machines::{Machine, StateMachines};
use crate::aws::protocol::{ApiError, Call};
use crate::template::names;
use serde::Deserialize;
use std::ops::RangeInclusive;

/// The state machines as callers see them.
pub struct Service {
    pub machines: StateMachines,
    /// When the stack started, in epoch milliseconds.
    pub since: i64,
}

/// How many entries an answer may have.
const LISTED: RangeInclusive<i64> = 0..=1000;

/// How much of what is described a caller wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Included {
    #[default]
    AllData,
    MetadataOnly,
}

impl Service {
    /// The state machine of an ARN, if the caller may do there what it asks for.
    pub(super) fn machine(&self, call: &Call<'_>, arn: &str) -> Result<&Machine, ApiError> {
        call.require(&format!("states:{}", call.operation), arn)?;
        let name = named(arn, "stateMachine")?;
        let missing =
            || ApiError::new("StateMachineDoesNotExist", format!("State Machine Does Not Exist: '{arn}'"));
        self.machines.machine(name).ok_or_else(missing)
    }

    /// The execution of an ARN, likewise.
    pub(super) fn execution(&self, call: &Call<'_>, arn: &str) -> Result<Execution, ApiError> {
        call.require(&format!("states:{}", call.operation), arn)?;
        let (machine, id) = named(arn, "execution")?.split_once(':').ok_or_else(|| no_arn(arn))?;
        let found = self.machines.execution(id).filter(|execution| execution.machine == machine);
        found.ok_or_else(|| {
            ApiError::new("ExecutionDoesNotExist", format!("Execution Does Not Exist: '{arn}'"))
        })
    }
}

/// What stands behind the kind of a resource in its ARN.
fn named<'a>(arn: &'a str, kind: &str) -> Result<&'a str, ApiError> {
    arn.strip_prefix(&names::arn("states", &format!("{kind}:"))).ok_or_else(|| no_arn(arn))
}

fn no_arn(arn: &str) -> ApiError {
    ApiError::new("InvalidArn", format!("Invalid Arn: '{arn}'"))
}

/// How many entries a caller wants; 0 is as many as there may be by default.
pub fn limit(asked: Option<i64>, default: usize) -> Result<usize, ApiError> {
    let asked = asked.unwrap_or(0);
    if !LISTED.contains(&asked) {
        return Err(ApiError::new(
            "ValidationException",
            format!("Value {asked} at maxResults has to be from 0 to 1000"),
        ));
    }
    Ok(usize::try_from(asked).ok().filter(|asked| *asked > 0).unwrap_or(default))
}
