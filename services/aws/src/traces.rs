//! Exports spans by OTLP, where the template's `TracesEndpoint` names a collector.
//!
//! <https://opentelemetry.io/docs/specs/otlp/#otlphttp>

use anyhow::{Context, Result};
use bytes::Bytes;
use chassis::http::client::{Connector, connector};
use chassis::spans::{self, Kind, Span};
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
use std::time::Duration;
use tokio::sync::Mutex;

/// Where spans go, `http://collector:4318`; unset or empty: nowhere.
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
/// How long a collector may take. An invocation waits for it at its end, because Lambda freezes the process afterwards.
const TIMEOUT: Duration = Duration::from_millis(500);
/// The most of a collector's answer that is read.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// Exports what a process has recorded.
pub struct Traces(Option<Mutex<SpanExporter>>);

impl Traces {
    /// To the collector that the environment names, as `service`.
    ///
    /// # Errors
    /// When its address is none, or there are no root certificates.
    pub fn of(service: &'static str) -> Result<Self> {
        let Some(endpoint) = std::env::var(ENDPOINT).ok().filter(|endpoint| !endpoint.is_empty()) else {
            return Ok(Self(None));
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
        spans::keep();
        Ok(Self(Some(Mutex::new(exporter))))
    }

    /// Exports what was recorded since the last time. What a collector does not take is lost, and a line of the log says so.
    pub async fn flush(&self) {
        let Some(exporter) = &self.0 else { return };
        let spans: Vec<SpanData> = spans::take().into_iter().map(exported).collect();
        if spans.is_empty() {
            return;
        }
        let number = spans.len();
        let exporter = exporter.lock().await;
        let exported = tokio::time::timeout(TIMEOUT, exporter.export(spans)).await;
        let reason = match exported {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the collector did not answer".to_owned(),
        };
        tracing::warn!(number, reason, "spans are lost");
    }
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
