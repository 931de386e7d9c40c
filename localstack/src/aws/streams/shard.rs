//! The shard of a stream: read in order, filtered, cut into batches, and handed over batch by batch. A batch that fails
//! blocks the shard until it succeeds, is too old, or was tried too often; then a pointer to it goes to a queue.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/services-dynamodb-errors.html>
//! <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-pipes-batching-concurrency.html>

use super::record::{Filter, Record, SHARD, number};
use super::switch::{Kept, State, Switch};
use crate::aws::dynamodb::Database;
use crate::aws::sqs::{Queue, Queues};
use crate::faults::Faults;
use crate::support::journal::{Entry, Journal};
use crate::template::names;
use crate::template::resources::FilterCriteria;
use anyhow::{Context, Result};
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// The most records of one read.
const MAX_RECORDS: usize = 100;
/// The pause before the first retry; each further one is twice as long. AWS documents no figure.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The pause after a throttled invocation. AWS documents no figure.
const THROTTLED: Duration = Duration::from_secs(2);
/// The longest pause.
const MAX_PAUSE: Duration = Duration::from_secs(60);
/// How long a stream keeps a record: 24 hours.
const RETENTION_SECONDS: i64 = 24 * 3600;

/// What became of a batch.
#[derive(Debug)]
pub enum Outcome {
    Done,
    /// These records, by their places, have to be handed over again; the others are done.
    Left(Vec<usize>, String),
    /// Nothing is done: the batch is cut in two.
    Failed(String),
    /// The function was not run, for want of a free execution: the batch waits, and this counts as no try.
    Throttled,
}

/// What gets the batches of a shard.
pub trait Reader: Send + Sync {
    /// Hands over a batch.
    fn hand_over(&self, batch: &[Record]) -> impl Future<Output = Outcome> + Send;

    /// The head of a dead letter: who gave up, and why.
    fn head(&self, condition: &str, tries: u32) -> Value;
}

/// How batches are cut and retried.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// The most records of a batch.
    pub batch_size: usize,
    /// How often a batch is tried again that cannot be cut; -1 for as long as the stream keeps it.
    pub retries: i32,
    /// Older records are given up; -1 for as long as the stream keeps them.
    pub max_age_seconds: i32,
    /// Whether a batch that failed is cut in two.
    pub bisects: bool,
}

/// What a shard is declared with.
pub struct Source<'a> {
    /// The name of what reads: under it the fault dial stops it, and the journal keeps its position.
    pub name: &'a str,
    /// The stream's ARN.
    pub stream: &'a str,
    pub filter: Option<&'a FilterCriteria>,
    pub policy: Policy,
    /// The dead-letter queue's ARN.
    pub dead_letters: Option<&'a str>,
}

/// What shards are connected to.
#[derive(Clone, Copy)]
pub struct Connections<'a> {
    pub database: &'a Database,
    /// The dead-letter queues are among them.
    pub queues: &'a Queues,
    /// Keeps how far each reader has read.
    pub journal: &'a Journal,
    /// How far each reader had read when the stack stopped.
    pub positions: &'a HashMap<String, i64>,
    /// What their switches said then.
    pub switches: &'a BTreeMap<String, Kept>,
    pub faults: &'a Faults,
    /// Divides the pauses, and the age after which records are given up.
    pub time_scale: u32,
}

pub struct Shard {
    name: String,
    table: String,
    filter: Filter,
    policy: Policy,
    /// The sequence number of the last record that an earlier run settled; 0 for none.
    start: i64,
    dead_letters: Option<Arc<Queue>>,
    database: Database,
    journal: Journal,
    faults: Faults,
    time_scale: u32,
    written: Arc<Notify>,
    switch: Switch,
    idle: AtomicBool,
}

/// A batch, or what is left of one, and how often it was tried in vain.
struct Batch {
    records: Vec<Record>,
    tries: u32,
}

