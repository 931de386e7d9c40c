//! The calls that show log groups, their streams, and saved queries.
//!
//! <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_DescribeLogGroups.html>
//! <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_DescribeLogStreams.html>

use super::groups::{Group, Stream};
use super::lines;
use super::service::{Named, Service, invalid};
use crate::aws::protocol::pages::{limit, page};
use crate::aws::protocol::{Call, Outcome, ok, without_nulls};
use crate::template::names;
use crate::template::resources::QueryDefinition;
use serde::Deserialize;
use serde_json::{Value, json};
use std::ops::RangeInclusive;
use std::time::UNIX_EPOCH;
use uuid::Uuid;

/// How many groups or streams one answer has, and how many queries.
const LISTED: RangeInclusive<i64> = 1..=50;
const QUERIES: RangeInclusive<i64> = 1..=1000;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DescribeLogGroups {
    log_group_name_prefix: Option<String>,
    log_group_name_pattern: Option<String>,
    next_token: Option<String>,
    limit: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DescribeLogStreams {
    log_group_name: Option<String>,
    log_group_identifier: Option<String>,
    log_stream_name_prefix: Option<String>,
    #[serde(default)]
    order_by: Order,
    #[serde(default)]
    descending: bool,
    next_token: Option<String>,
    limit: Option<i64>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
enum Order {
    #[default]
    LogStreamName,
    LastEventTime,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DescribeQueries {
    query_definition_name_prefix: Option<String>,
    max_results: Option<i64>,
    next_token: Option<String>,
}

fn size(stream: &Stream) -> u64 {
    std::fs::metadata(&stream.file).map_or(0, |data| data.len())
}

fn shown(logs: &Service, group: &Group) -> Value {
    let arn = names::log_group_arn(&group.name);
    without_nulls(json!({
        "logGroupName": group.name,
        "creationTime": logs.since,
        "retentionInDays": group.retention_days,
        "metricFilterCount": 0,
        "arn": arn,
        "logGroupArn": arn.trim_end_matches(":*"),
        "storedBytes": group.streams.iter().map(size).sum::<u64>(),
        "logGroupClass": "STANDARD",
    }))
}

pub fn list(logs: &Service, call: &Call<'_>) -> Outcome {
    let request: DescribeLogGroups = call.parse()?;
    call.require("logs:DescribeLogGroups", &names::log_group_arn("*"))?;
    if request.log_group_name_prefix.is_some() && request.log_group_name_pattern.is_some() {
        return Err(invalid(
            "LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.",
        ));
    }
    let limit = limit(("limit", request.limit), &LISTED, "InvalidParameterException")?;
    let mut groups = logs.groups.all();
    groups.retain(|group| {
        request.log_group_name_prefix.as_ref().is_none_or(|prefix| group.name.starts_with(prefix))
            && request.log_group_name_pattern.as_ref().is_none_or(|part| group.name.contains(part))
    });
    let (groups, next) = page(groups, |group| group.name.clone(), request.next_token.as_deref(), limit);
    let groups: Vec<Value> = groups.into_iter().map(|group| shown(logs, group)).collect();
    ok(&without_nulls(json!({"logGroups": groups, "nextToken": next})))
}

/// A stream with the times of its first and its last line.
struct Ends<'a> {
    stream: &'a Stream,
    first: Option<i64>,
    last: Option<i64>,
}

fn ends(stream: &Stream) -> Ends<'_> {
    let mut first = None;
    // A file that cannot be read has no lines.
    let _ = lines::read(&stream.file, 0, |line| {
        first = Some(line.at);
        false
    });
    let modified = std::fs::metadata(&stream.file).and_then(|data| data.modified()).ok();
    let modified =
        modified.and_then(|time| i64::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_millis()).ok());
    // The file is changed by its last line, and by nothing else.
    Ends { stream, last: modified.filter(|_| first.is_some()), first }
}

pub fn list_streams(logs: &Service, call: &Call<'_>) -> Outcome {
    let request: DescribeLogStreams = call.parse()?;
    let named = Named {
        name: request.log_group_name.as_deref(),
        identifier: request.log_group_identifier.as_deref(),
    };
    let group = logs.group(call, named)?;
    let limit = limit(("limit", request.limit), &LISTED, "InvalidParameterException")?;
    if request.order_by == Order::LastEventTime && request.log_stream_name_prefix.is_some() {
        return Err(invalid("Cannot order by LastEventTime with a logStreamNamePrefix."));
    }
    let prefix = request.log_stream_name_prefix.unwrap_or_default();
    let streams = group.streams.iter().filter(|stream| stream.name.starts_with(&prefix));
    let key = |ends: &Ends<'_>| match request.order_by {
        Order::LogStreamName => ends.stream.name.clone(),
        Order::LastEventTime => format!("{:020} {}", ends.last.unwrap_or(0), ends.stream.name),
    };
    // A group here has few streams, so that they are on one page whatever their order.
    let (mut streams, next) = page(streams.map(ends).collect(), key, request.next_token.as_deref(), limit);
    if request.descending {
        streams.reverse();
    }
    let streams: Vec<Value> = streams.iter().map(|ends| stream_shown(logs, group, ends)).collect();
    ok(&without_nulls(json!({"logStreams": streams, "nextToken": next})))
}

fn stream_shown(logs: &Service, group: &Group, ends: &Ends<'_>) -> Value {
    without_nulls(json!({
        "logStreamName": ends.stream.name,
        "creationTime": logs.since,
        "firstEventTimestamp": ends.first,
        "lastEventTimestamp": ends.last,
        "lastIngestionTime": ends.last,
        "arn": names::log_stream_arn(&group.name, &ends.stream.name),
        "storedBytes": 0,
    }))
}

/// <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_DescribeQueryDefinitions.html>
pub fn list_queries(logs: &Service, call: &Call<'_>) -> Outcome {
    let request: DescribeQueries = call.parse()?;
    call.require("logs:DescribeQueryDefinitions", "*")?;
    let limit = limit(("maxResults", request.max_results), &QUERIES, "InvalidParameterException")?;
    let prefix = request.query_definition_name_prefix.unwrap_or_default();
    let queries = logs.model.queries.iter().filter(|query| query.name.starts_with(&prefix)).collect();
    let name = |query: &&QueryDefinition| query.name.clone();
    let (queries, next) = page(queries, name, request.next_token.as_deref(), limit);
    let queries = queries.into_iter().map(|query| {
        json!({
            "queryDefinitionId": Uuid::new_v5(&Uuid::NAMESPACE_OID, query.name.as_bytes()),
            "name": query.name,
            "queryString": query.query_string,
            "lastModified": logs.since,
            "logGroupNames": query.log_group_names,
        })
    });
    ok(&without_nulls(json!({"queryDefinitions": queries.collect::<Vec<_>>(), "nextToken": next})))
}
