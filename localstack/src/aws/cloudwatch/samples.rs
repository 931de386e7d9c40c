//! The samples of metrics: those that the functions log in CloudWatch's embedded format; the depth of the queues, minute by minute; and
//! the ends of executions. What else AWS measures of itself has no samples here.
//!
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>

use super::service::Service;
use crate::aws::logs::lines;
use crate::aws::stepfunctions::Status;
use crate::template::names;
use serde::Deserialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// A series of samples.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Series {
    pub namespace: String,
    pub metric: String,
    pub dimensions: BTreeMap<String, String>,
}

/// Times in epoch milliseconds, and values.
pub type Samples = BTreeMap<Series, Vec<(i64, f64)>>;

#[derive(Deserialize)]
struct Line {
    #[serde(rename = "_aws")]
    head: Head,
    #[serde(flatten)]
    fields: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Head {
    timestamp: i64,
    cloud_watch_metrics: Vec<Directive>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Directive {
    namespace: String,
    dimensions: Vec<Vec<String>>,
    metrics: Vec<Metric>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Metric {
    name: String,
}

/// Whether there are samples of a namespace: the services' own, and two of AWS's.
#[must_use]
pub fn is_measured(namespace: &str) -> bool {
    !namespace.starts_with("AWS/") || ["AWS/SQS", "AWS/States"].contains(&namespace)
}

/// Every sample since a time; of the series that are wanted, or of all.
pub fn since(cloudwatch: &Service, from: i64, wanted: Option<&BTreeSet<Series>>) -> Samples {
    let mut samples = Samples::new();
    let is_wanted = |series: &Series| wanted.is_none_or(|wanted| wanted.contains(series));
    for file in cloudwatch.groups.files() {
        // A file that cannot be read has no lines.
        let _ = lines::read(&file, from.max(cloudwatch.begun), |line| {
            if let Some(line) = line.text.starts_with("{\"_aws\"").then(|| serde_json::from_str(&line.text)) {
                line.into_iter().for_each(|line: Line| add(&line, &is_wanted, &mut samples));
            }
            true
        });
    }
    let mut add = |series: Series, at: i64, value: f64| {
        if at >= from && is_wanted(&series) {
            samples.entry(series).or_default().push((at, value));
        }
    };
    queues(cloudwatch, &mut add);
    if wanted.is_none_or(|wanted| wanted.iter().any(|series| series.namespace == STATES)) {
        executions(cloudwatch, &mut add);
    }
    samples
}

fn add(line: &Line, is_wanted: &impl Fn(&Series) -> bool, samples: &mut Samples) {
    for directive in &line.head.cloud_watch_metrics {
        for (dimensions, metric) in
            directive.dimensions.iter().flat_map(|d| directive.metrics.iter().map(move |m| (d, m)))
        {
            let text = |name: &String| Some((name.clone(), line.fields.get(name)?.as_str()?.to_owned()));
            let Some(dimensions) = dimensions.iter().map(text).collect() else { continue };
            let (namespace, metric) = (directive.namespace.clone(), metric.name.clone());
            let series = Series { namespace, metric, dimensions };
            if is_wanted(&series) {
                let values = values(line.fields.get(&series.metric));
                let samples = samples.entry(series).or_default();
                samples.extend(values.into_iter().map(|value| (line.head.timestamp, value)));
            }
        }
    }
}

/// One number, or several.
fn values(value: Option<&Value>) -> Vec<f64> {
    match value {
        Some(Value::Array(values)) => values.iter().filter_map(Value::as_f64).collect(),
        value => value.and_then(Value::as_f64).into_iter().collect(),
    }
}

const STATES: &str = "AWS/States";

fn of(namespace: &str, metric: &str, dimension: &str, value: &str) -> Series {
    let dimensions = [(dimension.to_owned(), value.to_owned())].into();
    Series { namespace: namespace.to_owned(), metric: metric.to_owned(), dimensions }
}

fn queues(cloudwatch: &Service, add: &mut impl FnMut(Series, i64, f64)) {
    let now = chrono::Utc::now().timestamp_millis();
    cloudwatch.depths().visit(&cloudwatch.queues, now, |queue, metric, at, value| {
        add(of("AWS/SQS", metric, "QueueName", queue), at, value);
    });
}

/// Looks at every execution, one page after the other: how long one has run is not known before.
///
/// <https://docs.aws.amazon.com/step-functions/latest/dg/procedure-cw-metrics.html>
fn executions(cloudwatch: &Service, add: &mut impl FnMut(Series, i64, f64)) {
    for machine in cloudwatch.machines.machines() {
        let name = &machine.declared.state_machine_name;
        let arn = names::state_machine_arn(name);
        let series = |metric: &str| of(STATES, metric, "StateMachineArn", &arn);
        let mut after = None;
        loop {
            let (page, next) = cloudwatch.machines.newest(name, after.as_deref(), |_| true);
            for (_, execution) in page {
                add(series("ExecutionsStarted"), execution.started(), 1.0);
                let metric = match execution.status {
                    Status::Running => continue,
                    Status::Succeeded => "ExecutionsSucceeded",
                    Status::Failed => "ExecutionsFailed",
                    Status::Aborted => "ExecutionsAborted",
                };
                execution.ended().into_iter().for_each(|at| add(series(metric), at, 1.0));
            }
            after = next;
            if after.is_none() {
                break;
            }
        }
    }
}
