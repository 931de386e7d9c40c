//! EventBridge's one call here: PutEvents.
//!
//! <https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEvents.html>

use super::bus::{Buses, PutEventsEntry};
use crate::aws::protocol::{Call, Outcome, ok};
use crate::template::names;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::json;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PutEvents {
    entries: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    event_bus_name: Option<String>,
    source: Option<String>,
    detail_type: Option<String>,
    detail: Option<String>,
    #[serde(default)]
    resources: Vec<String>,
    /// Epoch seconds.
    time: Option<f64>,
}

/// # Errors
/// For the whole call; an entry's own error stands in the answer.
pub async fn answer(buses: &Buses, call: &Call<'_>) -> Outcome {
    if call.operation != "PutEvents" {
        return Err(call.unknown());
    }
    let request: PutEvents = call.parse()?;
    let mut results = Vec::new();
    for entry in request.entries {
        let bus = names::last_part(entry.event_bus_name.as_deref().unwrap_or("default")).to_owned();
        call.require("events:PutEvents", &names::bus_arn(&bus))?;
        results.push(match buses.put(&bus, &entry.into()) {
            Ok(id) => json!({ "EventId": id }),
            Err(error) => json!({"ErrorCode": error.code(), "ErrorMessage": error.to_string()}),
        });
    }
    buses.flush().await;
    let failed = results.iter().filter(|result| result.get("ErrorCode").is_some()).count();
    ok(&json!({"FailedEntryCount": failed, "Entries": results}))
}

impl From<Entry> for PutEventsEntry {
    fn from(entry: Entry) -> Self {
        #[allow(clippy::cast_possible_truncation, reason = "AWS's own time stamp: epoch seconds")]
        let time = entry.time.and_then(|seconds| DateTime::from_timestamp(seconds as i64, 0));
        Self {
            source: entry.source.unwrap_or_default(),
            detail_type: entry.detail_type.unwrap_or_default(),
            detail: entry.detail.unwrap_or_default(),
            time: time.unwrap_or_else(Utc::now),
            resources: entry.resources,
        }
    }
}
