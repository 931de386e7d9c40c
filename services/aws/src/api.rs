//! HTTP through API Gateway: its payload format 2.0 read as a request, and a response as it wants it.

use crate::claims::Claims;
use crate::queue::out_of_time;
use aws_lambda_events::apigw::{ApiGatewayV2httpRequest, ApiGatewayV2httpResponse};
use aws_lambda_events::http::{HeaderMap, HeaderName, HeaderValue};
use base64::{Engine, engine::general_purpose::STANDARD};
use chassis::http::{Api, Caller, Problem, Request, Response};
use chassis::log::{self, About};
use chassis::ports::{Ids, RandomIds};
use chassis::spans::{self, Kind, Span};
use chassis::trace::TraceContext;
use chrono::{DateTime, TimeDelta, Utc};
use events::OrderId;
use std::collections::HashMap;
use std::time::{Duration, Instant};
use tokio::time::timeout;
use uuid::Uuid;

/// What a function keeps of its time, so that it answers before Lambda stops it.
const RESERVE: TimeDelta = TimeDelta::milliseconds(400);

/// Lets `api` answer one request of the gateway, before the function is stopped at `deadline`.
pub async fn respond<A: Api>(
    api: &A,
    claims: &Claims,
    event: ApiGatewayV2httpRequest,
    deadline: Option<DateTime<Utc>>,
) -> ApiGatewayV2httpResponse {
    let caller = caller(claims, &event);
    to_gateway(answer(api, caller, event, deadline).await)
}

async fn answer<A: Api>(
    api: &A,
    caller: Option<Caller>,
    event: ApiGatewayV2httpRequest,
    deadline: Option<DateTime<Utc>>,
) -> Response {
    let correlation_id = RandomIds.fresh();
    let about = About { correlation_id, subject: order(&event).map(|order| ("order_id", order)) };
    let answered = answered(api, caller, event, deadline, correlation_id);
    log::about(Some(about), answered).await.correlated(correlation_id)
}

async fn answered<A: Api>(
    api: &A,
    caller: Option<Caller>,
    event: ApiGatewayV2httpRequest,
    deadline: Option<DateTime<Utc>>,
    correlation_id: Uuid,
) -> Response {
    let (started, changes, asked) = (Instant::now(), changes(&event), Asked::of(&event));
    let left = deadline.map(|at| (at - Utc::now() - RESERVE).to_std().unwrap_or_default());
    let answer = match read(event, correlation_id, deadline) {
        Ok(request) => timeout(left.unwrap_or(Duration::MAX), api.answer(Request { caller, ..request }))
            .await
            .unwrap_or_else(|_| Err(out_of_time().into())),
        Err(problem) => Err(problem),
    };
    let answer = answer.unwrap_or_else(|problem| {
        report(&problem);
        Response::from(problem)
    });
    asked.record(correlation_id, answer.status);
    if changes {
        let duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::info!(status = u64::from(answer.status), duration_ms, "request");
    }
    answer
}

/// The order that a request is about; nothing else of a path is logged.
fn order(event: &ApiGatewayV2httpRequest) -> Option<String> {
    let is_about_one = event.route_key.as_deref().is_some_and(|route| route.contains(" /orders/{id}"));
    let id = event.path_parameters.get("id").filter(|_| is_about_one)?;
    id.parse::<OrderId>().ok().map(|id| id.to_string())
}

/// What a request's span says of it.
struct Asked {
    client: Option<TraceContext>,
    route: String,
    began: DateTime<Utc>,
}

impl Asked {
    fn of(event: &ApiGatewayV2httpRequest) -> Self {
        let sent = event.headers.get("traceparent").and_then(|sent| sent.to_str().ok());
        Self {
            client: sent.and_then(|sent| sent.parse().ok()),
            route: event.route_key.clone().unwrap_or_default(),
            began: Utc::now(),
        }
    }

    fn record(self, correlation_id: Uuid, status: u16) {
        spans::record(|| Span {
            context: TraceContext::of_request(correlation_id, self.client),
            parent: self.client.map(|client| client.span),
            kind: Kind::Server,
            name: self.route.clone(),
            began: self.began,
            ended: Utc::now(),
            attributes: vec![
                ("http.route", self.route),
                ("http.response.status_code", status.to_string()),
                ("correlation_id", correlation_id.to_string()),
            ],
            error: (status >= 500).then_some("server error"),
        });
    }
}

/// Whether a request may set something off, so that its correlation id is worth a line.
fn changes(event: &ApiGatewayV2httpRequest) -> bool {
    !event.request_context.http.method.is_safe()
}

/// Logs what the client must not see.
fn report(problem: &Problem) {
    if let Some(failure) = &problem.failure {
        tracing::error!(class = failure.class(), reason = failure.to_string(), "request failed");
    }
}

