//! The shell that Lambda calls. The same binary runs on Lambda and on the local stack.

use crate::claims::Claims;
use crate::traces::Reaction;
use crate::{
    api, dynamodb::DynamoStore, eventbridge::EventBus, outbox, queue, sdk, secrets::Secret, sns::SnsTopic,
    traces,
};
use anyhow::{Result, anyhow};
use aws_config::SdkConfig;
use aws_lambda_events::apigw::ApiGatewayV2httpRequest;
use aws_lambda_events::sqs::SqsEvent;
use chassis::config::{self, ConfigError};
use chassis::http::Api;
use chassis::keys::Keys;
use chassis::log::About;
use chassis::store::{Grouped, Limits};
use chassis::task::{Task, TaskError};
use chassis::{EventHandler, Failure, Ports, log};
use chrono::{DateTime, Utc};
use events::{Metadata, reading};
use lambda_runtime::{Context, Diagnostic, Error, LambdaEvent, Runtime, service_fn};
use serde_json::Value;
use std::io::Write;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

/// Runs a service's binary: one thread, its log, its SDK, its table, and the function that the template's `Handler`
/// names. `serve` wires that function, which is all that differs between services. Two handlers are the same in each and
/// need no table: `outbox` makes envelopes of the stream's records for the pipe, `relay` publishes them where there is none.
pub fn run(service: &'static str, serve: impl AsyncFnOnce(Function) -> Result<()>) -> ExitCode {
    if std::env::var_os("AWS_LAMBDA_RUNTIME_API").is_none() {
        return refuse(&format!("{service} is a Lambda function; `cargo dev` runs it on this machine"), 2);
    }
    log::init(service);
    // One thread: a function waits far more than it computes, and waking another thread costs more than the work that it
    // would hand over.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return refuse(&error.to_string(), 1),
    };
    let served = runtime.block_on(async {
        traces::start(service)?;
        match config::handler()?.as_str() {
            "outbox" => serve_outbox().await,
            "relay" => serve_relay(EventBus::new(&sdk::sdk_config().await, config::required("BUS")?)).await,
            _ => serve(Function::from_environment().await?).await,
        }
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => refuse(&format!("{error:#}"), 1),
    }
}

fn refuse(why: &str, code: u8) -> ExitCode {
    // A closed standard error leaves nowhere to say so.
    let _ = writeln!(std::io::stderr(), "error: {why}");
    ExitCode::from(code)
}

/// The function that this process is, with the service's own table.
pub struct Function {
    sdk: SdkConfig,
    handler: String,
    /// The service's table, the clock and ids.
    pub ports: Ports<DynamoStore>,
}

impl Function {
    async fn from_environment() -> Result<Self> {
        let sdk = sdk::sdk_config().await;
        let ports = Ports::system(DynamoStore::new(&sdk, config::required("TABLE")?));
        Ok(Self { sdk, handler: config::handler()?, ports })
    }

    /// The template's `Handler`.
    #[must_use]
    pub fn handler(&self) -> &str {
        &self.handler
    }

    /// The ports of a function that works on many things at a time: what they ask the table for goes out together.
    #[must_use]
    pub fn grouped(&self) -> Ports<Grouped<DynamoStore>> {
        self.ports.clone().grouped(Limits::default())
    }

    /// The error for a handler that the binary does not have; `known` names those that it has.
    #[must_use]
    pub fn unknown_handler(&self, known: &str) -> anyhow::Error {
        config::unknown_handler(&self.handler, known).into()
    }

    /// The bus that the variable `BUS` names.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn bus(&self) -> Result<EventBus, ConfigError> {
        Ok(EventBus::new(&self.sdk, config::required("BUS")?))
    }

    /// The table of keys that the variable `KEYS` names.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn keys(&self) -> Result<Keys<DynamoStore>, ConfigError> {
        Ok(Keys(DynamoStore::new(&self.sdk, config::required("KEYS")?)))
    }

    /// The topic that the variable `TOPIC` names.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn topic(&self) -> Result<SnsTopic, ConfigError> {
        Ok(SnsTopic::new(&self.sdk, config::required("TOPIC")?))
    }

    /// The secret that the variable `name` names.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn secret(&self, name: &str) -> Result<Secret, ConfigError> {
        Ok(Secret::new(&self.sdk, config::required(name)?))
    }
}

/// What a function keeps of its time, so that it answers before Lambda stops it.
const RESERVE: Duration = Duration::from_millis(400);

/// When an invocation has to be done with its work.
fn end(context: &Context) -> Instant {
    let deadline = UNIX_EPOCH + Duration::from_millis(context.deadline);
    let left = deadline.duration_since(SystemTime::now()).unwrap_or_default();
    Instant::now() + left.saturating_sub(RESERVE)
}

/// One invocation. Boxed: inside the runtime's own futures its type would be too deep for the compiler.
fn boxed<T>(invocation: impl Future<Output = T> + Send + 'static) -> Pin<Box<dyn Future<Output = T> + Send>> {
    Box::pin(invocation)
}

/// Answers HTTP requests until Lambda freezes the process.
///
/// # Errors
/// When the environment does not say how tokens are read, or the Runtime API cannot be reached.
pub async fn serve_api<A: Api>(api: A) -> Result<()> {
    let served = Arc::new((api, Claims::from_environment(A::SCOPES)?));
    let answer = move |event: LambdaEvent<ApiGatewayV2httpRequest>| {
        let served = Arc::clone(&served);
        let stopped = i64::try_from(event.context.deadline).ok().and_then(DateTime::from_timestamp_millis);
        boxed(async move {
            let (api, claims) = served.as_ref();
            let answer = api::respond(api, claims, event.payload, stopped).await;
            traces::flush().await;
            Ok::<_, Error>(answer)
        })
    };
    Runtime::new(service_fn(answer)).run_concurrent().await.map_err(|e| anyhow!(e))
}

