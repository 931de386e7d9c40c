//! The parameters of a call, form-encoded, and how Stripe refuses those that it cannot read.

use super::refusal::Refusal;
use std::collections::{BTreeMap, BTreeSet};

/// The parameters that a call has not read yet.
pub struct Form(Vec<(String, String)>);

impl Form {
    #[must_use]
    pub fn parse(body: &str) -> Self {
        Self(form_urlencoded::parse(body.as_bytes()).into_owned().collect())
    }

    fn take_all(&mut self, is_meant: impl Fn(&str) -> bool) -> Vec<(String, String)> {
        let all = std::mem::take(&mut self.0).into_iter();
        let (found, rest) = all.partition(|(name, _)| is_meant(name));
        self.0 = rest;
        found
    }

    /// Of a name that stands twice, the last value counts.
    fn take(&mut self, name: &str) -> Option<String> {
        self.take_all(|other| other == name).pop().map(|(_, value)| value)
    }

    /// # Errors
    /// The refusal of an empty text.
    pub fn text(&mut self, name: &str) -> Result<Option<String>, Refusal> {
        let value = self.take(name);
        if value.as_deref() == Some("") {
            let message = format!(
                "You passed an empty string for '{name}'. We assume empty values are an attempt to unset a parameter; \
                 however '{name}' cannot be unset. You should remove '{name}' from your request or supply a non-empty \
                 value."
            );
            return Err(Refusal::invalid("parameter_invalid_empty", message).about(name));
        }
        Ok(value)
    }

    /// # Errors
    /// The refusal of a call that leaves it out, and those of [`Form::text`].
    pub fn required(&mut self, name: &str) -> Result<String, Refusal> {
        self.text(name)?.ok_or_else(|| Refusal::left_out(name))
    }

    /// # Errors
    /// The refusal of a value that is no whole number.
    pub fn integer(&mut self, name: &str) -> Result<Option<i64>, Refusal> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let invalid = |_| Refusal::invalid("parameter_invalid_integer", format!("Invalid integer: {text}"));
        text.parse().map(Some).map_err(|error| invalid(error).about(name))
    }

    /// # Errors
    /// The refusal of a value that is neither true nor false.
    pub fn flag(&mut self, name: &str) -> Result<Option<bool>, Refusal> {
        match self.text(name)?.as_deref() {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(other) => Err(Refusal::invalid(None, format!("Invalid boolean: {other}")).about(name)),
        }
    }

    /// # Errors
    /// The refusal of a value that is none of these.
    pub fn choice(&mut self, name: &str, choices: &[&str]) -> Result<Option<String>, Refusal> {
        let value = self.text(name)?;
        if value.as_deref().is_none_or(|value| choices.contains(&value)) {
            return Ok(value);
        }
        let (last, others) = choices.split_last().unwrap_or((&"", &[]));
        let message = format!("Invalid {name}: must be one of {}, or {last}", others.join(", "));
        Err(Refusal::invalid(None, message).about(name))
    }

    /// Every value of a list, `name[]` or `name[0]`.
    pub fn list(&mut self, name: &str) -> Vec<String> {
        let is_item = |key: &str| inner(name, key).is_some_and(|key| key.bytes().all(|c| c.is_ascii_digit()));
        self.take_all(is_item).into_iter().map(|(_, value)| value).collect()
    }

    /// Every entry of a map, `name[key]`; one with an empty value unsets it.
    pub fn map(&mut self, name: &str) -> BTreeMap<String, String> {
        let is_entry = |key: &str| inner(name, key).is_some_and(|key| !key.is_empty());
        let entries = self.take_all(is_entry).into_iter().filter(|(_, value)| !value.is_empty());
        entries.filter_map(|(key, value)| Some((inner(name, &key)?.to_owned(), value))).collect()
    }

    /// Every parameter has been read.
    ///
    /// # Errors
    /// The refusal of those that have not: Stripe does not know them, or the simulator does not.
    pub fn finish(self) -> Result<(), Refusal> {
        let unknown: BTreeSet<String> = self.0.into_iter().map(|(name, _)| name).collect();
        let Some(first) = unknown.first() else { return Ok(()) };
        let names = unknown.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        let s = if unknown.len() == 1 { "" } else { "s" };
        let message = format!("Received unknown parameter{s}: {names}");
        Err(Refusal::invalid("parameter_unknown", message).about(first))
    }
}

/// What stands in the brackets of `name[…]`.
fn inner<'a>(name: &str, key: &'a str) -> Option<&'a str> {
    key.strip_prefix(name)?.strip_prefix('[')?.strip_suffix(']').filter(|inner| !inner.contains('['))
}