impl Shard {
    /// # Errors
    /// When the source is no stream of a declared table, the dead-letter queue is not declared, or the filter is not
    /// implemented.
    pub fn new(source: &Source<'_>, connections: &Connections<'_>) -> Result<Self> {
        let Connections { database, queues, journal, positions, switches, faults, time_scale } = *connections;
        let table = names::table_of_stream(source.stream).context("its source is not a table's stream")?;
        let written = database.written(table).with_context(|| format!("no template declares {table}"))?;
        Ok(Self {
            name: source.name.to_owned(),
            table: table.to_owned(),
            filter: Filter::new(source.filter)?,
            policy: source.policy,
            start: positions.get(source.name).copied().unwrap_or(0),
            dead_letters: source.dead_letters.map(|arn| queues.by_arn(arn)).transpose()?,
            database: database.clone(),
            journal: journal.clone(),
            faults: faults.clone(),
            time_scale,
            written,
            switch: Switch::new(source.name, switches, journal),
            idle: AtomicBool::new(false),
        })
    }

    #[must_use]
    pub fn switch(&self) -> &Switch {
        &self.switch
    }

    /// Hands records over, woken by each commit to the table, for as long as the process lives.
    pub async fn run(&self, reader: &impl Reader) {
        let mut position = self.start;
        loop {
            self.wait_while_stopped().await;
            let written = self.written.notified();
            let records = self.database.stream(&self.table, position, MAX_RECORDS);
            let Some(last) = records.last().map(|record| record.sequence) else {
                self.rest(written).await;
                continue;
            };
            let records = records.iter().map(|record| Record::new(&self.table, record)).collect();
            position = match self.settle_all(reader, records, position).await {
                ControlFlow::Continue(()) => last,
                ControlFlow::Break(settled) => settled,
            };
            self.checkpoint(position);
        }
    }

    /// Waits until something is written, or the switch is turned.
    async fn rest(&self, written: Notified<'_>) {
        self.idle.store(true, Ordering::SeqCst);
        let turned = self.switch.changed();
        if !self.switch.state().0.is_stopped {
            tokio::select! { () = written => {}, () = turned => {} }
        }
        self.idle.store(false, Ordering::SeqCst);
    }

