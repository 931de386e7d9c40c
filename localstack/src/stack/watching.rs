//! Checks at the start of what watches a stage: alarms, dashboards and saved queries. Whatever CloudWatch would
//! refuse is refused, and so is a series that no resource of the stage would ever feed.

use crate::aws::cloudwatch::depths;
use crate::aws::cloudwatch::math::Expression;
use crate::aws::cloudwatch::statistics::Statistic;
use crate::template::names;
use crate::template::resources::{Alarm, Dashboard, Dimension, MetricQuery, Model, QueryDefinition};
use anyhow::{Context, Result, anyhow, bail, ensure};
use serde_json::Value;
use std::collections::BTreeSet;

/// A series of numbers that an alarm or a dashboard looks at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Series {
    /// `AWS/SQS`
    pub namespace: String,
    /// `ApproximateAgeOfOldestMessage`
    pub metric: String,
    /// Names and values; a search gives some values only.
    pub dimensions: Vec<(String, Option<String>)>,
}

/// The metrics of AWS's own that may be watched: the namespace, the dimensions, the names.
///
/// - <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-metrics.html>
/// - <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/metrics-dimensions.html>
/// - <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-pipes-monitoring.html>
/// - <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-monitoring.html>
/// - <https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html>
/// - <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html>
/// - <https://docs.aws.amazon.com/step-functions/latest/dg/procedure-cw-metrics.html>
const OF_AWS: [(&str, &[&str], &[&str]); 7] = [
    ("AWS/ApiGateway", &["ApiId"], &["5xx"]),
    ("AWS/DynamoDB", &["TableName"], &["ConsumedWriteCapacityUnits"]),
    ("AWS/EventBridge/Pipes", &["PipeName"], &["EventCount", "ExecutionFailed"]),
    ("AWS/Events", &["EventBusName", "RuleName"], &["FailedInvocations", "InvocationsFailedToBeSentToDlq"]),
    ("AWS/Lambda", &["FunctionName"], &["Duration", "Errors", "Invocations", "Throttles"]),
    ("AWS/SQS", &["QueueName"], &["ApproximateAgeOfOldestMessage", "ApproximateNumberOfMessagesVisible"]),
    (
        "AWS/States",
        &["StateMachineArn"],
        &[
            "ExecutionsAborted",
            "ExecutionsFailed",
            "ExecutionsStarted",
            "ExecutionsSucceeded",
            "ExecutionsTimedOut",
        ],
    ),
];
/// The namespace of the services' own metrics.
const OURS: &str = "Quadrille";
/// The commands of Logs Insights that a saved query may have.
const COMMANDS: [&str; 7] = ["display", "fields", "filter", "limit", "parse", "sort", "stats"];
/// How many metrics an alarm may have.
const MOST_SERIES: usize = 10;

/// Checks all of them.
///
/// # Errors
/// The first that CloudWatch would refuse, or that watches what no template declares.
pub fn check(model: &Model) -> Result<()> {
    let mut names = BTreeSet::new();
    for alarm in &model.alarms {
        let name = &alarm.alarm_name;
        ensure!(names.insert(name), "alarm {name}: two alarms have this name");
        check_alarm(model, alarm).with_context(|| format!("alarm {name}"))?;
    }
    for dashboard in &model.dashboards {
        let name = &dashboard.dashboard_name;
        check_dashboard(model, dashboard).with_context(|| format!("dashboard {name}"))?;
    }
    for query in &model.queries {
        check_query(model, query).with_context(|| format!("query {}", query.name))?;
    }
    Ok(())
}

/// What an alarm watches.
#[must_use]
pub fn watched(alarm: &Alarm) -> Vec<Series> {
    let plain = alarm.namespace.iter().zip(&alarm.metric_name);
    let plain = plain.map(|(namespace, metric)| series(namespace, metric, &alarm.dimensions));
    let computed = alarm.metrics.iter().filter_map(|query| query.metric_stat.as_ref());
    let computed = computed
        .map(|stat| series(&stat.metric.namespace, &stat.metric.metric_name, &stat.metric.dimensions));
    plain.chain(computed).collect()
}

