//! Lambda: the unmodified service binaries against a Runtime API, one process per function, with timeouts,
//! crashes and restarts, and the poller that feeds a function from its queue.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>
//! <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html>

use crate::aws::sqs::{Queue, Queues, Received};
use crate::support::http::{self, Incame, Response, empty};
use crate::template::names::{self, REGION};
use crate::template::resources::Function as Declared;
use anyhow::{Context, Result};
use bytes::Bytes;
use chrono::Utc;
use http_body_util::Full;
use hyper::{Method, StatusCode};
use md5::{Digest, Md5};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::process::{Child, Command};
use tokio::sync::{Notify, Semaphore, oneshot};
use uuid::Uuid;

/// How many invocations one process works on at a time (`AWS_LAMBDA_MAX_CONCURRENCY`). Classic Lambda has
/// one and starts more processes instead; the binaries run both ways.
const CONCURRENCY: usize = 16;
/// The most bytes of a function's answer: <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>.
const MAX_ANSWER_BYTES: usize = 6 * 1024 * 1024;
/// How many batches of one queue are in flight at a time.
const BATCHES: usize = 8;
/// The longest pause before a function that keeps dying is started again.
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// Why an invocation gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvokeError {
    /// It took longer than the function's timeout; the process was killed.
    #[error("the function timed out after {0:?}")]
    Timeout(Duration),
    /// The process ended while working on it.
    #[error("the function's process ended")]
    Crashed,
    /// The function itself reported an error.
    #[error("the function failed: {0}")]
    Failed(String),
}

struct Invocation {
    id: String,
    payload: Bytes,
    reply: oneshot::Sender<Result<Bytes, InvokeError>>,
}

struct Running {
    process: u64,
    reply: oneshot::Sender<Result<Bytes, InvokeError>>,
}

#[derive(Default)]
struct Work {
    waiting: VecDeque<Invocation>,
    running: HashMap<String, Running>,
    process: u64,
    pid: Option<u32>,
}

/// A function.
pub struct Function {
    /// Its name.
    pub name: String,
    /// Its role's ARN.
    pub role: String,
    /// How long one invocation may take.
    pub timeout: Duration,
    binary: PathBuf,
    environment: BTreeMap<String, String>,
    log: PathBuf,
    work: Mutex<Work>,
    arrived: Notify,
    kill: Notify,
}

/// What functions are given besides what their template says.
pub struct Surroundings {
    /// Where the Runtime API answers: `127.0.0.1:4570`
    pub runtime_api: String,
    /// Where AWS answers.
    pub endpoint: String,
    /// The folder with the service binaries.
    pub binaries: PathBuf,
    /// The folder for their output.
    pub logs: PathBuf,
}

