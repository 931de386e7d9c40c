//! Metrics, in CloudWatch's embedded format: lines of the log from which CloudWatch makes metrics, so that nothing is called
//! for them. Every metric is a [`Metric`] that says beforehand which values its dimension has: each of them is a metric of its
//! own on the bill, and none is an id.
//!
//! Format: <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>

use crate::failure::Failure;
use crate::inbox::Verdict;
use crate::log;
use chrono::{DateTime, Utc};
use events::Metadata;
use serde_json::{Map, Value, json};
use std::io::Write;

/// The namespace of every metric here.
pub const NAMESPACE: &str = "Quadrille";
/// The dimensions that every metric has.
pub const DIMENSIONS: [&str; 2] = ["stage", "service"];

/// What a metric's numbers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// How many.
    Count,
    /// How long.
    Milliseconds,
}

/// A metric under the namespace `Quadrille`, by stage, service and at most one dimension more.
#[derive(Debug, PartialEq, Eq)]
pub struct Metric {
    /// `deliveries`
    pub name: &'static str,
    /// The unit of its numbers.
    pub unit: Unit,
    /// The dimension beside stage and service, and every value that it can have.
    pub dimension: Option<(&'static str, &'static [&'static str])>,
}

/// What was measured once, of one metric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    metric: &'static Metric,
    value: Option<&'static str>,
    numbers: Vec<u64>,
}

/// Deliveries to a service, by the verdict or the class of the failure.
pub static DELIVERIES: Metric = Metric {
    name: "deliveries",
    unit: Unit::Count,
    dimension: Some((
        "verdict",
        &[
            Verdict::Applied.as_str(),
            Verdict::Duplicate.as_str(),
            Verdict::Early.as_str(),
            Verdict::LateCompensated.as_str(),
            Verdict::Stale.as_str(),
            Verdict::Refused.as_str(),
            Verdict::Contradicted.as_str(),
            Verdict::NewerVersion.as_str(),
            Verdict::Replayed.as_str(),
            "conflict",
            "transient",
            "poison",
        ],
    )),
};

/// From the commit of an event to the end of its consumer's reaction.
pub static LAG: Metric = Metric { name: "event_lag", unit: Unit::Milliseconds, dimension: None };

/// The lag of a delivery; none where the age of the event says nothing about the way that it came: a repetition, a replay, a
/// reminder, and what has to come again.
#[must_use]
pub fn lag(metadata: &Metadata, outcome: &Result<Verdict, Failure>, now: DateTime<Utc>) -> Option<u64> {
    let is_new = outcome.as_ref().is_ok_and(|verdict| *verdict != Verdict::Duplicate);
    let is_live = metadata.replay.is_none() && metadata.nudge.is_none();
    // Two machines' clocks may differ.
    (is_new && is_live).then(|| u64::try_from((now - metadata.time).num_milliseconds()).unwrap_or(0))
}

impl Metric {
    /// A number under a value of the dimension.
    #[must_use]
    pub fn sample(&'static self, value: &'static str, number: u64) -> Sample {
        debug_assert!(self.dimension.is_some_and(|(_, values)| values.contains(&value)), "{value}");
        Sample { metric: self, value: Some(value), numbers: vec![number] }
    }

    /// Numbers of a metric without a dimension of its own.
    #[must_use]
    pub const fn numbers(&'static self, numbers: Vec<u64>) -> Sample {
        Sample { metric: self, value: None, numbers }
    }

    /// Emits one number under a value of the dimension.
    pub fn count(&'static self, value: &'static str, number: u64) {
        emit(&[self.sample(value, number)]);
    }

    /// The names of its dimensions.
    #[must_use]
    pub fn dimensions(&self) -> Vec<&'static str> {
        DIMENSIONS.into_iter().chain(self.dimension.map(|(name, _)| name)).collect()
    }
}

impl Sample {
    /// Whether it is one of this metric.
    #[must_use]
    pub fn is_of(&self, metric: &Metric) -> bool {
        self.metric == metric
    }
}

