//! The description of the HTTP API: served, complete, and with the very bounds that the code has.

use crate::platform::{on_platform, root};
use contracts::openapi::{self, Description};
use contracts::{pretty, promise};
use hyper::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Routes that belong to no path: what browsers ask, and what there is not.
const UNDESCRIBED: [&str; 2] = ["OPTIONS /{proxy+}", "$default"];

/// The served description is the committed one, and has exactly the routes that there are.
#[test]
fn the_description_is_served_and_complete() {
    on_platform(async |platform| {
        let document = openapi::read(&root().join("contracts")).unwrap();
        let served = platform.api.get("/openapi.json").await.unwrap();
        assert_eq!(pretty(&served.body), pretty(&document));
        let routes: BTreeSet<String> = Description::new(document).routes().into_iter().collect();
        let code =
            crate::topology::routes().into_iter().filter(|route| !UNDESCRIBED.contains(&route.as_str()));
        assert_eq!(routes, code.collect());
    });
}

/// Bounds of the description and of the reader are the same: what is just inside is accepted, what is just outside
/// is refused by name.
#[test]
fn every_bound_of_the_description_is_the_readers() {
    on_platform(async |platform| {
        let document = openapi::read(&root().join("contracts")).unwrap();
        for (path, method, send, least) in [
            ("/orders", "post", Method::POST, 20),
            ("/products/{id}", "put", Method::PUT, 20),
            ("/customers/{id}/payment-method", "put", Method::PUT, 7),
        ] {
            let schema = document.pointer(&format!(
                "/paths/{}/{method}/requestBody/content/application~1json/schema",
                path.replace('/', "~1")
            ));
            let mut probes = Vec::new();
            probe(schema.unwrap(), &document, &mut probes);
            assert!(probes.len() >= least, "{path}: {}", probes.len());
            let url = path.replace("{id}", "bounds");
            for Probe { field, body, good } in probes {
                let answer = platform.api.send(send.clone(), &url, body.to_string()).await.unwrap();
                let errors = answer.body["errors"].as_array().cloned().unwrap_or_default();
                let named =
                    answer.status == 400 && errors.iter().any(|error| error["field"] == field.as_str());
                assert_ne!(named, good, "{path} {field}: {} {}", answer.status, answer.body);
            }
        }
    });
}

/// A body that differs from a good one in one field.
struct Probe {
    field: String,
    body: Value,
    good: bool,
}

/// A small value that satisfies the schema.
fn sample(schema: &Value, document: &Value) -> Value {
    let schema = Value::Object(promise::resolve(schema, document));
    match schema["type"].as_str() {
        Some("integer") => schema["minimum"].clone(),
        Some("string") if schema["pattern"] == "^[A-Z]{2}$" => json!("NO"),
        Some("string") => json!(format!("{}x", prefix(&schema))),
        Some("array") => json!([sample(&schema["items"], document)]),
        _ => {
            let properties = schema["properties"].as_object().into_iter().flatten();
            properties.map(|(name, field)| (name.clone(), sample(field, document))).collect()
        }
    }
}

fn probe(schema: &Value, document: &Value, probes: &mut Vec<Probe>) {
    let whole = sample(schema, document);
    let mut fields = Vec::new();
    variants("", "", schema, document, &mut fields);
    for (field, pointer, value, good) in fields {
        let mut body = whole.clone();
        match value {
            Some(value) => *body.pointer_mut(&pointer).unwrap() = value,
            None => {
                let (parent, name) = pointer.rsplit_once('/').unwrap();
                body.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(name);
            }
        }
        probes.push(Probe { field, body, good });
    }
}

type Variant = (String, String, Option<Value>, bool);

/// Values at and beyond each bound of a schema; `None` leaves the field out.
fn variants(field: &str, pointer: &str, schema: &Value, document: &Value, out: &mut Vec<Variant>) {
    let schema = Value::Object(promise::resolve(schema, document));
    let values = match schema["type"].as_str() {
        Some("integer") => integers(&schema),
        Some("string") => texts(&schema),
        Some("array") => {
            variants(&format!("{field}[0]"), &format!("{pointer}/0"), &schema["items"], document, out);
            arrays(&schema, document)
        }
        _ => {
            let required = schema["required"].as_array().cloned().unwrap_or_default();
            for (name, of) in schema["properties"].as_object().unwrap() {
                let inner = if field.is_empty() { name.clone() } else { format!("{field}.{name}") };
                let at = format!("{pointer}/{name}");
                out.push((inner.clone(), at.clone(), None, !required.contains(&json!(name))));
                variants(&inner, &at, of, document, out);
            }
            Vec::new()
        }
    };
    out.extend(values.into_iter().map(|(value, good)| (field.into(), pointer.into(), Some(value), good)));
}

fn integers(schema: &Value) -> Vec<(Value, bool)> {
    let (minimum, maximum) = (schema["minimum"].as_i64().unwrap(), schema["maximum"].as_i64().unwrap());
    let bounds = [(minimum, true), (maximum, true), (minimum - 1, false), (maximum + 1, false)];
    let bad = [json!("1"), json!(1.5), json!(true), Value::Null].map(|bad| (bad, false));
    bounds.map(|(n, good)| (json!(n), good)).into_iter().chain(bad).collect()
}

/// How every text begins that the schema allows.
fn prefix(schema: &Value) -> &'static str {
    if schema["pattern"].as_str().is_some_and(|pattern| pattern.starts_with("^pm_")) { "pm_" } else { "" }
}

fn texts(schema: &Value) -> Vec<(Value, bool)> {
    let maximum = schema["maxLength"].as_u64().or((schema["pattern"] == "^[A-Z]{2}$").then_some(2));
    let counted =
        schema["pattern"].as_str().and_then(|pattern| pattern.rsplit_once("{1,")?.1.split('}').next());
    let counted = counted.map(|most| most.parse().unwrap());
    let maximum = usize::try_from(maximum.or(counted).unwrap()).unwrap();
    let text =
        |length: usize| json!(format!("{}{}", prefix(schema), "X".repeat(length - prefix(schema).len())));
    let bounds = [(text(maximum), true), (text(maximum + 1), false)];
    let bad = [json!(""), json!("\u{7f}"), json!(" "), json!(7)].map(|bad| (bad, false));
    bounds.into_iter().chain(bad).collect()
}

fn arrays(schema: &Value, document: &Value) -> Vec<(Value, bool)> {
    let (minimum, maximum) = (schema["minItems"].as_u64().unwrap(), schema["maxItems"].as_u64().unwrap());
    let items = |n: u64| Value::Array(vec![sample(&schema["items"], document); usize::try_from(n).unwrap()]);
    let bounds = [(minimum, true), (maximum, true), (minimum - 1, false), (maximum + 1, false)];
    bounds.map(|(n, good)| (items(n), good)).into()
}
