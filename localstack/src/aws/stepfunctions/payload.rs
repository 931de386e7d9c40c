//! Reference paths, and the payload templates that take values from them.
//!
//! <https://docs.aws.amazon.com/step-functions/latest/dg/input-output-inputpath-params.html>

use serde_json::{Map, Value};

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is nothing at {0}")]
pub struct NothingAt(String);

/// The value at a path: `$`, `$.a.b`.
#[must_use]
pub fn read<'a>(path: &str, data: &'a Value) -> Option<&'a Value> {
    match path.strip_prefix('$')? {
        "" => Some(data),
        rest => rest.strip_prefix('.')?.split('.').try_fold(data, |value, name| value.get(name)),
    }
}

/// Fills a payload template: fields whose names end in `.$` are paths.
///
/// # Errors
/// When there is nothing at a path.
pub fn fill(template: Option<&Value>, data: &Value, context: &Value) -> Result<Value, NothingAt> {
    let Some(template) = template else { return Ok(data.clone()) };
    let Value::Object(fields) = template else { return Ok(template.clone()) };
    let mut filled = Map::new();
    for (name, value) in fields {
        match (name.strip_suffix(".$"), value.as_str()) {
            (Some(name), Some(path)) => {
                let found = match path.strip_prefix("$$") {
                    Some(rest) => read(&format!("${rest}"), context),
                    None => read(path, data),
                };
                let found = found.ok_or_else(|| NothingAt(path.to_owned()))?;
                filled.insert(name.to_owned(), found.clone());
            }
            _ => {
                filled.insert(name.clone(), fill(Some(value), data, context)?);
            }
        }
    }
    Ok(Value::Object(filled))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn templates_take_from_the_input_and_from_the_context() {
        let template =
            json!({"task": "Refund", "event.$": "$", "n.$": "$$.State.RetryCount", "in": {"x.$": "$.a.b"}});
        let (data, context) = (json!({"a": {"b": 7}}), json!({"State": {"RetryCount": 2}}));
        let filled = fill(Some(&template), &data, &context).unwrap();
        assert_eq!(filled, json!({"task": "Refund", "event": data, "n": 2, "in": {"x": 7}}));
        assert!(fill(Some(&json!({"x.$": "$.nothing"})), &data, &context).is_err());
    }
}
