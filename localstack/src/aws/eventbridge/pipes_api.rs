//! The calls about pipes: they are listed and described, stopped and started.
//!
//! <https://docs.aws.amazon.com/eventbridge/latest/pipes-reference/API_ListPipes.html>
//! <https://docs.aws.amazon.com/eventbridge/latest/pipes-reference/API_StopPipe.html>

use super::pipes::Pipe;
use crate::aws::protocol::operations::{Operations, Run};
use crate::aws::protocol::pages::{limit, page};
use crate::aws::protocol::rest::Route;
use crate::aws::protocol::{ApiError, Call, Outcome, ok, seconds, text, without_nulls};
use crate::aws::streams::{Conflict, State};
use crate::template::names;
use hyper::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use std::ops::RangeInclusive;
use std::sync::Arc;

/// How the paths of these calls begin.
pub const PATH: &str = "/v1/pipes";
const LISTED: RangeInclusive<i64> = 1..=100;

pub const ROUTES: [Route; 4] = [
    (Method::GET, "/v1/pipes", "ListPipes"),
    (Method::GET, "/v1/pipes/{Name}", "DescribePipe"),
    (Method::POST, "/v1/pipes/{Name}/stop", "StopPipe"),
    (Method::POST, "/v1/pipes/{Name}/start", "StartPipe"),
];

pub static OPERATIONS: &Operations<Pipes> = &[
    ("DescribePipe", Run::Now(|pipes, call| ok(&described(pipes.named(call)?)))),
    ("ListPipes", Run::Now(list)),
    ("StartPipe", Run::Later(|pipes, call| Box::pin(turn(pipes, call, false)))),
    ("StopPipe", Run::Later(|pipes, call| Box::pin(turn(pipes, call, true)))),
];

/// Every pipe.
pub struct Pipes(pub Vec<Arc<Pipe>>);

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct ListPipes {
    name_prefix: Option<String>,
    desired_state: Option<String>,
    current_state: Option<String>,
    source_prefix: Option<String>,
    target_prefix: Option<String>,
    next_token: Option<String>,
    #[serde(default, deserialize_with = "text::parsed")]
    limit: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Named {
    name: String,
}

async fn turn(pipes: &Pipes, call: &Call<'_>, off: bool) -> Outcome {
    let pipe = pipes.named(call)?;
    pipe.switch().turn(off).await.map_err(|Conflict(state)| {
        let text = format!("Pipe {} is {}.", pipe.declared.name, name_of(state));
        ApiError { status: 409, ..ApiError::new("ConflictException", text) }
    })?;
    ok(&summary(pipe))
}

impl Pipes {
    /// The pipe that a call names, if the caller may do what it asks for.
    fn named(&self, call: &Call<'_>) -> Result<&Pipe, ApiError> {
        let Named { name } = call.parse()?;
        call.require(&format!("pipes:{}", call.operation), &names::pipe_arn(&name))?;
        let found = self.0.iter().find(|pipe| pipe.declared.name == name);
        found.map(|pipe| &**pipe).ok_or_else(|| {
            let text = format!("Pipe {name} does not exist.");
            ApiError { status: 404, ..ApiError::new("NotFoundException", text) }
        })
    }
}

fn list(pipes: &Pipes, call: &Call<'_>) -> Outcome {
    let request: ListPipes = call.parse()?;
    call.require("pipes:ListPipes", "*")?;
    let limit = limit(("Limit", request.limit), &LISTED, "ValidationException")?;
    let begins =
        |text: &str, prefix: &Option<String>| prefix.as_ref().is_none_or(|prefix| text.starts_with(prefix));
    let is = |shown: &Value, wanted: &Option<String>| wanted.as_ref().is_none_or(|wanted| shown == wanted);
    let mut pipes: Vec<&Pipe> = pipes.0.iter().map(|pipe| &**pipe).collect();
    pipes.retain(|pipe| {
        let (declared, summary) = (&pipe.declared, summary(pipe));
        begins(&declared.name, &request.name_prefix)
            && begins(&declared.source, &request.source_prefix)
            && begins(&declared.target, &request.target_prefix)
            && is(&summary["DesiredState"], &request.desired_state)
            && is(&summary["CurrentState"], &request.current_state)
    });
    let name = |pipe: &&Pipe| pipe.declared.name.clone();
    let (pipes, next) = page(pipes, name, request.next_token.as_deref(), limit);
    let pipes: Vec<Value> = pipes.into_iter().map(listed).collect();
    ok(&without_nulls(json!({"Pipes": pipes, "NextToken": next})))
}

const fn name_of(state: State) -> &'static str {
    match state {
        State::Running => "RUNNING",
        State::Stopping => "STOPPING",
        State::Stopped => "STOPPED",
        State::Starting => "STARTING",
    }
}

