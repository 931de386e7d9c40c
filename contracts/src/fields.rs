//! A schema as a page shows it, a row for each field, and as an API description refers to it.

use serde_json::{Value, json};
use std::fmt::Write;

fn resolve<'a>(schema: &'a Value, root: &'a Value) -> &'a Value {
    let target = schema["$ref"].as_str().and_then(|r| root.pointer(r.strip_prefix('#')?));
    target.unwrap_or(schema)
}

/// One line for every field, those inside others by their path.
pub(crate) fn rows(at: &str, schema: &Value, root: &Value, out: &mut String) {
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let meant = optional(field, root);
        let shape = resolve(meant, root);
        let path = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
        let must = if required.contains(&name.as_str()) { "" } else { "optional" };
        let about = field["description"].as_str().or(shape["description"].as_str()).unwrap_or_default();
        let pii = if field.get("x-pii").is_some() { " Personal data." } else { "" };
        let about = about.replace('\n', " ");
        let _ = writeln!(out, "| `{path}` | {} | {must} | {about}{pii} |", kind(shape));
        nested(&path, shape, root, out);
    }
}

fn nested(path: &str, shape: &Value, root: &Value, out: &mut String) {
    rows(path, shape, root, out);
    let items = resolve(&shape["items"], root);
    rows(&format!("{path}[]"), items, root, out);
    for one in shape["oneOf"].as_array().into_iter().flatten() {
        let one = resolve(one, root);
        let about = one["description"].as_str().unwrap_or_default();
        if let Some(value) = one["const"].as_str() {
            let _ = writeln!(out, "| `{path}` = `{value}` | | | {about} |");
        }
        for (name, field) in one["properties"].as_object().into_iter().flatten() {
            if let Some(code) = field["const"].as_str() {
                let _ = writeln!(out, "| `{path}.{name}` = `{code}` | | | {about} |");
            }
        }
        rows(path, &without_consts(one), root, out);
    }
}

/// An alternative without the field that distinguishes it from the others.
fn without_consts(schema: &Value) -> Value {
    let mut schema = schema.clone();
    if let Some(properties) = schema["properties"].as_object_mut() {
        properties.retain(|_, field| field.get("const").is_none());
    }
    schema
}

/// What an optional field is when it is there.
fn optional<'a>(field: &'a Value, root: &'a Value) -> &'a Value {
    let any = field["anyOf"].as_array().into_iter().flatten();
    let mut meant = any.filter(|one| resolve(one, root)["type"] != "null");
    meant.next().unwrap_or(field)
}

fn kind(shape: &Value) -> String {
    let kind = match &shape["type"] {
        Value::String(kind) => kind.clone(),
        Value::Array(kinds) => {
            kinds.iter().filter_map(Value::as_str).filter(|k| *k != "null").collect::<Vec<_>>().join(" or ")
        }
        _ if shape["oneOf"].as_array().is_some_and(|all| all.iter().all(|one| one["const"].is_string())) => {
            "one of these texts".into()
        }
        _ => "object".into(),
    };
    match shape["format"].as_str().or(shape["pattern"].as_str().map(|_| "pattern")) {
        Some("uuid") => "UUID".into(),
        Some("date-time") => "time".into(),
        _ => kind,
    }
}

/// A schema of these folders, by its path.
pub(crate) fn schema_of(path: &str) -> Value {
    json!({"schemaFormat": "application/schema+json;version=draft-2020-12", "schema": {"$ref": format!("./{path}")}})
}
