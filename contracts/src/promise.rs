//! One relation between schemas carries all compatibility: does everything that a writer may write satisfy a
//! reader? What the relation does not know, it does not wave through.

use serde_json::{Map, Value};

/// How strict a reader is about fields that the writer's schema does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// Every field that it reads is written, even an optional one: what would be silently missing is a break.
    Strict,
    /// It may know optional fields that are not written: a newer reader of older events.
    Newer,
}

/// Keywords that say nothing about which values are valid.
const ANNOTATIONS: [&str; 10] = [
    "$schema",
    "$id",
    "$defs",
    "title",
    "description",
    "examples",
    "default",
    "x-pii",
    "schema",
    "components",
];
/// Keywords that this relation understands.
const KNOWN: [&str; 16] = [
    "type",
    "const",
    "enum",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "pattern",
    "format",
    "required",
    "properties",
    "items",
    "oneOf",
    "anyOf",
];

/// Why something that `written` allows may not satisfy `read`; empty when everything does.
#[must_use]
pub fn unmet(written: &Value, read: &Value, reader: Reader) -> Vec<String> {
    let compare = Compare { written, read, reader };
    let mut reasons = Vec::new();
    compare.at("", written, read, &mut reasons);
    reasons
}

struct Compare<'a> {
    written: &'a Value,
    read: &'a Value,
    reader: Reader,
}

/// A schema's keywords, with those of what it refers to.
#[must_use]
pub fn resolve(schema: &Value, root: &Value) -> Map<String, Value> {
    let mut own = schema.as_object().cloned().unwrap_or_default();
    if let Some(Value::String(reference)) = own.remove("$ref") {
        let target = reference.strip_prefix('#').and_then(|pointer| root.pointer(pointer)).cloned();
        let target = target.unwrap_or_default();
        for (keyword, value) in resolve(&target, root) {
            own.entry(keyword).or_insert(value);
        }
    }
    own
}

fn texts(value: Option<&Value>) -> Vec<&str> {
    match value {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// The values that a schema names, if it names them.
pub(crate) fn values(schema: &Map<String, Value>) -> Option<Vec<&Value>> {
    let named = schema.get("enum").and_then(Value::as_array).map(|all| all.iter().collect());
    named.or_else(|| schema.get("const").map(|one| vec![one]))
}

/// The alternatives of a schema, each with the keywords around them.
pub(crate) fn alternatives(schema: &Map<String, Value>) -> Option<Vec<Value>> {
    let (name, all) =
        ["oneOf", "anyOf"].into_iter().find_map(|name| Some((name, schema.get(name)?.as_array()?)))?;
    let around =
        || schema.iter().filter(|(keyword, _)| *keyword != name).map(|(k, v)| (k.clone(), v.clone()));
    let with = |one: &Value| {
        let mut merged: Map<String, Value> = around().collect();
        for (keyword, value) in one.as_object().into_iter().flatten() {
            let both = merged.remove(keyword).map_or_else(|| value.clone(), |outer| join(outer, value));
            merged.insert(keyword.clone(), both);
        }
        Value::Object(merged)
    };
    Some(all.iter().map(with).collect())
}

/// A keyword that stands around the alternatives and in one of them: both hold.
fn join(outer: Value, inner: &Value) -> Value {
    match (outer, inner) {
        (Value::Object(mut outer), Value::Object(inner)) => {
            outer.extend(inner.clone());
            Value::Object(outer)
        }
        (Value::Array(mut outer), Value::Array(inner)) => {
            outer.extend(inner.iter().cloned());
            Value::Array(outer)
        }
        (_, inner) => inner.clone(),
    }
}

impl Compare<'_> {
    fn at(&self, at: &str, written: &Value, read: &Value, reasons: &mut Vec<String>) {
        let (write, want) = (resolve(written, self.written), resolve(read, self.read));
        if let Some(written) = alternatives(&write) {
            return written.iter().for_each(|one| self.at(at, one, read, reasons));
        }
        if let Some(wanted) = alternatives(&want) {
            let read = wanted.iter().any(|one| {
                let mut unmet = Vec::new();
                self.at(at, written, one, &mut unmet);
                unmet.is_empty()
            });
            if !read {
                reasons.push(format!("{}: one of the alternatives written is not read", shown(at)));
            }
            return;
        }
        match values(&write) {
            Some(values) => self.each(at, &values, &want, reasons),
            None => simple(at, &write, &want, reasons),
        }
        self.fields(at, &write, &want, reasons);
        if let Some(wanted) = want.get("items") {
            match write.get("items") {
                Some(items) => self.at(&format!("{at}[]"), items, wanted, reasons),
                None => reasons.push(format!("{}: its items may be anything", shown(at))),
            }
        }
    }

    /// Values that the writer names are tried, one by one.
    fn each(&self, at: &str, values: &[&Value], want: &Map<String, Value>, reasons: &mut Vec<String>) {
        let mut schema = want.clone();
        for definitions in ["$defs", "components"] {
            schema.extend(self.read.get(definitions).map(|known| (definitions.to_owned(), known.clone())));
        }
        let refused = match jsonschema::validator_for(&Value::Object(schema)) {
            Ok(validator) => values.iter().filter(|value| !validator.is_valid(value)).count(),
            Err(_) => values.len(),
        };
        if refused > 0 {
            reasons.push(format!("{}: values are written that are not read", shown(at)));
        }
    }

    fn fields(
        &self,
        at: &str,
        write: &Map<String, Value>,
        want: &Map<String, Value>,
        reasons: &mut Vec<String>,
    ) {
        let always = texts(write.get("required"));
        for name in texts(want.get("required")) {
            if !always.contains(&name) {
                reasons
                    .push(format!("{}: is required, and not always written", shown(&format!("{at}.{name}"))));
            }
        }
        let written = write.get("properties").and_then(Value::as_object);
        for (name, wanted) in want.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let at = format!("{at}.{name}");
            match written.and_then(|written| written.get(name)) {
                Some(written) => self.at(&at, written, wanted, reasons),
                None if self.reader == Reader::Strict => {
                    reasons.push(format!("{}: is read, and never written", shown(&at)));
                }
                None => {}
            }
        }
    }
}

