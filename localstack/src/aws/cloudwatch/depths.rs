//! How many messages the queues have, minute by minute, as SQS measures it.
//!
//! <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html>
#![allow(clippy::cast_precision_loss, reason = "CloudWatch's values are floats")]

use crate::aws::sqs::Queues;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// In milliseconds.
const MINUTE: i64 = 60_000;
/// As many minutes are known; a stack that starts knows none.
const KEPT: usize = 180;
/// An alarm can look back so far.
pub const SECONDS: u32 = 180 * 60;

/// The metrics of a queue, by their names.
type Measured = [(&'static str, f64); 4];

/// The queues of a minute, by name.
type Minute = Vec<(String, Measured)>;

/// The last hours; a minute by its beginning, in epoch milliseconds.
#[derive(Default)]
pub struct Depths(Mutex<VecDeque<(i64, Minute)>>);

fn measure(queues: &Queues, now: i64) -> Minute {
    let of = |queue: &crate::aws::sqs::Queue| {
        let counts = queue.counts();
        let age = counts.oldest.map_or(0, |sent| (now - sent).max(0) / 1000);
        let measured = [
            ("ApproximateNumberOfMessagesVisible", counts.visible as f64),
            ("ApproximateNumberOfMessagesNotVisible", counts.in_flight as f64),
            ("ApproximateNumberOfMessagesDelayed", counts.delayed as f64),
            ("ApproximateAgeOfOldestMessage", age as f64),
        ];
        (queue.name.clone(), measured)
    };
    queues.all().iter().map(|queue| of(queue)).collect()
}

impl Depths {
    fn minutes(&self) -> MutexGuard<'_, VecDeque<(i64, Minute)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Measures the queues; what was measured in the same minute before is forgotten.
    pub fn note(&self, queues: &Queues, now: i64) {
        let (minute, measured) = (now - now.rem_euclid(MINUTE), measure(queues, now));
        let mut minutes = self.minutes();
        minutes.retain(|(known, _)| *known != minute);
        minutes.push_back((minute, measured));
        let surplus = minutes.len().saturating_sub(KEPT);
        minutes.drain(..surplus);
    }

    /// Shows every minute's measures, and for this minute those of this very moment: the queue, the metric, the minute, the value.
    pub fn visit(&self, queues: &Queues, now: i64, mut visit: impl FnMut(&str, &str, i64, f64)) {
        self.note(queues, now);
        for (minute, queues) in self.minutes().iter() {
            for (queue, measured) in queues {
                measured.iter().for_each(|(metric, value)| visit(queue, metric, *minute, *value));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::cloudwatch::alarms::{self, series};
    use crate::aws::cloudwatch::states::State;
    use crate::support::journal::Journal;
    use crate::support::storage::Storage;
    use crate::template::resources::Dimension;
    use serde_json::{from_value, json};

    /// Guards: an alarm of a queue that wants several minutes in a row, as those of waiting events do, can ring. And memory: what is
    /// older than the last hours is forgotten.
    #[tokio::test]
    async fn a_queue_is_measured_each_minute() {
        let (journal, _) = Journal::open(&Storage::memory()).unwrap();
        let declared = from_value(json!({"QueueName": "waiting"})).unwrap();
        let queues = Queues::start(&[declared], &journal).unwrap();
        let (depths, sent) = (Depths::default(), chrono::Utc::now().timestamp_millis());
        queues.all().first().unwrap().send("x");
        let dimensions: Vec<Dimension> =
            from_value(json!([{"Name": "QueueName", "Value": "waiting"}])).unwrap();
        let alarm = from_value(json!({
            "AlarmName": "a", "Namespace": "AWS/SQS", "MetricName": "ApproximateAgeOfOldestMessage",
            "Dimensions": dimensions, "Statistic": "Maximum", "Period": 60, "EvaluationPeriods": 3, "Threshold": 30,
            "ComparisonOperator": "GreaterThanThreshold", "TreatMissingData": "notBreaching",
        }))
        .unwrap();
        let state = |now: i64| {
            let mut samples = Vec::new();
            depths.visit(&queues, now, |_, metric, at, value| {
                samples.extend((metric == "ApproximateAgeOfOldestMessage").then_some((at, value)));
            });
            let series = series("AWS/SQS", "ApproximateAgeOfOldestMessage", &dimensions);
            (alarms::state(&alarm, &[(series, samples.clone())].into(), now).0, samples.len())
        };
        let states: Vec<_> = (0..4).map(|minute| state(sent + 45_000 + minute * MINUTE)).collect();
        assert_eq!(states, [(State::Ok, 1), (State::Ok, 2), (State::Alarm, 3), (State::Alarm, 4)]);
        for minute in 4..500 {
            depths.note(&queues, sent + minute * MINUTE);
        }
        assert_eq!(depths.minutes().len(), KEPT);
    }
}
