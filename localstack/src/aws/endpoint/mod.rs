//! The one AWS endpoint: authenticates by access key, asks IAM, and hands each call to its service.

use crate::aws::dynamodb::Engine;
use crate::aws::eventbridge::bus::{Buses, Put};
use crate::aws::iam::{Caller, Iam};
use crate::aws::lambda::{Functions, InvokeError};
use crate::aws::sns::Topics;
use crate::aws::sqs::Queues;
use crate::aws::stepfunctions::Machines;
use crate::faults::{Commit, Fault as Wrong, Faults, When};
use crate::outside::token_issuer::{self as issuer, Issuer};
use crate::support::http::{self, Incame, Response};
use crate::support::journal::Journal;
use crate::template::names;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use hyper::header::HeaderValue;
use hyper::{HeaderMap, Method, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

/// The most bytes of a request: what a TransactWriteItems may carry is 4 MiB, in JSON somewhat more.
const MAX_BODY_BYTES: usize = 8 * 1024 * 1024;

/// The services behind the endpoint.
pub struct Endpoint {
    /// DynamoDB.
    pub engine: Engine,
    /// SQS.
    pub queues: Queues,
    /// EventBridge.
    pub buses: Buses,
    /// Secrets by ARN.
    pub secrets: BTreeMap<String, String>,
    /// Who may do what.
    pub iam: Iam,
    /// Where acknowledged messages are kept.
    pub journal: Journal,
    /// Functions, to be invoked by hand.
    pub functions: Functions,
    /// State machines, to be looked at.
    pub machines: Machines,
    /// SNS.
    pub topics: Topics,
    /// What goes wrong on purpose.
    pub faults: Faults,
    /// The issuer of tokens, which lives below the endpoint.
    pub issuer: Issuer,
    /// The endpoint's own URL.
    pub url: String,
}

/// An error as the JSON protocols write it.
pub(crate) struct Fault {
    status: u16,
    code: &'static str,
    message: String,
}

impl Fault {
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { status: 400, code, message: message.into() }
    }

    fn denied(message: String) -> Self {
        Self::new("AccessDeniedException", message)
    }
}

pub(crate) type Outcome = Result<(u16, Bytes), Fault>;

pub(crate) fn ok(value: &Value) -> Outcome {
    Ok((200, value.to_string().into()))
}

pub(crate) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Fault> {
    serde_json::from_slice(body).map_err(|e| Fault::new("SerializationException", e.to_string()))
}

/// Answers a call to AWS.
pub async fn answer(endpoint: Arc<Endpoint>, request: Incame) -> Response {
    let (parts, body) = request.into_parts();
    if let Some(path) = parts.uri.path().strip_prefix(issuer::PATH) {
        return endpoint.issuer.answer(path, parts.uri.query().unwrap_or_default());
    }
    let invoked = parts.uri.path().strip_prefix(INVOKE).and_then(|rest| rest.strip_suffix("/invocations"));
    if parts.uri.path() == FAULTS {
        return match http::body(body, MAX_BODY_BYTES).await {
            Ok(body) => endpoint.dial(&parts.method, &body),
            Err(status) => http::empty(status),
        };
    }
    if let Some(topic) = parts.uri.path().strip_prefix(PUBLISHED) {
        return endpoint.published(topic);
    }
    let outcome = match http::body(body, MAX_BODY_BYTES).await {
        Ok(body) if is_query(&parts.headers) => return endpoint.query(&parts.headers, &body).await,
        Ok(body) if invoked.is_some() => {
            return endpoint.invoke(&parts.headers, invoked.unwrap_or_default(), body).await;
        }
        Ok(body) => endpoint.dispatch(&parts.headers, body).await,
        Err(status) => {
            Err(Fault { status: status.as_u16(), ..Fault::new("InvalidRequest", status.to_string()) })
        }
    };
    let (status, body) = outcome.unwrap_or_else(|fault| {
        let body = json!({"__type": fault.code, "message": fault.message});
        (fault.status, body.to_string().into())
    });
    http::json(status, "application/x-amz-json-1.0", body)
}