impl Function {
    /// A function as declared, with credentials of its role.
    ///
    /// # Errors
    /// When there is no binary for its code.
    pub fn new(declared: &Declared, access_key: &str, around: &Surroundings) -> Result<Self> {
        let name = declared.function_name.clone();
        let binary = around.binaries.join(names::last_part(&declared.code));
        anyhow::ensure!(
            binary.is_file(),
            "function {name}: there is no binary {}; build it, or name its folder with --bin-dir",
            binary.display()
        );
        let mut environment = declared.environment.clone().map(|e| e.variables).unwrap_or_default();
        let log_group = declared.logging_config.as_ref().map(|config| config.log_group.clone());
        let memory = declared.memory_size.unwrap_or(128).to_string();
        let fixed: [(&str, String); 13] = [
            ("_HANDLER", declared.handler.clone()),
            ("AWS_REGION", REGION.into()),
            ("AWS_DEFAULT_REGION", REGION.into()),
            ("AWS_ACCESS_KEY_ID", access_key.into()),
            ("AWS_SECRET_ACCESS_KEY", "local".into()),
            ("AWS_SESSION_TOKEN", "local".into()),
            ("AWS_ENDPOINT_URL", around.endpoint.clone()),
            ("AWS_LAMBDA_FUNCTION_NAME", name.clone()),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST".into()),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", memory),
            ("AWS_LAMBDA_LOG_GROUP_NAME", log_group.unwrap_or_else(|| format!("/aws/lambda/{name}"))),
            ("AWS_LAMBDA_LOG_STREAM_NAME", "local".into()),
            ("AWS_LAMBDA_MAX_CONCURRENCY", CONCURRENCY.to_string()),
        ];
        environment.extend(std::env::var("RUST_LOG").ok().map(|level| ("RUST_LOG".to_owned(), level)));
        environment.extend(fixed.map(|(name, value)| (name.to_owned(), value)));
        environment.insert("AWS_LAMBDA_RUNTIME_API".into(), format!("http://{}/{name}", around.runtime_api));
        Ok(Self {
            log: around.logs.join(format!("{name}.log")),
            timeout: Duration::from_secs(declared.timeout.unwrap_or(3).into()),
            role: declared.role.clone(),
            name,
            binary,
            environment,
            work: Mutex::default(),
            arrived: Notify::new(),
            kill: Notify::new(),
        })
    }

    fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs the function on a payload.
    ///
    /// # Errors
    /// [`InvokeError`].
    pub async fn invoke(&self, payload: Bytes) -> Result<Bytes, InvokeError> {
        let (reply, answer) = oneshot::channel();
        let id = Uuid::new_v4().to_string();
        self.work().waiting.push_back(Invocation { id: id.clone(), payload, reply });
        self.arrived.notify_one();
        match tokio::time::timeout(self.timeout, answer).await {
            Ok(answer) => answer.unwrap_or(Err(InvokeError::Crashed)),
            Err(_) => {
                let mut work = self.work();
                work.waiting.retain(|invocation| invocation.id != id);
                let stuck = work.running.remove(&id).map(|running| running.process);
                // Only the process that is stuck: the next one has done nothing wrong.
                if stuck == Some(work.process) && work.pid.is_some() {
                    self.kill.notify_one();
                }
                Err(InvokeError::Timeout(self.timeout))
            }
        }
    }

    /// Kills the process; what it worked on has failed, and another is started.
    pub fn kill(&self) {
        self.kill.notify_one();
    }

    /// The process id, while there is a process.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.work().pid
    }

    /// Whether nothing waits and nothing runs.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let work = self.work();
        work.waiting.is_empty() && work.running.is_empty()
    }

    /// The next invocation for a process; waits for one.
    async fn next(&self, process: u64) -> (String, Bytes) {
        loop {
            let arrived = self.arrived.notified();
            match self.take(process) {
                Some(Some(taken)) => return taken,
                Some(None) => {}
                // The connection of a process that has died may live a moment longer; it gets no work.
                None => {
                    self.arrived.notify_one();
                    return std::future::pending().await;
                }
            }
            arrived.await;
        }
    }

    /// Takes a waiting invocation, if there is one; nothing at all for a process that is not the current one.
    fn take(&self, process: u64) -> Option<Option<(String, Bytes)>> {
        let mut work = self.work();
        if work.process != process {
            return None;
        }
        let Some(Invocation { id, payload, reply }) = work.waiting.pop_front() else { return Some(None) };
        work.running.insert(id.clone(), Running { process, reply });
        if !work.waiting.is_empty() {
            self.arrived.notify_one();
        }
        Some(Some((id, payload)))
    }

    /// The answer to an invocation; `false` when nobody waits for it any more.
    fn finish(&self, id: &str, answer: Result<Bytes, InvokeError>) -> bool {
        let running = self.work().running.remove(id);
        running.is_some_and(|running| running.reply.send(answer).is_ok())
    }

    /// Keeps a process running until the stack stops.
    pub async fn supervise(&self) {
        let mut pause = Duration::from_millis(50);
        loop {
            let started = Instant::now();
            match self.run_once().await {
                Ok(status) => tracing::warn!("{} ended ({status}); starting it again", self.name),
                Err(error) => tracing::error!("{}: {error:#}", self.name),
            }
            pause = if started.elapsed() > MAX_PAUSE { Duration::from_millis(50) } else { pause * 2 };
            pause = pause.min(MAX_PAUSE);
            tokio::time::sleep(pause).await;
        }
    }

    async fn run_once(&self) -> Result<ExitStatus> {
        let process = {
            let mut work = self.work();
            work.process += 1;
            work.process
        };
        let mut child = self.spawn(process)?;
        self.work().pid = child.id();
        let status = tokio::select! {
            status = child.wait() => status?,
            () = self.kill.notified() => {
                child.kill().await?;
                child.wait().await?
            }
        };
        let mut work = self.work();
        work.pid = None;
        let lost = work.running.iter().filter(|(_, running)| running.process == process);
        let ids: Vec<String> = lost.map(|(id, _)| id.clone()).collect();
        for id in ids {
            if let Some(running) = work.running.remove(&id) {
                // The invoker may have given up already.
                let _ = running.reply.send(Err(InvokeError::Crashed));
            }
        }
        Ok(status)
    }

    fn spawn(&self, process: u64) -> Result<Child> {
        let log = open_log(&self.log)?;
        let mut command = Command::new(&self.binary);
        command.env_clear().envs(&self.environment);
        if let Some(api) = self.environment.get("AWS_LAMBDA_RUNTIME_API") {
            command.env("AWS_LAMBDA_RUNTIME_API", format!("{api}/{process}"));
        }
        let command = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).kill_on_drop(true);
        command.spawn().with_context(|| self.binary.display().to_string())
    }
}

