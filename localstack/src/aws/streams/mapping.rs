//! Lambda's event source mapping of a table's stream: a function gets the records batch by batch, and may report the first
//! that it could not deal with.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/services-ddb-params.html>
//! <https://docs.aws.amazon.com/lambda/latest/dg/services-ddb-batchfailurereporting.html>

use super::record::Record;
use super::shard::{Connections, Outcome, Policy, Reader, Shard, Source};
use super::switch::Switch;
use crate::aws::lambda::{Function, Functions, InvokeError};
use crate::template::names;
use crate::template::resources::StreamMapping as Declared;
use anyhow::{Result, ensure};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// Lambda's default.
const BATCH_SIZE: u32 = 100;

/// A mapping at work.
pub struct StreamMapping {
    pub declared: Declared,
    shard: Shard,
    target: Target,
}

/// What gets the batches.
struct Target {
    function: Arc<Function>,
    /// Whether the function reports which records failed.
    reports_failures: bool,
}

impl StreamMapping {
    /// A mapping as declared; it goes by the function's name.
    ///
    /// # Errors
    /// When no template declares its stream, function or destination, or the filter is not implemented.
    pub fn new(declared: &Declared, functions: &Functions, connections: &Connections<'_>) -> Result<Self> {
        let function = functions.get(&declared.function_name)?;
        let batch_size = usize::try_from(declared.batch_size.unwrap_or(BATCH_SIZE))?;
        ensure!(batch_size > 0, "BatchSize is at least 1");
        let policy = Policy {
            batch_size,
            retries: declared.maximum_retry_attempts.unwrap_or(-1),
            max_age_seconds: declared.maximum_record_age_in_seconds.unwrap_or(-1),
            bisects: declared.bisect_batch_on_function_error.unwrap_or(false),
        };
        let dead_letters = declared.destination_config.as_ref();
        let source = Source {
            name: &function.name,
            stream: &declared.event_source_arn,
            filter: declared.filter_criteria.as_ref(),
            policy,
            dead_letters: dead_letters.map(|config| config.on_failure.destination.as_str()),
        };
        let shard = Shard::new(&source, connections)?;
        let reports_failures =
            declared.function_response_types.as_ref().is_some_and(|types| !types.is_empty());
        Ok(Self { declared: declared.clone(), shard, target: Target { function, reports_failures } })
    }

    /// Hands records over for as long as the process lives.
    pub async fn run(&self) {
        self.shard.run(&self.target).await;
    }

    /// With which it is disabled and enabled.
    #[must_use]
    pub fn switch(&self) -> &Switch {
        self.shard.switch()
    }

    /// Whether every record of the stream is settled, or the mapping is disabled.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.shard.is_idle()
    }
}

impl Reader for Target {
    async fn hand_over(&self, batch: &[Record]) -> Outcome {
        let records: Vec<&str> = batch.iter().map(|record| record.json.as_str()).collect();
        let event = format!(r#"{{"Records":[{}]}}"#, records.join(","));
        match self.function.invoke(event.into()).await {
            Ok(answer) if self.reports_failures => reported(&answer, batch),
            Ok(_) => Outcome::Done,
            Err(InvokeError::Throttled(_)) => Outcome::Throttled,
            Err(error) => Outcome::Failed(error.to_string()),
        }
    }

    /// <https://docs.aws.amazon.com/lambda/latest/dg/services-dynamodb-errors.html>
    fn head(&self, condition: &str, tries: u32) -> Value {
        json!({
            "requestContext": {
                "functionArn": names::function_arn(&self.function.name),
                "condition": condition,
                "approximateInvokeCount": tries,
            },
            "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Failure {
    item_identifier: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    batch_item_failures: Option<Vec<Failure>>,
}

/// What a report leaves: from the lowest number that it names on, everything, in one batch. A report that names nothing of
/// the batch fails the batch as a whole, and no report is a success.
fn reported(answer: &[u8], batch: &[Record]) -> Outcome {
    let Ok(report) = serde_json::from_slice::<Option<Report>>(answer) else {
        return Outcome::Failed("its answer is no report".into());
    };
    let failures = report.unwrap_or_default().batch_item_failures.unwrap_or_default();
    let place = |failure: &Failure| {
        let named = failure.item_identifier.as_deref()?.parse::<i64>().ok()?;
        batch.iter().position(|record| record.sequence == named)
    };
    let places: Option<Vec<usize>> = failures.iter().map(place).collect();
    match places.map(|places| places.into_iter().min()) {
        None => Outcome::Failed("its report names what was not in the batch".into()),
        Some(None) => Outcome::Done,
        Some(Some(lowest)) => {
            Outcome::Left((lowest..batch.len()).collect(), "reported by the function".into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(answer: &str) -> Option<Vec<usize>> {
        let record = |sequence| Record { sequence, created_at: 0, json: String::new() };
        match reported(answer.as_bytes(), &[record(5), record(6), record(7)]) {
            Outcome::Done => Some(Vec::new()),
            Outcome::Left(places, _) => Some(places),
            Outcome::Failed(_) | Outcome::Throttled => None,
        }
    }

    /// Guards: the checkpoint is the lowest number that a report names; a report that cannot be used is a failure.
    #[test]
    fn everything_from_the_lowest_failed_record_on_is_left() {
        let naming = |names: &[&str]| {
            let failures: Vec<Value> = names.iter().map(|name| json!({"itemIdentifier": name})).collect();
            left(&json!({"batchItemFailures": failures}).to_string())
        };
        assert_eq!(naming(&["7", "6"]), Some(vec![1, 2]));
        assert_eq!(naming(&["5"]), Some(vec![0, 1, 2]));
        for success in ["null", "{}", r#"{"batchItemFailures": []}"#, r#"{"batchItemFailures": null}"#] {
            assert_eq!(left(success), Some(Vec::new()), "{success}");
        }
        assert_eq!(naming(&["8"]), None);
        assert_eq!(naming(&[""]), None);
        assert_eq!(left(r#"{"batchItemFailures": [{"itemIdentifier": null}]}"#), None);
        assert_eq!(left(r#""done""#), None);
    }
}
