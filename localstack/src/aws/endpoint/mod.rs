//! The one AWS endpoint: it authenticates a call by its access key and hands it to the service that it names.

mod bench;
mod counted;
mod transaction;

use crate::aws::dynamodb::{self, Database};
use crate::aws::eventbridge::pipes_api::{self, Pipes};
use crate::aws::iam::{Caller, Iam};
use crate::aws::lambda::Function;
use crate::aws::protocol::operations::Operations;
use crate::aws::protocol::{self, ApiError, Call, Outcome, form, operations, rest};
use crate::aws::secretsmanager::{self, Secrets};
use crate::aws::{
    apigateway, cloudformation, cloudwatch, eventbridge, lambda_api, logs, scheduler, sns, sqs,
    stepfunctions, streams, sts,
};
use crate::faults::Faults;
use crate::outside::token_issuer::{self, TokenIssuer};
use crate::support::http::{self, Request, Response};
use crate::support::meter::{Meter, Unit};
use bytes::Bytes;
use hyper::{HeaderMap, Method, StatusCode};
use std::sync::Arc;

/// The most bytes of a request: what a TransactWriteItems may carry is 4 MiB, in JSON somewhat more.
const MAX_BODY_BYTES: usize = 8 * 1024 * 1024;

/// How SQS begins its targets.
const SQS: &str = "AmazonSQS";

/// The services behind the endpoint.
pub struct Endpoint {
    pub dynamodb: Database,
    pub streams: streams::api::Service,
    pub sqs: sqs::Service,
    pub events: eventbridge::Service,
    pub pipes: Pipes,
    pub scheduler: scheduler::api::Service,
    pub secrets: Secrets,
    pub iam: Iam,
    pub lambda: lambda_api::Service,
    pub states: stepfunctions::Service,
    pub sns: sns::Service,
    pub logs: logs::Service,
    pub cloudwatch: cloudwatch::Service,
    pub cloudformation: cloudformation::Service,
    pub apis: apigateway::api::Service,
    pub faults: Faults,
    pub meter: Meter,
    /// Its pages lie below the endpoint.
    pub issuer: TokenIssuer,
}

/// Answers a call to AWS, and the bench's own pages below the same address.
pub async fn answer(endpoint: Arc<Endpoint>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let (path, query) = (parts.uri.path(), parts.uri.query().unwrap_or_default());
    if let Some(path) = path.strip_prefix(token_issuer::PATH) {
        return endpoint.issuer.answer(path, query);
    }
    let body = match http::body(body, MAX_BODY_BYTES).await {
        Ok(body) => body,
        Err(status) => return http::empty(status),
    };
    if let Some(page) = endpoint.page(&parts.method, (path, query), &body).await {
        return page;
    }
    let headers = &parts.headers;
    if let Some(target) = headers.get("x-amz-target") {
        return endpoint.json(headers, target.to_str().unwrap_or_default(), &body).await;
    }
    if is_form(headers) {
        return endpoint.form(headers, &body).await;
    }
    if let Some(function) = lambda_api::invoke::function_of(path).filter(|_| parts.method == Method::POST) {
        return endpoint.invoke(headers, (function, query), body).await;
    }
    rest::answer(endpoint.rest(headers, (&parts.method, path, query), &body).await)
}

