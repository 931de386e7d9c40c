//! DynamoDB and its streams: the `dynoxide` engine behind one mutex.
//!
//! The engine's own facade slows down as it is used (its stream table has no index and its idempotency
//! tokens are swept on every call), so the storage is driven directly, with the two missing indexes, our own
//! token table, and one fsync for all transactions that arrived together. A call is answered only after the
//! fsync that covers it: what was acknowledged survives a crash of the machine.

use crate::template::resources::Table;
use anyhow::{Context, Result};
use bytes::Bytes;
use dynoxide::actions::{self, vector_lifecycle::VectorIndexLifecycle};
use dynoxide::errors::DynoxideError;
use dynoxide::storage::Storage;
use futures_util::FutureExt;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// How long a `ClientRequestToken` is remembered: DynamoDB's ten minutes.
const TOKEN_WINDOW: Duration = Duration::from_secs(600);
/// How long a stream keeps its records: 24 hours, as in AWS.
const STREAM_SECONDS: i64 = 24 * 3600;

/// An answer: HTTP status and body.
pub type Answer = (u16, Bytes);

/// A record of a table's stream, as a pipe reads it.
#[derive(Clone, Debug)]
pub struct StreamRecord {
    /// Its place in the stream.
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

/// The running engine. Clones share it.
#[derive(Clone)]
pub struct Engine(Arc<Shared>);

struct Shared {
    worker: Mutex<Worker>,
    log: Option<Log>,
    wakers: HashMap<String, Arc<Notify>>,
}

/// The write-ahead log's file, and how much of what was committed is known to be on disk.
struct Log {
    file: File,
    committed: AtomicU64,
    synced: Mutex<u64>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Log {
    /// One fsync for everything committed since the last: whoever comes first syncs for all who wait behind.
    /// SQLite itself runs with `synchronous = NORMAL`, which leaves exactly this to us.
    fn sync(&self, commit: u64) {
        let mut synced = lock(&self.synced);
        if *synced >= commit {
            return;
        }
        let covered = self.committed.load(Ordering::SeqCst);
        if let Err(error) = self.file.sync_data() {
            // Acknowledging what may not be there would break the one promise made here.
            tracing::error!("cannot write to disk, stopping: {error}");
            std::process::exit(1);
        }
        *synced = covered;
    }
}

impl Engine {
    /// Opens the database at `path` (in memory without one) and creates the tables that are missing.
    ///
    /// # Errors
    /// When the file cannot be opened or a table's declaration is not one that DynamoDB would take.
    pub fn start(path: Option<&Path>, tables: &[Table]) -> Result<Self> {
        let storage = match path {
            Some(path) => {
                Storage::new(&path.to_string_lossy()).with_context(|| path.display().to_string())?
            }
            None => Storage::memory()?,
        };
        let indexes =
            "PRAGMA synchronous = NORMAL; PRAGMA cache_size = -65536; PRAGMA wal_autocheckpoint = 8000;
            CREATE INDEX IF NOT EXISTS _stream_newest
                ON _stream_records (table_name, CAST(sequence_number AS INTEGER));
            CREATE INDEX IF NOT EXISTS _stream_read
                ON _stream_records (table_name, shard_id, CAST(sequence_number AS INTEGER));";
        storage.conn().execute_batch(indexes)?;
        for table in tables {
            create(&storage, table).with_context(|| format!("table {}", table.table_name))?;
        }
        let log = path.map(|path| File::open(format!("{}-wal", path.display()))).transpose()?;
        let log = log.map(|file| Log { file, committed: AtomicU64::new(0), synced: Mutex::new(0) });
        let wakers = tables.iter().map(|table| (table.table_name.clone(), Arc::new(Notify::new())));
        let worker = Mutex::new(Worker { storage, tokens: Tokens::default() });
        Ok(Self(Arc::new(Shared { worker, log, wakers: wakers.collect() })))
    }

