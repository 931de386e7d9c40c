//! One resource with its properties resolved: typed here, and refused here with its line.

use super::refused::Refused;
use super::yaml::{Kind, Node};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

pub struct Declared<'a> {
    pub file: &'a str,
    /// The stack's name: the file's stem.
    pub stack: &'a str,
    /// The resource's name within its template.
    pub logical_id: &'a str,
    pub line: usize,
    /// The properties as they stand in the file, for the lines of errors.
    pub node: &'a Node,
    /// The same properties, resolved.
    pub properties: &'a Value,
}

impl Declared<'_> {
    /// The name that CloudFormation makes up for a resource whose template gives it none.
    #[must_use]
    pub fn generated_name(&self) -> String {
        generated_name(self.stack, self.logical_id)
    }

    /// Types the properties and appends them to a list of the model.
    ///
    /// # Errors
    /// As [`Declared::typed`].
    pub fn push<T: DeserializeOwned>(&self, list: &mut Vec<T>) -> Result<(), Refused> {
        list.push(self.typed()?);
        Ok(())
    }

    /// The properties as their Rust type.
    ///
    /// # Errors
    /// [`Refused`] for a property that is unknown, missing, or of another type.
    pub fn typed<T: DeserializeOwned>(&self) -> Result<T, Refused> {
        let empty = Value::Object(Map::new());
        let properties = if self.properties.is_null() { &empty } else { self.properties };
        serde_path_to_error::deserialize(properties).map_err(|error| {
            let mut path: Vec<String> = error.path().iter().map(ToString::to_string).collect();
            let reason = error.inner().to_string();
            // serde's path ends at the mapping; the property itself stands in its message.
            if let Some(name) = reason.strip_prefix("unknown field `").and_then(|rest| rest.split('`').next())
            {
                if path.last().is_none_or(|last| last != name) {
                    path.push(name.to_owned());
                }
                let reason = format!("there is no such property ({reason})");
                return self.refused(&path, reason);
            }
            self.refused(&path, reason)
        })
    }

    /// Refuses a value other than those that the local stack behaves like; a list is checked value by value.
    ///
    /// # Errors
    /// [`Refused`], with the values that are implemented.
    pub fn only(&self, path: &str, implemented: &[&str]) -> Result<(), Refused> {
        let path: Vec<String> = path.split('.').map(str::to_owned).collect();
        let value = path.iter().try_fold(self.properties, |value, part| value.get(part));
        let values = value.map_or(&[][..], |value| {
            value.as_array().map_or(std::slice::from_ref(value), |values| values.as_slice())
        });
        let other = values.iter().filter_map(Value::as_str).find(|value| !implemented.contains(value));
        other.map_or(Ok(()), |value| {
            let implemented = implemented.join(", ");
            let reason = format!("{value:?} is not implemented by the local stack, only {implemented}");
            Err(self.refused(&path, reason))
        })
    }

    fn refused(&self, path: &[String], reason: impl Into<String>) -> Refused {
        let at = std::iter::once(self.logical_id).chain(path.iter().map(String::as_str));
        Refused {
            file: self.file.to_owned(),
            line: self.line_of(path),
            at: at.collect::<Vec<_>>().join("."),
            reason: reason.into(),
        }
    }

    /// The line of a property, by its path; as deep as the path can be followed.
    fn line_of(&self, path: &[String]) -> usize {
        let (mut node, mut line) = (self.node, self.line);
        for part in path {
            let next = match (&node.kind, part.parse::<usize>()) {
                (Kind::Seq(nodes), Ok(index)) => nodes.get(index),
                _ => node.get(part),
            };
            let Some(next) = next else { break };
            (node, line) = (next, next.line);
        }
        line
    }
}

/// `<stack>-<logical id>`
#[must_use]
pub fn generated_name(stack: &str, logical_id: &str) -> String {
    format!("{stack}-{logical_id}")
}
