//! What Lambda's calls read, and what they refuse.

use super::api::{OPERATIONS, ROUTES};
use super::{Mappings, Service, invoke};
use crate::aws::iam::{Caller, Iam};
use crate::aws::lambda::Functions;
use crate::aws::protocol::{ApiError, Call, operations, rest};
use crate::template::names;
use crate::template::resources::{EventSourceMapping, Model};
use http_body_util::BodyExt;
use hyper::{HeaderMap, Method};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

fn lambda() -> Service {
    let queue = json!({"EventSourceArn": names::queue_arn("q"), "FunctionName": "f", "BatchSize": 10});
    let queue: EventSourceMapping = serde_json::from_value(queue).unwrap();
    Service {
        functions: Functions::default(),
        model: Arc::new(Model::default()),
        mappings: Mappings { streams: Vec::new(), queues: vec![queue] },
        events: BTreeMap::new(),
        logs: std::env::temp_dir(),
        since: 0,
    }
}

async fn call(method: Method, path: &str, query: &str, body: &Value, caller: &Caller) -> (u16, Value) {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let iam = Iam::default();
    let outcome = match rest::read(&ROUTES, (&method, path, query), body.as_bytes()) {
        Ok(asked) => {
            let call = Call { caller, iam: &iam, operation: asked.operation, body: &asked.body };
            operations::answer(OPERATIONS, &lambda(), &call).await
        }
        Err(error) => Err(error),
    };
    let answer = rest::answer(outcome);
    let (status, kind) = (answer.status().as_u16(), answer.headers().get("x-amzn-errortype").cloned());
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    let kind = kind.map(|kind| kind.to_str().unwrap().into());
    (status, kind.unwrap_or_else(|| serde_json::from_slice(&body).unwrap()))
}

const MAPPINGS: &str = "/2015-03-31/event-source-mappings";

/// Guards: a request field that Lambda has is read or refused, and what there is not is not found. The fields are those of
/// the service model.
#[tokio::test]
async fn every_field_about_mappings_is_read_or_refused() {
    let list =
        async |query: &str| call(Method::GET, MAPPINGS, query, &Value::Null, &Caller::Administrator).await;
    let (status, found) =
        list("FunctionName=f&EventSourceArn=arn:aws:sqs:us-east-1:000000000000:q&MaxItems=1").await;
    assert_eq!((status, &found["EventSourceMappings"][0]["State"]), (200, &json!("Enabled")));
    assert_eq!(list("Marker=zzz").await, (200, json!({"EventSourceMappings": []})));
    assert_eq!(list("MaxItems=0").await, (400, json!("InvalidParameterValueException")));
    for refused in ["MaxItems=x", "Colour=red"] {
        assert_eq!(list(refused).await, (400, json!("SerializationException")), "{refused}");
    }
    let one = format!("{MAPPINGS}/x");
    let update = async |body: Value| call(Method::PUT, &one, "", &body, &Caller::Administrator).await;
    assert_eq!(update(json!({"Enabled": false})).await, (404, json!("ResourceNotFoundException")));
    let fields = [
        "FunctionName",
        "BatchSize",
        "FilterCriteria",
        "MaximumBatchingWindowInSeconds",
        "DestinationConfig",
        "MaximumRecordAgeInSeconds",
        "BisectBatchOnFunctionError",
        "MaximumRetryAttempts",
        "ParallelizationFactor",
        "SourceAccessConfigurations",
        "TumblingWindowInSeconds",
        "FunctionResponseTypes",
        "ScalingConfig",
        "AmazonManagedKafkaEventSourceConfig",
        "SelfManagedKafkaEventSourceConfig",
        "DocumentDBEventSourceConfig",
        "KMSKeyArn",
        "MetricsConfig",
        "LoggingConfig",
        "ProvisionedPollerConfig",
    ];
    for field in fields {
        let body = json!({"Enabled": false, field: 1});
        assert_eq!(update(body).await, (400, json!("InvalidParameterValueException")), "{field}");
    }
    let role = Caller::Role(names::role_arn("r"));
    for (method, path) in [(Method::GET, MAPPINGS), (Method::PUT, &one), (Method::GET, &one)] {
        let body = if method == Method::PUT { json!({"Enabled": true}) } else { Value::Null };
        let refused = call(method, path, "", &body, &role).await;
        assert_eq!(refused, (403, json!("AccessDeniedException")), "{path}");
    }
}

async fn invoked(
    query: &str,
    headers: &[(&'static str, &str)],
    payload: &str,
    allowed: bool,
) -> (u16, String) {
    let mut map = HeaderMap::new();
    headers.iter().for_each(|(name, value)| drop(map.insert(*name, value.parse().unwrap())));
    let denied = ApiError::new("AccessDeniedException", "not you");
    let allow = |_: &str, _: &str| if allowed { Ok(()) } else { Err(denied.clone()) };
    let payload = payload.to_owned().into();
    let lambda = lambda();
    let answer = invoke::invoke(
        &lambda,
        ("arn%3Aaws%3Alambda%3Aus-east-1%3A000000000000%3Afunction%3Af", query, &map),
        allow,
        payload,
    );
    let answer = answer.await;
    let kind = answer.headers().get("x-amzn-errortype").map(|kind| kind.to_str().unwrap().to_owned());
    (answer.status().as_u16(), kind.unwrap_or_default())
}

/// Guards: an invocation that cannot be run as it is asked for is refused with Lambda's error, and nothing is run.
#[tokio::test]
async fn an_invocation_says_what_it_cannot() {
    assert_eq!(invoked("", &[], "{}", true).await, (404, "ResourceNotFoundException".into()));
    assert_eq!(invoked("Qualifier=live", &[], "{}", true).await.1, "ResourceNotFoundException");
    assert_eq!(invoked("", &[], "{}", false).await, (403, "AccessDeniedException".into()));
    assert_eq!(invoked("Colour=red", &[], "{}", true).await.1, "InvalidParameterValueException");
}
