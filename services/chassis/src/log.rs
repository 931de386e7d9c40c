//! JSON logs, one object a line. They never hold an event's data: ids are enough to find it, and addresses stay out of the
//! logs.

use chrono::Utc;
use events::{Metadata, envelope::millis};
use serde_json::{Map, Value};
use std::fmt;
use std::future::Future;
use std::sync::{LazyLock, OnceLock};
use tracing::field::{Field, Visit};
use tracing_subscriber::{
    EnvFilter,
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};
use uuid::Uuid;

static SERVICE: OnceLock<&'static str> = OnceLock::new();

/// What is logged unless `RUST_LOG` says otherwise: ours from `info`, the runtime's own spans not at all. What an invocation
/// returns as its error is logged here, with the order; a panic says so by itself.
const LEVELS: &str = "info,lambda_runtime=error,lambda_runtime::layers::panic=off";

/// Starts logging as `service`.
pub fn init(service: &'static str) {
    let _ = SERVICE.set(service);
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(LEVELS));
    // A second initialisation (tests) keeps the first: nothing is lost by ignoring it.
    let _ = tracing_subscriber::fmt().with_env_filter(filter).event_format(JsonLine).try_init();
}

/// What the lines of a piece of work are about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// The id of the request that set everything off.
    pub correlation_id: Uuid,
    /// The order, or what else the event is about, and its name in the log.
    pub subject: Option<(&'static str, String)>,
}

tokio::task_local! {
    static ABOUT: About;
}

impl From<&Metadata> for About {
    fn from(metadata: &Metadata) -> Self {
        let subject = (metadata.subject_name(), metadata.subject.clone());
        Self { correlation_id: metadata.correlation_id, subject: Some(subject) }
    }
}

/// Does some work, every log line of which says what it is about.
pub async fn about<F: Future>(about: Option<About>, work: F) -> F::Output {
    match about {
        Some(about) => ABOUT.scope(about, work).await,
        None => work.await,
    }
}

struct JsonLine;

#[derive(Default)]
struct Fields(Map<String, Value>);

impl Fields {
    fn be_about(&mut self, about: &About) {
        self.0.insert("correlation_id".into(), about.correlation_id.to_string().into());
        self.0.extend(about.subject.clone().map(|(name, subject)| (name.into(), subject.into())));
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name().to_owned(), Value::String(format!("{value:?}")));
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.into());
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name().to_owned(), value.into());
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.insert(field.name().to_owned(), value.into());
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl<S, N> FormatEvent<S, N> for JsonLine
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &tracing::Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        fields.0.insert("timestamp".into(), millis::text(&Utc::now()).into());
        fields.0.insert("level".into(), event.metadata().level().as_str().into());
        fields.0.insert("service".into(), SERVICE.get().copied().unwrap_or("unknown").into());
        // A line outside of such work is about nothing.
        let _ = ABOUT.try_with(|about| fields.be_about(about));
        event.record(&mut fields);
        writeln!(writer, "{}", Value::Object(fields.0))
    }
}

/// The stage of this function, from its name: `dev` of `dev-quadrille-payments-reactor`. Two stages never share a metric.
static STAGE: LazyLock<String> = LazyLock::new(|| {
    let name = std::env::var("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_default();
    name.split('-').next().filter(|stage| !stage.is_empty()).unwrap_or("unknown").to_owned()
});

/// The service that this process is; none before [`init`].
#[must_use]
pub fn service() -> Option<&'static str> {
    SERVICE.get().copied()
}

/// The stage that this process belongs to.
pub(crate) fn stage() -> &'static str {
    &STAGE
}
