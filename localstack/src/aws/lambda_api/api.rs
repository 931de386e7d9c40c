//! Which calls of Lambda there are, and where they lie.
//!
//! <https://docs.aws.amazon.com/lambda/latest/api/API_Operations.html>

use super::service::Service;
use super::{functions, mappings};
use crate::aws::protocol::operations::{Operations, Run};
use crate::aws::protocol::rest::Route;
use hyper::Method;

/// How the paths of these calls begin.
pub const PATHS: [&str; 4] = [
    "/2015-03-31/functions",
    "/2015-03-31/event-source-mappings",
    "/2019-09-25/functions",
    "/2019-09-30/functions",
];

/// Those but Invoke, whose request is a function's payload.
pub const ROUTES: [Route; 8] = [
    (Method::GET, "/2015-03-31/functions", "ListFunctions"),
    (Method::GET, "/2015-03-31/functions/{FunctionName}", "GetFunction"),
    (Method::GET, "/2015-03-31/functions/{FunctionName}/configuration", "GetFunctionConfiguration"),
    (Method::GET, "/2019-09-30/functions/{FunctionName}/concurrency", "GetFunctionConcurrency"),
    (Method::GET, "/2019-09-25/functions/{FunctionName}/event-invoke-config", "GetFunctionEventInvokeConfig"),
    (Method::GET, "/2015-03-31/event-source-mappings", "ListEventSourceMappings"),
    (Method::GET, "/2015-03-31/event-source-mappings/{UUID}", "GetEventSourceMapping"),
    (Method::PUT, "/2015-03-31/event-source-mappings/{UUID}", "UpdateEventSourceMapping"),
];

pub static OPERATIONS: &Operations<Service> = &[
    ("GetEventSourceMapping", Run::Now(|lambda, call| mappings::get(&lambda.mappings, call))),
    ("GetFunction", Run::Now(functions::get)),
    ("GetFunctionConcurrency", Run::Now(functions::concurrency)),
    ("GetFunctionConfiguration", Run::Now(functions::configuration)),
    ("GetFunctionEventInvokeConfig", Run::Now(functions::event_invoke_config)),
    ("ListEventSourceMappings", Run::Now(|lambda, call| mappings::list(&lambda.mappings, call))),
    ("ListFunctions", Run::Now(functions::list)),
    (
        "UpdateEventSourceMapping",
        Run::Later(|lambda, call| Box::pin(mappings::update(&lambda.mappings, call))),
    ),
];