/// The access key in `Authorization: AWS4-HMAC-SHA256 Credential=<key>/…`. The signature is not checked: the
/// endpoint listens on loopback, and a key names a role, it does not guard a secret.
fn access_key(headers: &HeaderMap) -> Option<&str> {
    let authorization = headers.get("authorization")?.to_str().ok()?;
    authorization.split_once("Credential=")?.1.split('/').next()
}

/// How long it may take until a process that was killed is gone.
const DYING: Duration = Duration::from_secs(2);
/// Where the fault dial is.
const FAULTS: &str = "/faults";
/// Where a topic's messages can be read.
const PUBLISHED: &str = "/topics/";
const SNS: &str = "http://sns.amazonaws.com/doc/2010-03-31/";
const METADATA: &str = "<ResponseMetadata><RequestId>local</RequestId></ResponseMetadata>";

fn is_query(headers: &HeaderMap) -> bool {
    // Whoever names a target speaks JSON, whatever its client says of the content.
    let kind = headers.get("content-type").and_then(|kind| kind.to_str().ok());
    !headers.contains_key("x-amz-target")
        && kind.is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"))
}

/// <https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html>
const INVOKE: &str = "/2015-03-31/functions/";

impl Endpoint {
    /// Invokes a function and waits for its answer; an error of its own is an answer too.
    async fn invoke(&self, headers: &HeaderMap, function: &str, payload: Bytes) -> Response {
        let name = names::last_part(function);
        let (caller, function) =
            (access_key(headers).and_then(|key| self.iam.caller(key)), self.functions.get(name));
        let arn = names::arn("lambda", &format!("function:{name}"));
        let allowed = caller.is_some_and(|caller| self.allow(&caller, "lambda:InvokeFunction", &arn).is_ok());
        let Ok(function) = function else { return http::empty(StatusCode::NOT_FOUND) };
        if !allowed {
            return http::empty(StatusCode::FORBIDDEN);
        }
        match function.invoke(payload).await {
            Ok(answer) => http::json(200, "application/json", answer),
            Err(error) => {
                let text = match error {
                    InvokeError::Failed(text) => text,
                    other => json!({"errorType": "Sandbox", "errorMessage": other.to_string()}).to_string(),
                };
                let mut response = http::json(200, "application/json", text);
                response.headers_mut().insert("x-amz-function-error", HeaderValue::from_static("Unhandled"));
                response
            }
        }
    }

    fn caller(&self, headers: &HeaderMap) -> Result<Caller, Fault> {
        let key = access_key(headers)
            .ok_or_else(|| Fault::new("MissingAuthenticationTokenException", "the request is not signed"))?;
        self.iam.caller(key).ok_or_else(|| {
            Fault::new(
                "UnrecognizedClientException",
                "The security token included in the request is invalid.",
            )
        })
    }

    /// What was published on a topic: not AWS's, but what people and tests want to read.
    fn published(&self, topic: &str) -> Response {
        match self.topics.published(topic) {
            Some(messages) => {
                let mut shown = json!(messages);
                for entry in shown.as_array_mut().into_iter().flatten() {
                    // A body that is JSON is read as such.
                    let body = entry["message"].as_str().and_then(|text| serde_json::from_str(text).ok());
                    entry["message"] = body.unwrap_or_else(|| entry["message"].take());
                }
                http::json(200, "application/json", shown.to_string())
            }
            None => http::empty(StatusCode::NOT_FOUND),
        }
    }

    /// A call in AWS's older protocol: a form in, XML out. Of the services here only SNS speaks it.
    async fn query(&self, headers: &HeaderMap, body: &[u8]) -> Response {
        let form: BTreeMap<String, String> = form_urlencoded::parse(body).into_owned().collect();
        match self.publish(headers, &form).await {
            Ok(result) => {
                let body = format!(
                    "<PublishResponse xmlns=\"{SNS}\"><PublishResult>{result}</PublishResult>{METADATA}</PublishResponse>"
                );
                http::json(200, "text/xml", body)
            }
            Err(Fault { status, code, message }) => {
                let message = message.replace('&', "&amp;").replace('<', "&lt;");
                let error = format!("<Type>Sender</Type><Code>{code}</Code><Message>{message}</Message>");
                let body = format!(
                    "<ErrorResponse xmlns=\"{SNS}\"><Error>{error}</Error>{METADATA}</ErrorResponse>"
                );
                http::json(status, "text/xml", body)
            }
        }
    }

