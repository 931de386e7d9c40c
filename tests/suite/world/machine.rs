//! The state machine as it stands in `infra/`, and its executions that sleep.

use chrono::{DateTime, Utc};
use localstack::aws::stepfunctions::Execution;
use localstack::aws::stepfunctions::definition::Definition;
use std::time::Duration;

/// A pause that is longer puts an execution to sleep: the world goes on without it.
pub const LONG: Duration = Duration::from_secs(3600);

/// The state machine as it stands in `infra/`.
pub fn definition() -> Definition {
    let text = include_str!("../../../infra/statemachines/payment-compensation.asl.json");
    let arn = [("CompensatorArn".to_owned(), "compensator".to_owned())];
    Definition::parse(text, arn.iter().map(|(name, value)| (name, value))).unwrap()
}

/// An execution in a long pause.
#[derive(Clone, Debug)]
pub struct Sleeping {
    pub until: DateTime<Utc>,
    pub execution: Execution,
}
