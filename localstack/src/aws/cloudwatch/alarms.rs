//! How an alarm is, from the samples there are. It is reckoned when a caller asks, over the periods that end now; on AWS every
//! minute, over periods that begin with the clock's.
//!
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/AlarmThatSendsEmail.html#alarm-evaluation>
#![allow(clippy::float_cmp, clippy::cast_precision_loss, reason = "CloudWatch's values are floats")]

use super::math::Expression;
use super::samples::{Samples, Series, is_measured};
use super::states::State;
use super::statistics::Statistic;
use crate::template::resources::{Alarm, Dimension};
use std::collections::BTreeMap;

/// A series of an alarm or of a query.
pub fn series(namespace: &str, metric: &str, dimensions: &[Dimension]) -> Series {
    let dimensions = dimensions.iter().map(|it| (it.name.clone(), it.value.clone())).collect();
    Series { namespace: namespace.to_owned(), metric: metric.to_owned(), dimensions }
}

/// The series that an alarm looks at, each with its statistic, by the ids that its expression has for them; of an alarm without an
/// expression under the empty one.
pub fn watched(alarm: &Alarm) -> BTreeMap<String, (Series, Option<Statistic>)> {
    let statistic = alarm.statistic.as_deref().or(alarm.extended_statistic.as_deref());
    let plain = alarm.namespace.iter().zip(&alarm.metric_name).map(|(namespace, metric)| {
        (String::new(), (series(namespace, metric, &alarm.dimensions), statistic.and_then(Statistic::read)))
    });
    let computed = alarm.metrics.iter().filter_map(|query| {
        let stat = query.metric_stat.as_ref()?;
        let metric = &stat.metric;
        let series = series(&metric.namespace, &metric.metric_name, &metric.dimensions);
        Some((query.id.clone(), (series, Statistic::read(&stat.stat))))
    });
    plain.chain(computed).collect()
}

/// The length of a period, in milliseconds.
pub fn period(alarm: &Alarm) -> i64 {
    let computed = alarm.metrics.iter().find_map(|query| Some(query.metric_stat.as_ref()?.period));
    i64::from(alarm.period.or(computed).unwrap_or(60)) * 1000
}

/// How far back an alarm looks, in milliseconds.
pub fn looks_back(alarm: &Alarm) -> i64 {
    period(alarm) * i64::from(alarm.evaluation_periods)
}

/// The value of an alarm in each of its periods, newest first.
fn values(alarm: &Alarm, samples: &Samples, now: i64) -> Vec<Option<f64>> {
    let (watched, period) = (watched(alarm), period(alarm));
    let expression = alarm.metrics.iter().find_map(|query| query.expression.as_deref());
    // The stack does not start with one that cannot be read.
    let expression = expression.map(|text| Expression::read(text).ok());
    let value = |place: i64| {
        let (from, to) = (now - (place + 1) * period, now - place * period);
        let of = |(id, (series, statistic)): (&String, &(Series, Option<Statistic>))| {
            let all = samples.get(series).into_iter().flatten();
            let within: Vec<f64> =
                all.filter(|(at, _)| *at > from && *at <= to).map(|(_, value)| *value).collect();
            (id.clone(), statistic.and_then(|statistic| statistic.of(&within)))
        };
        let series: BTreeMap<String, Option<f64>> = watched.iter().map(of).collect();
        match &expression {
            Some(expression) => expression.as_ref()?.value(&series),
            None => series.into_values().next().flatten(),
        }
    };
    (0..i64::from(alarm.evaluation_periods)).map(value).collect()
}

