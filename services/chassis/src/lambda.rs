//! The shell that Lambda talks to. The same binary runs on Lambda and on the local stack.

use crate::Failure;
use crate::batch::{self, Consumer};
use crate::http::{Api, Problem, Request, Response};
use crate::ports::{Ids, RandomIds};
use aws_lambda_events::apigw::{ApiGatewayV2httpRequest, ApiGatewayV2httpResponse};
use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use lambda_runtime::{Diagnostic, Error, LambdaEvent, Runtime, service_fn};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::future::Future;
use std::os::unix::process::parent_id;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// Ends the process when whoever started it is gone. On Lambda that cannot happen; a local stack that was
/// killed would leave functions behind, which ask a Runtime API that no longer exists without a pause.
fn end_with_parent() {
    let parent = parent_id();
    tokio::spawn(async move {
        while parent_id() == parent {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        std::process::exit(1);
    });
}

/// Answers HTTP requests until Lambda freezes the process.
///
/// # Errors
/// When the runtime API cannot be reached.
pub async fn serve_api<A: Api>(api: A) -> Result<(), Error> {
    end_with_parent();
    let api = Arc::new(api);
    let answer = move |event: LambdaEvent<ApiGatewayV2httpRequest>| {
        let api = Arc::clone(&api);
        async move { Ok::<ApiGatewayV2httpResponse, Error>(respond(api.as_ref(), event.payload).await.into()) }
    };
    Runtime::new(service_fn(answer)).run_concurrent().await
}

async fn respond<A: Api>(api: &A, event: ApiGatewayV2httpRequest) -> Response {
    let correlation_id = RandomIds.fresh();
    let answer = match Request::read(event, correlation_id) {
        Ok(request) => api.answer(request).await,
        Err(problem) => Err(problem),
    };
    let answer = answer.unwrap_or_else(|problem| {
        report(&problem, correlation_id);
        Response::from(problem)
    });
    answer.correlated(correlation_id)
}

/// What the client is not told stands in the log, under the id that the client is told.
fn report(problem: &Problem, correlation_id: Uuid) {
    if let Some(failure) = &problem.failure {
        let (correlation_id, class) = (correlation_id.to_string(), failure.class());
        let (correlation_id, reason) = (correlation_id.as_str(), failure.to_string());
        tracing::error!(correlation_id, class, reason, "request failed");
    }
}

/// Takes batches of the service's queue until Lambda freezes the process.
///
/// # Errors
/// When the runtime API cannot be reached.
pub async fn serve_queue<C: Consumer>(consumer: C) -> Result<(), Error> {
    end_with_parent();
    let consumer = Arc::new(consumer);
    let answer = move |event: LambdaEvent<SqsEvent>| {
        let consumer = Arc::clone(&consumer);
        async move { Ok::<SqsBatchResponse, Error>(batch::handle(consumer.as_ref(), event.payload).await) }
    };
    Runtime::new(service_fn(answer)).run_concurrent().await
}

/// Work that a state machine hands out, one input at a time.
pub trait Task: Send + Sync + 'static {
    /// What it is handed.
    type Input: DeserializeOwned + Send;

    /// Does it; may be repeated.
    fn run(&self, input: Self::Input) -> impl Future<Output = Result<Value, TaskError>> + Send;
}

/// Why a task failed: a name for the state machine to tell apart, and a text for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskError {
    /// `Transient`
    pub name: &'static str,
    /// In words.
    pub message: String,
}

impl TaskError {
    /// An error of this name.
    pub fn new(name: &'static str, message: impl Into<String>) -> Self {
        Self { name, message: message.into() }
    }
}

impl From<Failure> for TaskError {
    fn from(failure: Failure) -> Self {
        let name = match failure {
            Failure::Conflict { .. } => "Conflict",
            Failure::Transient(_) => "Transient",
            Failure::Poison(_) => "Poison",
        };
        Self::new(name, failure.to_string())
    }
}

impl From<TaskError> for Diagnostic {
    fn from(error: TaskError) -> Self {
        Self { error_type: error.name.to_owned(), error_message: error.message }
    }
}

/// Does tasks until Lambda freezes the process.
///
/// # Errors
/// When the runtime API cannot be reached.
pub async fn serve_tasks<T: Task>(task: T) -> Result<(), Error> {
    end_with_parent();
    let task = Arc::new(task);
    let answer = move |event: LambdaEvent<Value>| {
        let task = Arc::clone(&task);
        async move {
            let input = serde_json::from_value(event.payload);
            let outcome = match input {
                Ok(input) => task.run(input).await,
                Err(error) => Err(TaskError::new("Poison", format!("not a task: {error}"))),
            };
            outcome.inspect_err(|e| tracing::warn!(class = e.name, reason = e.message, "task failed"))
        }
    };
    Runtime::new(service_fn(answer)).run_concurrent().await
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Broken(Failure);

    impl Api for Broken {
        const ROUTES: &'static [&'static str] = &[];

        async fn answer(&self, _request: Request) -> Result<Response, Problem> {
            Err(self.0.clone().into())
        }
    }

    /// Guards: a server error tells the client an id to ask about, and nothing of what went wrong.
    #[tokio::test]
    async fn a_server_error_gives_a_correlation_id_and_nothing_else() {
        let secret = "table prod-orders: key 42";
        for failure in [Failure::Poison(secret.into()), Failure::Transient(secret.into())] {
            let answer = respond(&Broken(failure), ApiGatewayV2httpRequest::default()).await;
            let Value::Object(body) = &answer.body else { panic!("{answer:?}") };
            let header = answer.headers.iter().find(|(name, _)| *name == "x-correlation-id").unwrap();
            assert_eq!(body["correlation_id"], header.1.as_str());
            let members: Vec<&str> = body.keys().map(String::as_str).collect();
            assert_eq!(members, ["correlation_id", "detail", "error", "status", "title", "type"]);
            assert!(answer.status >= 500 && !format!("{answer:?}").contains("prod-orders"));
        }
    }
}