/// A function's log is started anew when it has grown beyond this.
const MAX_LOG_BYTES: u64 = 64 * 1024 * 1024;

fn open_log(path: &Path) -> Result<File> {
    let too_long = std::fs::metadata(path).is_ok_and(|data| data.len() > MAX_LOG_BYTES);
    let mut options = OpenOptions::new();
    if too_long {
        options.write(true).truncate(true);
    } else {
        options.append(true);
    }
    options.create(true).open(path).with_context(|| path.display().to_string())
}

/// Every function, by name. Clones share them.
#[derive(Clone, Default)]
pub struct Functions(Arc<HashMap<String, Arc<Function>>>);

impl FromIterator<Function> for Functions {
    fn from_iter<I: IntoIterator<Item = Function>>(functions: I) -> Self {
        let by_name = |function: Function| (function.name.clone(), Arc::new(function));
        Self(Arc::new(functions.into_iter().map(by_name).collect()))
    }
}

impl Functions {
    /// A function by its name or ARN.
    ///
    /// # Errors
    /// When nobody declared it.
    pub fn get(&self, name_or_arn: &str) -> Result<Arc<Function>> {
        let function = self.0.get(names::last_part(name_or_arn)).cloned();
        function.with_context(|| format!("no template declares the function {name_or_arn}"))
    }

    /// The function of a role: each has one of its own.
    #[must_use]
    pub fn of_role(&self, role: &str) -> Option<Arc<Function>> {
        self.0.values().find(|function| function.role == role).cloned()
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Function>> {
        self.0.values()
    }

    /// Answers a call to the Runtime API: `/<function>/<process>/2018-06-01/runtime/…`.
    pub async fn answer(self, request: Incame) -> Response {
        let (parts, body) = request.into_parts();
        let path: Vec<&str> = parts.uri.path().trim_start_matches('/').split('/').collect();
        let [function, process, "2018-06-01", "runtime", call @ ..] = path.as_slice() else {
            return empty(StatusCode::NOT_FOUND);
        };
        let (Ok(function), Ok(process)) = (self.get(function), process.parse()) else {
            return empty(StatusCode::NOT_FOUND);
        };
        if (&parts.method, call) == (&Method::GET, &["invocation", "next"]) {
            return next(&function, process).await;
        }
        let body = match http::body(body, MAX_ANSWER_BYTES).await {
            Ok(body) => body,
            Err(status) => return empty(status),
        };
        match call {
            ["invocation", id, "response"] => finish(&function, id, Ok(body)),
            ["invocation", id, "error"] => {
                let message = String::from_utf8_lossy(&body).into_owned();
                tracing::warn!("{} reports {message}", function.name);
                finish(&function, id, Err(InvokeError::Failed(message)))
            }
            ["init", "error"] => {
                tracing::error!("{} cannot start: {}", function.name, String::from_utf8_lossy(&body));
                empty(StatusCode::ACCEPTED)
            }
            _ => empty(StatusCode::NOT_FOUND),
        }
    }
}

async fn next(function: &Function, process: u64) -> Response {
    let (id, payload) = function.next(process).await;
    let timeout = i64::try_from(function.timeout.as_millis()).unwrap_or(i64::MAX);
    let response = hyper::Response::builder()
        .header("content-type", "application/json")
        .header("lambda-runtime-aws-request-id", id)
        .header("lambda-runtime-deadline-ms", Utc::now().timestamp_millis().saturating_add(timeout))
        .header(
            "lambda-runtime-invoked-function-arn",
            names::arn("lambda", &format!("function:{}", function.name)),
        )
        .header("lambda-runtime-trace-id", "Root=1-00000000-000000000000000000000000;Sampled=0")
        .body(Full::new(payload));
    response.unwrap_or_else(|_| empty(StatusCode::INTERNAL_SERVER_ERROR))
}

fn finish(function: &Function, id: &str, answer: Result<Bytes, InvokeError>) -> Response {
    // As AWS: an answer to an invocation that has timed out is refused.
    empty(if function.finish(id, answer) { StatusCode::ACCEPTED } else { StatusCode::BAD_REQUEST })
}

/// Feeds a function from its queue: batches as they come, failed records left to their visibility timeout.
pub struct Poller {
    /// Where messages come from.
    pub queue: Arc<Queue>,
    /// Where they go.
    pub function: Arc<Function>,
    /// How many go at once.
    pub batch: usize,
    /// Whether the function reports which of them failed.
    pub partial: bool,
    /// Divides what is left of the visibility timeout of a message that failed.
    pub hurry: u32,
}

impl Poller {
    /// Polls for as long as the process lives.
    pub async fn run(self, queues: Queues) {
        let poller = Arc::new(self);
        let slots = Arc::new(Semaphore::new(BATCHES));
        while let Ok(slot) = Arc::clone(&slots).acquire_owned().await {
            let received = poller.queue.receive(poller.batch, &queues).await;
            let poller = Arc::clone(&poller);
            tokio::spawn(async move {
                let arn = names::arn("sqs", &poller.queue.name);
                let answer = poller.function.invoke(sqs_event(&received, &arn)).await;
                poller.settle(&received, answer);
                drop(slot);
            });
        }
    }

