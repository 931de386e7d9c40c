//! EventBridge's call that puts events on buses.
//!
//! <https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEvents.html>

use super::bus::{Buses, PutEventsEntry};
use crate::aws::protocol::{ApiError, Call, Outcome, ok};
use crate::template::names;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::json;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct PutEvents {
    entries: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
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

/// The most entries of a call.
const MAX_ENTRIES: usize = 10;
/// The most bytes of all entries of a call together. AWS allows 1 MiB since 2026; what keeps to the older limit is right
/// under both.
///
/// <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-putevent-size.html>
const MAX_BYTES: usize = 256 * 1024;

/// # Errors
/// `ValidationException` for a call that is empty or too large.
fn check(entries: &[Entry]) -> Result<(), ApiError> {
    let refused = |why: &str| Err(ApiError::new("ValidationException", why));
    if !(1..=MAX_ENTRIES).contains(&entries.len()) {
        return refused("a call has 1 to 10 entries");
    }
    if entries.iter().map(Entry::size).sum::<usize>() > MAX_BYTES {
        return refused("Total size of the entries in the request is over the limit.");
    }
    if entries.iter().any(|entry| entry.time.is_some_and(|time| at(time).is_none())) {
        return refused("Time is no time");
    }
    Ok(())
}

/// # Errors
/// For the whole call; an entry's own error stands in the answer.
pub async fn put_events(buses: &Buses, call: &Call<'_>) -> Outcome {
    let request: PutEvents = call.parse()?;
    check(&request.entries)?;
    // Of a call that is denied nothing is delivered.
    request
        .entries
        .iter()
        .try_for_each(|entry| call.require("events:PutEvents", &names::bus_arn(entry.bus())))?;
    let mut results = Vec::new();
    for entry in request.entries {
        let bus = entry.bus().to_owned();
        results.push(match buses.put(&bus, &entry.into()) {
            Ok(id) => json!({ "EventId": id }),
            Err(error) => json!({"ErrorCode": error.code(), "ErrorMessage": error.to_string()}),
        });
    }
    buses.flush().await;
    let failed = results.iter().filter(|result| result.get("ErrorCode").is_some()).count();
    ok(&json!({"FailedEntryCount": failed, "Entries": results}))
}

/// Epoch seconds, as AWS writes a time stamp.
#[allow(clippy::cast_possible_truncation, reason = "what is too large is no time either")]
fn at(seconds: f64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(seconds as i64, 0)
}

impl Entry {
    fn bus(&self) -> &str {
        names::last_part(self.event_bus_name.as_deref().unwrap_or("default"))
    }

    /// Its bytes as EventBridge counts them.
    fn size(&self) -> usize {
        let texts = [&self.source, &self.detail_type, &self.detail].into_iter().flatten();
        let time = if self.time.is_some() { 14 } else { 0 };
        texts.chain(&self.resources).map(String::len).sum::<usize>() + time
    }
}

impl From<Entry> for PutEventsEntry {
    fn from(entry: Entry) -> Self {
        Self {
            source: entry.source.unwrap_or_default(),
            detail_type: entry.detail_type.unwrap_or_default(),
            detail: entry.detail.unwrap_or_default(),
            time: entry.time.and_then(at).unwrap_or_else(Utc::now),
            resources: entry.resources,
        }
    }
}