/// What every answer about a pipe has.
fn summary(pipe: &Pipe) -> Value {
    let (kept, state) = pipe.switch().state();
    json!({
        "Name": pipe.declared.name,
        "Arn": names::pipe_arn(&pipe.declared.name),
        "DesiredState": if kept.is_stopped { "STOPPED" } else { "RUNNING" },
        "CurrentState": name_of(state),
        "CreationTime": seconds(kept.created_at),
        "LastModifiedTime": seconds(kept.changed_at),
    })
}

/// A pipe in a list.
fn listed(pipe: &Pipe) -> Value {
    let mut listed = summary(pipe);
    listed["Source"] = pipe.declared.source.as_str().into();
    listed["Target"] = pipe.declared.target.as_str().into();
    listed["Enrichment"] = pipe.declared.enrichment.as_str().into();
    listed
}

/// A pipe by itself: as it is declared. CloudFormation and this call have the same names for everything.
fn described(pipe: &Pipe) -> Value {
    let mut described = without_nulls(json!(pipe.declared));
    if let (Value::Object(described), Value::Object(summary)) = (&mut described, summary(pipe)) {
        described.extend(summary);
    }
    described
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::iam::{Caller, Iam};
    use crate::aws::protocol::{operations, rest};

    async fn call(method: Method, path: &str, query: &str, allowed: bool) -> (u16, String) {
        let (role, iam) = (Caller::Role("arn:aws:iam::000000000000:role/r".into()), Iam::default());
        let caller = if allowed { &Caller::Administrator } else { &role };
        let path = format!("{PATH}{path}");
        let outcome = match rest::read(&ROUTES, (&method, &path, query), b"") {
            Ok(asked) => {
                let call = Call { caller, iam: &iam, operation: asked.operation, body: &asked.body };
                operations::answer(OPERATIONS, &Pipes(Vec::new()), &call).await
            }
            Err(error) => Err(error),
        };
        let answer = rest::answer(outcome);
        let kind = answer.headers().get("x-amzn-errortype").map(|kind| kind.to_str().unwrap().to_owned());
        (answer.status().as_u16(), kind.unwrap_or_default())
    }

    /// Guards: a request field that AWS has is read, and another one is refused. The fields are those of the service model.
    #[tokio::test]
    async fn every_request_field_is_read_or_refused() {
        let list = async |query: &str| call(Method::GET, "", query, true).await;
        let whole = "NamePrefix=a&DesiredState=RUNNING&CurrentState=STOPPED&SourcePrefix=arn&TargetPrefix=arn&NextToken=a&Limit=100";
        assert_eq!(list(whole).await, (200, String::new()));
        for (refused, code) in [
            ("Limit=0", "Validation"),
            ("Limit=101", "Validation"),
            ("Limit=x", "Serialization"),
            ("Colour=red", "Serialization"),
        ] {
            assert_eq!(list(refused).await, (400, format!("{code}Exception")), "{refused}");
        }
    }

    /// Guards: errors have AWS's status and type, and a role's policies decide.
    #[tokio::test]
    async fn what_is_not_there_or_not_allowed_is_refused() {
        let calls = [(Method::GET, "/p"), (Method::POST, "/p/stop"), (Method::POST, "/p/start")];
        for (method, path) in calls {
            let answers = [call(method.clone(), path, "", true).await, call(method, path, "", false).await];
            assert_eq!(answers, [(404, "NotFoundException".into()), (403, "AccessDeniedException".into())]);
        }
        assert_eq!(call(Method::GET, "", "", false).await, (403, "AccessDeniedException".into()));
        assert_eq!(call(Method::DELETE, "/p", "", true).await.1, "UnknownOperationException");
    }
}