/// Handles batches of the service's queue until Lambda freezes the process.
///
/// # Errors
/// When the Runtime API cannot be reached.
pub async fn serve_queue<H: EventHandler>(handler: H) -> Result<()> {
    let handler = Arc::new(handler);
    let answer = move |event: LambdaEvent<SqsEvent>| {
        let handler = Arc::clone(&handler);
        let end = end(&event.context);
        boxed(async move {
            let answer = queue::handle(handler.as_ref(), event.payload, end).await;
            traces::flush().await;
            Ok::<_, Error>(answer)
        })
    };
    Runtime::new(service_fn(answer)).run_concurrent().await.map_err(|e| anyhow!(e))
}

/// Runs tasks until Lambda freezes the process.
///
/// # Errors
/// When the Runtime API cannot be reached.
pub async fn serve_tasks<T: Task>(task: T) -> Result<()> {
    let task = Arc::new(task);
    let answer = move |event: LambdaEvent<Value>| {
        let task = Arc::clone(&task);
        let end = end(&event.context);
        let about = about(&event.payload);
        boxed(log::about(about, async move {
            let began = Utc::now();
            let answer = run_task(task.as_ref(), &event.payload, end).await;
            if let Some(metadata) = flow(&event.payload) {
                let task = event.payload["task"].as_str().unwrap_or_default();
                traces::record(&Reaction {
                    service: log::service().unwrap_or_default(),
                    metadata: &metadata,
                    task: Some(task),
                    began,
                    settles: task.starts_with("Record") && answer.is_ok(),
                    outcome: if answer.is_ok() { "done" } else { "failed" },
                    error: answer.is_err().then_some("task failed"),
                });
            }
            traces::flush().await;
            answer
        }))
    };
    Runtime::new(service_fn(answer)).run_concurrent().await.map_err(|e| anyhow!(e))
}

/// One task, and its line in the log.
async fn run_task<T: Task>(task: &T, payload: &Value, end: Instant) -> Result<Value, Diagnostic> {
    let started = Instant::now();
    let outcome = match reading::read(payload) {
        Ok(input) => {
            timeout_at(end, task.run(input)).await.unwrap_or_else(|_| Err(queue::out_of_time().into()))
        }
        Err(error) => Err(TaskError::new("Poison", format!("not a task: {error}"))),
    };
    let duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    match outcome {
        Ok(answer) => {
            // What was read as a task has the name of one.
            let name = payload["task"].as_str();
            tracing::info!(task = name, duration_ms, "task done");
            Ok(answer)
        }
        Err(error) => Err(not_done(error, duration_ms)),
    }
}

/// What a state machine gets of a task that is not done, and its line in the log.
fn not_done(error: TaskError, duration_ms: u64) -> Diagnostic {
    let TaskError { name, message, is_wait } = error;
    if is_wait {
        tracing::info!(class = name, reason = message, duration_ms, "not yet");
    } else {
        tracing::warn!(class = name, reason = message, duration_ms, "task failed");
    }
    Diagnostic { error_type: name.to_owned(), error_message: message }
}

/// The event that started a task's flow.
fn flow(payload: &Value) -> Option<Metadata> {
    serde_json::from_value(payload.pointer("/event/metadata")?.clone()).ok()
}

/// What a task is about: the event that started its flow, or nothing. Only ids are read, so that no line repeats a value.
fn about(payload: &Value) -> Option<About> {
    let id = |name: &str| payload.pointer(name)?.as_str()?.parse::<Uuid>().ok();
    let correlation_id = id("/event/metadata/correlation_id")?;
    let order = id("/event/metadata/subject").map(|id| ("order_id", id.to_string()));
    Some(About { correlation_id, subject: order })
}

/// Makes envelopes of the stream's records for a pipe until Lambda freezes the process.
///
/// # Errors
/// When the Runtime API cannot be reached.
async fn serve_outbox() -> Result<()> {
    let answer = |event: LambdaEvent<Vec<Value>>| {
        boxed(async move { outbox::enriched(&event.payload).map_err(|failure| failed(&failure)) })
    };
    Runtime::new(service_fn(answer)).run_concurrent().await.map_err(|e| anyhow!(e))
}

/// Publishes what the stream's records show until Lambda freezes the process.
///
/// # Errors
/// When the Runtime API cannot be reached.
async fn serve_relay(bus: EventBus) -> Result<()> {
    let answer = move |event: LambdaEvent<Value>| {
        let bus = bus.clone();
        boxed(async move {
            let records = event.payload["Records"].as_array().map_or(&[][..], Vec::as_slice);
            outbox::relay(&bus, records).await.map_err(|failure| failed(&failure))
        })
    };
    Runtime::new(service_fn(answer)).run_concurrent().await.map_err(|e| anyhow!(e))
}

/// The error of a function whose batch comes back.
fn failed(failure: &Failure) -> Diagnostic {
    tracing::warn!(class = failure.class(), reason = failure.to_string(), "batch failed");
    Diagnostic { error_type: failure.class().to_owned(), error_message: failure.to_string() }
}