fn series(namespace: &str, metric: &str, dimensions: &[Dimension]) -> Series {
    let dimensions = dimensions.iter().map(|it| (it.name.clone(), Some(it.value.clone()))).collect();
    Series { namespace: namespace.to_owned(), metric: metric.to_owned(), dimensions }
}

/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html>
fn check_alarm(model: &Model, alarm: &Alarm) -> Result<()> {
    let period = if alarm.metrics.is_empty() { plain_period(alarm)? } else { computed_period(alarm)? };
    ensure!([10, 20, 30].contains(&period) || (period > 0 && period % 60 == 0), "a period of {period} s");
    let most = if period < 3600 { 86_400 } else { 604_800 };
    let whole = period.saturating_mul(alarm.evaluation_periods);
    ensure!((1..=most).contains(&whole), "it looks back {whole} s, and may up to {most}");
    let datapoints = alarm.datapoints_to_alarm.unwrap_or(1);
    ensure!(
        (1..=alarm.evaluation_periods).contains(&datapoints),
        "DatapointsToAlarm is {datapoints} of {} periods",
        alarm.evaluation_periods
    );
    let watched = watched(alarm);
    let is_of_queue = watched.iter().any(|series| series.namespace == "AWS/SQS");
    ensure!(
        !is_of_queue || whole <= depths::SECONDS,
        "it looks back {whole} s at a queue, of which the local stack knows {} s",
        depths::SECONDS
    );
    watched.iter().try_for_each(|series| is_fed(model, series))
}

fn plain_period(alarm: &Alarm) -> Result<u32> {
    ensure!(alarm.namespace.is_some() && alarm.metric_name.is_some(), "neither a metric nor Metrics");
    let statistics = [&alarm.statistic, &alarm.extended_statistic];
    let given = statistics.iter().filter(|statistic| statistic.is_some()).count();
    ensure!(given == 1, "either Statistic or ExtendedStatistic");
    statistics.into_iter().flatten().try_for_each(|name| check_statistic(name))?;
    alarm.period.context("no Period")
}

fn computed_period(alarm: &Alarm) -> Result<u32> {
    let plain = [&alarm.namespace, &alarm.metric_name, &alarm.statistic, &alarm.extended_statistic];
    let mixed = plain.iter().any(|it| it.is_some()) || alarm.period.is_some() || !alarm.dimensions.is_empty();
    ensure!(
        !mixed,
        "Metrics stand alone: no Namespace, MetricName, Dimensions, Statistic and Period beside them"
    );
    let ids: BTreeSet<&str> = alarm.metrics.iter().map(|query| query.id.as_str()).collect();
    ensure!(ids.len() == alarm.metrics.len(), "two of its Metrics have one Id");
    let returned = alarm.metrics.iter().filter(|query| query.return_data.unwrap_or(true)).count();
    ensure!(returned == 1, "{returned} of its Metrics have ReturnData");
    let stats: Vec<_> = alarm.metrics.iter().filter_map(|query| query.metric_stat.as_ref()).collect();
    ensure!(stats.len() <= MOST_SERIES, "more than {MOST_SERIES} metrics");
    alarm.metrics.iter().try_for_each(|query| check_series(query, &ids))?;
    check_expression(alarm)?;
    let periods: BTreeSet<u32> = stats.iter().map(|stat| stat.period).collect();
    ensure!(periods.len() == 1, "its metrics have different periods");
    periods.first().copied().context("no metric")
}

/// AWS computes an expression with others, and of several metrics shows the one with ReturnData. The local stack computes one
/// expression, with metrics.
fn check_expression(alarm: &Alarm) -> Result<()> {
    let expressions: Vec<&MetricQuery> =
        alarm.metrics.iter().filter(|query| query.expression.is_some()).collect();
    let [query] = expressions.as_slice() else {
        let is_one = expressions.is_empty() && alarm.metrics.len() == 1;
        ensure!(is_one, "several metrics need an expression, and one only is implemented by the local stack");
        return Ok(());
    };
    ensure!(query.return_data.unwrap_or(true), "{}: ReturnData is not that of the expression", query.id);
    let text = query.expression.as_deref().unwrap_or_default();
    let expression = Expression::read(text).map_err(|why| anyhow!("{}: {why}", query.id))?;
    ensure!(!expression.series().contains(&query.id.as_str()), "{}: it computes with itself", query.id);
    Ok(())
}