    /// Carries out one operation of the DynamoDB API, `PutItem` and so on, on its JSON body. Blocks for as
    /// long as the work takes: handing it to another thread and back takes longer.
    #[must_use]
    pub fn call(&self, operation: &str, body: &[u8]) -> Answer {
        let mut written = Vec::new();
        let mut worker = lock(&self.0.worker);
        let answer = worker.execute(operation, body, &mut written);
        if written.is_empty() {
            return answer;
        }
        let commit = self.0.log.as_ref().map(|log| (log, log.committed.fetch_add(1, Ordering::SeqCst) + 1));
        drop(worker);
        if let Some((log, commit)) = commit {
            log.sync(commit);
        }
        for table in written {
            if let Some(waker) = self.0.wakers.get(&table) {
                waker.notify_one();
            }
        }
        answer
    }

    /// At most `limit` records of a table's stream after `after`, oldest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn stream(&self, table: &str, after: i64, limit: usize) -> Result<Vec<StreamRecord>> {
        lock(&self.0.worker).records(table, after, limit)
    }

    /// Signals each time something was written to a table; `None` for a table nobody declared.
    #[must_use]
    pub fn waker(&self, table: &str) -> Option<Arc<Notify>> {
        self.0.wakers.get(table).cloned()
    }

    /// Deletes rows past their TTL and stream records past their day.
    pub fn sweep(&self) {
        lock(&self.0.worker).sweep();
    }
}

fn create(storage: &Storage, table: &Table) -> Result<()> {
    if storage.table_exists(&table.table_name)? {
        return check_indexes(storage, table);
    }
    let stream = table.stream_specification.as_ref();
    let request = json!({
        "TableName": table.table_name,
        "BillingMode": table.billing_mode,
        "AttributeDefinitions": table.attribute_definitions,
        "KeySchema": table.key_schema,
        "GlobalSecondaryIndexes": table.global_secondary_indexes,
        "StreamSpecification": stream.map(|s| json!({"StreamEnabled": true, "StreamViewType": s.stream_view_type})),
    });
    let request = serde_json::from_value(without_nulls(request))?;
    now(actions::create_table::execute(storage, request))??;
    if let Some(ttl) = &table.time_to_live_specification {
        let request = json!({"TableName": table.table_name, "TimeToLiveSpecification":
                {"AttributeName": ttl.attribute_name, "Enabled": ttl.enabled}});
        now(actions::update_time_to_live::execute(storage, serde_json::from_value(request)?))??;
    }
    Ok(())
}

/// A table of an earlier run must have the indexes that the template declares now.
fn check_indexes(storage: &Storage, table: &Table) -> Result<()> {
    let request = serde_json::from_value(json!({"TableName": table.table_name}))?;
    let vectors = VectorIndexLifecycle::new();
    let known = serde_json::to_value(now(actions::describe_table::execute(storage, request, &vectors))??)?;
    let names = |indexes: &Value| -> Vec<String> {
        let indexes = indexes.as_array().into_iter().flatten();
        let mut names: Vec<_> = indexes.filter_map(|i| Some(i["IndexName"].as_str()?.to_owned())).collect();
        names.sort();
        names
    };
    let declared = names(table.global_secondary_indexes.as_ref().unwrap_or(&Value::Null));
    let same = names(&known["Table"]["GlobalSecondaryIndexes"]) == declared;
    anyhow::ensure!(
        same,
        "the data folder is of an older template; start with --fresh or another --data-dir"
    );
    Ok(())
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(mut map) => {
            map.retain(|_, value| !value.is_null());
            Value::Object(map)
        }
        other => other,
    }
}

/// The native backend's futures never suspend.
fn now<T>(future: impl Future<Output = T>) -> Result<T> {
    future.now_or_never().context("the engine suspended")
}

/// An error as DynamoDB's JSON protocol writes it.
fn error_body(code: &str, message: &str) -> Bytes {
    json!({"__type": format!("com.amazonaws.dynamodb.v20120810#{code}"), "message": message})
        .to_string()
        .into()
}

struct Worker {
    storage: Storage,
    tokens: Tokens,
}

