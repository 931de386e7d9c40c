//! Pipes: each carries records of a table's stream, through its filter and its enrichment, to a bus.
//!
//! <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-pipes-dynamodb.html>
//! <https://docs.aws.amazon.com/eventbridge/latest/userguide/pipes-enrichment.html>

use super::bus::Buses;
use super::element::Shape;
use crate::aws::lambda::{Function, Functions};
use crate::aws::streams::shard::Connections;
use crate::aws::streams::{Outcome, Policy, Reader, Record, Shard, Source, Switch};
use crate::support::meter::Unit;
use crate::template::names;
use crate::template::resources::Pipe as Declared;
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use std::sync::Arc;

/// The most entries that a bus gets at once, and so the most that a batch may have: a pipe with larger ones is refused, and
/// a longer answer of the enrichment is not sent.
///
/// <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-pipes-batching-concurrency.html>
const MAX_BATCH: usize = 10;

/// A pipe at work.
pub struct Pipe {
    pub declared: Declared,
    shard: Shard,
    target: Target,
}

/// What gets the batches.
struct Target {
    pipe: String,
    enrichment: Arc<Function>,
    shape: Shape,
    bus: String,
    buses: Buses,
}

impl Pipe {
    /// A pipe as declared.
    ///
    /// # Errors
    /// When its source, enrichment, target, filter or template is not implemented or not declared.
    pub fn new(
        declared: &Declared,
        buses: &Buses,
        functions: &Functions,
        connections: &Connections<'_>,
    ) -> Result<Self> {
        let stream = &declared.source_parameters.stream;
        let batch_size = usize::try_from(stream.batch_size.context("a BatchSize is needed")?)?;
        ensure!((1..=MAX_BATCH).contains(&batch_size), "a batch for a bus has 1 to {MAX_BATCH} records");
        let policy = Policy {
            batch_size,
            retries: stream.maximum_retry_attempts.unwrap_or(-1),
            max_age_seconds: stream.maximum_record_age_in_seconds.unwrap_or(-1),
            bisects: stream.on_partial_batch_item_failure.is_some(),
        };
        let dead_letters = stream.dead_letter_config.as_ref().map(|config| config.arn.as_str());
        let source = Source {
            name: &declared.name,
            stream: &declared.source,
            filter: declared.source_parameters.filter_criteria.as_ref(),
            policy,
            dead_letters,
        };
        let target = Target {
            pipe: declared.name.clone(),
            enrichment: functions.get(&declared.enrichment)?,
            shape: Shape::new(&declared.target_parameters)?,
            bus: names::last_part(&declared.target).to_owned(),
            buses: buses.clone(),
        };
        Ok(Self { declared: declared.clone(), shard: Shard::new(&source, connections)?, target })
    }

    /// Carries records for as long as the process lives.
    pub async fn run(&self) {
        self.shard.run(&self.target).await;
    }

    /// With which it is stopped and started.
    #[must_use]
    pub fn switch(&self) -> &Switch {
        self.shard.switch()
    }

    /// Whether every record of the stream is settled, or the pipe is stopped.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.shard.is_idle()
    }
}

impl Target {
    /// The elements that the enrichment returns; none for an empty answer. The batch is an array, for one record too.
    async fn enriched(&self, batch: &[Record]) -> Result<Vec<Value>> {
        let records: Vec<&str> = batch.iter().map(|record| record.json.as_str()).collect();
        let records = format!("[{}]", records.join(","));
        self.buses.meter().count_pieces(Unit::PipeRequests, &self.pipe, records.len());
        let answer = self.enrichment.invoke(records.into()).await?;
        match serde_json::from_slice(&answer).context("the enrichment's answer is not JSON")? {
            Value::Array(elements) if elements.len() <= MAX_BATCH => Ok(elements),
            Value::Array(elements) => bail!("the enrichment returns {} elements", elements.len()),
            Value::String(text) if text.is_empty() => Ok(Vec::new()),
            Value::Object(fields) if fields.is_empty() => Ok(Vec::new()),
            element @ Value::Object(_) => Ok(vec![element]),
            _ => bail!("the enrichment returns neither an array nor an object"),
        }
    }

    /// Puts every element on the bus; the ids of those that it refused, and why the last one was.
    fn put(&self, elements: &[Value]) -> Result<(Vec<String>, String)> {
        let entries: Vec<_> =
            elements.iter().map(|element| self.shape.make(element)).collect::<Result<_>>()?;
        let (mut refused, mut reason) = (Vec::new(), String::new());
        for (entry, element) in entries.iter().zip(elements) {
            if let Err(error) = self.buses.put(&self.bus, entry) {
                refused.push(element["eventID"].as_str().unwrap_or_default().to_owned());
                reason = format!("{}: {error}", error.code());
            }
        }
        Ok((refused, reason))
    }

    async fn carry(&self, batch: &[Record]) -> Result<Outcome> {
        let (refused, reason) = self.put(&self.enriched(batch).await?)?;
        if refused.is_empty() {
            return Ok(Outcome::Done);
        }
        // Which record an element stands for is known by its `eventID` only; without one the whole batch is tried again.
        let place = |id: &String| batch.iter().position(|record| record.id() == *id);
        let places: Option<Vec<usize>> = refused.iter().map(place).collect();
        Ok(places.map_or(Outcome::Failed(reason.clone()), |places| Outcome::Left(places, reason)))
    }
}

impl Reader for Target {
    async fn hand_over(&self, batch: &[Record]) -> Outcome {
        self.carry(batch).await.unwrap_or_else(|error| Outcome::Failed(format!("{error:#}")))
    }

    fn head(&self, condition: &str, _tries: u32) -> Value {
        json!({"context": {"partnerResourceArn": names::pipe_arn(&self.pipe), "condition": condition}})
    }
}