fn check_statistic(name: &str) -> Result<()> {
    let read = Statistic::read(name);
    ensure!(read.is_some(), "the statistic {name} is not implemented by the local stack");
    Ok(())
}

/// One of an alarm's series. An alarm may not search, and computes with its own series only.
///
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html>
fn check_series(query: &MetricQuery, ids: &BTreeSet<&str>) -> Result<()> {
    let id = &query.id;
    let is_id = id.starts_with(|c: char| c.is_ascii_lowercase())
        && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    ensure!(is_id, "{id:?} is no Id");
    ensure!(
        query.expression.is_some() != query.metric_stat.is_some(),
        "{id}: either Expression or MetricStat"
    );
    query.metric_stat.iter().try_for_each(|metric| check_statistic(&metric.stat))?;
    let expression = query.expression.as_deref().unwrap_or_default();
    let names = expression.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    for name in names {
        ensure!(!["SEARCH", "SELECT", "METRICS"].contains(&name), "{id}: an alarm may not use {name}");
        let is_series = name.starts_with(|c: char| c.is_ascii_lowercase());
        ensure!(!is_series || ids.contains(name), "{id}: there is no series {name}");
    }
    Ok(())
}

/// Whether a resource of the stage feeds a series.
fn is_fed(model: &Model, series: &Series) -> Result<()> {
    if series.namespace == OURS {
        return Ok(());
    }
    let known = OF_AWS.iter().find(|(namespace, ..)| *namespace == series.namespace);
    let (namespace, dimensions, metrics) =
        known.with_context(|| format!("no namespace {}", series.namespace))?;
    ensure!(metrics.contains(&series.metric.as_str()), "{namespace} has no {}", series.metric);
    let names: BTreeSet<&str> = series.dimensions.iter().map(|(name, _)| name.as_str()).collect();
    ensure!(
        names == dimensions.iter().copied().collect(),
        "{} has the dimensions {dimensions:?}, and no others",
        series.metric
    );
    for (name, value) in &series.dimensions {
        let Some(value) = value else { continue };
        ensure!(declared(model, name).contains(value), "no template declares {value}");
    }
    Ok(())
}

/// The values of a dimension that the templates' resources have.
fn declared(model: &Model, dimension: &str) -> BTreeSet<String> {
    match dimension {
        "QueueName" => model.queues.iter().map(|it| it.queue_name.clone()).collect(),
        "FunctionName" => model.functions.iter().map(|it| it.function_name.clone()).collect(),
        "PipeName" => model.pipes.iter().map(|it| it.name.clone()).collect(),
        "TableName" => model.tables.iter().map(|it| it.table_name.clone()).collect(),
        "EventBusName" => model.buses.iter().map(|it| it.name.clone()).collect(),
        "RuleName" => model.rules.iter().map(|it| it.name.clone()).collect(),
        "ApiId" => model.apis.iter().map(|it| it.name.clone()).collect(),
        _ => model.machines.iter().map(|it| names::state_machine_arn(&it.state_machine_name)).collect(),
    }
}

/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/CloudWatch-Dashboard-Body-Structure.html>
fn check_dashboard(model: &Model, dashboard: &Dashboard) -> Result<()> {
    for widget in widgets(dashboard)? {
        let (place, properties) = (&widget["properties"]["title"], &widget["properties"]);
        let number = |name: &str| widget[name].as_u64().with_context(|| format!("{place}: no {name}"));
        ensure!(number("x")? + number("width")? <= 24, "{place} is wider than 24 columns");
        ensure!(number("y").is_ok() && number("height")? > 0, "{place} has no place");
        ensure!(properties["region"].is_string(), "{place}: no region");
        match widget["type"].as_str() {
            Some("metric") => rows(&widget)
                .and_then(|rows| rows.iter().try_for_each(|series| is_fed(model, series)))
                .with_context(|| place.to_string())?,
            Some("log") => check_log_widget(model, properties)?,
            other => bail!("{place}: a widget {other:?} is not implemented by the local stack"),
        }
    }
    Ok(())
}

