//! Which calls of Step Functions there are.
//!
//! <https://docs.aws.amazon.com/step-functions/latest/apireference/API_Operations.html>

use super::service::Service;
use super::{executions_api as executions, machines_api as machines};
use crate::aws::protocol::operations::{Operations, Run};

pub static OPERATIONS: &Operations<Service> = &[
    ("DescribeExecution", Run::Now(executions::describe)),
    ("DescribeStateMachine", Run::Now(machines::describe)),
    ("GetExecutionHistory", Run::Now(executions::history)),
    ("ListExecutions", Run::Now(executions::list)),
    ("ListStateMachines", Run::Now(machines::list)),
    ("StartExecution", Run::Later(|states, call| Box::pin(executions::start(states, call)))),
    ("StopExecution", Run::Later(|states, call| Box::pin(executions::stop(states, call)))),
];
