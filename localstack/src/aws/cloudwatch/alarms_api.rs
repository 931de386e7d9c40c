//! The call that shows alarms: as they are declared, and how they are.
//!
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_DescribeAlarms.html>

use super::alarms::{looks_back, state, watched};
use super::samples::{self, Samples};
use super::service::Service;
use super::states::State;
use crate::aws::protocol::pages::{limit, page};
use crate::aws::protocol::{ApiError, Call, Outcome, ok, seconds, without_nulls};
use crate::template::names;
use crate::template::resources::Alarm;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::ops::RangeInclusive;

const LISTED: RangeInclusive<i64> = 1..=100;
/// How many an answer has that says no number.
const DEFAULT: i64 = 50;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct DescribeAlarms {
    alarm_names: Option<Vec<String>>,
    alarm_name_prefix: Option<String>,
    alarm_types: Option<Vec<String>>,
    state_value: Option<String>,
    action_prefix: Option<String>,
    max_records: Option<i64>,
    next_token: Option<String>,
}

pub async fn describe(cloudwatch: &Service, call: &Call<'_>) -> Outcome {
    let request: DescribeAlarms = call.parse()?;
    call.require("cloudwatch:DescribeAlarms", &arn("*"))?;
    if request.alarm_names.is_some() && request.alarm_name_prefix.is_some() {
        let text = "AlarmNames and AlarmNamePrefix are mutually exclusive";
        return Err(ApiError::new("InvalidParameterCombination", text));
    }
    let records = Some(request.max_records.unwrap_or(DEFAULT));
    let limit = limit(("MaxRecords", records), &LISTED, "InvalidParameterValue")?;
    let (cloudwatch, now) = (cloudwatch.clone(), chrono::Utc::now().timestamp_millis());
    // The logs may be long, and whatever is answered meanwhile must not wait for them.
    let shown = tokio::task::spawn_blocking(move || {
        let samples = samples(&cloudwatch, now);
        let alarms = cloudwatch.model.alarms.iter().filter(|alarm| is_wanted(&request, alarm));
        let mut shown: Vec<Value> = alarms.map(|alarm| shown(&cloudwatch, alarm, &samples, now)).collect();
        shown.retain(|alarm| request.state_value.as_ref().is_none_or(|state| alarm["StateValue"] == **state));
        let name = |alarm: &Value| alarm["AlarmName"].as_str().unwrap_or_default().to_owned();
        page(shown, name, request.next_token.as_deref(), limit)
    });
    let (alarms, next) = shown.await.unwrap_or_default();
    ok(&without_nulls(json!({"MetricAlarms": alarms, "CompositeAlarms": [], "NextToken": next})))
}

fn arn(alarm: &str) -> String {
    names::arn("cloudwatch", &format!("alarm:{alarm}"))
}

fn is_wanted(request: &DescribeAlarms, alarm: &Alarm) -> bool {
    let actions = alarm.alarm_actions.iter().flatten();
    request.alarm_names.as_ref().is_none_or(|names| names.contains(&alarm.alarm_name))
        && request.alarm_name_prefix.as_ref().is_none_or(|prefix| alarm.alarm_name.starts_with(prefix))
        && request.alarm_types.as_ref().is_none_or(|types| types.iter().any(|kind| kind == "MetricAlarm"))
        && request
            .action_prefix
            .as_ref()
            .is_none_or(|prefix| actions.clone().any(|action| action.starts_with(prefix)))
}

/// The samples of all alarms, as far back as one of them looks.
fn samples(cloudwatch: &Service, now: i64) -> Samples {
    let alarms = &cloudwatch.model.alarms;
    let wanted: BTreeSet<_> =
        alarms.iter().flat_map(|alarm| watched(alarm).into_values().map(|(series, _)| series)).collect();
    let back = alarms.iter().map(looks_back).max().unwrap_or_default();
    samples::since(cloudwatch, now - back, Some(&wanted))
}

fn shown(cloudwatch: &Service, alarm: &Alarm, samples: &Samples, now: i64) -> Value {
    let (state, reason): (State, String) = state(alarm, samples, now);
    let since = cloudwatch.states().note(&alarm.alarm_name, state, now);
    let mut shown = json!(alarm);
    shown["AlarmArn"] = arn(&alarm.alarm_name).into();
    shown["ActionsEnabled"] = true.into();
    shown["OKActions"] = json!([]);
    shown["InsufficientDataActions"] = json!([]);
    shown["AlarmConfigurationUpdatedTimestamp"] = json!(seconds(cloudwatch.since));
    shown["StateValue"] = json!(state);
    shown["StateReason"] = reason.into();
    shown["StateUpdatedTimestamp"] = json!(seconds(since));
    if alarm.alarm_actions.is_none() {
        shown["AlarmActions"] = json!([]);
    }
    if let Some(metrics) = shown["Metrics"].as_array_mut() {
        let metrics = metrics.drain(..).map(without_nulls).collect::<Vec<_>>();
        shown["Metrics"] = metrics.into();
    }
    without_nulls(shown)
}
