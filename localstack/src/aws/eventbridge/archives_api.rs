//! EventBridge's calls that show archives: as they are declared. How much an archive holds is not said.
//!
//! <https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_ListArchives.html>
//! <https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_DescribeArchive.html>

use super::buses_api::LISTED;
use super::service::Service;
use crate::aws::protocol::pages::{limit, page};
use crate::aws::protocol::{ApiError, Call, Outcome, ok, seconds, without_nulls};
use crate::template::names;
use crate::template::resources::Archive;
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct ListArchives {
    name_prefix: Option<String>,
    event_source_arn: Option<String>,
    state: Option<String>,
    next_token: Option<String>,
    limit: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct DescribeArchive {
    archive_name: String,
}

pub fn list(events: &Service, call: &Call<'_>) -> Outcome {
    let request: ListArchives = call.parse()?;
    call.require("events:ListArchives", "*")?;
    let limit = limit(("Limit", request.limit), &LISTED, "ValidationException")?;
    let given = [request.name_prefix.is_some(), request.event_source_arn.is_some(), request.state.is_some()];
    if given.iter().filter(|given| **given).count() > 1 {
        let text = "At most one filter is allowed for ListArchives: NamePrefix, EventSourceArn, or State.";
        return Err(ApiError::new("ValidationException", text));
    }
    let is_wanted = |archive: &&Archive| {
        request.name_prefix.as_ref().is_none_or(|prefix| archive.archive_name.starts_with(prefix))
            && request.event_source_arn.as_ref().is_none_or(|arn| archive.source_arn == *arn)
            && request.state.as_ref().is_none_or(|state| state == "ENABLED")
    };
    let archives = events.model.archives.iter().filter(is_wanted).collect();
    let name = |archive: &&Archive| archive.archive_name.clone();
    let (archives, next) = page(archives, name, request.next_token.as_deref(), limit);
    let archives: Vec<Value> = archives.into_iter().map(|archive| shown(events, archive)).collect();
    ok(&without_nulls(json!({"Archives": archives, "NextToken": next})))
}

pub fn describe(events: &Service, call: &Call<'_>) -> Outcome {
    let DescribeArchive { archive_name } = call.parse()?;
    let arn = names::arn("events", &format!("archive/{archive_name}"));
    call.require("events:DescribeArchive", &arn)?;
    let found = events.model.archives.iter().find(|archive| archive.archive_name == archive_name);
    let archive = found.ok_or_else(|| {
        ApiError::new("ResourceNotFoundException", format!("Archive {archive_name} does not exist."))
    })?;
    let mut shown = shown(events, archive);
    shown["ArchiveArn"] = arn.into();
    if let Some(pattern) = &archive.event_pattern {
        shown["EventPattern"] = pattern.to_string().into();
    }
    ok(&shown)
}

/// An archive in a list. It keeps its events for ever with a retention of 0 days.
fn shown(events: &Service, archive: &Archive) -> Value {
    json!({
        "ArchiveName": archive.archive_name,
        "EventSourceArn": archive.source_arn,
        "State": "ENABLED",
        "RetentionDays": archive.retention_days.unwrap_or(0),
        "CreationTime": seconds(events.since),
    })
}
