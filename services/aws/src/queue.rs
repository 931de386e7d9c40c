//! A batch from the service's queue: each record parsed on its own, records of one subject in order,
//! different subjects side by side, and only the failed ones reported back.

use crate::eventbridge::read_body;
use crate::traces::{self, Reaction};
use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use chassis::log::{self, About};
use chassis::metrics::{self, DELIVERIES, LAG};
use chassis::{EventHandler, Failure, Verdict};
use chrono::Utc;
use events::Envelope;
use futures_util::{StreamExt, stream};
use std::{collections::BTreeMap, time::Duration};
use tokio::time::{Instant, timeout_at};

/// How many subjects of one batch are worked on at a time.
const CONCURRENCY: usize = 10;

/// One record of a batch, parsed or not.
struct Record {
    message_id: String,
    envelope: Result<Envelope, Failure>,
}

impl Record {
    /// Its event's subject; a record that cannot be read is a subject of its own.
    fn subject(&self) -> String {
        match &self.envelope {
            Ok(envelope) => envelope.metadata.subject.clone(),
            Err(_) => format!("unreadable#{}", self.message_id),
        }
    }
}

impl From<SqsMessage> for Record {
    fn from(message: SqsMessage) -> Self {
        let envelope = read_body(message.body.as_deref().unwrap_or_default());
        Self { message_id: message.message_id.unwrap_or_default(), envelope }
    }
}

/// Hands every record of a batch to `handler`, counts the verdicts and reports the failures. A record that is not done with
/// at `end` has failed: a function that Lambda stops could report nothing, and all records of its batch would come back.
pub async fn handle<H: EventHandler>(handler: &H, event: SqsEvent, end: Instant) -> SqsBatchResponse {
    let mut subjects: BTreeMap<String, Vec<Record>> = BTreeMap::new();
    for record in event.records.into_iter().map(Record::from) {
        subjects.entry(record.subject()).or_default().push(record);
    }
    let subjects: Vec<_> = subjects.into_values().map(|records| in_order(handler, records, end)).collect();
    let outcomes: Vec<Vec<Outcome>> = stream::iter(subjects).buffer_unordered(CONCURRENCY).collect().await;
    let outcomes: Vec<Outcome> = outcomes.into_iter().flatten().collect();
    count(&outcomes);
    respond(outcomes)
}

/// What became known of a record.
struct Outcome {
    message_id: String,
    verdict: Result<Verdict, Failure>,
    /// Milliseconds from its event's commit.
    lag: Option<u64>,
}

impl Outcome {
    fn of(record: Record, verdict: Result<Verdict, Failure>) -> Self {
        let envelope = record.envelope.as_ref().ok();
        let lag = envelope.and_then(|envelope| metrics::lag(&envelope.metadata, &verdict, Utc::now()));
        Self { message_id: record.message_id, verdict, lag }
    }
}

/// What was not done with when the function had to answer.
#[must_use]
pub fn out_of_time() -> Failure {
    Failure::Transient("not done in the function's time".into())
}

async fn in_order<H: EventHandler>(handler: &H, records: Vec<Record>, end: Instant) -> Vec<Outcome> {
    let mut outcomes = Vec::with_capacity(records.len());
    for record in records {
        let (started, began) = (Instant::now(), Utc::now());
        let about = record.envelope.as_ref().ok().map(|envelope| About::from(&envelope.metadata));
        let handled = log::about(about, async {
            let outcome = match &record.envelope {
                Ok(envelope) => {
                    timeout_at(end, handler.handle(envelope)).await.unwrap_or_else(|_| Err(out_of_time()))
                }
                Err(failure) => Err(failure.clone()),
            };
            report(H::SERVICE, &record, &outcome, started.elapsed());
            outcome
        });
        let outcome = handled.await;
        if let Ok(envelope) = &record.envelope {
            let verdict = outcome.as_ref().map_or_else(Failure::class, |verdict| verdict.as_str());
            traces::record(&Reaction {
                service: H::SERVICE,
                metadata: &envelope.metadata,
                task: None,
                began,
                settles: outcome.as_ref().is_ok_and(|verdict| *verdict != Verdict::Duplicate),
                outcome: verdict,
                error: outcome.as_ref().err().map(Failure::class),
            });
        }
        outcomes.push(Outcome::of(record, outcome));
    }
    outcomes
}

/// One log line per delivery: the event, its verdict or failure, and how long it took.
fn report(consumer: &str, record: &Record, outcome: &Result<Verdict, Failure>, took: Duration) {
    let duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    let metadata = record.envelope.as_ref().ok().map(|envelope| &envelope.metadata);
    let event_id = metadata.map(|m| m.id.to_string());
    let event_id = event_id.as_deref();
    let event = metadata.map(|m| m.kind.as_str());
    match outcome {
        Ok(verdict) => {
            tracing::info!(consumer, event, event_id, verdict = verdict.as_str(), duration_ms, "delivery");
        }
        Err(failure) => tracing::warn!(
            consumer,
            event,
            event_id,
            duration_ms,
            message_id = record.message_id,
            class = failure.class(),
            reason = failure.to_string(),
            "delivery failed"
        ),
    }
}

/// One line of metrics for each verdict of a batch: how many there are, and how late each came.
fn count(outcomes: &[Outcome]) {
    let mut verdicts: BTreeMap<&'static str, (u64, Vec<u64>)> = BTreeMap::new();
    for Outcome { verdict, lag, .. } in outcomes {
        let name = verdict.as_ref().map_or_else(Failure::class, |verdict| verdict.as_str());
        let (number, lags) = verdicts.entry(name).or_default();
        *number += 1;
        lags.extend(lag);
    }
    for (verdict, (number, lags)) in verdicts {
        let mut samples = vec![DELIVERIES.sample(verdict, number)];
        samples.extend((!lags.is_empty()).then(|| LAG.numbers(lags)));
        metrics::emit(&samples);
    }
}

fn respond(outcomes: Vec<Outcome>) -> SqsBatchResponse {
    let mut response = SqsBatchResponse::default();
    for Outcome { message_id, verdict, .. } in outcomes {
        if verdict.is_err() {
            let mut failure = BatchItemFailure::default();
            failure.item_identifier = message_id;
            response.batch_item_failures.push(failure);
        }
    }
    response
}
