//! A stage's access log: a line for each request, in the format that the template gives. Its variables are replaced as they
//! are, without quotes or escapes around them, so a format does well to name none that a client can fill.
//!
//! <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-logging-variables.html>

use crate::template::resources::{AccessLogSettings, LogGroup};
use anyhow::{Context, Result, bail, ensure};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// How every variable begins.
const CONTEXT: &str = "$context.";

/// What one line says of a request.
#[derive(Clone, Debug, Default)]
pub struct Entry {
    pub request_id: String,
    pub time: String,
    pub method: String,
    /// `GET /orders/{id}`; empty when no route matched.
    pub route_key: String,
    pub status: u16,
    pub response_bytes: u64,
    /// From the first byte to the answer.
    pub milliseconds: u128,
    /// The integration's part of it; none when it was not asked.
    pub integration_milliseconds: Option<u128>,
    pub integration_error: Option<String>,
    pub authorizer_error: Option<&'static str>,
}

type Variable = fn(&Entry) -> String;

/// The variables that the local stack knows, by what follows [`CONTEXT`]. One without a value is `-`.
const VARIABLES: [(&str, Variable); 11] = [
    ("authorizer.error", |it| or_dash(it.authorizer_error)),
    ("httpMethod", |it| it.method.clone()),
    ("identity.sourceIp", |_| "127.0.0.1".into()),
    ("integrationErrorMessage", |it| or_dash(it.integration_error.as_deref())),
    ("integrationLatency", |it| it.integration_milliseconds.map_or("-".into(), |ms| ms.to_string())),
    ("requestId", |it| it.request_id.clone()),
    ("requestTime", |it| it.time.clone()),
    ("responseLatency", |it| it.milliseconds.to_string()),
    ("responseLength", |it| it.response_bytes.to_string()),
    ("routeKey", |it| or_dash(Some(it.route_key.as_str()).filter(|key| !key.is_empty()))),
    ("status", |it| it.status.to_string()),
];

fn or_dash(text: Option<&str>) -> String {
    text.unwrap_or("-").to_owned()
}

enum Piece {
    Text(String),
    Variable(Variable),
}

pub struct AccessLog {
    format: Vec<Piece>,
    file: Mutex<File>,
}

impl AccessLog {
    /// Opens the log of these settings: a file of the log group's name in `folder`.
    ///
    /// # Errors
    /// When the format is none that AWS accepts, holds a variable that is not implemented, or names a log group that no template
    /// declares; and when the file cannot be opened.
    pub fn open(settings: &AccessLogSettings, groups: &[LogGroup], folder: &Path) -> Result<Self> {
        let AccessLogSettings { destination_arn, format } = settings;
        ensure!(!format.contains('\n'), "the format of an access log is a single line");
        ensure!(
            format.contains("$context.requestId"),
            "the format of an access log needs at least $context.requestId"
        );
        // AWS's own ARN of a log group ends with `:*`, and is accepted with and without.
        let arn = destination_arn.trim_end_matches(":*");
        let is_named = |group: &&LogGroup| arn.ends_with(&format!(":log-group:{}", group.log_group_name));
        let group = groups.iter().find(is_named);
        let group = group.with_context(|| format!("no template declares the log group {destination_arn}"))?;
        let name = group.log_group_name.rsplit('/').next().unwrap_or_default();
        let path = folder.join(format!("{name}.log"));
        let file = OpenOptions::new().create(true).append(true).open(&path);
        let file = Mutex::new(file.with_context(|| path.display().to_string())?);
        Ok(Self { format: pieces(format)?, file })
    }

    /// Writes a line. One that cannot be written is lost, as an access log is best effort on AWS.
    pub fn write(&self, entry: &Entry) {
        let mut line = rendered(&self.format, entry);
        line.push('\n');
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = file.write_all(line.as_bytes()) {
            tracing::warn!("the access log cannot be written: {error}");
        }
    }
}

fn rendered(format: &[Piece], entry: &Entry) -> String {
    let text = |piece: &Piece| match piece {
        Piece::Text(text) => text.clone(),
        Piece::Variable(value) => value(entry),
    };
    format.iter().map(text).collect()
}

fn pieces(format: &str) -> Result<Vec<Piece>> {
    let mut pieces = Vec::new();
    let mut rest = format;
    while let Some((before, after)) = rest.split_once(CONTEXT) {
        let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '.').unwrap_or(after.len());
        let (name, after) = after.split_at(end);
        let Some((_, value)) = VARIABLES.iter().find(|(known, _)| *known == name) else {
            bail!("{CONTEXT}{name} is not implemented by the local stack");
        };
        pieces.extend([Piece::Text(before.to_owned()), Piece::Variable(*value)]);
        rest = after;
    }
    pieces.push(Piece::Text(rest.to_owned()));
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_is_filled_and_an_unknown_variable_is_refused() {
        let entry = Entry { request_id: "r1".into(), status: 204, ..Entry::default() };
        let format = r#"{"id":"$context.requestId","route":"$context.routeKey","status":$context.status}"#;
        let line = rendered(&pieces(format).unwrap(), &entry);
        assert_eq!(line, r#"{"id":"r1","route":"-","status":204}"#);
        let error = pieces("$context.requestId $context.path").err().unwrap().to_string();
        assert_eq!(error, "$context.path is not implemented by the local stack");
    }

    /// Guards: what AWS refuses of a stage's log settings.
    #[test]
    fn settings_that_aws_refuses_are_refused() {
        let group = LogGroup { log_group_name: "/aws/vendedlogs/x".into(), retention_in_days: None };
        let arn = "arn:aws:logs:us-east-1:000000000000:log-group:/aws/vendedlogs/";
        let folder = std::env::temp_dir();
        let open = |name: &str, format: &str| {
            let settings =
                AccessLogSettings { destination_arn: format!("{arn}{name}:*"), format: format.into() };
            AccessLog::open(&settings, std::slice::from_ref(&group), &folder).map(drop)
        };
        assert!(open("x", "$context.status").is_err());
        assert!(open("x", "$context.requestId\n$context.status").is_err());
        assert!(open("y", "$context.requestId").is_err());
    }
}
