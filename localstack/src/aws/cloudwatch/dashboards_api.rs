//! The calls that show dashboards: as they are declared.
//!
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetDashboard.html>

use super::service::Service;
use crate::aws::protocol::pages::page;
use crate::aws::protocol::{ApiError, Call, Outcome, ok, seconds, without_nulls};
use crate::template::names::ACCOUNT;
use crate::template::resources::Dashboard;
use serde::Deserialize;
use serde_json::{Value, json};

/// How many dashboards one answer has.
const LISTED: usize = 1000;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct ListDashboards {
    dashboard_name_prefix: Option<String>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct GetDashboard {
    dashboard_name: String,
}

/// CloudWatch's dashboards have no region.
fn arn(dashboard: &str) -> String {
    format!("arn:aws:cloudwatch::{ACCOUNT}:dashboard/{dashboard}")
}

pub fn list(cloudwatch: &Service, call: &Call<'_>) -> Outcome {
    let request: ListDashboards = call.parse()?;
    call.require("cloudwatch:ListDashboards", "*")?;
    let prefix = request.dashboard_name_prefix.unwrap_or_default();
    let all = cloudwatch.model.dashboards.iter().filter(|it| it.dashboard_name.starts_with(&prefix));
    let name = |it: &&Dashboard| it.dashboard_name.clone();
    let (dashboards, next) = page(all.collect(), name, request.next_token.as_deref(), LISTED);
    let entries = dashboards.into_iter().map(|it| {
        json!({
            "DashboardName": it.dashboard_name,
            "DashboardArn": arn(&it.dashboard_name),
            "LastModified": seconds(cloudwatch.since),
            "Size": it.dashboard_body.len(),
        })
    });
    ok(&without_nulls(json!({"DashboardEntries": entries.collect::<Vec<Value>>(), "NextToken": next})))
}

pub fn get(cloudwatch: &Service, call: &Call<'_>) -> Outcome {
    let GetDashboard { dashboard_name } = call.parse()?;
    call.require("cloudwatch:GetDashboard", &arn(&dashboard_name))?;
    let found = cloudwatch.model.dashboards.iter().find(|it| it.dashboard_name == dashboard_name);
    let dashboard = found.ok_or_else(|| {
        let text = format!("Dashboard {dashboard_name} does not exist");
        ApiError { status: 404, ..ApiError::new("ResourceNotFound", text) }
    })?;
    ok(&json!({
        "DashboardName": dashboard_name,
        "DashboardArn": arn(&dashboard_name),
        "DashboardBody": dashboard.dashboard_body,
    }))
}
