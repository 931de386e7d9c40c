//! The first example of an event that has none, made from its schema: a file to start from, and to fill with better
//! values by hand.

use crate::{examples_path, gate, pretty, promise, wiring};
use anyhow::{Context, Result, bail};
use events::catalogue::Entry;
use serde_json::{Map, Value, json};
use std::fs;
use std::path::Path;

/// Writes a first example of an event below the folder `contracts`, unless there is a file of examples.
///
/// # Errors
/// When none can be made, or the file not be written.
pub fn begin(folder: &Path, entry: &Entry) -> Result<()> {
    let path = folder.join(examples_path(entry));
    if path.exists() {
        return Ok(());
    }
    let by_hand = || format!("write contracts/{}, a JSON array of examples, by hand", examples_path(entry));
    let first = first(entry).with_context(by_hand)?;
    fs::create_dir_all(path.parent().unwrap_or(folder))?;
    fs::write(&path, pretty(&json!([first]))).with_context(|| path.display().to_string())
}

/// An example that is valid and that the Rust type reads, written as the type writes it.
///
/// # Errors
/// When the schema holds what this generator does not know.
pub fn first(entry: &Entry) -> Result<Value> {
    let schema = (entry.schema)();
    let made = Made { root: &schema }.value("", &schema)?;
    let example = (entry.reread)(&made).map_err(|reason| anyhow::anyhow!("{made} is not read: {reason}"))?;
    match gate::invalid(&schema, &example) {
        Some(reason) => bail!("{example} is not valid: {reason}"),
        None => Ok(example),
    }
}

struct Made<'a> {
    root: &'a Value,
}

impl Made<'_> {
    /// A value for the field `name`, optional fields included.
    fn value(&self, name: &str, schema: &Value) -> Result<Value> {
        let schema = promise::resolve(schema, self.root);
        if let Some(named) = promise::values(&schema) {
            return named.into_iter().next().cloned().context("an enum has no value");
        }
        if let Some(all) = promise::alternatives(&schema) {
            let mut meant = all.iter().filter(|one| promise::resolve(one, self.root)["type"] != "null");
            return self.value(name, meant.next().context("there is no alternative")?);
        }
        match kind(&schema) {
            "object" => self.object(&schema),
            "array" => {
                let item =
                    self.value(name.trim_end_matches('s'), schema.get("items").unwrap_or(&Value::Null))?;
                let least = schema.get("minItems").and_then(Value::as_u64).unwrap_or(1);
                Ok(Value::Array(vec![item; usize::try_from(least.max(1))?]))
            }
            "integer" | "number" => Ok(integer(&schema)),
            "boolean" => Ok(true.into()),
            "string" => text(name, &schema),
            other => bail!("{name}: a value of the type {other:?} cannot be made"),
        }
    }

    fn object(&self, schema: &Map<String, Value>) -> Result<Value> {
        let fields = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
        fields.map(|(name, field)| Ok((name.clone(), self.value(name, field)?))).collect()
    }
}

/// The type of a schema, of several the first that is not null.
fn kind(schema: &Map<String, Value>) -> &str {
    match schema.get("type") {
        Some(Value::String(kind)) => kind,
        Some(Value::Array(kinds)) => {
            kinds.iter().filter_map(Value::as_str).find(|kind| *kind != "null").unwrap_or_default()
        }
        _ => "",
    }
}

/// One, or the bound that is nearest to it.
fn integer(schema: &Map<String, Value>) -> Value {
    let bound = |name: &str| schema.get(name).and_then(Value::as_i64);
    let least = bound("minimum").unwrap_or(1).max(1);
    bound("maximum").map_or(least, |most| least.min(most)).into()
}

/// A text that the schema allows: by its format, or the first that fits of some that say which field it is.
fn text(name: &str, schema: &Map<String, Value>) -> Result<Value> {
    let example = match schema.get("format").and_then(Value::as_str) {
        Some("uuid") if name == "order_id" => wiring::SUBJECT.into(),
        Some("uuid") => "5b0a2c1e-8f4d-5a6b-9c7d-0e1f2a3b4c5d".into(),
        Some("date-time") => "2026-11-20T09:30:00.000Z".into(),
        _ => {
            let noun = name.strip_suffix("_id").unwrap_or(name).replace('_', "-");
            let some = [format!("{noun}-1"), noun.clone(), "USD".into(), "NO".into(), "x".into()];
            let schema = Value::Object(schema.clone());
            let fitting = some.into_iter().find(|text| gate::invalid(&schema, &json!(text)).is_none());
            fitting.with_context(|| format!("{name}: no text is known that fits {schema}"))?
        }
    };
    Ok(Value::String(example))
}
