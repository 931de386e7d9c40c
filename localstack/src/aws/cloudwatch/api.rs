//! Which calls of CloudWatch there are, in JSON 1.0: boto3 and the AWS CLI speak it. An SDK that speaks CBOR is refused.
//!
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_Operations.html>

use super::service::Service;
use super::{alarms_api as alarms, dashboards_api as dashboards, metrics_api as metrics};
use crate::aws::protocol::operations::{Operations, Run};

pub static OPERATIONS: &Operations<Service> = &[
    ("DescribeAlarms", Run::Later(|it, call| Box::pin(alarms::describe(it, call)))),
    ("GetDashboard", Run::Now(dashboards::get)),
    ("GetMetricData", Run::Later(|it, call| Box::pin(metrics::data(it, call)))),
    ("GetMetricStatistics", Run::Later(|it, call| Box::pin(metrics::statistics(it, call)))),
    ("ListDashboards", Run::Now(dashboards::list)),
    ("ListMetrics", Run::Later(|it, call| Box::pin(metrics::list(it, call)))),
];