/// The series that a dashboard draws.
///
/// # Errors
/// For a body that is not one of a dashboard.
pub fn drawn(dashboard: &Dashboard) -> Result<Vec<Series>> {
    let metrics = widgets(dashboard)?.into_iter().filter(|widget| widget["type"] == "metric");
    let rows = metrics.map(|widget| rows(&widget)).collect::<Result<Vec<_>>>()?;
    Ok(rows.into_iter().flatten().collect())
}

fn widgets(dashboard: &Dashboard) -> Result<Vec<Value>> {
    let body: Value = serde_json::from_str(&dashboard.dashboard_body).context("its body is not JSON")?;
    body["widgets"].as_array().cloned().context("its body has no widgets")
}

fn rows(widget: &Value) -> Result<Vec<Series>> {
    let rows = widget["properties"]["metrics"].as_array().context("no metrics")?;
    rows.iter().map(row).collect()
}

/// A row: a metric with its dimensions, or a search.
fn row(row: &Value) -> Result<Series> {
    let expression = row[0]["expression"].as_str();
    if let Some(expression) = expression {
        return searched(expression).with_context(|| expression.to_owned());
    }
    let texts: Vec<&str> = row.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let [namespace, metric, dimensions @ ..] = texts.as_slice() else { bail!("{row} is no metric") };
    ensure!(dimensions.len() % 2 == 0, "{row}: a dimension without a value");
    let pairs = dimensions.chunks(2).filter_map(|pair| match pair {
        [name, value] => Some(((*name).to_owned(), Some((*value).to_owned()))),
        _ => None,
    });
    Ok(Series {
        namespace: (*namespace).to_owned(),
        metric: (*metric).to_owned(),
        dimensions: pairs.collect(),
    })
}

/// `SEARCH('{Namespace,Dimension,…} MetricName="…" …', 'Sum', 300)`
///
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/search-expression-syntax.html>
fn searched(expression: &str) -> Result<Series> {
    let inside = expression.strip_prefix("SEARCH('{").context("no SEARCH('{…")?;
    let (schema, rest) = inside.split_once("} MetricName=\"").context("no MetricName")?;
    let (metric, _) = rest.split_once('"').context("no MetricName")?;
    let mut schema = schema.split(',').map(str::to_owned);
    let namespace = schema.next().context("no namespace")?;
    Ok(Series { namespace, metric: metric.to_owned(), dimensions: schema.map(|name| (name, None)).collect() })
}

fn check_log_widget(model: &Model, properties: &Value) -> Result<()> {
    let query = properties["query"].as_str().unwrap_or_default();
    let (source, query) = query.split_once(" | ").context("no SOURCE")?;
    let group =
        source.strip_prefix("SOURCE '").and_then(|rest| rest.strip_suffix('\'')).context("no SOURCE")?;
    is_group(model, group)?;
    check_commands(query)
}

fn check_query(model: &Model, query: &QueryDefinition) -> Result<()> {
    ensure!(!query.log_group_names.is_empty(), "it reads no log");
    query.log_group_names.iter().try_for_each(|group| is_group(model, group))?;
    check_commands(query.query_string.trim())
}

fn is_group(model: &Model, group: &str) -> Result<()> {
    let is_declared = model.log_groups.iter().any(|declared| declared.log_group_name == group);
    ensure!(is_declared, "no template declares the log group {group}");
    Ok(())
}

/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/CWL_QuerySyntax.html>
fn check_commands(query: &str) -> Result<()> {
    for command in query.split('|').map(str::trim) {
        let name = command.split(' ').next().unwrap_or_default();
        ensure!(COMMANDS.contains(&name), "{name:?} is no command that the local stack knows");
    }
    Ok(())
}
