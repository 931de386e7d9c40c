//! The parameters of a call, form-encoded, and how Stripe refuses those that it does not know.

use super::refusal::Refusal;
use std::collections::BTreeMap;

/// The parameters that a call has not read yet.
pub struct Form(BTreeMap<String, String>);

impl Form {
    /// Of a name that stands twice, the last value counts.
    #[must_use]
    pub fn parse(body: &str) -> Self {
        Self(form_urlencoded::parse(body.as_bytes()).into_owned().collect())
    }

    pub fn take(&mut self, name: &str) -> Option<String> {
        self.0.remove(name)
    }

    /// # Errors
    /// The refusal of a call that leaves it out.
    pub fn require(&mut self, name: &str) -> Result<String, Refusal> {
        let missing = || {
            let message = format!("Missing required param: {name}.");
            Refusal::invalid("parameter_missing", message).about(name)
        };
        match self.take(name) {
            None => Err(missing()),
            Some(value) if value.is_empty() => {
                let message = format!("You passed an empty string for '{name}'.");
                Err(Refusal::invalid("parameter_invalid_empty", message).about(name))
            }
            Some(value) => Ok(value),
        }
    }

    /// # Errors
    /// The refusal of a value that is no whole number of minor units.
    pub fn amount(&mut self, name: &str) -> Result<Option<u64>, Refusal> {
        let Some(text) = self.take(name) else { return Ok(None) };
        let invalid = || {
            let message = format!("Invalid integer: {text}");
            Refusal::invalid("parameter_invalid_integer", message).about(name)
        };
        text.parse::<u64>().map(Some).map_err(|_| invalid())
    }

    /// # Errors
    /// The refusal of a value that is neither true nor false.
    pub fn flag(&mut self, name: &str) -> Result<bool, Refusal> {
        match self.take(name).as_deref() {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(other) => {
                let message = format!("Invalid boolean: {other}");
                Err(Refusal::invalid(None, message).about(name))
            }
        }
    }

    /// Every value of a list, `name[]` or `name[0]`.
    pub fn list(&mut self, name: &str) -> Vec<String> {
        let wanted: Vec<String> = self.nested(name).collect();
        wanted.iter().filter_map(|key| self.0.remove(key)).collect()
    }

    /// Every entry of a map, `name[key]`.
    pub fn map(&mut self, name: &str) -> BTreeMap<String, String> {
        let wanted: Vec<String> = self.nested(name).collect();
        let entry = |key: &String| {
            let inner = key.strip_prefix(name)?.strip_prefix('[')?.strip_suffix(']')?;
            Some((inner.to_owned(), self.0.remove(key)?))
        };
        wanted.iter().filter_map(entry).collect()
    }

    fn nested(&self, name: &str) -> impl Iterator<Item = String> {
        let prefix = format!("{name}[");
        self.0.keys().filter(move |key| key.starts_with(&prefix)).cloned()
    }

    /// Every parameter has been read.
    ///
    /// # Errors
    /// The refusal of the first one that has not: Stripe does not know it, or the simulator does not.
    pub fn finish(self) -> Result<(), Refusal> {
        match self.0.into_keys().next() {
            None => Ok(()),
            Some(name) => {
                let message = format!("Received unknown parameter: {name}");
                Err(Refusal::invalid("parameter_unknown", message).about(&name))
            }
        }
    }
}
