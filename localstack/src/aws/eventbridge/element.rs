//! What a pipe makes of an element that its enrichment returns: an event, by the paths of its bus parameters and its input
//! template.
//!
//! <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-pipes-event-target.html>
//! <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-pipes-input-transformation.html>

use super::bus::PutEventsEntry;
use crate::template::resources::PipeTarget;
use anyhow::{Context, Result, bail, ensure};
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

/// `$.dynamodb.NewImage.type.S` as a JSON pointer. Only such plain paths are implemented.
fn pointer(path: &str) -> Result<String> {
    let rest = path.strip_prefix("$.").with_context(|| format!("{path:?} is not a path from $"))?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if !rest.chars().all(plain) {
        bail!("the path {path:?} is not implemented by the local stack");
    }
    Ok(format!("/{}", rest.replace('.', "/")))
}

/// An input template: a JSON object of which each field is a path to an object. What AWS makes of paths to texts is not
/// documented well enough to rest on, and is refused.
struct Template(Vec<(String, String)>);

impl Template {
    fn new(template: &str) -> Result<Self> {
        let fields = template.trim().strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        let fields = fields.context("an input template other than a JSON object is not implemented")?;
        fields.split(',').map(field).collect::<Result<_>>().map(Self)
    }

    fn fill(&self, element: &Value) -> Result<Value> {
        let mut filled = Map::new();
        for (name, path) in &self.0 {
            let value = element.pointer(path).with_context(|| format!("the element has no {path}"))?;
            ensure!(value.is_object(), "what stands at {path} is not an object");
            filled.insert(name.clone(), value.clone());
        }
        Ok(Value::Object(filled))
    }
}

/// `"data": <$.data>`
fn field(field: &str) -> Result<(String, String)> {
    let place = || format!("{field:?} in an input template is not implemented by the local stack");
    let (name, path) = field.split_once(':').with_context(place)?;
    let name = name.trim().strip_prefix('"').and_then(|name| name.strip_suffix('"')).with_context(place)?;
    let path = path.trim().strip_prefix('<').and_then(|path| path.strip_suffix('>')).with_context(place)?;
    Ok((name.to_owned(), pointer(path)?))
}

/// How a pipe's elements become events.
pub struct Shape {
    detail_type: String,
    source: String,
    time: Option<String>,
    resources: Vec<String>,
    /// Without one the element itself is the detail.
    template: Option<Template>,
}

impl Shape {
    /// # Errors
    /// When the target's parameters or its template are not implemented.
    pub fn new(target: &PipeTarget) -> Result<Self> {
        let parameters = &target.bus;
        let required = |path: &Option<String>, name| {
            pointer(path.as_deref().with_context(|| format!("{name} is needed by the local stack"))?)
        };
        let resources = parameters.resources.iter().flatten();
        Ok(Self {
            detail_type: required(&parameters.detail_type, "DetailType")?,
            source: required(&parameters.source, "Source")?,
            time: parameters.time.as_deref().map(pointer).transpose()?,
            resources: resources.map(|path| pointer(path)).collect::<Result<_>>()?,
            template: target.input_template.as_deref().map(Template::new).transpose()?,
        })
    }

    /// The paths of the bus parameters, as JSON pointers.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        let single = [&self.detail_type, &self.source].into_iter().chain(&self.time);
        single.chain(&self.resources).map(String::as_str)
    }

    /// The event of an element.
    ///
    /// # Errors
    /// When the element lacks what a path names.
    pub fn make(&self, element: &Value) -> Result<PutEventsEntry> {
        let text = |path: &String| {
            let value = element.pointer(path).and_then(Value::as_str).map(str::to_owned);
            value.with_context(|| format!("the element has no text at {path}"))
        };
        let time = match &self.time {
            Some(path) => DateTime::parse_from_rfc3339(&text(path)?)?.with_timezone(&Utc),
            None => Utc::now(),
        };
        let detail = match &self.template {
            Some(template) => template.fill(element)?.to_string(),
            None => element.to_string(),
        };
        Ok(PutEventsEntry {
            source: text(&self.source)?,
            detail_type: text(&self.detail_type)?,
            detail,
            time,
            resources: self.resources.iter().map(text).collect::<Result<_>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Guards: a template places objects and nothing else.
    #[test]
    fn a_template_places_objects() {
        let template = Template::new(r#"{"metadata": <$.m>, "data": <$.d>}"#).unwrap();
        let element = json!({"m": {"seq": 1}, "d": {"x": "say \"hi\""}, "other": 3});
        let filled = template.fill(&element).unwrap();
        assert_eq!(filled, json!({"metadata": {"seq": 1}, "data": {"x": "say \"hi\""}}));
        assert!(template.fill(&json!({"m": {}, "d": "{}"})).is_err());
    }

    #[test]
    fn what_is_not_plain_is_refused() {
        assert!(pointer("$.a[0]").is_err());
        for template in ["<$.a>", r#"{"a": "<$.a>"}"#, r#"{"a": 1}"#, r#"{"a": <$.a>, "b": {"c": <$.c>}}"#] {
            assert!(Template::new(template).is_err(), "{template}");
        }
    }
}
