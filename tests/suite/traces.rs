//! Traces: one request is one trace, in which every service has its spans, each below the one that led to it.

use crate::platform::{Platform, options, run};
use crate::stories::paid_with;
use hyper::{Method, StatusCode};
use localstack::support::http;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tests::client::order_of;
use tokio::net::TcpListener;

const TIMEOUT: Duration = Duration::from_secs(30);
/// The client's own span.
const CLIENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

/// Spans by the service that exported them.
type Collected = Arc<Mutex<Vec<(String, Span)>>>;

/// A collector of OTLP over HTTP: its URL, and what it has collected.
async fn collector() -> (String, Collected) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let collected = Collected::default();
    let spans = Arc::clone(&collected);
    let guard = http::Guard { pages: false, connections: 100, bodies: http::BODIES };
    tokio::spawn(http::serve(listener, guard, move |request: http::Request| {
        let spans = Arc::clone(&spans);
        async move {
            assert_eq!(request.uri().path(), "/v1/traces");
            let body = http::body(request.into_body(), 1 << 20).await.unwrap();
            let request = ExportTraceServiceRequest::decode(body).unwrap();
            for resource in request.resource_spans {
                let attributes = resource.resource.unwrap().attributes;
                let name = attributes.into_iter().find(|one| one.key == "service.name").unwrap();
                let Some(Value::StringValue(service)) = name.value.unwrap().value else { panic!("no text") };
                let all = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
                spans.lock().unwrap().extend(all.map(|span| (service.clone(), span)));
            }
            http::empty(StatusCode::OK)
        }
    }));
    (url, collected)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Those of the client's trace, by their ids.
fn of_the_trace(collected: &Collected) -> BTreeMap<String, (String, Span)> {
    let collected = collected.lock().unwrap();
    let ours = collected.iter().filter(|(_, span)| hex(&span.trace_id) == TRACE);
    ours.map(|(service, span)| (hex(&span.span_id), (service.clone(), span.clone()))).collect()
}

/// The service that published what a span reacts to.
fn publisher(name: &str) -> Option<&'static str> {
    let kind = name.strip_prefix("process ")?.split(':').next()?;
    events::catalogue::entries().iter().find(|entry| entry.kind == kind).map(|entry| entry.producer)
}

/// What a trace of a refunded order still lacks: services, spans, and parents.
fn missing(spans: &BTreeMap<String, (String, Span)>, services: &BTreeSet<&str>) -> Vec<String> {
    let found: BTreeSet<&str> = spans.values().map(|(service, _)| service.as_str()).collect();
    let mut missing: Vec<String> = services.difference(&found).map(|service| (*service).to_owned()).collect();
    let wanted = [
        ("orders", "POST /orders"),
        ("orders", "process payment.refunded"),
        ("payments", "payments calls outside"),
        ("payments", "process payment.compensation.requested: RecordRefunded"),
    ];
    let is_there =
        |(of, name): &(&str, &str)| spans.values().any(|(service, span)| service == of && span.name == *name);
    missing.extend(wanted.iter().filter(|span| !is_there(span)).map(|(of, name)| format!("{of}: {name}")));
    for (service, span) in spans.values() {
        let parent = hex(&span.parent_span_id);
        match spans.get(&parent) {
            None if parent == PARENT => {}
            None => missing.push(format!("the parent {parent} of {service}: {}", span.name)),
            Some((of, _)) if publisher(&span.name).is_some_and(|publisher| publisher != of) => {
                missing.push(format!(
                    "the publisher's span above {service}: {}, which is below {of}",
                    span.name
                ));
            }
            Some(_) => {}
        }
    }
    missing
}

/// Guards: each event row's trace context is the span that published it. Every service is found in the one trace, every span
/// of it but the first has its parent in it, and that of a reaction is a span of the service that published the event.
#[test]
fn one_order_is_one_trace_with_every_service() {
    run(async {
        let (url, collected) = collector().await;
        let mut options = options("traces");
        options.parameters.insert("TracesEndpoint".into(), url);
        let platform = Platform::start(&options).await.unwrap();
        let product = platform.product_called("unshippable", 5).await;
        let headers = [("content-type", "application/json"), ("traceparent", CLIENT)];
        let order = paid_with("pm_card_visa", order_of(&product, 1)).to_string();
        let placed = platform.api.send_with(Method::POST, "/orders", &headers, order).await.unwrap();
        assert_eq!(placed.status, 202);
        let of_orders = |kind: &str| !kind.starts_with("product.") && !kind.starts_with("payment.circuit.");
        let consumes = registry::CONSUMES.iter();
        let concerned = consumes.filter(|(_, events)| events.iter().any(|event| of_orders(event.kind)));
        let services: BTreeSet<&str> = concerned.map(|(service, _)| *service).collect();
        assert!(services.len() >= 7, "{services:?}");
        let deadline = Instant::now() + TIMEOUT;
        // Each process exports on its own: a span may come before the one that led to it.
        loop {
            let spans = of_the_trace(&collected);
            let missing = missing(&spans, &services);
            if missing.is_empty() {
                break;
            }
            assert!(Instant::now() < deadline, "{missing:#?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
}
