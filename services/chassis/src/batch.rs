//! A batch from the service's queue: each record parsed on its own, records of one subject in order,
//! different subjects side by side, and only the failed ones reported back.

use crate::ports::Bus;
use crate::reaction::word;
use crate::{Failure, Ports, Reactor, Store, Verdict, log, react};
use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use events::Envelope;
use futures_util::{StreamExt, stream};
use serde::Deserialize;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    future::Future,
    time::{Duration, Instant},
};

/// How many subjects of one batch are worked on at a time.
const CONCURRENCY: usize = 10;

/// The part of EventBridge's event that is ours; the rest of its envelope changes with every publication.
#[derive(Deserialize)]
struct BusEvent {
    detail: Value,
}

/// Reads a queue message's body: an EventBridge event with our envelope as its detail.
///
/// # Errors
/// [`Failure::Poison`] when it is anything else.
pub fn read_body(body: &str) -> Result<Envelope, Failure> {
    let event: BusEvent = serde_json::from_str(body)
        .map_err(|e| Failure::Poison(format!("the body is not an EventBridge event: {e}")))?;
    Ok(Envelope::read(event.detail)?)
}

/// One record of a batch, parsed or not.
struct Record {
    message_id: String,
    envelope: Result<Envelope, Failure>,
}

impl Record {
    /// What it is about; a record that cannot be read is about itself alone.
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

/// Takes events from a service's queue, one at a time.
pub trait Consumer: Send + Sync + 'static {
    /// The service's name, for logs.
    const NAME: &'static str;

    /// Deals with one event.
    fn take(&self, envelope: &Envelope) -> impl Future<Output = Result<Verdict, Failure>> + Send;
}

/// A consumer that only reacts.
pub struct Reacting<R, S> {
    /// The ports.
    pub ports: Ports<S>,
    /// The reactor.
    pub reactor: R,
}

impl<R: Reactor, S: Store> Consumer for Reacting<R, S> {
    const NAME: &'static str = R::SERVICE;

    async fn take(&self, envelope: &Envelope) -> Result<Verdict, Failure> {
        react(&self.ports, &self.reactor, envelope).await
    }
}

/// A consumer that reacts, and that tells its answer again when somebody nudges it about an event that it knows.
pub struct Answering<R, S, B> {
    /// The ports.
    pub ports: Ports<S>,
    /// The reactor.
    pub reactor: R,
    /// Where answers are told again.
    pub bus: B,
}

impl<R: Reactor, S: Store, B: Bus> Consumer for Answering<R, S, B> {
    const NAME: &'static str = R::SERVICE;

    async fn take(&self, envelope: &Envelope) -> Result<Verdict, Failure> {
        let verdict = react(&self.ports, &self.reactor, envelope).await?;
        let is_known = matches!(verdict, Verdict::Duplicate | Verdict::Stale | Verdict::Refused);
        if envelope.metadata.nudge.is_some() && is_known {
            let word = word::<R, S>(&self.ports.store, &R::partition(&envelope.metadata)).await?;
            self.bus.publish(word.as_slice()).await?;
        }
        Ok(verdict)
    }
}

/// Hands every record of a batch to `consumer`, counts the verdicts and reports the failures.
pub async fn handle<C: Consumer>(consumer: &C, event: SqsEvent) -> SqsBatchResponse {
    let mut subjects: BTreeMap<String, Vec<Record>> = BTreeMap::new();
    for record in event.records.into_iter().map(Record::from) {
        subjects.entry(record.subject()).or_default().push(record);
    }
    let subjects: Vec<_> = subjects.into_values().map(|records| in_order(consumer, records)).collect();
    let outcomes: Vec<Vec<Outcome>> = stream::iter(subjects).buffer_unordered(CONCURRENCY).collect().await;
    let outcomes: Vec<Outcome> = outcomes.into_iter().flatten().collect();
    count(&outcomes);
    respond(outcomes)
}

/// A record's message id and what became of it.
type Outcome = (String, Result<Verdict, Failure>);

async fn in_order<C: Consumer>(consumer: &C, records: Vec<Record>) -> Vec<Outcome> {
    let mut outcomes = Vec::with_capacity(records.len());
    for record in records {
        let started = Instant::now();
        let outcome = match &record.envelope {
            Ok(envelope) => consumer.take(envelope).await,
            Err(failure) => Err(failure.clone()),
        };
        report(C::NAME, &record, &outcome, started.elapsed());
        outcomes.push((record.message_id, outcome));
    }
    outcomes
}

/// One log line per delivery: what it was, what became of it, how long it took.
fn report(consumer: &str, record: &Record, outcome: &Result<Verdict, Failure>, took: Duration) {
    let duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    let metadata = record.envelope.as_ref().ok().map(|envelope| &envelope.metadata);
    let order_id = metadata.map(|m| m.subject.as_str());
    let event_id = metadata.map(|m| m.id.to_string());
    let correlation_id = metadata.map(|m| m.correlation_id.to_string());
    let (event_id, correlation_id) = (event_id.as_deref(), correlation_id.as_deref());
    let event = metadata.map(|m| m.kind.as_str());
    match outcome {
        Ok(verdict) => tracing::info!(
            consumer,
            event,
            order_id,
            correlation_id,
            event_id,
            verdict = verdict.as_str(),
            duration_ms,
            "delivery"
        ),
        Err(failure) => tracing::warn!(
            consumer,
            event,
            order_id,
            correlation_id,
            event_id,
            duration_ms,
            message_id = record.message_id,
            class = failure.class(),
            reason = failure.to_string(),
            "delivery failed"
        ),
    }
}

fn count(outcomes: &[Outcome]) {
    let mut counts: BTreeMap<&'static str, u64> = BTreeMap::new();
    for (_, outcome) in outcomes {
        let name = outcome.as_ref().map_or_else(Failure::class, |verdict| verdict.as_str());
        *counts.entry(name).or_default() += 1;
    }
    for (verdict, number) in counts {
        log::count("deliveries", ("verdict", verdict), number);
    }
}

fn respond(outcomes: Vec<Outcome>) -> SqsBatchResponse {
    let mut response = SqsBatchResponse::default();
    for (message_id, outcome) in outcomes {
        if outcome.is_err() {
            let mut failure = BatchItemFailure::default();
            failure.item_identifier = message_id;
            response.batch_item_failures.push(failure);
        }
    }
    response
}
