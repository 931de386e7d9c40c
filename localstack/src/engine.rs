//! DynamoDB and its streams: the `dynoxide` engine on a thread of its own.
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
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, oneshot};

/// The most calls that share one fsync.
const MAX_BATCH: usize = 64;
/// How long a `ClientRequestToken` is remembered: DynamoDB's ten minutes.
const TOKEN_WINDOW: Duration = Duration::from_secs(600);
/// How long a stream keeps its records: 24 hours, as in AWS.
const STREAM_SECONDS: i64 = 24 * 3600;

/// An answer: HTTP status and body.
pub type Answer = (u16, Bytes);

enum Call {
    Api { operation: String, body: Bytes, reply: oneshot::Sender<Answer> },
    Stream { table: String, after: i64, limit: usize, reply: oneshot::Sender<Result<Vec<StreamRecord>>> },
    Sweep,
}

/// A record of a table's stream, as a pipe reads it.
#[derive(Clone, Debug)]
pub struct StreamRecord {
    /// Its place in the stream.
    pub sequence: i64,
    /// `INSERT`, `MODIFY` or `REMOVE`.
    pub event_name: String,
    /// The keys, in DynamoDB's JSON.
    pub keys: Value,
    /// The row after the write, in DynamoDB's JSON.
    pub new_image: Option<Value>,
    /// Epoch seconds.
    pub created_at: i64,
}

/// The running engine. Clones share it.
#[derive(Clone)]
pub struct Engine {
    calls: mpsc::Sender<Call>,
    wakers: Arc<HashMap<String, Arc<Notify>>>,
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
        let indexes = "PRAGMA synchronous = NORMAL; PRAGMA cache_size = -65536;
            CREATE INDEX IF NOT EXISTS _stream_newest
                ON _stream_records (table_name, CAST(sequence_number AS INTEGER));
            CREATE INDEX IF NOT EXISTS _stream_read
                ON _stream_records (table_name, shard_id, CAST(sequence_number AS INTEGER));";
        storage.conn().execute_batch(indexes)?;
        for table in tables {
            create(&storage, table).with_context(|| format!("table {}", table.table_name))?;
        }
        let log = path.map(|path| std::fs::File::open(format!("{}-wal", path.display()))).transpose()?;
        let wakers = tables.iter().map(|table| (table.table_name.clone(), Arc::new(Notify::new())));
        let wakers = Arc::new(wakers.collect::<HashMap<_, _>>());
        let (calls, inbox) = mpsc::channel();
        let worker = Worker { storage, log, wakers: Arc::clone(&wakers), tokens: Tokens::default() };
        std::thread::Builder::new().name("dynamodb".into()).spawn(move || worker.run(&inbox))?;
        Ok(Self { calls, wakers })
    }

    /// Carries out one operation of the DynamoDB API, `PutItem` and so on, on its JSON body.
    pub async fn call(&self, operation: &str, body: Bytes) -> Answer {
        let (reply, answer) = oneshot::channel();
        let call = Call::Api { operation: operation.to_owned(), body, reply };
        let sent = self.calls.send(call);
        match (sent, answer.await) {
            (Ok(()), Ok(answer)) => answer,
            _ => (500, error_body("InternalServerError", "the engine has stopped")),
        }
    }

    /// At most `limit` records of a table's stream after `after`, oldest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn stream(&self, table: &str, after: i64, limit: usize) -> Result<Vec<StreamRecord>> {
        let (reply, answer) = oneshot::channel();
        let stopped = || anyhow::anyhow!("the engine has stopped");
        let call = Call::Stream { table: table.to_owned(), after, limit, reply };
        self.calls.send(call).map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }

    /// Signals each time something was written to a table; `None` for a table nobody declared.
    #[must_use]
    pub fn waker(&self, table: &str) -> Option<Arc<Notify>> {
        self.wakers.get(table).cloned()
    }

    /// Deletes rows past their TTL and stream records past their day.
    pub fn sweep(&self) {
        // A stopped engine has nothing left to sweep.
        let _ = self.calls.send(Call::Sweep);
    }
}

fn create(storage: &Storage, table: &Table) -> Result<()> {
    let exists = storage.table_exists(&table.table_name)?;
    if !exists {
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
    }
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
    /// The write-ahead log's file; none in memory.
    log: Option<std::fs::File>,
    wakers: Arc<HashMap<String, Arc<Notify>>>,
    tokens: Tokens,
}

impl Worker {
    fn run(mut self, inbox: &mpsc::Receiver<Call>) {
        while let Ok(first) = inbox.recv() {
            let mut replies: Vec<(oneshot::Sender<Answer>, Answer)> = Vec::new();
            let mut streams = Vec::new();
            let mut written: Vec<String> = Vec::new();
            let batch = std::iter::once(first).chain(inbox.try_iter().take(MAX_BATCH - 1));
            for call in batch {
                match call {
                    Call::Api { operation, body, reply } => {
                        let answer = self.execute(&operation, &body, &mut written);
                        replies.push((reply, answer));
                    }
                    Call::Stream { table, after, limit, reply } => {
                        streams.push((reply, self.records(&table, after, limit)));
                    }
                    Call::Sweep => self.sweep(),
                }
            }
            if !written.is_empty() {
                self.sync();
            }
            // Whoever waits for an answer may be gone; that is theirs to decide.
            replies.into_iter().for_each(|(reply, answer)| drop(reply.send(answer)));
            streams.into_iter().for_each(|(reply, records)| drop(reply.send(records)));
            for table in written {
                if let Some(waker) = self.wakers.get(&table) {
                    waker.notify_one();
                }
            }
        }
    }

    /// One fsync of the log for everything committed since the last: SQLite itself runs with
    /// `synchronous = NORMAL`, which leaves exactly this to us.
    fn sync(&self) {
        let Some(log) = &self.log else { return };
        if let Err(error) = log.sync_data() {
            // Acknowledging what may not be there would break the one promise that this thread makes.
            tracing::error!("cannot write to disk, stopping: {error}");
            std::process::exit(1);
        }
    }

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
                    keys: serde_json::from_str(&row.keys_json)?,
                    new_image: row.new_image.as_deref().map(serde_json::from_str).transpose()?,
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
