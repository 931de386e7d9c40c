//! The API's description, and whether an answer is as it says.

use crate::yaml;
use anyhow::{Context, Result};
use hyper::{HeaderMap, Method};
use jsonschema::Validator;
use orders::http::openapi::matches;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// An answer that was got.
#[derive(Clone, Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body; null when it is not JSON.
    pub body: Value,
}

/// `openapi.yaml` of a `contracts` folder.
///
/// # Errors
/// When it is not there or not YAML.
pub fn read(folder: &Path) -> Result<Value> {
    let path = folder.join("openapi.yaml");
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    yaml::read("openapi.yaml", &text)
}

/// The description, asked about answers. What was compiled to check one answer checks the next.
pub struct Description {
    document: Value,
    validators: Mutex<HashMap<String, Arc<Validator>>>,
}

impl Description {
    /// A description as read.
    #[must_use]
    pub fn new(document: Value) -> Self {
        Self { document, validators: Mutex::default() }
    }

    /// Every route, `GET /orders/{id}`.
    #[must_use]
    pub fn routes(&self) -> Vec<String> {
        let paths = self.document["paths"].as_object().into_iter().flatten();
        let routes = paths.flat_map(|(path, item)| {
            let methods = item.as_object().into_iter().flatten().map(|(method, _)| method);
            methods.filter(|m| *m != "parameters").map(move |m| format!("{} {path}", m.to_uppercase()))
        });
        routes.collect()
    }

    fn deref<'a>(&'a self, value: &'a Value) -> &'a Value {
        let target = value["$ref"].as_str().and_then(|r| self.document.pointer(r.strip_prefix('#')?));
        target.map_or(value, |target| self.deref(target))
    }

    /// The validator of a schema that stands in this document, by its place.
    fn validator(&self, place: &str, schema: &Value) -> Result<Arc<Validator>> {
        let mut known = self.validators.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(validator) = known.get(place) {
            return Ok(Arc::clone(validator));
        }
        let root = json!({"allOf": [schema], "components": self.document["components"]});
        let validator = Arc::new(jsonschema::options().should_validate_formats(true).build(&root)?);
        known.insert(place.to_owned(), Arc::clone(&validator));
        Ok(validator)
    }

    /// What an answer has that the description does not allow: status, media type, headers, body.
    ///
    /// # Errors
    /// The difference, in words.
    pub fn check(&self, method: &Method, path: &str, answer: &Answer) -> Result<(), String> {
        let path = path.split('?').next().unwrap_or_default();
        let mut paths = self.document["paths"].as_object().into_iter().flatten();
        let item = paths.find(|(template, _)| matches(template, path));
        let operation = item.and_then(|(path, item)| Some((path, item.get(method.as_str().to_lowercase())?)));
        let Some((template, operation)) = operation else {
            let known = [204, 404, 405, 429].contains(&answer.status);
            return if known { Ok(()) } else { Err(format!("{} on no described route", answer.status)) };
        };
        let response = self.deref(&operation["responses"][answer.status.to_string()]);
        if response.is_null() {
            return Err(format!("the status {} is not described", answer.status));
        }
        for name in response["headers"].as_object().into_iter().flatten().map(|(name, _)| name.to_lowercase())
        {
            if !answer.headers.contains_key(name.as_str()) {
                return Err(format!("{}: the header {name} is missing", answer.status));
            }
        }
        let kind = answer.headers.get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let schema = &response["content"][kind]["schema"];
        if schema.is_null() {
            return Err(format!("{}: the media type {kind:?} is not described", answer.status));
        }
        let place = format!("{method} {template} {} {kind}", answer.status);
        let validator = self.validator(&place, schema).map_err(|e| e.to_string())?;
        let errors: Vec<String> = validator
            .iter_errors(&answer.body)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        if errors.is_empty() { Ok(()) } else { Err(format!("{}: {}", answer.status, errors.join("; "))) }
    }
}
