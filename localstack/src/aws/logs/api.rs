//! Which calls of CloudWatch Logs there are.
//!
//! <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_Operations.html>

use super::service::Service;
use super::{events_api as events, groups_api as groups};
use crate::aws::protocol::operations::{Operations, Run};

pub static OPERATIONS: &Operations<Service> = &[
    ("DescribeLogGroups", Run::Now(groups::list)),
    ("DescribeLogStreams", Run::Now(groups::list_streams)),
    ("DescribeQueryDefinitions", Run::Now(groups::list_queries)),
    ("FilterLogEvents", Run::Later(|logs, call| Box::pin(events::filter(logs, call)))),
    ("GetLogEvents", Run::Later(|logs, call| Box::pin(events::get(logs, call)))),
];
