//! A stream's record as pipes and functions see it, and the filter that holds records back.
//!
//! <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_streams_Record.html>

use crate::aws::dynamodb::StreamRecord;
use crate::template::names::{self, REGION};
use crate::template::resources::FilterCriteria;
use anyhow::{Result, anyhow};
use quamina::Quamina;

/// The one shard of every stream, named as AWS names them.
pub const SHARD: &str = "shardId-00000000000000000001-10ca1000";

/// A record's place in its stream as AWS writes it: clients refuse fewer than 21 digits.
#[must_use]
pub fn number(sequence: i64) -> String {
    format!("{sequence:021}")
}

/// A record with its JSON. The JSON of the table is joined as text: the filter holds most records back, and only the others
/// are parsed.
#[derive(Clone, Debug)]
pub struct Record {
    /// The record's place in the stream.
    pub sequence: i64,
    /// Epoch seconds.
    pub created_at: i64,
    pub json: String,
}

impl Record {
    #[must_use]
    pub fn new(table: &str, record: &StreamRecord) -> Self {
        let StreamRecord { sequence, event_name, keys, new_image, created_at } = record;
        let (image, id, stream) = (new_image.as_deref(), id(*sequence), names::stream_arn(table));
        let number = number(*sequence);
        let size = keys.len() + image.map_or(0, str::len);
        let image = image.map(|image| format!(r#""NewImage":{image},"#)).unwrap_or_default();
        let json = format!(
            r#"{{"eventID":"{id}","eventName":"{event_name}","eventVersion":"1.1","eventSource":"aws:dynamodb","awsRegion":"{REGION}","eventSourceARN":"{stream}","dynamodb":{{"ApproximateCreationDateTime":{created_at},"Keys":{keys},{image}"SequenceNumber":"{number}","SizeBytes":{size},"StreamViewType":"NEW_IMAGE"}}}}"#
        );
        Self { sequence: *sequence, created_at: *created_at, json }
    }

    /// The record's `eventID`.
    #[must_use]
    pub fn id(&self) -> String {
        id(self.sequence)
    }
}

fn id(sequence: i64) -> String {
    format!("{sequence:032x}")
}

/// Lets a record through when one of its patterns matches; without patterns, every record.
pub struct Filter(Option<Quamina<usize>>);

impl Filter {
    /// # Errors
    /// When a pattern is not implemented.
    pub fn new(criteria: Option<&FilterCriteria>) -> Result<Self> {
        let Some(criteria) = criteria else { return Ok(Self(None)) };
        let mut patterns = Quamina::new();
        for (n, filter) in criteria.filters.iter().enumerate() {
            let added = patterns.add_pattern(n, &filter.pattern);
            added.map_err(|e| anyhow!("the filter pattern is not implemented by the local stack: {e:?}"))?;
        }
        Ok(Self(Some(patterns)))
    }

    /// Whether the record passes.
    ///
    /// # Errors
    /// When the record is not JSON.
    pub fn passes(&self, record: &Record) -> Result<bool> {
        let Some(patterns) = &self.0 else { return Ok(true) };
        patterns.has_matches(record.json.as_bytes()).map_err(|e| anyhow!("{e:?}"))
    }
}
