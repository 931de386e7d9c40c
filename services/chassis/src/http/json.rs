//! JSON as a request may send it: no object has a key twice. serde_json takes the last of two, another parser in front of
//! this service may have judged the first.

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::fmt;

/// The most of a key that is repeated.
const MAX_SHOWN: usize = 64;

/// The value that a body holds, and the path of every key that stands in its object once more; at most `most` of them.
///
/// # Errors
/// When the body is not JSON.
pub fn read(body: &[u8], most: usize) -> Result<(Value, Vec<String>), serde_json::Error> {
    let mut repeated = Vec::new();
    let mut from = serde_json::Deserializer::from_slice(body);
    let value = Place { path: String::new(), most, repeated: &mut repeated }.deserialize(&mut from)?;
    from.end()?;
    Ok((value, repeated))
}

/// The path of a field inside `path`, which is empty for the body itself.
pub(super) fn joined(path: &str, field: &str) -> String {
    if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") }
}

/// A place in the body whose value is to be read.
struct Place<'a> {
    path: String,
    most: usize,
    repeated: &'a mut Vec<String>,
}

impl Place<'_> {
    /// A place inside this one.
    fn inner(&mut self, path: String) -> Place<'_> {
        Place { path, most: self.most, repeated: &mut *self.repeated }
    }
}

impl<'de> DeserializeSeed<'de> for Place<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Place<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut from: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        loop {
            let path = format!("{}[{}]", self.path, items.len());
            match from.next_element_seed(self.inner(path))? {
                Some(item) => items.push(item),
                None => return Ok(Value::Array(items)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut from: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = from.next_key::<String>()? {
            let shown: String = name.chars().take(MAX_SHOWN).collect();
            let path = joined(&self.path, &shown);
            if object.contains_key(&name) && self.repeated.len() < self.most {
                self.repeated.push(path.clone());
            }
            object.insert(name, from.next_value_seed(self.inner(path))?);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: a duplicate key is found wherever it stands, whatever its value, and named by its path.
    #[test]
    fn every_key_that_stands_twice_is_named() {
        for (body, expected) in [
            (r#"{"a": 1, "b": {"a": 1}, "c": [{"a": 1}, {"a": 1}]}"#, &[][..]),
            (r#"{"a": 1, "a": 1}"#, &["a"]),
            (r#"{"a": 1, "\u0061": null}"#, &["a"]),
            (r#"{"c": [{}, {"b": {"x": 1, "x": {"y": 1, "y": 2}}}]}"#, &["c[1].b.x", "c[1].b.x.y"]),
        ] {
            assert_eq!(read(body.as_bytes(), 100).unwrap().1, expected, "{body}");
        }
    }

    #[test]
    fn everything_else_is_read_as_ever() {
        for body in [r#"[null, true, 1, -1, 1.5, 18446744073709551615, "\u00e4", {"a": {}}]"#, "7", "{}"] {
            let (value, repeated) = read(body.as_bytes(), 100).unwrap();
            assert_eq!((value, repeated), (serde_json::from_str(body).unwrap(), Vec::new()));
        }
        let deep = "[".repeat(200);
        for bad in ["{} {}", "{", "nul", "1e999", &deep] {
            assert!(read(bad.as_bytes(), 100).is_err(), "{bad}");
        }
    }
}
