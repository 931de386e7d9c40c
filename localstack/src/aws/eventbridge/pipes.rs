//! Pipes: each carries records from a table's stream, through its filter and template, to a bus.
//!
//! <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-pipes-dynamodb.html>

use super::bus::Buses;
use super::input_transformer::{PipeData, Shape};
use crate::aws::dynamodb::{Database, StreamRecord};
use crate::aws::sqs::{Queue, Queues};
use crate::faults::Faults;
use crate::support::journal::{Entry, Journal};
use crate::template::names;
use crate::template::resources::Pipe as Declared;
use anyhow::{Context, Result};
use serde_json::json;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Notify;

/// The most records of one read.
const MAX_RECORDS: usize = 100;

pub struct Pipe {
    pub name: String,
    table: String,
    bus: String,
    shape: Shape,
    /// The sequence number of the last record that an earlier run carried; 0 for none.
    start: i64,
    dead_letters: Option<Arc<Queue>>,
    database: Database,
    buses: Buses,
    journal: Journal,
    faults: Faults,
    written: Arc<Notify>,
    idle: AtomicBool,
}

/// What pipes are connected to.
pub struct Connections<'a> {
    pub database: &'a Database,
    pub buses: &'a Buses,
    /// The dead-letter queues are among them.
    pub queues: &'a Queues,
    /// Keeps how far each pipe has read.
    pub journal: &'a Journal,
    /// How far each pipe had read when the stack stopped.
    pub positions: &'a HashMap<String, i64>,
    pub data: PipeData,
    pub faults: &'a Faults,
}

impl Pipe {
    /// A pipe as declared.
    ///
    /// # Errors
    /// When its source, target, filter or template is not implemented or not declared.
    pub fn new(declared: &Declared, connections: &Connections<'_>) -> Result<Self> {
        let Connections { database, buses, queues, journal, positions, data, faults } = *connections;
        let table = names::table_of_stream(&declared.source).context("its source is not a table's stream")?;
        let written = database.written(table).with_context(|| format!("no template declares {table}"))?;
        let dead_letters = declared.source_parameters.stream.dead_letter_config.as_ref();
        let dead_letters = dead_letters.map(|config| queues.by_arn(&config.arn)).transpose()?;
        Ok(Self {
            name: declared.name.clone(),
            table: table.to_owned(),
            bus: names::last_part(&declared.target).to_owned(),
            shape: Shape::new(declared, data)?,
            start: positions.get(&declared.name).copied().unwrap_or(0),
            dead_letters,
            database: database.clone(),
            buses: buses.clone(),
            journal: journal.clone(),
            faults: faults.clone(),
            written,
            idle: AtomicBool::new(false),
        })
    }

    /// Carries records, woken by each commit to the table, for as long as the process lives.
    pub async fn run(&self) {
        let mut position = self.start;
        loop {
            self.faults.wait_while_stopped(&self.name).await;
            let written = self.written.notified();
            match self.database.stream(&self.table, position, MAX_RECORDS) {
                Ok(records) if records.is_empty() => {
                    self.idle.store(true, Ordering::SeqCst);
                    written.await;
                    self.idle.store(false, Ordering::SeqCst);
                }
                Ok(records) => {
                    records.iter().for_each(|record| self.carry(record));
                    if let Some(last) = records.last() {
                        position = last.sequence;
                        let pipe = self.name.clone();
                        self.journal.write(vec![Entry::Position { pipe, sequence: position }]);
                    }
                }
                Err(error) => {
                    tracing::error!(pipe = self.name, "cannot read the stream: {error}");
                    return;
                }
            }
        }
    }

    /// Whether the pipe has carried every record of the stream.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.idle.load(Ordering::SeqCst)
    }

    fn carry(&self, record: &StreamRecord) {
        let carried = match self.shape.make(record) {
            Ok(None) => return,
            Ok(Some(entry)) => {
                let put = self.buses.put(&self.bus, &entry);
                put.map(drop).map_err(|e| anyhow::anyhow!("{}: {e}", e.code()))
            }
            Err(error) => Err(error),
        };
        if let Err(error) = carried {
            self.dead_letter(record, &error);
        }
    }

    /// Sends a pointer to a record that cannot be carried to the dead-letter queue; as in AWS, the pointer names the
    /// place in the stream and does not hold the record.
    fn dead_letter(&self, record: &StreamRecord, error: &anyhow::Error) {
        tracing::error!(pipe = self.name, sequence = record.sequence, "cannot carry a record: {error:#}");
        if let Some(queue) = &self.dead_letters {
            let sequence = record.sequence.to_string();
            let pointer = json!({
                "context": {"partnerResourceArn": self.name, "condition": "RetryAttemptsExhausted"},
                "DDBStreamBatchInfo": {"startSequenceNumber": sequence, "endSequenceNumber": sequence,
                    "batchSize": 1, "streamArn": self.table},
            });
            queue.send(&pointer.to_string());
        }
    }
}
