//! DynamoDB's operations on one storage, and the stream records that they leave.

use super::capacity;
use super::tokens::{TokenMisused, Tokens};
use crate::support::meter::Meter;
use anyhow::{Context, Result};
use bytes::Bytes;
use chrono::Utc;
use dynoxide::actions::{self, vector_lifecycle::VectorIndexLifecycle};
use dynoxide::errors::DynoxideError;
use dynoxide::storage::Storage;
use futures_util::FutureExt;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::HashMap;

/// How long a stream keeps its records: 24 hours, as in AWS.
const STREAM_SECONDS: i64 = 24 * 3600;

/// HTTP status and body.
pub type Answer = (u16, Bytes);

/// A record of a table's stream, as a pipe reads it.
#[derive(Clone, Debug)]
pub struct StreamRecord {
    /// The record's place in the stream, from 1.
    pub sequence: i64,
    /// `INSERT`, `MODIFY` or `REMOVE`.
    pub event_name: String,
    /// The keys, in DynamoDB's JSON.
    pub keys: String,
    /// The row after the write, in DynamoDB's JSON; none for a removal.
    pub new_image: Option<String>,
    /// Epoch seconds.
    pub created_at: i64,
}

/// The futures of `dynoxide`'s native backend never suspend.
///
/// # Errors
/// When one does.
pub fn ready<T>(future: impl Future<Output = T>) -> Result<T> {
    future.now_or_never().context("the engine suspended")
}

/// An error as DynamoDB's JSON protocol writes it.
pub(super) fn error_body(code: &str, message: &str) -> Bytes {
    json!({"__type": format!("com.amazonaws.dynamodb.v20120810#{code}"), "message": message})
        .to_string()
        .into()
}

pub struct Operations {
    storage: Storage,
    tokens: Tokens,
    meter: Meter,
}

impl Operations {
    #[must_use]
    pub fn new(storage: Storage) -> Self {
        Self { storage, tokens: Tokens::default(), meter: Meter::default() }
    }

    /// Has the meter count the capacity that each operation consumes.
    pub fn metered_by(&mut self, meter: &Meter) {
        self.meter = meter.clone();
    }

    /// Carries out one operation, such as `PutItem`, on its JSON body; adds the tables that it wrote to `written`.
    pub fn execute(&mut self, operation: &str, body: &[u8], written: &mut Vec<String>) -> Answer {
        let asking = capacity::asking(&self.meter, body);
        let dispatched = self.dispatch(operation, asking.as_deref().unwrap_or(body), written);
        if asking.is_some() {
            capacity::count(&self.meter, operation, body, dispatched.as_ref().ok());
        }
        match dispatched {
            Ok(answer) => (200, answer),
            Err(Error::Engine(error)) => (error.status_code(), error.to_json().into()),
            Err(Error::Request(error)) => {
                let message = error.to_string();
                let message = message.split_once("VALIDATION:").map_or(&*message, |(_, rest)| rest);
                (400, error_body("ValidationException", message))
            }
            Err(Error::Suspended(error)) => (400, error_body("ValidationException", &error.to_string())),
            Err(Error::Unknown) => {
                let message = format!("{operation} is not implemented by the local stack");
                (400, error_body("UnknownOperationException", &message))
            }
        }
    }

    fn dispatch(&mut self, operation: &str, body: &[u8], written: &mut Vec<String>) -> Result<Bytes, Error> {
        let (storage, vectors) = (&self.storage, &VectorIndexLifecycle::new());
        match operation {
            "GetItem" => run(body, |r| actions::get_item::execute(storage, r)),
            "Query" => run(body, |r| actions::query::execute(storage, r)),
            "Scan" => run(body, |r| actions::scan::execute(storage, r)),
            "BatchGetItem" => run(body, |r| actions::batch_get_item::execute(storage, r)),
            "TransactGetItems" => run(body, |r| actions::transact_get_items::execute(storage, r)),
            "DescribeTable" => run(body, |r| actions::describe_table::execute(storage, r, vectors)),
            "ListTables" => run(body, |r| actions::list_tables::execute(storage, r)),
            "PutItem" => write(body, written, |r| actions::put_item::execute(storage, r)),
            "UpdateItem" => write(body, written, |r| actions::update_item::execute(storage, r)),
            "DeleteItem" => write(body, written, |r| actions::delete_item::execute(storage, r)),
            "TransactWriteItems" => self.transact(body, written),
            _ => Err(Error::Unknown),
        }
    }