/// Whether a request speaks AWS's older protocol, a form in and XML out.
fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers.get("content-type").and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"))
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

    /// One of the bench's own pages, which AWS does not have.
    async fn page(&self, method: &Method, (path, query): (&str, &str), body: &[u8]) -> Option<Response> {
        if path == bench::FAULTS {
            return Some(bench::faults(&self.faults, method, body));
        }
        let topic = path.strip_prefix(bench::TOPICS);
        let is_shown = topic.is_some() || bench::SHOWN.contains(&path);
        if is_shown && method != Method::GET {
            return Some(http::empty(StatusCode::METHOD_NOT_ALLOWED));
        }
        if let Some(topic) = topic {
            return Some(bench::published(&self.sns.topics, topic, query));
        }
        match path {
            bench::REPORT => Some(bench::report(&self.iam, &self.meter)),
            bench::FUNCTIONS => Some(bench::environments(&self.lambda.functions)),
            bench::LOGS => Some(bench::logs(&self.lambda.functions, &self.lambda.logs, query).await),
            _ => None,
        }
    }

    async fn invoke(&self, headers: &HeaderMap, (function, query): (&str, &str), payload: Bytes) -> Response {
        let allow =
            |action: &str, arn: &str| protocol::require(&self.iam, &self.caller(headers)?, action, arn);
        lambda_api::invoke::invoke(&self.lambda, (function, query, headers), allow, payload).await
    }

    /// Of the services here API Gateway, Lambda, pipes and the scheduler speak REST.
    async fn rest(&self, headers: &HeaderMap, request: (&Method, &str, &str), body: &[u8]) -> Outcome {
        let caller = &self.caller(headers)?;
        let of = |paths: &[&str]| paths.iter().any(|path| request.1.starts_with(path));
        let asked = (request, body);
        if of(&lambda_api::api::PATHS) {
            let lambda = (&lambda_api::api::ROUTES[..], lambda_api::api::OPERATIONS, &self.lambda);
            return self.routed(caller, lambda, asked).await;
        }
        if of(&[pipes_api::PATH]) {
            let pipes = (&pipes_api::ROUTES[..], pipes_api::OPERATIONS, &self.pipes);
            return self.routed(caller, pipes, asked).await;
        }
        if of(&scheduler::api::PATHS) {
            let scheduler = (&scheduler::api::ROUTES[..], scheduler::api::OPERATIONS, &self.scheduler);
            return self.routed(caller, scheduler, asked).await;
        }
        if of(&[apigateway::api::PATH]) {
            let apis = (&apigateway::api::ROUTES[..], apigateway::api::OPERATIONS, &self.apis);
            return self.routed(caller, apis, asked).await;
        }
        Err(ApiError::unknown(&format!("{} {}", request.0, request.1)))
    }

    /// Answers by the routes and operations of one service.
    async fn routed<S: Sync>(
        &self,
        caller: &Caller,
        (routes, operations, service): (&[rest::Route], &Operations<S>, &S),
        (request, body): ((&Method, &str, &str), &[u8]),
    ) -> Outcome {
        let asked = rest::read(routes, request, body)?;
        let call = Call { caller, iam: &self.iam, operation: asked.operation, body: &asked.body };
        operations::answer(operations, service, &call).await
    }

    /// Of the services here CloudFormation, SNS and STS speak the older protocol; the version of a call says which of them is meant.
    async fn form(&self, headers: &HeaderMap, body: &[u8]) -> Response {
        let asked = match form::read(body) {
            Ok(asked) => asked,
            Err(error) => return form::answer("", "", Err(error)),
        };
        let namespace = match asked.version.as_str() {
            cloudformation::VERSION => cloudformation::NAMESPACE,
            sts::VERSION => sts::NAMESPACE,
            _ => sns::api::NAMESPACE,
        };
        form::answer(namespace, &asked.operation, self.asked(headers, &asked).await)
    }

    async fn asked(&self, headers: &HeaderMap, asked: &form::Asked) -> Outcome {
        let caller = &self.caller(headers)?;
        let call = &Call { caller, iam: &self.iam, operation: &asked.operation, body: &asked.body };
        match asked.version.as_str() {
            sns::api::VERSION => {
                counted::call(&self.meter, &format!("sns.{}", call.operation));
                operations::answer(sns::api::OPERATIONS, &self.sns, call).await
            }
            cloudformation::VERSION => {
                operations::answer(cloudformation::OPERATIONS, &self.cloudformation, call).await
            }
            sts::VERSION => operations::answer(sts::OPERATIONS, &(), call).await,
            _ => Err(call.unknown()),
        }
    }

    /// The others name their operation in a header.
    async fn json(&self, headers: &HeaderMap, target: &str, body: &[u8]) -> Response {
        let outcome = self.dispatch(headers, target, body).await;
        let (status, body) = match &outcome {
            Ok((status, body)) => (*status, body.clone()),
            Err(error) => (error.status, error.to_json()),
        };
        let mut response = http::json(status, "application/x-amz-json-1.0", body);
        if target.starts_with(SQS) {
            sqs::api::name_older_code(&outcome, &mut response);
        }
        response
    }

    async fn dispatch(&self, headers: &HeaderMap, target: &str, body: &[u8]) -> Outcome {
        let caller = &self.caller(headers)?;
        let (service, operation) = target.split_once('.').unwrap_or_default();
        counted::call(&self.meter, target);
        let call = &Call { caller, iam: &self.iam, operation, body };
        match service {
            "DynamoDB_20120810" => self.dynamodb(headers, call).await,
            "DynamoDBStreams_20120810" => {
                operations::answer(streams::api::OPERATIONS, &self.streams, call).await
            }
            SQS => operations::answer(sqs::api::OPERATIONS, &self.sqs, call).await,
            "AWSEvents" => operations::answer(eventbridge::api::OPERATIONS, &self.events, call).await,
            "Logs_20140328" => operations::answer(logs::api::OPERATIONS, &self.logs, call).await,
            "GraniteServiceVersion20100801" => {
                operations::answer(cloudwatch::api::OPERATIONS, &self.cloudwatch, call).await
            }
            "AWSStepFunctions" => {
                operations::answer(stepfunctions::api::OPERATIONS, &self.states, call).await
            }
            "secretsmanager" => {
                self.meter.count(Unit::SecretReads, operation, 1);
                operations::answer(secretsmanager::api::OPERATIONS, &self.secrets, call).await
            }
            _ => Err(ApiError::unknown(target)),
        }
    }

    async fn dynamodb(&self, headers: &HeaderMap, call: &Call<'_>) -> Outcome {
        let function = self.function_of(call.caller);
        if function.as_ref().is_some_and(|function| self.faults.hangs(&function.name)) {
            std::future::pending::<()>().await;
        }
        let request = match dynamodb::api::read(call) {
            Ok(request) => request,
            Err(answer) => return Ok(answer),
        };
        let tables = dynamodb::api::allowed(call, &request)?;
        counted::rows(&self.meter, &request);
        match request {
            dynamodb::Request::TransactWrite(_) | dynamodb::Request::Write(..) => {
                let caller = function.as_deref().map(|function| (function, environment(headers)));
                transaction::commit(&self.faults, caller, &self.dynamodb, (&request, &tables)).await
            }
            dynamodb::Request::BatchGet(_) => {
                let is_partly = || self.faults.leaves_unprocessed(&tables);
                dynamodb::api::batch_get(&self.dynamodb, request, is_partly).await
            }
            _ => Ok(dynamodb::api::answer(&self.dynamodb, &request).await),
        }
    }

    fn function_of(&self, caller: &Caller) -> Option<Arc<Function>> {
        match caller {
            Caller::Role(role) => self.lambda.functions.of_role(role),
            Caller::Administrator => None,
        }
    }
}
