//! JSON logs, one object a line, and metrics in CloudWatch's embedded format. Neither ever holds an event's
//! data: ids are enough to find it, and addresses stay out of the logs.

use chrono::Utc;
use events::envelope::millis;
use serde_json::{Map, Value, json};
use std::sync::{LazyLock, OnceLock};
use std::{fmt, io::Write};
use tracing::field::{Field, Visit};
use tracing_subscriber::{
    EnvFilter,
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

static SERVICE: OnceLock<&'static str> = OnceLock::new();

/// What is logged unless `RUST_LOG` says otherwise: ours from `info`, the runtime's own spans not at all.
const LEVELS: &str = "info,lambda_runtime=error";

/// Starts logging as `service`.
pub fn init(service: &'static str) {
    let _ = SERVICE.set(service);
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(LEVELS));
    // A second initialisation (tests) keeps the first: nothing is lost by ignoring it.
    let _ = tracing_subscriber::fmt().with_env_filter(filter).event_format(JsonLine).try_init();
}

struct JsonLine;

#[derive(Default)]
struct Fields(Map<String, Value>);

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
        event.record(&mut fields);
        writeln!(writer, "{}", Value::Object(fields.0))
    }
}

/// The stage of this function, from its name: `dev` of `dev-quadrille-payments-reactor`. Two stages never share a metric.
static STAGE: LazyLock<String> = LazyLock::new(|| {
    let name = std::env::var("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_default();
    name.split('-').next().filter(|stage| !stage.is_empty()).unwrap_or("unknown").to_owned()
});

/// Emits counts under the namespace `Quadrille`, dimensioned by stage, service and one more name. A process that never
/// called [`init`] is no service, and emits nothing.
///
/// Format: <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>
pub fn count(metric: &str, dimension: (&str, &str), value: u64) {
    let Some(service) = SERVICE.get() else { return };
    let line = json!({
        "_aws": {
            "Timestamp": Utc::now().timestamp_millis(),
            "CloudWatchMetrics": [{
                "Namespace": "Quadrille",
                "Dimensions": [["stage", "service", dimension.0]],
                "Metrics": [{"Name": metric, "Unit": "Count"}],
            }],
        },
        "stage": STAGE.as_str(),
        "service": service,
        dimension.0: dimension.1,
        metric: value,
    });
    // A closed standard output leaves nowhere to report that.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}
