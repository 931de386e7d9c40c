//! Fields of requests that carry texts alone: a query, a path, a form.

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error};
use serde_json::{Map, Value};
use std::str::FromStr;

/// Reads a number or a boolean that may have come as a text.
pub fn parsed<'de, D: Deserializer<'de>, T: FromStr + DeserializeOwned>(
    from: D,
) -> Result<Option<T>, D::Error> {
    match Value::deserialize(from)? {
        Value::Null => Ok(None),
        Value::String(text) => {
            let refused = || D::Error::custom(format!("invalid value: {text:?}"));
            text.parse().map(Some).map_err(|_| refused())
        }
        other => serde_json::from_value(other).map(Some).map_err(D::Error::custom),
    }
}

/// Pairs as a JSON object; `None` when a name comes twice.
pub fn object(pairs: impl IntoIterator<Item = (String, String)>) -> Option<Map<String, Value>> {
    let mut object = Map::new();
    for (name, value) in pairs {
        if object.insert(name, value.into()).is_some() {
            return None;
        }
    }
    Some(object)
}