/// Emits samples, whose dimensions have different names, as one line. A process that is no service emits nothing.
pub fn emit(samples: &[Sample]) {
    let Some(service) = log::service().filter(|_| !samples.is_empty()) else { return };
    let line = line(log::stage(), service, samples, Utc::now());
    // A closed standard output leaves nowhere to report that.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

fn line(stage: &str, service: &str, samples: &[Sample], now: DateTime<Utc>) -> Value {
    let directives: Vec<Value> = samples.iter().map(|sample| directive(sample.metric)).collect();
    let mut line = Map::new();
    line.insert("_aws".into(), json!({"Timestamp": now.timestamp_millis(), "CloudWatchMetrics": directives}));
    line.insert("stage".into(), stage.into());
    line.insert("service".into(), service.into());
    for Sample { metric, value, numbers } in samples {
        let number = if let [number] = numbers.as_slice() { json!(number) } else { json!(numbers) };
        line.insert(metric.name.into(), number);
        if let (Some((name, _)), Some(value)) = (metric.dimension, value) {
            let before = line.insert(name.into(), (*value).into());
            debug_assert!(before.is_none(), "two samples of one line have the dimension {name}");
        }
    }
    Value::Object(line)
}

fn directive(metric: &Metric) -> Value {
    let unit = match metric.unit {
        Unit::Count => "Count",
        Unit::Milliseconds => "Milliseconds",
    };
    json!({
        "Namespace": NAMESPACE,
        "Dimensions": [metric.dimensions()],
        "Metrics": [{"Name": metric.name, "Unit": unit}],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;

    /// Guards: several metrics of one reaction are one line, and each has its own dimensions.
    #[test]
    fn a_line_holds_several_metrics() {
        let samples = [DELIVERIES.sample("applied", 2), LAG.numbers(vec![7, 9])];
        let line = line("dev", "orders", &samples, DateTime::UNIX_EPOCH);
        let at = |pointer: &str| line.pointer(&format!("/_aws/CloudWatchMetrics/{pointer}")).unwrap();
        assert_eq!(*at("0/Dimensions"), json!([["stage", "service", "verdict"]]));
        assert_eq!(*at("1/Dimensions"), json!([["stage", "service"]]));
        assert_eq!(*at("1/Metrics/0"), json!({"Name": "event_lag", "Unit": "Milliseconds"}));
        assert_eq!((&line["deliveries"], &line["verdict"]), (&json!(2), &json!("applied")));
        assert_eq!(line["event_lag"], json!([7, 9]));
    }

    fn metadata() -> Metadata {
        Metadata {
            id: events::EventId(uuid::Uuid::from_u128(1)),
            source: "quadrille.orders".into(),
            kind: "order.created".into(),
            version: 1,
            subject: "one".into(),
            seq: 1,
            time: DateTime::UNIX_EPOCH,
            correlation_id: uuid::Uuid::from_u128(2),
            causation_id: uuid::Uuid::from_u128(2),
            traceparent: String::new(),
            replay: None,
            nudge: None,
        }
    }

    /// Guards: what is old for another reason than its way here rings no alarm.
    #[test]
    fn only_what_is_new_and_live_has_a_lag() {
        let now = DateTime::UNIX_EPOCH + TimeDelta::milliseconds(5);
        let applied = Ok(Verdict::Applied);
        assert_eq!(lag(&metadata(), &applied, now), Some(5));
        assert_eq!(lag(&metadata(), &applied, now - TimeDelta::seconds(1)), Some(0));
        assert_eq!(lag(&metadata(), &Ok(Verdict::Duplicate), now), None);
        assert_eq!(lag(&metadata(), &Err(Failure::Transient(String::new())), now), None);
        assert_eq!(lag(&Metadata { nudge: Some(1), ..metadata() }, &applied, now), None);
        let replay = Some(events::envelope::Replay { id: uuid::Uuid::from_u128(3), consumer: None });
        assert_eq!(lag(&Metadata { replay, ..metadata() }, &applied, now), None);
    }
}
