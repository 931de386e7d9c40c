//! The calls that read logs.
//!
//! <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_FilterLogEvents.html>
//! <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_GetLogEvents.html>

use super::groups::Stream;
use super::lines::{self, Line};
use super::pattern::Pattern;
use super::service::{Named, Service, invalid, no_stream};
use crate::aws::protocol::pages::limit;
use crate::aws::protocol::{ApiError, Call, Outcome, ok, without_nulls};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::ops::RangeInclusive;
use std::path::Path;

/// How many events one answer has, and how many bytes.
const LISTED: RangeInclusive<i64> = 1..=10_000;
const MAX_BYTES: usize = 1024 * 1024;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct FilterLogEvents {
    log_group_name: Option<String>,
    log_group_identifier: Option<String>,
    log_stream_names: Option<Vec<String>>,
    log_stream_name_prefix: Option<String>,
    /// Epoch milliseconds, as the next one.
    start_time: Option<i64>,
    end_time: Option<i64>,
    filter_pattern: Option<String>,
    next_token: Option<String>,
    limit: Option<i64>,
    interleaved: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct GetLogEvents {
    log_group_name: Option<String>,
    log_group_identifier: Option<String>,
    log_stream_name: String,
    /// Epoch milliseconds, as the next one.
    start_time: Option<i64>,
    end_time: Option<i64>,
    next_token: Option<String>,
    limit: Option<i64>,
    #[serde(default)]
    start_from_head: bool,
}

/// Which lines are wanted.
struct Wanted {
    streams: Vec<Stream>,
    from: i64,
    to: i64,
    pattern: Pattern,
    /// Behind this one.
    after: Option<String>,
    limit: usize,
}

/// A line's place among those of all streams: they sort by their times.
fn place(stream: &str, line: &Line) -> String {
    format!("{:020}/{stream}/{:020}", line.at, line.offset)
}

/// The streams that a call names; all of them when it names none.
fn streams(request: &FilterLogEvents, all: &[Stream]) -> Result<Vec<Stream>, ApiError> {
    let (names, prefix) = (&request.log_stream_names, &request.log_stream_name_prefix);
    if let (Some(names), None) = (names, prefix) {
        let find = |name: &String| all.iter().find(|stream| stream.name == *name).cloned();
        return names.iter().map(find).collect::<Option<_>>().ok_or_else(no_stream);
    }
    if names.is_some() {
        return Err(invalid("logStreamNames and logStreamNamePrefix are mutually exclusive parameters."));
    }
    let prefix = prefix.as_deref().unwrap_or_default();
    Ok(all.iter().filter(|stream| stream.name.starts_with(prefix)).cloned().collect())
}

pub async fn filter(logs: &Service, call: &Call<'_>) -> Outcome {
    let request: FilterLogEvents = call.parse()?;
    let named = Named {
        name: request.log_group_name.as_deref(),
        identifier: request.log_group_identifier.as_deref(),
    };
    let group = logs.group(call, named)?;
    if request.interleaved == Some(false) {
        return Err(invalid("interleaved: false is not implemented by the local stack, and ignored by AWS"));
    }
    let pattern = Pattern::read(request.filter_pattern.as_deref().unwrap_or_default());
    let pattern = pattern.map_err(|why| invalid(format!("Invalid filterPattern: {why}")))?;
    let limit = limit(("limit", request.limit), &LISTED, "InvalidParameterException")?;
    let streams = streams(&request, &group.streams)?;
    let (from, to) = (request.start_time.unwrap_or(0), request.end_time.unwrap_or(i64::MAX));
    let wanted = Wanted { streams, from, to, pattern, after: request.next_token, limit };
    // The files may be long, and whatever is answered meanwhile must not wait for them.
    let found = tokio::task::spawn_blocking(move || wanted.find()).await.unwrap_or_default();
    let next = found.events.keys().next_back().filter(|_| found.has_more).cloned();
    let events: Vec<Value> = found.events.into_values().collect();
    ok(&without_nulls(json!({"events": events, "searchedLogStreams": [], "nextToken": next})))
}

/// The first of the wanted lines, by their places.
#[derive(Default)]
struct Found {
    events: BTreeMap<String, Value>,
    bytes: usize,
    has_more: bool,
}

impl Wanted {
    fn find(&self) -> Found {
        let mut found = Found::default();
        for stream in &self.streams {
            // A file that cannot be read has no lines.
            let _ = lines::read(&stream.file, self.from, |line| {
                self.keep(&stream.name, &line, &mut found);
                true
            });
        }
        found
    }

    fn keep(&self, stream: &str, line: &Line, found: &mut Found) {
        let place = place(stream, line);
        let is_behind = self.after.as_ref().is_none_or(|after| place > *after);
        if line.at > self.to || !is_behind || !self.pattern.matches(&line.text) {
            return;
        }
        found.bytes += line.text.len();
        let event = json!({
            "logStreamName": stream,
            "timestamp": line.at,
            "message": line.text,
            "ingestionTime": line.at,
            "eventId": place,
        });
        found.events.insert(place, event);
        while found.events.len() > self.limit || (found.bytes > MAX_BYTES && found.events.len() > 1) {
            let Some((_, last)) = found.events.pop_last() else { return };
            found.bytes -= last["message"].as_str().map_or(0, str::len);
            found.has_more = true;
        }
    }
}

pub async fn get(logs: &Service, call: &Call<'_>) -> Outcome {
    let request: GetLogEvents = call.parse()?;
    let named = Named {
        name: request.log_group_name.as_deref(),
        identifier: request.log_group_identifier.as_deref(),
    };
    let group = logs.group(call, named)?;
    let stream = group.streams.iter().find(|stream| stream.name == request.log_stream_name);
    let file = stream.ok_or_else(no_stream)?.file.clone();
    let limit = limit(("limit", request.limit), &LISTED, "InvalidParameterException")?;
    let turn = Turn::read(request.next_token.as_deref(), request.start_from_head)?;
    let (from, to) = (request.start_time.unwrap_or(0), request.end_time.unwrap_or(i64::MAX));
    let found = tokio::task::spawn_blocking(move || turn.find(&file, (from, to), limit)).await;
    let found = found.unwrap_or_default();
    // At either end a token is that of before, and a reader sees by that that there is no more.
    let (first, last) = match (found.front(), found.back(), turn) {
        (Some(first), Some(last), _) => (first.offset, last.offset + 1),
        (_, _, Turn::Forward(from)) => (from, from),
        (_, _, Turn::Backward(to)) => (to, to),
    };
    let events = found
        .into_iter()
        .map(|line| json!({"timestamp": line.at, "message": line.text, "ingestionTime": line.at}));
    ok(&json!({
        "events": events.collect::<Vec<_>>(),
        "nextForwardToken": format!("f/{last}"),
        "nextBackwardToken": format!("b/{first}"),
    }))
}

/// From which place of a file lines are read, and in which direction.
#[derive(Clone, Copy)]
enum Turn {
    Forward(u64),
    Backward(u64),
}

impl Turn {
    fn read(token: Option<&str>, from_head: bool) -> Result<Self, ApiError> {
        let place = |text: &str| text.parse().map_err(|_| invalid("The specified nextToken is invalid."));
        match token.map(|token| token.split_at_checked(2)) {
            None if from_head => Ok(Self::Forward(0)),
            None => Ok(Self::Backward(u64::MAX)),
            Some(Some(("f/", text))) => place(text).map(Self::Forward),
            Some(Some(("b/", text))) => place(text).map(Self::Backward),
            Some(_) => Err(invalid("The specified nextToken is invalid.")),
        }
    }

    fn find(self, file: &Path, (from, to): (i64, i64), limit: usize) -> VecDeque<Line> {
        let (mut found, mut bytes) = (VecDeque::<Line>::new(), 0);
        // A file that cannot be read has no lines.
        let _ = lines::read(file, from, |line| {
            let is_wanted = line.at < to
                && match self {
                    Self::Forward(place) => line.offset >= place,
                    Self::Backward(place) => line.offset < place,
                };
            if is_wanted {
                bytes += line.text.len();
                found.push_back(line);
            }
            let is_full = found.len() >= limit || bytes > MAX_BYTES;
            if let Self::Backward(_) = self {
                while found.len() > limit || (bytes > MAX_BYTES && found.len() > 1) {
                    bytes -= found.pop_front().map_or(0, |line| line.text.len());
                }
            }
            matches!(self, Self::Backward(_)) || !is_full
        });
        found
    }
}