    /// Whether every record of the stream is settled, or none will be until an operator wants it.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.idle.load(Ordering::SeqCst) || self.switch.state().1 == State::Stopped
    }

    /// Returns once neither the switch nor a fault stops the reader.
    async fn wait_while_stopped(&self) {
        loop {
            let turned = self.switch.changed();
            if self.switch.stands_still() {
                turned.await;
                continue;
            }
            tokio::select! {
                () = self.faults.wait_while_stopped(&self.name) => return,
                () = turned => {}
            }
        }
    }

    fn checkpoint(&self, sequence: i64) {
        self.journal.write(vec![Entry::Position { reader: self.name.clone(), sequence }]);
    }

    /// Batch after batch: the next one waits until this one is settled, which keeps the order. Breaks off when the switch is
    /// turned off, with the position from which the stream is read again: what the stream has forgotten by then is lost.
    async fn settle_all(
        &self,
        reader: &impl Reader,
        mut records: Vec<Record>,
        mut settled: i64,
    ) -> ControlFlow<i64> {
        // A record that the filter cannot read is handed over: it fails there, by itself.
        records.retain(|record| self.filter.passes(record).unwrap_or(true));
        for batch in records.chunks(self.policy.batch_size) {
            if self.settle(reader, batch.to_vec()).await.is_break() {
                return ControlFlow::Break(settled);
            }
            if let Some(last) = batch.last() {
                self.checkpoint(last.sequence);
                settled = last.sequence;
            }
        }
        ControlFlow::Continue(())
    }

    async fn settle(&self, reader: &impl Reader, records: Vec<Record>) -> ControlFlow<()> {
        // The last one is next.
        let mut waiting = vec![Batch { records, tries: 0 }];
        while let Some(batch) = waiting.pop() {
            if self.switch.stands_still() {
                return ControlFlow::Break(());
            }
            self.faults.wait_while_stopped(&self.name).await;
            let Some(batch) = self.young(reader, batch) else { continue };
            match reader.hand_over(&batch.records).await {
                Outcome::Done => {}
                Outcome::Left(places, why) => {
                    waiting.extend(self.again(reader, batch, Some(&places), &why).await);
                }
                Outcome::Throttled => {
                    tokio::time::sleep(THROTTLED / self.time_scale.max(1)).await;
                    waiting.push(batch);
                }
                Outcome::Failed(_) if self.policy.bisects && batch.records.len() > 1 => {
                    // Cutting a batch costs no retry.
                    waiting.extend(halves(batch.records));
                }
                Outcome::Failed(why) => waiting.extend(self.again(reader, batch, None, &why).await),
            }
        }
        ControlFlow::Continue(())
    }

    /// The batch that is tried next in the place of one that failed, after a pause; `None` when it was tried too often. One
    /// that got shorter has all its tries again.
    async fn again(
        &self,
        reader: &impl Reader,
        batch: Batch,
        left: Option<&[usize]>,
        why: &str,
    ) -> Option<Batch> {
        let Batch { mut records, tries } = batch;
        let before = records.len();
        if let Some(left) = left {
            let mut place = 0..;
            records.retain(|_| place.next().is_some_and(|place| left.contains(&place)));
        }
        let tries = if records.len() < before { 0 } else { tries };
        if u32::try_from(self.policy.retries).is_ok_and(|most| tries >= most) {
            self.give_up(reader, &records, "RetryAttemptsExhausted", tries, why);
            return None;
        }
        tracing::warn!("{} tries a batch again: {why}", self.name);
        tokio::time::sleep(pause(tries) / self.time_scale.max(1)).await;
        Some(Batch { records, tries: tries.saturating_add(1) })
    }

    /// The batch without the records that are too old.
    fn young(&self, reader: &impl Reader, mut batch: Batch) -> Option<Batch> {
        let declared = i64::from(self.policy.max_age_seconds);
        let declared_here = (declared / i64::from(self.time_scale.max(1))).max(1);
        let most = if declared < 0 { RETENTION_SECONDS } else { declared_here.min(RETENTION_SECONDS) };
        let oldest = Utc::now().timestamp().saturating_sub(most);
        let number = batch.records.iter().take_while(|record| record.created_at < oldest).count();
        let old: Vec<Record> = batch.records.drain(..number).collect();
        if !old.is_empty() {
            // The name of this condition is not documented.
            self.give_up(reader, &old, "RecordAgeExceeded", batch.tries, "too old");
        }
        (!batch.records.is_empty()).then_some(batch)
    }

    /// Sends a pointer to records that cannot be handed over to the dead-letter queue; as in AWS, the pointer names their
    /// place in the stream and does not hold them.
    fn give_up(&self, reader: &impl Reader, records: &[Record], condition: &str, tries: u32, why: &str) {
        let (Some(first), Some(last)) = (records.first(), records.last()) else { return };
        let (name, count, of) = (&self.name, records.len(), first.sequence);
        let Some(queue) = &self.dead_letters else {
            return tracing::error!("{name} gives up {count} records from {of} on: {why}");
        };
        let time = |seconds: i64| {
            let time = DateTime::from_timestamp(seconds, 0).unwrap_or_default();
            time.to_rfc3339_opts(SecondsFormat::Secs, true)
        };
        let mut pointer = reader.head(condition, tries.saturating_add(1));
        pointer["version"] = "1.0".into();
        pointer["timestamp"] = Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true).into();
        pointer["DDBStreamBatchInfo"] = json!({
            "shardId": SHARD,
            "startSequenceNumber": number(first.sequence),
            "endSequenceNumber": number(last.sequence),
            "approximateArrivalOfFirstRecord": time(first.created_at),
            "approximateArrivalOfLastRecord": time(last.created_at),
            "batchSize": records.len(),
            "streamArn": names::stream_arn(&self.table),
        });
        let (id, to) = (queue.send(&pointer.to_string()), &queue.name);
        tracing::error!(
            "{name} gives up {count} records from {of} on: {why}; a pointer went to the dead-letter queue {to} as message {id}"
        );
    }
}

/// The pause before the next try.
fn pause(tries: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(1 << tries.min(16)).min(MAX_PAUSE)
}

/// The second half, and the first, which is next.
fn halves(mut records: Vec<Record>) -> [Batch; 2] {
    let second = records.split_off(records.len().div_ceil(2));
    [Batch { records: second, tries: 0 }, Batch { records, tries: 0 }]
}