    fn transact(&mut self, body: &[u8], written: &mut Vec<String>) -> Result<Bytes, Error> {
        let transaction: Transaction = parse(body)?;
        if let Some(token) = &transaction.client_request_token
            && let Some(known) = self.tokens.check(token, body)?
        {
            return Ok(known);
        }
        let storage = &self.storage;
        let answer = run(body, |r| actions::transact_write_items::execute(storage, r))?;
        written.extend(transaction.tables());
        if let Some(token) = transaction.client_request_token {
            self.tokens.remember(token, body, answer.clone());
        }
        Ok(answer)
    }

    /// At most `limit` records of a table's stream after the sequence number `after`, oldest first; none older than a day.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn records(&self, table: &str, mut after: i64, limit: usize) -> Result<Vec<StreamRecord>> {
        let oldest = Utc::now().timestamp() - STREAM_SECONDS;
        loop {
            let mut records = self.rows(table, after, limit)?;
            let is_last = records.len() < limit;
            after = records.last().map_or(after, |record| record.sequence);
            records.retain(|record| record.created_at >= oldest);
            if is_last || !records.is_empty() {
                return Ok(records);
            }
        }
    }

    fn rows(&self, table: &str, after: i64, limit: usize) -> Result<Vec<StreamRecord>> {
        let shard = dynoxide::streams::shard_id(table);
        let rows = self.storage.get_stream_records(table, &shard, after, limit)?;
        let record = |row: dynoxide::storage::StreamRecord| {
            Ok(StreamRecord {
                sequence: row.sequence_number.parse()?,
                event_name: row.event_name,
                keys: row.keys_json,
                new_image: row.new_image,
                created_at: row.created_at,
            })
        };
        rows.into_iter().map(record).collect()
    }

    /// Makes a table's stream forget all its records: they are as old as can be.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn forget(&self, table: &str) -> Result<()> {
        let age = "UPDATE _stream_records SET created_at = 0 WHERE table_name = ?1";
        self.storage.conn().execute(age, [table])?;
        Ok(())
    }

    /// Deletes rows past their TTL and stream records past their day.
    pub fn sweep(&self) {
        let swept = ready(dynoxide::ttl::sweep_expired_items(&self.storage));
        if let Ok(Err(error)) = swept.map(|swept| swept.map(drop)) {
            tracing::warn!("TTL sweep: {error}");
        }
        // The newest record of each table stays: otherwise the next record would get its number again.
        let trim = "DELETE FROM _stream_records WHERE created_at < unixepoch() - ?1 AND id NOT IN
            (SELECT MAX(id) FROM _stream_records GROUP BY table_name)";
        if let Err(error) = self.storage.conn().execute(trim, [STREAM_SECONDS]) {
            tracing::warn!("stream trim: {error}");
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Engine(#[from] DynoxideError),
    /// A request that cannot be read, or an answer that cannot be written.
    #[error(transparent)]
    Request(#[from] serde_json::Error),
    #[error(transparent)]
    Suspended(anyhow::Error),
    #[error("there is no such operation")]
    Unknown,
}

impl From<TokenMisused> for Error {
    fn from(misused: TokenMisused) -> Self {
        Self::Engine(DynoxideError::IdempotentParameterMismatchException(misused.to_string()))
    }
}

fn parse<T: for<'de> Deserialize<'de>>(body: &[u8]) -> Result<T, Error> {
    Ok(serde_json::from_slice(body)?)
}

fn run<Q, A, F>(body: &[u8], action: impl FnOnce(Q) -> F) -> Result<Bytes, Error>
where
    Q: for<'de> Deserialize<'de>,
    A: Serialize,
    F: Future<Output = dynoxide::errors::Result<A>>,
{
    let answer = ready(action(parse(body)?)).map_err(Error::Suspended)??;
    Ok(serde_json::to_vec(&answer)?.into())
}

fn write<Q, A, F>(body: &[u8], written: &mut Vec<String>, action: impl FnOnce(Q) -> F) -> Result<Bytes, Error>
where
    Q: for<'de> Deserialize<'de>,
    A: Serialize,
    F: Future<Output = dynoxide::errors::Result<A>>,
{
    let answer = run(body, action)?;
    written.push(parse::<TableName>(body)?.table_name);
    Ok(answer)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TableName {
    table_name: String,
}

/// The parts of a TransactWriteItems request that the operations read themselves.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Transaction {
    client_request_token: Option<String>,
    transact_items: Vec<HashMap<String, TableName>>,
}

impl Transaction {
    fn tables(&self) -> Vec<String> {
        let mut tables: Vec<String> =
            self.transact_items.iter().flat_map(HashMap::values).map(|t| t.table_name.clone()).collect();
        tables.sort_unstable();
        tables.dedup();
        tables
    }
}