impl Worker {
    fn execute(&mut self, operation: &str, body: &[u8], written: &mut Vec<String>) -> Answer {
        match self.dispatch(operation, body, written) {
            Ok(answer) => (200, answer),
            Err(Error::Engine(error)) => (error.status_code(), error.to_json().into()),
            Err(Error::Request(message)) => {
                let message =
                    message.split_once("VALIDATION:").map_or(&*message, |(_, rest)| rest).to_owned();
                (400, error_body("ValidationException", &message))
            }
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
        let token: Token = parse(body)?;
        if let Some(token) = &token.client_request_token
            && let Some(known) = self.tokens.check(token, body)?
        {
            return Ok(known);
        }
        let storage = &self.storage;
        let answer = run(body, |r| actions::transact_write_items::execute(storage, r))?;
        written.extend(token.tables());
        if let Some(token) = token.client_request_token {
            self.tokens.remember(token, body, answer.clone());
        }
        Ok(answer)
    }

    fn records(&self, table: &str, after: i64, limit: usize) -> Result<Vec<StreamRecord>> {
        let shard = dynoxide::streams::shard_id(table);
        let rows = self.storage.get_stream_records(table, &shard, after, limit)?;
        rows.into_iter()
            .map(|row| {
                Ok(StreamRecord {
                    sequence: row.sequence_number.parse()?,
                    event_name: row.event_name,
                    keys: row.keys_json,
                    new_image: row.new_image,
                    created_at: row.created_at,
                })
            })
            .collect()
    }

    fn sweep(&self) {
        let swept = now(dynoxide::ttl::sweep_expired_items(&self.storage));
        if let Ok(Err(error)) = swept.map(|swept| swept.map(drop)) {
            tracing::warn!("TTL sweep: {error}");
        }
        // The newest record of each table stays, or its number would be given out again.
        let trim = "DELETE FROM _stream_records WHERE created_at < unixepoch() - ?1 AND id NOT IN
            (SELECT MAX(id) FROM _stream_records GROUP BY table_name)";
        if let Err(error) = self.storage.conn().execute(trim, [STREAM_SECONDS]) {
            tracing::warn!("stream trim: {error}");
        }
    }
}

enum Error {
    Engine(DynoxideError),
    Request(String),
    Unknown,
}

fn parse<T: for<'de> Deserialize<'de>>(body: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(body).map_err(|e| Error::Request(e.to_string()))
}

fn run<Q, A, F>(body: &[u8], action: impl FnOnce(Q) -> F) -> Result<Bytes, Error>
where
    Q: for<'de> Deserialize<'de>,
    A: Serialize,
    F: Future<Output = dynoxide::errors::Result<A>>,
{
    let answer = now(action(parse(body)?)).map_err(|e| Error::Request(e.to_string()))?;
    let answer = answer.map_err(Error::Engine)?;
    serde_json::to_vec(&answer).map(Bytes::from).map_err(|e| Error::Request(e.to_string()))
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

/// The parts of a TransactWriteItems request that concern us.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Token {
    client_request_token: Option<String>,
    transact_items: Vec<HashMap<String, TableName>>,
}

impl Token {
    fn tables(&self) -> Vec<String> {
        let mut tables: Vec<String> =
            self.transact_items.iter().flat_map(HashMap::values).map(|t| t.table_name.clone()).collect();
        tables.sort_unstable();
        tables.dedup();
        tables
    }
}

/// Answers by `ClientRequestToken`, forgotten in the order in which they came.
#[derive(Default)]
struct Tokens {
    answers: HashMap<String, (u64, Bytes)>,
    ages: VecDeque<(Instant, String)>,
}

fn fingerprint(body: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    hasher.finish()
}

impl Tokens {
    fn check(&mut self, token: &str, body: &[u8]) -> Result<Option<Bytes>, Error> {
        while self.ages.front().is_some_and(|(at, _)| at.elapsed() > TOKEN_WINDOW) {
            if let Some((_, old)) = self.ages.pop_front() {
                self.answers.remove(&old);
            }
        }
        match self.answers.get(token) {
            None => Ok(None),
            Some((known, answer)) if *known == fingerprint(body) => Ok(Some(answer.clone())),
            Some(_) => {
                let message = "the token was used with other parameters".to_owned();
                Err(Error::Engine(DynoxideError::IdempotentParameterMismatchException(message)))
            }
        }
    }

    fn remember(&mut self, token: String, body: &[u8], answer: Bytes) {
        self.ages.push_back((Instant::now(), token.clone()));
        self.answers.insert(token, (fingerprint(body), answer));
    }
}
