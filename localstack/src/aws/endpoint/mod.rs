//! The one AWS endpoint: it authenticates a call by its access key and hands it to the service that it names.

mod bench;
mod transaction;

use crate::aws::dynamodb::{self, Database};
use crate::aws::eventbridge::pipes_api::{self, Pipes};
use crate::aws::eventbridge::{self, Buses, Replays};
use crate::aws::iam::{Caller, Iam};
use crate::aws::lambda::{self, Function, Functions};
use crate::aws::protocol::{self, ApiError, Call, Outcome};
use crate::aws::secretsmanager::Secrets;
use crate::aws::sns::{self, Topics};
use crate::aws::sqs::{self, Queues};
use crate::aws::stepfunctions::{self, StateMachines};
use crate::aws::streams::{self, api::Mappings};
use crate::faults::Faults;
use crate::outside::token_issuer::{self, TokenIssuer};
use crate::support::http::{self, Request, Response};
use crate::support::meter::{Meter, Unit};
use bytes::Bytes;
use hyper::{HeaderMap, Method};
use std::path::PathBuf;
use std::sync::Arc;

/// The most bytes of a request: what a TransactWriteItems may carry is 4 MiB, in JSON somewhat more.
const MAX_BODY_BYTES: usize = 8 * 1024 * 1024;

/// The services behind the endpoint.
pub struct Endpoint {
    pub dynamodb: Database,
    pub queues: Queues,
    pub buses: Buses,
    pub replays: Replays,
    pub pipes: Pipes,
    pub mappings: Mappings,
    pub secrets: Secrets,
    pub iam: Iam,
    pub functions: Functions,
    pub machines: StateMachines,
    pub topics: Topics,
    pub faults: Faults,
    pub meter: Meter,
    /// The folder of the functions' logs.
    pub logs: PathBuf,
    /// Its pages lie below the endpoint.
    pub issuer: TokenIssuer,
    /// The endpoint's own URL.
    pub url: String,
}

/// Answers a call to AWS, and the bench's own pages below the same address.
pub async fn answer(endpoint: Arc<Endpoint>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path();
    if let Some(path) = path.strip_prefix(token_issuer::PATH) {
        return endpoint.issuer.answer(path, parts.uri.query().unwrap_or_default());
    }
    if path == bench::FAULTS {
        return match http::body(body, MAX_BODY_BYTES).await {
            Ok(body) => bench::faults(&endpoint.faults, &parts.method, &body),
            Err(status) => http::empty(status),
        };
    }
    if path == bench::REPORT {
        return bench::report(&endpoint.iam, &endpoint.meter);
    }
    if path == bench::FUNCTIONS {
        return bench::environments(&endpoint.functions);
    }
    if path == bench::LOGS {
        let query = parts.uri.query().unwrap_or_default();
        return bench::logs(&endpoint.functions, &endpoint.logs, query).await;
    }
    if let Some(topic) = path.strip_prefix(bench::TOPICS) {
        return bench::published(&endpoint.topics, topic);
    }
    if let Some(rest) = path.strip_prefix(pipes_api::PATH) {
        let query = parts.uri.query().unwrap_or_default();
        return endpoint.pipes(&parts.headers, (&parts.method, rest, query)).await;
    }
    if let Some(rest) = path.strip_prefix(streams::api::PATH) {
        let query = parts.uri.query().unwrap_or_default();
        return match http::body(body, MAX_BODY_BYTES).await {
            Ok(body) => endpoint.mappings(&parts.headers, (&parts.method, rest, query), &body).await,
            Err(status) => http::empty(status),
        };
    }
    let function = path.strip_prefix(lambda::api::INVOKE).and_then(|rest| rest.strip_suffix("/invocations"));
    let outcome = match (http::body(body, MAX_BODY_BYTES).await, function) {
        (Ok(body), _) if is_query(&parts.headers) => return endpoint.query(&parts.headers, &body).await,
        (Ok(body), Some(function)) => return endpoint.invoke(&parts.headers, function, body).await,
        (Ok(body), None) => endpoint.dispatch(&parts.headers, &body).await,
        (Err(status), _) => {
            Err(ApiError { status: status.as_u16(), ..ApiError::new("InvalidRequest", status.to_string()) })
        }
    };
    let (status, body) = outcome.unwrap_or_else(|error| (error.status, error.to_json()));
    http::json(status, "application/x-amz-json-1.0", body)
}

/// Whether a request speaks AWS's older protocol, a form in and XML out.
fn is_query(headers: &HeaderMap) -> bool {
    // A request that names a target is JSON, whatever content type its client sends.
    let kind = headers.get("content-type").and_then(|kind| kind.to_str().ok());
    !headers.contains_key("x-amz-target")
        && kind.is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"))
}