/// The caller of a request; `None` when no authorizer stood before it.
fn caller(claims: &Claims, event: &ApiGatewayV2httpRequest) -> Option<Caller> {
    let token = event.request_context.authorizer.as_ref()?.jwt.as_ref()?;
    Some(claims.caller(&token.claims, token.scopes.as_deref()))
}

/// The values of a name in the query, joined by commas as the gateway does: a second value is not lost.
fn query(event: &ApiGatewayV2httpRequest) -> HashMap<String, String> {
    let mut query: HashMap<String, String> = HashMap::new();
    for (name, value) in event.query_string_parameters.iter() {
        let joined = query.get(name).map_or_else(|| value.to_owned(), |before| format!("{before},{value}"));
        query.insert(name.to_owned(), joined);
    }
    query
}

fn read(
    event: ApiGatewayV2httpRequest,
    correlation_id: Uuid,
    deadline: Option<DateTime<Utc>>,
) -> Result<Request, Problem> {
    let query = query(&event);
    let text = event.body.unwrap_or_default();
    let body = if event.is_base64_encoded {
        STANDARD.decode(text).map_err(|_| Problem::bad_request("the body is not valid base64"))?
    } else {
        text.into_bytes()
    };
    // A value that is no text is not left out: a condition or a key that was sent must not count as none.
    let header = |(name, value): (&HeaderName, &HeaderValue)| {
        (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    Ok(Request {
        route: event.route_key.unwrap_or_default(),
        path: event.path_parameters,
        query,
        headers: event.headers.iter().map(header).collect(),
        body,
        method: event.request_context.http.method.to_string(),
        raw_path: event.raw_path.unwrap_or_default(),
        caller: None,
        correlation_id,
        deadline,
    })
}

fn to_gateway(response: Response) -> ApiGatewayV2httpResponse {
    let mut out = ApiGatewayV2httpResponse::default();
    out.status_code = response.status.into();
    out.body = (!response.body.is_null()).then(|| response.body.to_string().into());
    let mut headers = HeaderMap::new();
    for (name, value) in response.headers {
        // Every value is ours and printable; one that were not is left out rather than failing the answer.
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    }
    out.headers = headers;
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use chassis::Failure;
    use serde_json::Value;

    struct Broken(Failure);

    impl Api for Broken {
        const ROUTES: &'static [&'static str] = &[];
        const SCOPES: &'static [&'static str] = &[];

        async fn answer(&self, _request: Request) -> Result<Response, Problem> {
            Err(self.0.clone().into())
        }
    }

    /// Guards: a header that is no ASCII is refused by its reader and not left out: without its key, a retry would be a
    /// second order.
    #[test]
    fn no_header_is_left_out() {
        let mut event = ApiGatewayV2httpRequest::default();
        event.headers.insert("idempotency-key", HeaderValue::from_bytes(b"k\xc3\xa4").unwrap());
        let request = read(event, Uuid::nil(), None).unwrap();
        assert_eq!(request.header("idempotency-key"), Some("k\u{e4}"));
    }

    /// Guards: the log names the order that a request is about, and no other text of a path: a customer's id is personal data.
    #[test]
    fn an_order_is_named_and_no_customer() {
        let named = |route: &str, id: &str| {
            let mut event = ApiGatewayV2httpRequest::default();
            event.route_key = Some(route.to_owned());
            event.path_parameters.insert("id".to_owned(), id.to_owned());
            order(&event)
        };
        let id = "018f2b9e-7c1a-7d3e-9f00-4b6a1c2d3e4f";
        assert_eq!(named("POST /orders/{id}/cancel", id).as_deref(), Some(id));
        assert_eq!(named("POST /orders/{id}/cancel", "ada"), None);
        assert_eq!(named("PUT /customers/{id}/payment-method", id), None);
    }

    /// Guards: a server error gives the client an id to ask about, and nothing of what went wrong.
    #[tokio::test]
    async fn a_server_error_gives_a_correlation_id_and_nothing_else() {
        let secret = "table prod-quadrille-orders: key 42";
        for failure in [Failure::Poison(secret.into()), Failure::Transient(secret.into())] {
            let answer = answer(&Broken(failure), None, ApiGatewayV2httpRequest::default(), None).await;
            let Value::Object(body) = &answer.body else { panic!("{answer:?}") };
            let header = answer.headers.iter().find(|(name, _)| *name == "x-correlation-id").unwrap();
            assert_eq!(body["correlation_id"], header.1.as_str());
            let members: Vec<&str> = body.keys().map(String::as_str).collect();
            assert_eq!(members, ["correlation_id", "detail", "error", "status", "title", "type"]);
            assert!(answer.status >= 500 && !format!("{answer:?}").contains("prod-quadrille-orders"));
        }
    }
}
