//! YAML in and out, as far as the API descriptions need it.

use anyhow::{Result, bail};
use localstack::template::yaml::{self, Kind, Node};
use serde_json::{Map, Value};
use std::fmt::Write;

/// A YAML text as the JSON value that it stands for.
///
/// # Errors
/// When it is not YAML, or holds tags.
pub fn read(file: &str, text: &str) -> Result<Value> {
    value(&yaml::read(file, text)?)
}

fn value(node: &Node) -> Result<Value> {
    if let Some(tag) = &node.tag {
        bail!("line {}: the tag !{tag} has no place here", node.line);
    }
    Ok(match &node.kind {
        Kind::Scalar { text, plain: false } => text.as_str().into(),
        Kind::Scalar { text, plain: true } => match text.as_str() {
            "" | "null" | "~" => Value::Null,
            "true" => true.into(),
            "false" => false.into(),
            text => text.parse::<i64>().map_or_else(|_| text.into(), Value::from),
        },
        Kind::Seq(nodes) => nodes.iter().map(value).collect::<Result<_>>()?,
        Kind::Map(entries) => {
            let pairs = entries.iter().map(|(key, node)| Ok((key.clone(), value(node)?)));
            Value::Object(pairs.collect::<Result<Map<_, _>>>()?)
        }
    })
}

/// A JSON value as YAML, indented by two blanks; fields in their order.
#[must_use]
pub fn write(value: &Value) -> String {
    let mut out = String::new();
    block(value, 0, &mut out);
    out
}

fn block(value: &Value, indent: usize, out: &mut String) {
    let blanks = " ".repeat(indent);
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                // Writing to a String cannot fail.
                let _ = write!(out, "{blanks}{}:", scalar(&Value::from(key.as_str())));
                nested(value, indent, out);
            }
        }
        Value::Array(items) => {
            for item in items {
                match item {
                    Value::Object(map) if !map.is_empty() => {
                        let mut inner = String::new();
                        block(item, indent + 2, &mut inner);
                        let _ = write!(out, "{blanks}- {}", inner.trim_start());
                    }
                    item => {
                        let _ = writeln!(out, "{blanks}- {}", scalar(item));
                    }
                }
            }
        }
        other => {
            let _ = writeln!(out, "{blanks}{}", scalar(other));
        }
    }
}

fn nested(value: &Value, indent: usize, out: &mut String) {
    let is_block = match value {
        Value::Object(map) => !map.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => false,
    };
    if is_block {
        out.push('\n');
        block(value, indent + 2, out);
    } else {
        let _ = writeln!(out, " {}", scalar(value));
    }
}

/// JSON is YAML; only what cannot be read as anything else stands without quotes.
fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
            let first = text.chars().next().is_some_and(|c| c.is_ascii_alphabetic());
            let word = !["true", "false", "null", "yes", "no", "on", "off"].contains(&text.as_str());
            if first && word && text.chars().all(plain) { text.clone() } else { value.to_string() }
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_written_is_read_back() {
        let value = json!({
            "a": {"$ref": "./x/v1.json", "n": 3, "none": null, "empty": {}, "list": []},
            "b": [{"c": "true", "d": [1, 2]}, "text: with colon", "1.0.0", true, ["no"]],
            "yes": "it's \"so\"\nand more",
        });
        assert_eq!(read("x.yaml", &write(&value)).unwrap(), value);
    }
}