fn shown(at: &str) -> &str {
    let at = at.strip_prefix('.').unwrap_or(at);
    if at.is_empty() { "the data" } else { at }
}

/// Everything that concerns one value and not what lies inside it.
fn simple(at: &str, write: &Map<String, Value>, want: &Map<String, Value>, reasons: &mut Vec<String>) {
    let mut refuse = |reason: String| reasons.push(format!("{}: {reason}", shown(at)));
    let kinds = texts(want.get("type"));
    let reads = |kind: &str| kinds.contains(&kind) || (kind == "integer" && kinds.contains(&"number"));
    let written = texts(write.get("type"));
    if !kinds.is_empty() && (written.is_empty() || !written.iter().all(|kind| reads(kind))) {
        refuse(format!("is written as {}, and read as {}", written.join(" or "), kinds.join(" or ")));
    }
    if values(want).is_some() {
        refuse("values are written that are not read".into());
    }
    for (keyword, lower) in [
        ("minimum", true),
        ("minLength", true),
        ("minItems", true),
        ("maximum", false),
        ("maxLength", false),
        ("maxItems", false),
    ] {
        let Some(limit) = want.get(keyword).and_then(Value::as_i64) else { continue };
        let kept = write.get(keyword).and_then(Value::as_i64);
        if kept.is_none_or(|kept| if lower { kept < limit } else { kept > limit }) {
            refuse(format!("{keyword} is {limit} for the reader, and not kept by the writer"));
        }
    }
    for keyword in ["pattern", "format"] {
        if want.contains_key(keyword) && want.get(keyword) != write.get(keyword) {
            refuse(format!("{keyword} differs"));
        }
    }
    for (keyword, value) in want {
        let understood = ANNOTATIONS.contains(&keyword.as_str()) || KNOWN.contains(&keyword.as_str());
        if !understood && write.get(keyword) != Some(value) {
            refuse(format!("{keyword} differs"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn data(properties: &Value, required: &[&str]) -> Value {
        json!({"type": "object", "properties": properties, "required": required})
    }

    #[track_caller]
    fn breaks(written: &Value, read: &Value, reason: &str) {
        let unmet = unmet(written, read, Reader::Strict);
        assert!(unmet.iter().any(|found| found.contains(reason)), "{unmet:?}");
    }

    #[test]
    fn the_same_and_the_narrower_satisfy() {
        let whole = json!({"type": "integer", "minimum": 0});
        let narrow = json!({"type": "integer", "minimum": 1, "maximum": 9});
        assert!(unmet(&whole, &whole, Reader::Strict).is_empty());
        assert!(unmet(&narrow, &whole, Reader::Strict).is_empty());
        breaks(&whole, &narrow, "minimum is 1");
        breaks(&whole, &narrow, "maximum is 9");
        breaks(&json!({"type": "string"}), &whole, "is written as string, and read as integer");
    }

    #[test]
    fn fields_are_promised_or_named() {
        let text = json!({"type": "string"});
        let both = data(&json!({"a": text, "b": text}), &["a"]);
        let only = data(&json!({"a": text}), &["a"]);
        assert!(unmet(&both, &only, Reader::Strict).is_empty());
        breaks(&only, &both, "b: is read, and never written");
        assert!(unmet(&only, &both, Reader::Newer).is_empty());
        breaks(&both, &data(&json!({"b": text}), &["b"]), "b: is required, and not always written");
    }

    #[test]
    fn alternatives_and_references_are_followed() {
        let of = |codes: &[&str]| {
            let all: Vec<Value> =
                codes.iter().map(|c| data(&json!({"code": {"const": c}}), &["code"])).collect();
            json!({"$ref": "#/$defs/Reason", "$defs": {"Reason": {"oneOf": all}}})
        };
        assert!(unmet(&of(&["A"]), &of(&["A", "B"]), Reader::Strict).is_empty());
        breaks(&of(&["A", "B"]), &of(&["A"]), "alternatives");
    }

    /// Guards: what stands around alternatives holds for each of them.
    #[test]
    fn alternatives_do_not_hide_what_stands_around_them() {
        let limited = |most: u64| {
            let field = json!({"type": "string", "maxLength": most});
            json!({"type": "object", "properties": {"a": field, "b": {"type": "string"}}, "required": ["a"],
                "oneOf": [{"properties": {"b": {"const": "x"}}, "required": ["b"]}]})
        };
        assert!(unmet(&limited(5), &limited(9), Reader::Strict).is_empty());
        breaks(&limited(9), &limited(5), "alternatives");
        breaks(&data(&json!({"b": {"const": "x"}}), &["b"]), &limited(5), "alternatives");
    }

    #[test]
    fn named_values_are_tried_against_everything_that_the_reader_wants() {
        let named = json!({"enum": ["a", "bb"]});
        assert!(unmet(&named, &json!({"type": "string", "maxLength": 2}), Reader::Strict).is_empty());
        breaks(&named, &json!({"type": "string", "maxLength": 1}), "values are written");
        breaks(&named, &json!({"type": "integer"}), "values are written");
    }

    #[test]
    fn what_is_not_understood_must_be_equal() {
        let strange = json!({"multipleOf": 5});
        breaks(&json!({}), &strange, "multipleOf differs");
        assert!(unmet(&strange, &strange, Reader::Strict).is_empty());
    }
}