    fn settle(&self, received: &[Received], answer: Result<Bytes, InvokeError>) {
        let failed = match answer {
            Ok(answer) if self.partial => failures(&answer, received),
            Ok(_) => HashSet::new(),
            Err(error) => {
                tracing::warn!("a batch from {} comes back later: {error}", self.queue.name);
                received.iter().map(|received| received.message.id.clone()).collect()
            }
        };
        for Received { message, receipt } in received {
            if failed.contains(&message.id) {
                self.queue.hasten(receipt, self.hurry);
            } else {
                self.queue.delete(receipt);
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Failure {
    item_identifier: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BatchResponse {
    #[serde(default)]
    batch_item_failures: Option<Vec<Failure>>,
}

/// The ids of the failed messages; as AWS: an answer that cannot be read, or names a message that was not in
/// the batch, fails the whole batch.
fn failures(answer: &[u8], received: &[Received]) -> HashSet<String> {
    let all = || received.iter().map(|received| received.message.id.clone()).collect::<HashSet<_>>();
    let Ok(response) = serde_json::from_slice::<BatchResponse>(answer) else { return all() };
    let failed = response.batch_item_failures.into_iter().flatten().map(|failure| failure.item_identifier);
    let failed: HashSet<String> = failed.collect();
    if failed.is_subset(&all()) { failed } else { all() }
}

/// The MD5 of a body in hexadecimal: SQS's own checksum, which its clients verify.
#[must_use]
pub fn md5_of(body: &str) -> String {
    Md5::digest(body.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sqs_event(received: &[Received], arn: &str) -> Bytes {
    let records: Vec<Value> = received
        .iter()
        .map(|Received { message, receipt }| {
            json!({
                "messageId": message.id,
                "receiptHandle": receipt,
                "body": &*message.body,
                "attributes": {
                    "ApproximateReceiveCount": message.receives.to_string(),
                    "SentTimestamp": message.sent_at.to_string(),
                    "SenderId": names::ACCOUNT,
                    "ApproximateFirstReceiveTimestamp": message.sent_at.to_string(),
                },
                "messageAttributes": {},
                "md5OfBody": md5_of(&message.body),
                "eventSource": "aws:sqs",
                "eventSourceARN": arn,
                "awsRegion": REGION,
            })
        })
        .collect();
    json!({ "Records": records }).to_string().into()
}