    async fn publish(&self, headers: &HeaderMap, form: &BTreeMap<String, String>) -> Result<String, Fault> {
        let field = |name: &str| form.get(name).map(String::as_str);
        if field("Action") != Some("Publish") {
            return Err(unknown(field("Action").unwrap_or_default()));
        }
        let known = ["Action", "Version", "TopicArn", "Message", "MessageGroupId", "MessageDeduplicationId"];
        if let Some(other) = form.keys().find(|name| !known.contains(&name.as_str())) {
            return Err(Fault::new(
                "InvalidParameter",
                format!("{other} is not implemented by the local stack"),
            ));
        }
        let wanted = |name: &str| {
            field(name).ok_or_else(|| Fault::new("InvalidParameter", format!("{name} is required")))
        };
        let arn = wanted("TopicArn")?;
        self.allow(&self.caller(headers)?, "sns:Publish", arn)?;
        let (group, id) = (wanted("MessageGroupId")?, wanted("MessageDeduplicationId")?);
        let published = self.topics.publish(names::last_part(arn), group, id, wanted("Message")?).await;
        let (id, number) = published.ok_or_else(|| Fault::new("NotFound", "Topic does not exist"))?;
        Ok(format!("<MessageId>{id}</MessageId><SequenceNumber>{number:020}</SequenceNumber>"))
    }

    async fn dispatch(&self, headers: &HeaderMap, body: Bytes) -> Outcome {
        let caller = self.caller(headers)?;
        let target = headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
        let (service, operation) = target.split_once('.').unwrap_or_default();
        match service {
            "DynamoDB_20120810" if operation == "TransactWriteItems" => {
                self.transaction(&caller, &body).await
            }
            "DynamoDB_20120810" => self.dynamodb(&caller, operation, &body),
            "AmazonSQS" => self.sqs(&caller, operation, &body).await,
            "AWSEvents" => self.events(&caller, operation, &body).await,
            "AWSStepFunctions" => self.states(&caller, operation, &body),
            "secretsmanager" => self.secrets(&caller, operation, &body),
            _ => Err(unknown(target)),
        }
    }

    pub(crate) fn allow(&self, caller: &Caller, action: &str, resource: &str) -> Result<(), Fault> {
        self.iam.check(caller, action, resource).map_err(Fault::denied)
    }

    /// A transaction, with what goes wrong with it on purpose.
    async fn transaction(&self, caller: &Caller, body: &[u8]) -> Outcome {
        let write = || self.dynamodb(caller, "TransactWriteItems", body);
        let function = if let Caller::Role(role) = caller { self.functions.of_role(role) } else { None };
        let Some(function) = function else { return write() };
        let gone = || Fault { status: 500, ..Fault::new("InternalServerError", "the answer was lost") };
        match self.faults.commit(&function.name) {
            None => write(),
            Some(Commit::Throttle) => Err(Fault::new("ThrottlingException", "Rate exceeded")),
            Some(Commit::LoseAnswer) => write().and(Err(gone())),
            Some(Commit::Kill(when)) => {
                if when == When::After {
                    write()?;
                }
                function.kill();
                // Whoever asked is dying: it must not live on with an answer.
                tokio::time::sleep(DYING).await;
                Err(gone())
            }
        }
    }

    /// Shows, sets and takes back what goes wrong on purpose.
    fn dial(&self, method: &Method, body: &[u8]) -> Response {
        let set = match *method {
            Method::GET => Ok(()),
            Method::DELETE => {
                self.faults.clear();
                Ok(())
            }
            Method::POST => serde_json::from_slice::<Wrong>(body)
                .map_err(anyhow::Error::from)
                .and_then(|fault| self.faults.set(fault)),
            _ => return http::empty(StatusCode::METHOD_NOT_ALLOWED),
        };
        match set {
            Ok(()) => http::json(200, "application/json", json!(self.faults.all()).to_string()),
            Err(error) => {
                http::json(400, "application/json", json!({"message": error.to_string()}).to_string())
            }
        }
    }