/// The access key in `Authorization: AWS4-HMAC-SHA256 Credential=<key>/…`. The signature is not checked: the
/// endpoint listens on loopback, and a key names a role, it does not guard a secret.
fn access_key(headers: &HeaderMap) -> Option<&str> {
    let authorization = headers.get("authorization")?.to_str().ok()?;
    authorization.split_once("Credential=")?.1.split('/').next()
}

/// Which environment of a function calls: its session token says so. 0, which none has, for other callers.
fn environment(headers: &HeaderMap) -> u64 {
    let token = headers.get("x-amz-security-token").and_then(|token| token.to_str().ok());
    token.and_then(|token| token.parse().ok()).unwrap_or_default()
}

impl Endpoint {
    fn caller(&self, headers: &HeaderMap) -> Result<Caller, ApiError> {
        let key = access_key(headers).ok_or_else(|| {
            ApiError::new("MissingAuthenticationTokenException", "the request is not signed")
        })?;
        self.iam.caller(key).ok_or_else(|| {
            ApiError::new(
                "UnrecognizedClientException",
                "The security token included in the request is invalid.",
            )
        })
    }

    fn require(&self, headers: &HeaderMap, action: &str, resource: &str) -> Result<(), ApiError> {
        protocol::require(&self.iam, &self.caller(headers)?, action, resource)
    }

    /// Of the services here only Lambda names the operation in the path.
    async fn invoke(&self, headers: &HeaderMap, function: &str, payload: Bytes) -> Response {
        let allow = |action: &str, arn: &str| self.require(headers, action, arn);
        lambda::api::invoke(&self.functions, function, allow, payload).await
    }

    /// Lambda speaks REST, as pipes do.
    async fn mappings(&self, headers: &HeaderMap, request: (&Method, &str, &str), body: &[u8]) -> Response {
        let allow = |action: &str, arn: &str| self.require(headers, action, arn);
        streams::api::answer(&self.mappings, request, body, allow).await
    }

    /// Of the services here only pipes speak REST throughout.
    async fn pipes(&self, headers: &HeaderMap, request: (&Method, &str, &str)) -> Response {
        let allow = |action: &str, arn: &str| self.require(headers, action, arn);
        pipes_api::answer(&self.pipes, request, allow).await
    }

    /// Of the services here only SNS speaks the older protocol.
    async fn query(&self, headers: &HeaderMap, body: &[u8]) -> Response {
        let allow = |action: &str, arn: &str| self.require(headers, action, arn);
        sns::api::answer(&self.topics, body, allow).await
    }

    async fn dispatch(&self, headers: &HeaderMap, body: &[u8]) -> Outcome {
        let caller = &self.caller(headers)?;
        let target = headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
        let (service, operation) = target.split_once('.').unwrap_or_default();
        let call = &Call { caller, iam: &self.iam, operation, body };
        match service {
            "DynamoDB_20120810" => self.dynamodb(headers, call).await,
            "AmazonSQS" => sqs::api::answer(&self.queues, &self.url, call).await,
            "AWSEvents" => eventbridge::api::answer(&self.buses, &self.replays, call).await,
            "AWSStepFunctions" => stepfunctions::api::answer(&self.machines, call),
            "secretsmanager" => {
                self.meter.count(Unit::SecretReads, operation, 1);
                self.secrets.answer(call)
            }
            _ => Err(ApiError::unknown(target)),
        }
    }

    async fn dynamodb(&self, headers: &HeaderMap, call: &Call<'_>) -> Outcome {
        let function = self.function_of(call.caller);
        if function.as_ref().is_some_and(|function| self.faults.hangs(&function.name)) {
            std::future::pending::<()>().await;
        }
        match call.operation {
            "TransactWriteItems" | "PutItem" | "UpdateItem" | "DeleteItem" => {
                let caller = function.as_deref().map(|function| (function, environment(headers)));
                transaction::commit(&self.faults, caller, &self.dynamodb, call).await
            }
            "BatchGetItem" => {
                let is_partly = |tables: &[String]| self.faults.leaves_unprocessed(tables);
                dynamodb::api::batch_get(&self.dynamodb, call, is_partly)
            }
            _ => dynamodb::api::answer(&self.dynamodb, call),
        }
    }

    fn function_of(&self, caller: &Caller) -> Option<Arc<Function>> {
        match caller {
            Caller::Role(role) => self.functions.of_role(role),
            Caller::Administrator => None,
        }
    }
}
