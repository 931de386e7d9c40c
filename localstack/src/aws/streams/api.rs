//! DynamoDB Streams' calls: a table's stream as a developer reads it, beside what pipes and functions read. Each stream has the
//! one shard, which is open.
//!
//! <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_Operations_Amazon_DynamoDB_Streams.html>

use super::record::{Record, SHARD, number};
use crate::aws::dynamodb::{Database, StreamRecord};
use crate::aws::protocol::operations::{Operations, Run};
use crate::aws::protocol::pages::{limit, page};
use crate::aws::protocol::{ApiError, Call, Outcome, ok, seconds};
use crate::template::names;
use crate::template::resources::{Model, Table};
use chrono::Utc;
use serde::Deserialize;
use serde_json::{Value, json};
use std::ops::RangeInclusive;
use std::sync::Arc;

pub static OPERATIONS: &Operations<Service> = &[
    ("DescribeStream", Run::Now(describe)),
    ("GetRecords", Run::Now(records)),
    ("GetShardIterator", Run::Now(iterator)),
    ("ListStreams", Run::Now(list)),
];

const LISTED: RangeInclusive<i64> = 1..=100;
const READ: RangeInclusive<i64> = 1..=1000;
/// The most bytes of records in an answer, and how long an iterator can be used.
///
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_streams_GetRecords.html>
const MAX_BYTES: usize = 1024 * 1024;
const ITERATOR_MILLIS: i64 = 15 * 60 * 1000;
const INVALID: &str = "ValidationException";