    fn dynamodb(&self, caller: &Caller, operation: &str, body: &[u8]) -> Outcome {
        if *caller != Caller::Administrator {
            for (action, table) in actions(operation, body)? {
                let resource = names::arn("dynamodb", &format!("table/{table}"));
                self.allow(caller, &format!("dynamodb:{action}"), &resource)?;
            }
        }
        Ok(self.engine.call(operation, body))
    }

    async fn events(&self, caller: &Caller, operation: &str, body: &[u8]) -> Outcome {
        if operation != "PutEvents" {
            return Err(unknown(operation));
        }
        let request: PutEvents = parse(body)?;
        let mut results = Vec::new();
        for entry in &request.entries {
            let bus = names::last_part(entry.event_bus_name.as_deref().unwrap_or("default"));
            self.allow(caller, "events:PutEvents", &names::arn("events", &format!("event-bus/{bus}")))?;
            results.push(match self.buses.put(bus, &entry.put()) {
                Ok(id) => json!({ "EventId": id }),
                Err(error) => json!({"ErrorCode": error.code, "ErrorMessage": error.message}),
            });
        }
        self.journal.flush().await;
        let failed = results.iter().filter(|result| result.get("ErrorCode").is_some()).count();
        ok(&json!({"FailedEntryCount": failed, "Entries": results}))
    }

    fn secrets(&self, caller: &Caller, operation: &str, body: &[u8]) -> Outcome {
        if operation != "GetSecretValue" {
            return Err(unknown(operation));
        }
        let request: GetSecret = parse(body)?;
        let named = |arn: &str| arn == request.secret_id || arn.contains(&format!(":{}-", request.secret_id));
        let secret = self.secrets.iter().find(|(arn, _)| named(arn));
        let (arn, text) = secret.ok_or_else(|| {
            Fault::new("ResourceNotFoundException", "Secrets Manager can't find the specified secret.")
        })?;
        self.allow(caller, "secretsmanager:GetSecretValue", arn)?;
        ok(&json!({"ARN": arn, "Name": request.secret_id, "VersionId": "local", "SecretString": text}))
    }
}

pub(crate) fn unknown(what: &str) -> Fault {
    let what =
        if what.is_empty() { "a call outside DynamoDB, SQS, EventBridge and Secrets Manager" } else { what };
    Fault::new("UnknownOperationException", format!("{what} is not implemented by the local stack"))
}

/// What a DynamoDB call needs permission for: a transaction needs it for each of its parts.
///
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis-iam.html>
fn actions(operation: &str, body: &[u8]) -> Result<Vec<(String, String)>, Fault> {
    let mut all = Vec::new();
    match operation {
        "TransactWriteItems" | "TransactGetItems" => {
            for (part, on) in parse::<Transact>(body)?.transact_items.iter().flatten() {
                all.push((format!("{part}Item"), on.table_name.clone()));
            }
        }
        "BatchGetItem" => {
            let tables = parse::<Batch>(body)?.request_items.into_keys();
            all.extend(tables.map(|table| (operation.to_owned(), table)));
        }
        "ListTables" => all.push((operation.to_owned(), "*".into())),
        _ => {
            let on: OnTable = parse(body)?;
            let index = on.index_name.map(|index| format!("/index/{index}")).unwrap_or_default();
            all.push((operation.to_owned(), format!("{}{index}", on.table_name)));
        }
    }
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct OnTable {
    table_name: String,
    index_name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Transact {
    transact_items: Vec<HashMap<String, OnTable>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Batch {
    request_items: HashMap<String, Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GetSecret {
    secret_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PutEvents {
    entries: Vec<PutEntry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PutEntry {
    event_bus_name: Option<String>,
    source: Option<String>,
    detail_type: Option<String>,
    detail: Option<String>,
    #[serde(default)]
    resources: Vec<String>,
    time: Option<f64>,
}

impl PutEntry {
    fn put(&self) -> Put {
        #[allow(clippy::cast_possible_truncation, reason = "AWS's own time stamp: epoch seconds")]
        let time = self.time.and_then(|seconds| DateTime::from_timestamp(seconds as i64, 0));
        Put {
            source: self.source.clone().unwrap_or_default(),
            detail_type: self.detail_type.clone().unwrap_or_default(),
            detail: self.detail.clone().unwrap_or_default(),
            time: time.unwrap_or_else(Utc::now),
            resources: self.resources.clone(),
        }
    }
}
