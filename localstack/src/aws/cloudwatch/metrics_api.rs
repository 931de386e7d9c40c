//! The calls that read metrics.
//!
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricData.html>
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricStatistics.html>
#![allow(clippy::float_arithmetic, clippy::cast_possible_truncation, reason = "AWS's own time stamps")]

use super::alarms::series;
use super::math::Expression;
use super::samples::{self, Samples, Series};
use super::service::Service;
use super::statistics::Statistic;
use crate::aws::protocol::pages::page;
use crate::aws::protocol::{ApiError, Call, Outcome, ok, seconds, without_nulls};
use crate::template::resources::{Dimension, MetricQuery};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// How many series one list has.
const LISTED: usize = 500;
const MAX_QUERIES: usize = 500;
/// The most values of one answer.
const MAX_VALUES: i64 = 100_800;
/// How far back a list of metrics looks: two weeks.
const RECENT: i64 = 14 * 24 * 3600 * 1000;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct ListMetrics {
    namespace: Option<String>,
    metric_name: Option<String>,
    #[serde(default)]
    dimensions: Vec<DimensionFilter>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct DimensionFilter {
    name: String,
    value: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct GetMetricData {
    metric_data_queries: Vec<MetricQuery>,
    /// Epoch seconds, as the next one.
    start_time: f64,
    end_time: f64,
    #[serde(default)]
    scan_by: ScanBy,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
enum ScanBy {
    #[default]
    TimestampDescending,
    TimestampAscending,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct GetMetricStatistics {
    namespace: String,
    metric_name: String,
    #[serde(default)]
    dimensions: Vec<Dimension>,
    /// Epoch seconds, as the next one.
    start_time: f64,
    end_time: f64,
    /// Seconds.
    period: i64,
    #[serde(default)]
    statistics: Vec<String>,
    #[serde(default)]
    extended_statistics: Vec<String>,
}

fn invalid(text: impl Into<String>) -> ApiError {
    ApiError::new("InvalidParameterValue", text)
}

/// The samples since a time, read where nothing else has to wait for it.
async fn read(cloudwatch: &Service, from: i64, wanted: Option<BTreeSet<Series>>) -> Samples {
    let cloudwatch = cloudwatch.clone();
    let read = move || samples::since(&cloudwatch, from, wanted.as_ref());
    tokio::task::spawn_blocking(read).await.unwrap_or_default()
}

pub async fn list(cloudwatch: &Service, call: &Call<'_>) -> Outcome {
    let request: ListMetrics = call.parse()?;
    call.require("cloudwatch:ListMetrics", "*")?;
    let from = chrono::Utc::now().timestamp_millis() - RECENT;
    let found = read(cloudwatch, from, None).await.into_keys().filter(|series| {
        request.namespace.as_ref().is_none_or(|namespace| series.namespace == *namespace)
            && request.metric_name.as_ref().is_none_or(|metric| series.metric == *metric)
            && request.dimensions.iter().all(|wanted| {
                let found = series.dimensions.get(&wanted.name);
                found.is_some_and(|found| wanted.value.as_ref().is_none_or(|value| value == found))
            })
    });
    let key = |series: &Series| format!("{} {} {:?}", series.namespace, series.metric, series.dimensions);
    let (found, next) = page(found.collect(), key, request.next_token.as_deref(), LISTED);
    let metrics = found.into_iter().map(|series| {
        let dimensions = series.dimensions.iter().map(|(name, value)| json!({"Name": name, "Value": value}));
        let dimensions: Vec<Value> = dimensions.collect();
        json!({"Namespace": series.namespace, "MetricName": series.metric, "Dimensions": dimensions})
    });
    ok(&without_nulls(json!({"Metrics": metrics.collect::<Vec<_>>(), "NextToken": next})))
}

/// No time of a sample is as late, in epoch seconds: the year 5138.
const LATEST: f64 = 1e11;

/// Periods of a window, each by its beginning in epoch milliseconds: they begin with the clock's.
struct Window {
    from: i64,
    to: i64,
    period: i64,
}

impl Window {
    fn new(start: f64, end: f64, period: i64) -> Result<Self, ApiError> {
        let is_period = [1, 5, 10, 30].contains(&period) || (period > 0 && period % 60 == 0);
        if !is_period {
            return Err(invalid("The parameter Period must be 1, 5, 10, 30 or a multiple of 60"));
        }
        if ![start, end].iter().all(|time| (0.0..LATEST).contains(time)) {
            return Err(invalid("The parameters StartTime and EndTime must be times"));
        }
        let (from, to, period) =
            ((start * 1000.0) as i64, (end * 1000.0) as i64, period.saturating_mul(1000));
        if from >= to {
            return Err(invalid("The parameter StartTime must be less than the parameter EndTime."));
        }
        if (to - from) / period > MAX_VALUES {
            return Err(invalid(format!("an answer has at most {MAX_VALUES} values")));
        }
        Ok(Self { from: from.div_euclid(period) * period, to, period })
    }

    /// The samples of a series by the beginnings of their periods; a period without one is not there.
    fn of(&self, samples: &Samples, series: &Series) -> BTreeMap<i64, Vec<f64>> {
        let mut periods: BTreeMap<i64, Vec<f64>> = BTreeMap::new();
        let all = samples.get(series).into_iter().flatten();
        for (at, value) in all.filter(|(at, _)| *at >= self.from && *at < self.to) {
            periods.entry(at.div_euclid(self.period) * self.period).or_default().push(*value);
        }
        periods
    }
}

pub async fn statistics(cloudwatch: &Service, call: &Call<'_>) -> Outcome {
    let request: GetMetricStatistics = call.parse()?;
    call.require("cloudwatch:GetMetricStatistics", "*")?;
    let window = Window::new(request.start_time, request.end_time, request.period)?;
    if request.statistics.is_empty() == request.extended_statistics.is_empty() {
        let text = "either Statistics or ExtendedStatistics is required";
        return Err(ApiError::new("InvalidParameterCombination", text));
    }
    let statistic = |name: &String| {
        let read = Statistic::read(name)
            .ok_or_else(|| invalid(format!("the statistic {name} is not implemented by the local stack")))?;
        let is_extended = matches!(read, Statistic::Percentile(_));
        if is_extended == request.extended_statistics.is_empty() {
            return Err(invalid(format!("{name} is no value of Statistics, or none of ExtendedStatistics")));
        }
        Ok((name.clone(), read))
    };
    let wanted = request.statistics.iter().chain(&request.extended_statistics);
    let wanted = wanted.map(statistic).collect::<Result<Vec<_>, _>>()?;
    let series = series(&request.namespace, &request.metric_name, &request.dimensions);
    let samples = read(cloudwatch, window.from, Some([series.clone()].into())).await;
    let points = window.of(&samples, &series).into_iter().map(|(at, values)| {
        let mut point = json!({"Timestamp": seconds(at), "Unit": "None"});
        for (name, statistic) in &wanted {
            let value = json!(statistic.of(&values));
            match statistic {
                Statistic::Percentile(_) => point["ExtendedStatistics"][name] = value,
                _ => point[name] = value,
            }
        }
        point
    });
    ok(&json!({"Label": request.metric_name, "Datapoints": points.collect::<Vec<_>>()}))
}

pub async fn data(cloudwatch: &Service, call: &Call<'_>) -> Outcome {
    let request: GetMetricData = call.parse()?;
    call.require("cloudwatch:GetMetricData", "*")?;
    let queries = &request.metric_data_queries;
    if queries.len() > MAX_QUERIES {
        return Err(invalid(format!("MetricDataQueries has at most {MAX_QUERIES} entries")));
    }
    let (plain, computed) = checked(queries)?;
    // A period for all of them: a computed series has that of what it is computed from.
    let period = queries.iter().find_map(|query| Some(query.metric_stat.as_ref()?.period)).unwrap_or(60);
    let window = Window::new(request.start_time, request.end_time, period.into())?;
    let wanted = plain.values().map(|(series, _)| series.clone()).collect();
    let samples = read(cloudwatch, window.from, Some(wanted)).await;
    let mut values: BTreeMap<String, BTreeMap<i64, f64>> = BTreeMap::new();
    for (id, (series, statistic)) in &plain {
        let periods = window.of(&samples, series).into_iter();
        let of = periods.filter_map(|(at, values)| Some((at, statistic.of(&values)?)));
        values.insert(id.clone(), of.collect());
    }
    for (id, expression) in &computed {
        let of = computed_values(expression, &values);
        values.insert(id.clone(), of);
    }
    let returned = queries.iter().filter(|query| query.return_data.unwrap_or(true));
    let results = returned.map(|query| result(query, values.get(&query.id), request.scan_by));
    ok(&json!({"MetricDataResults": results.collect::<Vec<_>>(), "Messages": []}))
}

type Plain = BTreeMap<String, (Series, Statistic)>;

/// The queries that name a series, and those that compute with them.
fn checked(queries: &[MetricQuery]) -> Result<(Plain, Vec<(String, Expression)>), ApiError> {
    let (mut plain, mut computed, mut periods) = (Plain::new(), Vec::new(), BTreeSet::new());
    for query in queries {
        match (&query.metric_stat, &query.expression) {
            (Some(stat), None) => {
                let statistic = Statistic::read(&stat.stat);
                let statistic = statistic.ok_or_else(|| {
                    invalid(format!("the statistic {} is not implemented by the local stack", stat.stat))
                })?;
                let metric = &stat.metric;
                let series = series(&metric.namespace, &metric.metric_name, &metric.dimensions);
                periods.insert(stat.period);
                plain.insert(query.id.clone(), (series, statistic));
            }
            (None, Some(text)) => computed.push((query.id.clone(), Expression::read(text).map_err(invalid)?)),
            _ => return Err(invalid(format!("{}: either MetricStat or Expression", query.id))),
        }
    }
    if periods.len() > 1 {
        return Err(invalid("series of different periods are not implemented by the local stack"));
    }
    for (id, expression) in &computed {
        if let Some(missing) = expression.series().into_iter().find(|name| !plain.contains_key(*name)) {
            return Err(invalid(format!("{id}: there is no series {missing}")));
        }
    }
    Ok((plain, computed))
}

fn computed_values(
    expression: &Expression,
    values: &BTreeMap<String, BTreeMap<i64, f64>>,
) -> BTreeMap<i64, f64> {
    let times: BTreeSet<i64> = values.values().flat_map(BTreeMap::keys).copied().collect();
    let value = |at: i64| {
        let series = values.iter().map(|(id, values)| (id.clone(), values.get(&at).copied())).collect();
        Some((at, expression.value(&series)?))
    };
    times.into_iter().filter_map(value).collect()
}

fn result(query: &MetricQuery, values: Option<&BTreeMap<i64, f64>>, order: ScanBy) -> Value {
    let mut points: Vec<(i64, f64)> = values.into_iter().flatten().map(|(at, value)| (*at, *value)).collect();
    if order == ScanBy::TimestampDescending {
        points.reverse();
    }
    let metric = query.metric_stat.as_ref().map(|stat| stat.metric.metric_name.clone());
    json!({
        "Id": query.id,
        "Label": query.label.clone().or(metric).unwrap_or_else(|| query.id.clone()),
        "Timestamps": points.iter().map(|(at, _)| seconds(*at)).collect::<Vec<_>>(),
        "Values": points.iter().map(|(_, value)| value).collect::<Vec<_>>(),
        "StatusCode": "Complete",
    })
}