/// The streams as callers see them.
pub struct Service {
    database: Database,
    model: Arc<Model>,
    /// When the stack started, in epoch milliseconds: the streams are as old.
    since: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct List {
    table_name: Option<String>,
    limit: Option<i64>,
    exclusive_start_stream_arn: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Describe {
    stream_arn: String,
    limit: Option<i64>,
    exclusive_start_shard_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct GetIterator {
    stream_arn: String,
    shard_id: String,
    shard_iterator_type: From,
    sequence_number: Option<String>,
    /// Epoch seconds.
    timestamp: Option<f64>,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum From {
    TrimHorizon,
    Latest,
    AtSequenceNumber,
    AfterSequenceNumber,
    AtTimestamp,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct GetRecords {
    shard_iterator: String,
    limit: Option<i64>,
}

/// A place in a stream, as a caller keeps it.
struct Place {
    stream: String,
    /// The number of the record before it; 0 for the oldest that there is.
    after: i64,
    /// When it was given, in epoch milliseconds.
    at: i64,
}

impl Place {
    fn text(&self) -> String {
        format!("{}|{}|{}", self.stream, self.after, self.at)
    }

    fn read(text: &str) -> Result<Self, ApiError> {
        let read = || {
            let (rest, at) = text.rsplit_once('|')?;
            let (stream, after) = rest.rsplit_once('|')?;
            Some(Self { stream: stream.to_owned(), after: after.parse().ok()?, at: at.parse().ok()? })
        };
        read().ok_or_else(|| ApiError::new(INVALID, "Invalid ShardIterator"))
    }
}

fn no_stream(stream: &str) -> ApiError {
    ApiError::new(
        "ResourceNotFoundException",
        format!("Requested resource not found: Stream: {stream} not found"),
    )
}

fn trimmed() -> ApiError {
    ApiError::new(
        "TrimmedDataAccessException",
        "The operation attempted to read past the oldest stream record in a shard: SequenceNumber is trimmed",
    )
}

impl Service {
    #[must_use]
    pub fn new(database: &Database, model: &Arc<Model>, since: i64) -> Self {
        Self { database: database.clone(), model: Arc::clone(model), since }
    }

    /// The table of a stream that a role may read.
    fn table(&self, call: &Call<'_>, stream: &str) -> Result<&Table, ApiError> {
        call.require(&format!("dynamodb:{}", call.operation), stream)?;
        let is_it = |table: &&Table| {
            table.stream_specification.is_some() && names::stream_arn(&table.table_name) == stream
        };
        self.model.tables.iter().find(is_it).ok_or_else(|| no_stream(stream))
    }

    /// Refuses a place whose next records the stream has forgotten.
    fn has(&self, table: &str, after: i64) -> Result<(), ApiError> {
        let is_there = match self.database.stream(table, 0, 1).first() {
            Some(oldest) => after.saturating_add(1) >= oldest.sequence,
            None => after >= self.database.newest(table),
        };
        if after == 0 || is_there { Ok(()) } else { Err(trimmed()) }
    }

    /// The number of the last record that is older than a time, in epoch seconds.
    fn before(&self, table: &str, time: f64) -> i64 {
        let mut after = 0;
        loop {
            let records = self.database.stream(table, after, page_size());
            #[allow(clippy::cast_precision_loss, reason = "AWS's own time stamp")]
            let younger = records.iter().find(|record| record.created_at as f64 >= time);
            if let Some(younger) = younger {
                return younger.sequence - 1;
            }
            let Some(last) = records.last() else { return after };
            after = last.sequence;
        }
    }
}

fn page_size() -> usize {
    usize::try_from(*READ.end()).unwrap_or_default()
}

fn list(service: &Service, call: &Call<'_>) -> Outcome {
    let asked: List = call.parse()?;
    call.require("dynamodb:ListStreams", "*")?;
    let limit = limit(("Limit", asked.limit), &LISTED, INVALID)?;
    let has_stream = |table: &&Table| {
        let is_asked = asked.table_name.as_ref().is_none_or(|name| *name == table.table_name);
        table.stream_specification.is_some() && is_asked
    };
    let tables: Vec<&Table> = service.model.tables.iter().filter(has_stream).collect();
    let stream = |table: &&Table| names::stream_arn(&table.table_name);
    let (tables, next) = page(tables, stream, asked.exclusive_start_stream_arn.as_deref(), limit);
    let shown = |table: &&Table| json!({"StreamArn": stream(table), "StreamLabel": names::STREAM_LABEL, "TableName": table.table_name});
    let mut answer = json!({"Streams": tables.iter().map(shown).collect::<Vec<_>>()});
    if let Some(next) = next {
        answer["LastEvaluatedStreamArn"] = next.into();
    }
    ok(&answer)
}

fn describe(service: &Service, call: &Call<'_>) -> Outcome {
    let asked: Describe = call.parse()?;
    let table = service.table(call, &asked.stream_arn)?;
    limit(("Limit", asked.limit), &LISTED, INVALID)?;
    let oldest = service.database.stream(&table.table_name, 0, 1).first().map_or(1, |record| record.sequence);
    let shard = json!({"ShardId": SHARD, "SequenceNumberRange": {"StartingSequenceNumber": number(oldest)}});
    let is_wanted = asked.exclusive_start_shard_id.is_none_or(|start| start.as_str() < SHARD);
    ok(&json!({"StreamDescription": {
        "StreamArn": asked.stream_arn,
        "StreamLabel": names::STREAM_LABEL,
        "StreamStatus": "ENABLED",
        "StreamViewType": table.stream_specification.as_ref().map(|stream| &stream.stream_view_type),
        "CreationRequestDateTime": seconds(service.since),
        "TableName": table.table_name,
        "KeySchema": table.key_schema,
        "Shards": if is_wanted { vec![shard] } else { Vec::new() },
    }}))
}

fn iterator(service: &Service, call: &Call<'_>) -> Outcome {
    let asked: GetIterator = call.parse()?;
    let table = &service.table(call, &asked.stream_arn)?.table_name;
    if asked.shard_id != SHARD {
        let why = format!("Requested resource not found: Shard: {} not found", asked.shard_id);
        return Err(ApiError::new("ResourceNotFoundException", why));
    }
    let (kind, numbered) = (asked.shard_iterator_type, [From::AtSequenceNumber, From::AfterSequenceNumber]);
    if numbered.contains(&kind) != asked.sequence_number.is_some()
        || (kind == From::AtTimestamp) != asked.timestamp.is_some()
    {
        let why = "SequenceNumber is given for AT_SEQUENCE_NUMBER and AFTER_SEQUENCE_NUMBER, Timestamp for AT_TIMESTAMP";
        return Err(ApiError::new(INVALID, why));
    }
    let after = match kind {
        From::TrimHorizon => 0,
        From::Latest => service.database.newest(table),
        From::AtTimestamp => service.before(table, asked.timestamp.unwrap_or_default()),
        From::AtSequenceNumber | From::AfterSequenceNumber => {
            let sequence = asked.sequence_number.and_then(|number| number.parse::<i64>().ok());
            let known = sequence.filter(|number| (1..=service.database.newest(table)).contains(number));
            let sequence = known.ok_or_else(|| ApiError::new(INVALID, "Invalid SequenceNumber"))?;
            service.has(table, sequence - 1)?;
            sequence - i64::from(kind == From::AtSequenceNumber)
        }
    };
    let place = Place { stream: asked.stream_arn, after, at: Utc::now().timestamp_millis() };
    ok(&json!({"ShardIterator": place.text()}))
}

fn records(service: &Service, call: &Call<'_>) -> Outcome {
    let asked: GetRecords = call.parse()?;
    let place = Place::read(&asked.shard_iterator)?;
    let table = &service.table(call, &place.stream)?.table_name;
    let limit = limit(("Limit", asked.limit), &READ, INVALID)?;
    let now = Utc::now().timestamp_millis();
    if now.saturating_sub(place.at) > ITERATOR_MILLIS {
        return Err(ApiError::new(
            "ExpiredIteratorException",
            "Iterator expired: it is older than 15 minutes",
        ));
    }
    service.has(table, place.after)?;
    let mut bytes = 0;
    let read = service.database.stream(table, place.after, limit);
    let fit = read.into_iter().take_while(|record| {
        let is_first = bytes == 0;
        bytes += record.keys.len() + record.new_image.as_ref().map_or(0, String::len);
        is_first || bytes <= MAX_BYTES
    });
    let fit: Vec<StreamRecord> = fit.collect();
    let after = fit.last().map_or(place.after, |record| record.sequence);
    let next = Place { stream: place.stream, after, at: now };
    let records = fit.iter().map(|record| shown(table, record)).collect::<Result<Vec<_>, _>>()?;
    ok(&json!({"Records": records, "NextShardIterator": next.text()}))
}

/// A record without what Lambda adds to it.
fn shown(table: &str, record: &StreamRecord) -> Result<Value, ApiError> {
    let mut shown: Value = crate::aws::protocol::parse(Record::new(table, record).json.as_bytes())?;
    shown.as_object_mut().map(|fields| fields.remove("eventSourceARN"));
    Ok(shown)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::iam::{Caller, Iam};
    use crate::support::storage::Storage;

    fn service() -> Service {
        let table = serde_json::from_value(json!({"TableName": "rows", "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
            "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
            "StreamSpecification": {"StreamViewType": "NEW_IMAGE"}}));
        let model = Model { tables: vec![table.unwrap()], ..Model::default() };
        let database = Database::start(&Storage::memory(), &model.tables).unwrap();
        Service { database, model: Arc::new(model), since: 0 }
    }

    fn ask(service: &Service, operation: &str, body: &Value) -> Result<Value, &'static str> {
        let (iam, caller, body) = (Iam::default(), Caller::Administrator, body.to_string().into_bytes());
        let call = Call { caller: &caller, iam: &iam, operation, body: &body };
        let run = OPERATIONS.iter().find(|(name, _)| *name == operation).map(|(_, run)| run).unwrap();
        let Run::Now(run) = run else { panic!("{operation} is waited for") };
        run(service, &call)
            .map(|(_, body)| serde_json::from_slice(&body).unwrap())
            .map_err(|error| error.code)
    }

    fn put(service: &Service, key: &str) {
        let body = json!({"TableName": "rows", "Item": {"pk": {"S": key}}}).to_string();
        assert_eq!(service.database.call("PutItem", body.as_bytes()).0, 200);
    }

    fn iterator(service: &Service, kind: &str, more: &Value) -> Result<String, &'static str> {
        let mut body =
            json!({"StreamArn": names::stream_arn("rows"), "ShardId": SHARD, "ShardIteratorType": kind});
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        let answer = ask(service, "GetShardIterator", &body)?;
        Ok(answer["ShardIterator"].as_str().unwrap().to_owned())
    }

    /// The keys of the records from a place on, and the place after them.
    fn read(service: &Service, place: &str, limit: usize) -> Result<(Vec<String>, String), &'static str> {
        let answer = ask(service, "GetRecords", &json!({"ShardIterator": place, "Limit": limit}))?;
        let key = |record: &Value| record["dynamodb"]["Keys"]["pk"]["S"].as_str().unwrap().to_owned();
        let keys = answer["Records"].as_array().unwrap().iter().map(key).collect();
        Ok((keys, answer["NextShardIterator"].as_str().unwrap().to_owned()))
    }

    /// Guards: each record is read once, in order, from the place that was asked for.
    #[test]
    fn a_stream_is_read_from_each_place() {
        let service = service();
        let latest = iterator(&service, "LATEST", &json!({})).unwrap();
        ["a", "b", "c"].iter().for_each(|key| put(&service, key));
        let oldest = iterator(&service, "TRIM_HORIZON", &json!({})).unwrap();
        let (keys, next) = read(&service, &oldest, 2).unwrap();
        assert_eq!(keys, ["a", "b"]);
        let (keys, next) = read(&service, &next, 2).unwrap();
        assert_eq!(keys, ["c"]);
        assert!(read(&service, &next, 2).unwrap().0.is_empty());
        assert_eq!(read(&service, &latest, 1000).unwrap().0, ["a", "b", "c"]);
        let numbered = json!({"SequenceNumber": number(2)});
        let from =
            |kind: &str, more: &Value| read(&service, &iterator(&service, kind, more).unwrap(), 9).unwrap().0;
        assert_eq!(from("AT_SEQUENCE_NUMBER", &numbered), ["b", "c"]);
        assert_eq!(from("AFTER_SEQUENCE_NUMBER", &numbered), ["c"]);
        assert_eq!(from("AT_TIMESTAMP", &json!({"Timestamp": 0})), ["a", "b", "c"]);
        let soon = Utc::now().timestamp() + 60;
        assert!(from("AT_TIMESTAMP", &json!({"Timestamp": soon})).is_empty());
    }

    /// Guards: a place that the stream has forgotten is an error, and no gap; so is one that never was, or is too old.
    #[test]
    fn a_place_that_is_not_there_is_refused() {
        let service = service();
        ["a", "b", "c"].iter().for_each(|key| put(&service, key));
        let numbered = |n: i64| json!({"SequenceNumber": number(n)});
        let first = iterator(&service, "AFTER_SEQUENCE_NUMBER", &numbered(1)).unwrap();
        service.database.forget("rows");
        put(&service, "d");
        let trimmed = Err("TrimmedDataAccessException");
        assert_eq!(read(&service, &first, 1), trimmed);
        assert_eq!(
            iterator(&service, "AT_SEQUENCE_NUMBER", &numbered(2)).map(drop),
            trimmed.clone().map(drop)
        );
        let invalid = Err("ValidationException");
        assert_eq!(iterator(&service, "AT_SEQUENCE_NUMBER", &numbered(5)), invalid.clone());
        assert_eq!(iterator(&service, "LATEST", &numbered(4)), invalid.clone());
        assert_eq!(iterator(&service, "AT_TIMESTAMP", &json!({})), invalid);
        let horizon = iterator(&service, "TRIM_HORIZON", &json!({})).unwrap();
        assert_eq!(read(&service, &horizon, 1).unwrap().0, ["d"]);
        let (stream, at) = (names::stream_arn("rows"), Utc::now().timestamp_millis() - ITERATOR_MILLIS - 1);
        assert_eq!(
            read(&service, &Place { stream, after: 0, at }.text(), 1),
            Err("ExpiredIteratorException")
        );
        assert_eq!(read(&service, "nonsense", 1), Err("ValidationException"));
        let described = ask(&service, "DescribeStream", &json!({"StreamArn": names::stream_arn("nope")}));
        assert_eq!(described, Err("ResourceNotFoundException"));
    }
}
