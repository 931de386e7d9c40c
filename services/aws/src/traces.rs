//! Exports spans by OTLP, where the template's `TracesEndpoint` names a collector.
//!
//! <https://opentelemetry.io/docs/specs/otlp/#otlphttp>

use anyhow::{Context, Result};
use bytes::Bytes;
use chassis::http::client::{Connector, connector};
use chassis::outbox::Cause;
use chassis::ports::{Ids, RandomIds};
use chassis::spans::{self, Kind, Span};
use chassis::trace::TraceContext;
use chrono::{DateTime, Utc};
use events::Metadata;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, Response};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanExporter as _, SpanLinks};
use std::sync::OnceLock;
use std::time::Duration;
use tokio::sync::Mutex;

/// Where spans go, `http://collector:4318`; unset or empty: nowhere.
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
/// How long a collector may take. An invocation waits for it at its end, because Lambda freezes the process afterwards.
const TIMEOUT: Duration = Duration::from_millis(500);
/// The most of a collector's answer that is read.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// A service's work on an event.
pub struct Reaction<'a> {
    /// The service.
    pub service: &'a str,
    /// The event.
    pub metadata: &'a Metadata,
    /// The task, where a flow does the work in several.
    pub task: Option<&'a str>,
    /// When it began.
    pub began: DateTime<Utc>,
    /// Whether it settles the event: its span then has the id from which the events that it published go on. A repetition, and
    /// what comes again, have ids of their own.
    pub settles: bool,
    /// The verdict, or what else became of it.
    pub outcome: &'a str,
    /// Why it failed, by class.
    pub error: Option<&'static str>,
}

/// Records the span of a reaction, which ends now.
pub fn record(reaction: &Reaction<'_>) {
    let Reaction { service, metadata, task, .. } = *reaction;
    spans::record(|| {
        let context = Cause::from(metadata).span(service);
        let parent: Option<TraceContext> = metadata.traceparent.parse().ok();
        let task = task.map(|task| format!(": {task}")).unwrap_or_default();
        Span {
            context: if reaction.settles { context } else { context.child(RandomIds.fresh()) },
            parent: parent.map(|parent| parent.span),
            kind: Kind::Consumer,
            name: format!("process {}{task}", metadata.kind),
            began: reaction.began,
            ended: Utc::now(),
            attributes: vec![
                ("messaging.message.id", metadata.id.to_string()),
                (metadata.subject_name(), metadata.subject.clone()),
                ("correlation_id", metadata.correlation_id.to_string()),
                ("outcome", reaction.outcome.to_owned()),
            ],
            error: reaction.error,
        }
    });
}

/// How often spans are exported where several invocations share a process, which Lambda does not freeze then.
const PERIOD: Duration = Duration::from_millis(250);

/// What exports the spans of this process, and whether an invocation has to wait for it.
struct Traces {
    exporter: Mutex<SpanExporter>,
    is_frozen: bool,
}

static TRACES: OnceLock<Traces> = OnceLock::new();

/// Begins to export spans of `service` to the collector that the environment names; without one there are none.
///
/// # Errors
/// When its address is none, or there are no root certificates.
pub fn start(service: &'static str) -> Result<()> {
    let Some(endpoint) = std::env::var(ENDPOINT).ok().filter(|endpoint| !endpoint.is_empty()) else {
        return Ok(());
    };
    let http = Client::builder(TokioExecutor::new()).build(connector()?);
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(Http(http))
        .with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
        .with_timeout(TIMEOUT)
        .build();
    let mut exporter = exporter.with_context(|| format!("{ENDPOINT} is {endpoint:?}"))?;
    exporter.set_resource(&Resource::builder_empty().with_service_name(service).build());
    let is_frozen = std::env::var_os("AWS_LAMBDA_MAX_CONCURRENCY").is_none();
    let _ = TRACES.set(Traces { exporter: Mutex::new(exporter), is_frozen });
    spans::keep();
    if !is_frozen {
        tokio::spawn(export_for_ever());
    }
    Ok(())
}

async fn export_for_ever() {
    loop {
        tokio::time::sleep(PERIOD).await;
        export().await;
    }
}

/// Exports what an invocation has recorded, before Lambda freezes the process.
pub async fn flush() {
    if TRACES.get().is_some_and(|traces| traces.is_frozen) {
        export().await;
    }
}

/// Exports what was recorded since the last time. What the collector refuses is lost, and a line of the log says so.
async fn export() {
    let spans: Vec<SpanData> = spans::take().into_iter().map(exported).collect();
    let (Some(traces), false) = (TRACES.get(), spans.is_empty()) else { return };
    let number = spans.len();
    let exporter = traces.exporter.lock().await;
    let reason = match tokio::time::timeout(TIMEOUT, exporter.export(spans)).await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error.to_string(),
        Err(_) => "the collector did not answer".to_owned(),
    };
    tracing::warn!(number, reason, "spans are lost");
}

fn exported(span: Span) -> SpanData {
    let trace_id = TraceId::from(span.context.trace);
    let flags = TraceFlags::new(span.context.flags);
    let span_id = SpanId::from(span.context.span);
    SpanData {
        span_context: SpanContext::new(trace_id, span_id, flags, false, TraceState::default()),
        parent_span_id: span.parent.map_or(SpanId::INVALID, SpanId::from),
        parent_span_is_remote: span.kind != Kind::Client,
        span_kind: match span.kind {
            Kind::Server => SpanKind::Server,
            Kind::Consumer => SpanKind::Consumer,
            Kind::Client => SpanKind::Client,
        },
        name: span.name.into(),
        start_time: span.began.into(),
        end_time: span.ended.into(),
        attributes: span.attributes.into_iter().map(|(name, value)| KeyValue::new(name, value)).collect(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: span.error.map_or(Status::Unset, Status::error),
        instrumentation_scope: InstrumentationScope::builder("quadrille").build(),
    }
}

/// The client of every other outward call.
#[derive(Debug)]
struct Http(Client<Connector, Full<Bytes>>);

#[async_trait::async_trait]
impl HttpClient for Http {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (parts, body) = self.0.request(request.map(Full::new)).await?.into_parts();
        let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await?.to_bytes();
        Ok(Response::from_parts(parts, body))
    }
}
