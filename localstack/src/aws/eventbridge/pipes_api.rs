//! The calls about pipes: they are listed and described, stopped and started.
//!
//! <https://docs.aws.amazon.com/eventbridge/latest/pipes-reference/API_ListPipes.html>
//! <https://docs.aws.amazon.com/eventbridge/latest/pipes-reference/API_StopPipe.html>

use super::pipes::Pipe;
use crate::aws::protocol::{self, ApiError, seconds};
use crate::aws::streams::{Conflict, State};
use crate::support::http::Response;
use crate::template::names;
use hyper::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// The path of these calls.
pub const PATH: &str = "/v1/pipes";
/// The most pipes of one answer, and the default.
const MAX_LISTED: usize = 100;

/// Every pipe.
pub struct Pipes(pub Vec<Arc<Pipe>>);

/// The parameters of a list, all of them texts.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default, deny_unknown_fields)]
struct ListPipes {
    name_prefix: Option<String>,
    desired_state: Option<String>,
    current_state: Option<String>,
    source_prefix: Option<String>,
    target_prefix: Option<String>,
    next_token: Option<String>,
    limit: Option<String>,
}

/// Answers a call by its method, what follows [`PATH`], and its query. `allow` refuses a caller that may not do an action on
/// an ARN.
pub async fn answer(
    pipes: &Pipes,
    (method, path, query): (&Method, &str, &str),
    allow: impl Fn(&str, &str) -> Result<(), ApiError>,
) -> Response {
    let segments: Vec<&str> = path.split('/').collect();
    let on = |operation: &str, name: &str| {
        allow(&format!("pipes:{operation}"), &names::pipe_arn(name))?;
        pipes.find(name)
    };
    let outcome = match (method, segments.as_slice()) {
        (&Method::GET, [""]) => allow("pipes:ListPipes", "*").and_then(|()| pipes.list(query)),
        (&Method::GET, ["", name]) => on("DescribePipe", name).map(described),
        (&Method::POST, ["", name, "stop"]) => turn(on("StopPipe", name), true).await,
        (&Method::POST, ["", name, "start"]) => turn(on("StartPipe", name), false).await,
        _ => Err(ApiError::unknown(&format!("{method} {PATH}{path}"))),
    };
    protocol::rest(outcome)
}

async fn turn(pipe: Result<&Pipe, ApiError>, off: bool) -> Result<Value, ApiError> {
    let pipe = pipe?;
    pipe.switch().turn(off).await.map_err(|Conflict(state)| {
        let text = format!("Pipe {} is {}.", pipe.declared.name, name_of(state));
        ApiError { status: 409, ..ApiError::new("ConflictException", text) }
    })?;
    Ok(summary(pipe))
}

impl Pipes {
    fn find(&self, name: &str) -> Result<&Pipe, ApiError> {
        let found = self.0.iter().find(|pipe| pipe.declared.name == name);
        found.map(|pipe| &**pipe).ok_or_else(|| {
            let text = format!("Pipe {name} does not exist.");
            ApiError { status: 404, ..ApiError::new("NotFoundException", text) }
        })
    }

    fn list(&self, query: &str) -> Result<Value, ApiError> {
        let request: ListPipes = protocol::query(query).map_err(|why| invalid(&why))?;
        let limit = limit(request.limit.as_deref())?;
        let begins = |text: &str, prefix: &Option<String>| {
            prefix.as_ref().is_none_or(|prefix| text.starts_with(prefix))
        };
        let is =
            |shown: &Value, wanted: &Option<String>| wanted.as_ref().is_none_or(|wanted| shown == wanted);
        let mut pipes: Vec<&Pipe> = self.0.iter().map(|pipe| &**pipe).collect();
        pipes.sort_by_key(|pipe| &pipe.declared.name);
        pipes.retain(|pipe| {
            let (declared, summary) = (&pipe.declared, summary(pipe));
            begins(&declared.name, &request.name_prefix)
                && begins(&declared.source, &request.source_prefix)
                && begins(&declared.target, &request.target_prefix)
                && is(&summary["DesiredState"], &request.desired_state)
                && is(&summary["CurrentState"], &request.current_state)
                && request.next_token.as_ref().is_none_or(|token| declared.name > *token)
        });
        let has_more = pipes.len() > limit;
        pipes.truncate(limit);
        let mut answer = json!({"Pipes": pipes.iter().map(|pipe| listed(pipe)).collect::<Vec<_>>()});
        if let (Some(last), true) = (pipes.last(), has_more) {
            answer["NextToken"] = last.declared.name.as_str().into();
        }
        Ok(answer)
    }
}

fn limit(limit: Option<&str>) -> Result<usize, ApiError> {
    let limit = limit.map_or(Ok(MAX_LISTED), str::parse);
    let limit = limit.ok().filter(|limit| (1..=MAX_LISTED).contains(limit));
    limit.ok_or_else(|| invalid("Limit is 1 to 100"))
}

fn invalid(text: &str) -> ApiError {
    ApiError::new("ValidationException", text)
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
    let mut described = protocol::without_nulls(json!(pipe.declared));
    if let (Value::Object(described), Value::Object(summary)) = (&mut described, summary(pipe)) {
        described.extend(summary);
    }
    described
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn call(method: Method, path: &str, query: &str, allowed: bool) -> (u16, String) {
        let allow = |_: &str, _: &str| {
            if allowed { Ok(()) } else { Err(ApiError::new("AccessDeniedException", "not you")) }
        };
        let answer = answer(&Pipes(Vec::new()), (&method, path, query), allow).await;
        let kind = answer.headers().get("x-amzn-errortype").map(|kind| kind.to_str().unwrap().to_owned());
        (answer.status().as_u16(), kind.unwrap_or_default())
    }

    /// Guards: a request field that AWS has is read, and another one is refused. The fields are those of the service model.
    #[tokio::test]
    async fn every_request_field_is_read_or_refused() {
        let list = async |query: &str| call(Method::GET, "", query, true).await;
        let whole = "NamePrefix=a&DesiredState=RUNNING&CurrentState=STOPPED&SourcePrefix=arn&TargetPrefix=arn&NextToken=a&Limit=100";
        assert_eq!(list(whole).await, (200, String::new()));
        for refused in ["Colour=red", "Limit=0", "Limit=101", "Limit=x"] {
            assert_eq!(list(refused).await, (400, "ValidationException".into()), "{refused}");
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
