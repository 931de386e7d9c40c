//! What a pipe makes of a record: a filter, an input template and the bus parameters turn it into an event.
//!
//! <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-pipes-input-transformation.html>

use super::bus::PutEventsEntry;
use crate::aws::dynamodb::StreamRecord;
use crate::template::resources::{BusParameters, Pipe as Declared};
use anyhow::{Context, Result, anyhow, bail};
use chrono::{DateTime, Utc};
use quamina::Quamina;
use serde_json::Value;

/// How a pipe places a text whose path stands unquoted in the template. Public accounts of AWS differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum PipeData {
    /// Unchanged: JSON inside the text becomes part of the event.
    #[default]
    Object,
    /// As a JSON string.
    String,
}

/// A piece of a template.
#[derive(Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// A JSON pointer, and whether it stands between quotes.
    Path(String, bool),
}

/// `$.dynamodb.NewImage.id.S` as a JSON pointer. Only such plain paths are implemented.
fn pointer(path: &str) -> Result<String> {
    let rest = path.strip_prefix("$.").with_context(|| format!("{path:?} is not a path from $"))?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if !rest.chars().all(plain) {
        bail!("the path {path:?} is not implemented by the local stack");
    }
    Ok(format!("/{}", rest.replace('.', "/")))
}

fn pieces(template: &str) -> Result<Vec<Piece>> {
    let mut pieces = Vec::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('<') {
        let (path, after) = after.split_once('>').context("an unclosed < in the input template")?;
        pieces.push(Piece::Text(before.to_owned()));
        pieces.push(Piece::Path(pointer(path)?, before.ends_with('"') && after.starts_with('"')));
        rest = after;
    }
    pieces.push(Piece::Text(rest.to_owned()));
    Ok(pieces)
}

fn fill(pieces: &[Piece], record: &Value, mode: PipeData) -> Result<String> {
    let mut out = String::with_capacity(1024);
    for piece in pieces {
        match piece {
            Piece::Text(text) => out.push_str(text),
            Piece::Path(path, quoted) => {
                let value = record.pointer(path).with_context(|| format!("the record has no {path}"))?;
                match (value, quoted, mode) {
                    // Between quotes the text is escaped as JSON demands, without quotes of its own.
                    (Value::String(text), true, _) => {
                        let escaped = Value::from(text.as_str()).to_string();
                        out.push_str(escaped.get(1..escaped.len() - 1).unwrap_or_default());
                    }
                    (Value::String(text), false, PipeData::Object) => out.push_str(text),
                    (other, ..) => out.push_str(&other.to_string()),
                }
            }
        }
    }
    Ok(out)
}

/// The filter of a pipe, and the shape of its events.
pub struct Shape {
    filter: Option<Quamina<usize>>,
    template: Vec<Piece>,
    parameters: Paths,
    mode: PipeData,
}

impl Shape {
    /// # Errors
    /// When its filter, template or target parameters are not implemented.
    pub fn new(declared: &Declared, mode: PipeData) -> Result<Self> {
        let template = declared.target_parameters.input_template.as_deref();
        Ok(Self {
            filter: filter(declared)?,
            template: pieces(template.context("it has no InputTemplate")?)?,
            parameters: Paths::new(&declared.target_parameters.bus)?,
            mode,
        })
    }

    /// The event of a record; `None` for a record that the filter holds back.
    ///
    /// # Errors
    /// When the record lacks what the template places.
    pub fn make(&self, record: &StreamRecord) -> Result<Option<PutEventsEntry>> {
        let event = event(record);
        let passes = self.filter.as_ref().map_or(Ok(true), |filter| filter.has_matches(event.as_bytes()));
        if !passes.map_err(|e| anyhow!("{e:?}"))? {
            return Ok(None);
        }
        self.entry(&serde_json::from_str(&event)?).map(Some)
    }

    fn entry(&self, event: &Value) -> Result<PutEventsEntry> {
        let text = |path: &str| {
            let value = event.pointer(path).and_then(Value::as_str).map(str::to_owned);
            value.with_context(|| format!("the record has no text at {path}"))
        };
        let time = match &self.parameters.time {
            Some(path) => DateTime::parse_from_rfc3339(&text(path)?)?.with_timezone(&Utc),
            None => Utc::now(),
        };
        Ok(PutEventsEntry {
            source: text(&self.parameters.source)?,
            detail_type: text(&self.parameters.detail_type)?,
            detail: fill(&self.template, event, self.mode)?,
            time,
            resources: self.parameters.resources.iter().map(|path| text(path)).collect::<Result<_>>()?,
        })
    }
}

/// The paths of the bus parameters.
struct Paths {
    detail_type: String,
    source: String,
    time: Option<String>,
    resources: Vec<String>,
}

impl Paths {
    fn new(parameters: &BusParameters) -> Result<Self> {
        let required = |path: &Option<String>, name| {
            pointer(path.as_deref().with_context(|| format!("{name} is needed by the local stack"))?)
        };
        Ok(Self {
            detail_type: required(&parameters.detail_type, "DetailType")?,
            source: required(&parameters.source, "Source")?,
            time: parameters.time.as_deref().map(pointer).transpose()?,
            resources: parameters
                .resources
                .iter()
                .flatten()
                .map(|path| pointer(path))
                .collect::<Result<_>>()?,
        })
    }
}

/// The record as a pipe's filter and template see it. The filter holds most records back, so the JSON of the table is
/// joined as text and parsed only for the others.
fn event(record: &StreamRecord) -> String {
    let StreamRecord { sequence, event_name, keys, new_image, created_at } = record;
    let image = new_image.as_deref().unwrap_or("null");
    format!(
        r#"{{"eventName":"{event_name}","eventSource":"aws:dynamodb","dynamodb":{{"ApproximateCreationDateTime":{created_at},"Keys":{keys},"NewImage":{image},"SequenceNumber":"{sequence}"}}}}"#
    )
}

fn filter(declared: &Declared) -> Result<Option<Quamina<usize>>> {
    let Some(criteria) = &declared.source_parameters.filter_criteria else { return Ok(None) };
    let mut filter = Quamina::new();
    for (n, pattern) in criteria.filters.iter().enumerate() {
        let added = filter.add_pattern(n, &pattern.pattern);
        added.map_err(|e| anyhow!("the filter pattern is not implemented by the local stack: {e:?}"))?;
    }
    Ok(Some(filter))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Guards: quotes, numbers and JSON inside a text each end up as the template means them.
    #[test]
    fn a_template_places_texts_numbers_and_json() {
        let template = r#"{"id": "<$.a.S>", "n": <$.b.N>, "data": <$.c.S>}"#;
        let record = json!({"a": {"S": "say \"hi\""}, "b": {"N": "7"}, "c": {"S": "{\"x\": 1}"}});
        let filled = |mode| -> Value {
            let text = fill(&pieces(template).unwrap(), &record, mode).unwrap();
            serde_json::from_str(&text).unwrap()
        };
        assert_eq!(filled(PipeData::Object), json!({"id": "say \"hi\"", "n": 7, "data": {"x": 1}}));
        assert_eq!(filled(PipeData::String), json!({"id": "say \"hi\"", "n": "7", "data": "{\"x\": 1}"}));
    }

    #[test]
    fn paths_beyond_the_plain_are_refused() {
        assert!(pointer("$.a[0]").is_err());
        assert!(pieces("<$.a").is_err());
    }
}