/// How an alarm is, and why. Without samples of a namespace it would be what its template says of missing ones; but nothing is
/// missing where nothing is measured.
pub fn state(alarm: &Alarm, samples: &Samples, now: i64) -> (State, String) {
    let series = watched(alarm).into_values();
    if let Some((series, _)) = series.into_iter().find(|(series, _)| !is_measured(&series.namespace)) {
        let Series { namespace, metric, .. } = series;
        return (State::InsufficientData, format!("the local stack has no samples of {namespace} {metric}"));
    }
    let values = values(alarm, samples, now);
    let threshold = f64::from(alarm.threshold);
    let breaches = |value: f64| match alarm.comparison_operator.as_str() {
        "LessThanThreshold" => value < threshold,
        _ => value > threshold,
    };
    let is_breaching = |value: &&Option<f64>| match (value, alarm.treat_missing_data.as_deref()) {
        (Some(value), _) => breaches(*value),
        (None, missing) => missing == Some("breaching"),
    };
    let breaching = values.iter().filter(is_breaching).count();
    let needed = alarm.datapoints_to_alarm.unwrap_or(alarm.evaluation_periods);
    let is_missing = values.iter().all(Option::is_none);
    let shown: Vec<String> =
        values.iter().map(|value| value.map_or("none".into(), |value| value.to_string())).collect();
    let shown = shown.join(", ");
    let periods =
        format!("{breaching} of {} periods are beyond the threshold of {threshold}: [{shown}]", values.len());
    let state = match alarm.treat_missing_data.as_deref() {
        None | Some("missing") if is_missing => State::InsufficientData,
        _ if breaching >= usize::try_from(needed).unwrap_or(1) => State::Alarm,
        _ => State::Ok,
    };
    (state, periods)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NOW: i64 = 1_000_000_000;

    fn alarm(change: &serde_json::Value) -> Alarm {
        let mut alarm = json!({
            "AlarmName": "a", "Namespace": "N", "MetricName": "m", "Statistic": "Sum", "Period": 60,
            "EvaluationPeriods": 1, "Threshold": 0, "ComparisonOperator": "GreaterThanThreshold",
            "TreatMissingData": "notBreaching",
        });
        alarm.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        alarm.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        serde_json::from_value(alarm).unwrap()
    }

    /// The state with samples of so many seconds ago.
    fn with(alarm: &Alarm, metric: &str, samples: &[(i64, f64)]) -> State {
        let samples = samples.iter().map(|(ago, value)| (NOW - ago * 1000, *value)).collect();
        state(alarm, &[(series("N", metric, &[]), samples)].into(), NOW).0
    }

    /// Guards: an alarm rings for what its template says, and for nothing else.
    #[test]
    fn an_alarm_rings_beyond_its_threshold() {
        let plain = alarm(&json!({}));
        assert_eq!(with(&plain, "m", &[(59, 1.0)]), State::Alarm);
        assert_eq!(with(&plain, "m", &[(61, 1.0)]), State::Ok);
        assert_eq!(with(&plain, "other", &[(1, 1.0)]), State::Ok);
        let of_aws = json!({"Namespace": "AWS/Lambda", "TreatMissingData": "breaching"});
        assert_eq!(with(&alarm(&of_aws), "m", &[]), State::InsufficientData);
        assert_eq!(with(&alarm(&json!({"TreatMissingData": "breaching"})), "m", &[]), State::Alarm);
        assert_eq!(with(&alarm(&json!({"TreatMissingData": null})), "m", &[]), State::InsufficientData);
        let two_of_three = alarm(&json!({"EvaluationPeriods": 3, "DatapointsToAlarm": 2}));
        assert_eq!(with(&two_of_three, "m", &[(1, 1.0), (130, 1.0)]), State::Alarm);
        assert_eq!(with(&two_of_three, "m", &[(1, 1.0)]), State::Ok);
    }

    /// Guards: an alarm that computes does, from the series that its expression names.
    #[test]
    fn an_alarm_computes() {
        let metric = json!({"Namespace": "N", "MetricName": "ended", "Dimensions": []});
        let stat = |stat: &str| json!({"Metric": metric, "Period": 60, "Stat": stat});
        let share = alarm(&json!({"Namespace": null, "MetricName": null, "Statistic": null, "Period": null,
            "Threshold": 95, "ComparisonOperator": "LessThanThreshold", "Metrics": [
                {"Id": "percent", "Expression": "IF(orders >= 2, 100 * share, 100)"},
                {"Id": "share", "MetricStat": stat("Average"), "ReturnData": false},
                {"Id": "orders", "MetricStat": stat("SampleCount"), "ReturnData": false}]}));
        assert_eq!(with(&share, "ended", &[(1, 1.0), (2, 0.0)]), State::Alarm);
        assert_eq!(with(&share, "ended", &[(1, 0.0)]), State::Ok);
    }
}
