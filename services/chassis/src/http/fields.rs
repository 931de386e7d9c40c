//! Strict reading of a JSON body: every field that breaks a rule is named, unknown fields included.

use super::{FieldError, MAX_BODY_BYTES, MAX_ERRORS, Problem, Request, card_number, json};
use serde_json::{Map, Value};
use std::{collections::HashSet, ops::RangeInclusive, str::FromStr};

/// The most characters of a payment provider's token.
const MAX_TOKEN: usize = 255;

/// Checks that a request calls its body JSON, or says nothing of it.
///
/// # Errors
/// 415.
pub fn expect_json(request: &Request) -> Result<(), Problem> {
    let kind = request.header("content-type").unwrap_or("application/json");
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if kind.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(Problem::new(415, "UNSUPPORTED_MEDIA_TYPE", "the body must be sent as application/json"))
}

/// The body as a JSON object.
///
/// # Errors
/// 413 when it is too large, 400 when it is not JSON or not an object, or has a key twice.
pub fn object(body: &[u8]) -> Result<Map<String, Value>, Problem> {
    if body.len() > MAX_BODY_BYTES {
        let message = format!("the body must be at most {MAX_BODY_BYTES} bytes");
        return Err(Problem::new(413, "BODY_TOO_LARGE", message));
    }
    let broken = |rule, message| Problem::invalid(&[FieldError::new("", rule, message)]);
    let (value, repeated) = json::read(body, MAX_ERRORS)
        .map_err(|e| broken("json", format!("the body is not valid JSON: {e}")))?;
    if !repeated.is_empty() {
        let twice = |path| FieldError::new(path, "duplicate", "stands more than once in its object");
        let errors: Vec<FieldError> = repeated.into_iter().map(twice).collect();
        return Err(Problem::invalid(&errors));
    }
    match value {
        Value::Object(object) => Ok(object),
        _ => Err(broken("type", "the body must be a JSON object".to_owned())),
    }
}

/// The query's parameters as an object of texts, to be read with [`Fields`] like a body's fields.
#[must_use]
pub fn query(request: &Request) -> Map<String, Value> {
    let texts = request.query.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str())));
    texts.collect()
}

/// Reads the fields of one object and remembers every rule that is broken.
pub struct Fields<'a> {
    object: &'a Map<String, Value>,
    path: String,
    known: HashSet<&'static str>,
    errors: Vec<FieldError>,
}

impl<'a> Fields<'a> {
    /// The fields of the body itself.
    #[must_use]
    pub fn new(object: &'a Map<String, Value>) -> Self {
        Self::at(object, String::new())
    }

    /// The fields of an object inside the body; `path` names it: `items[0]`.
    #[must_use]
    pub fn at(object: &'a Map<String, Value>, path: String) -> Self {
        Self { object, path, known: HashSet::new(), errors: Vec::new() }
    }

    fn name(&self, field: &str) -> String {
        json::joined(&self.path, field)
    }

    /// Notes that `field` breaks `rule`.
    pub fn refuse(&mut self, field: &str, rule: &'static str, message: impl Into<String>) {
        let field = self.name(field);
        self.errors.push(FieldError { field, rule, message: message.into() });
    }

    /// The value of an optional field.
    pub fn optional(&mut self, field: &'static str) -> Option<&'a Value> {
        self.known.insert(field);
        self.object.get(field)
    }

    /// The value of a field that must be there.
    pub fn required(&mut self, field: &'static str) -> Option<&'a Value> {
        let value = self.optional(field);
        if value.is_none() {
            self.refuse(field, "required", "is required");
        }
        value
    }

    /// A required text that parses as `T`; the parser's error is the message.
    pub fn parsed<T: FromStr<Err: ToString>>(&mut self, field: &'static str) -> Option<T> {
        let value = self.required(field)?;
        let text = self.text_of(field, value)?;
        text.parse().map_err(|e: T::Err| self.refuse(field, "format", e.to_string())).ok()
    }

    /// An optional whole number within `range`, in digits: a parameter of a query.
    pub fn optional_digits(&mut self, field: &'static str, range: RangeInclusive<u64>) -> Option<u64> {
        let text = self.optional(field)?.as_str().unwrap_or_default();
        // Only digits: no sign, no blank, no leading zero that could be taken for another base.
        let plain = text.bytes().all(|c| c.is_ascii_digit()) && (text.len() == 1 || !text.starts_with('0'));
        let number = text.parse().ok().filter(|number| plain && range.contains(number));
        if number.is_none() {
            let (least, most) = (range.start(), range.end());
            self.refuse(field, "range", format!("must be a whole number from {least} to {most}"));
        }
        number
    }

    /// A required text of 1 to `most` characters.
    pub fn text(&mut self, field: &'static str, most: usize) -> Option<String> {
        let value = self.required(field)?;
        self.bounded_text(field, value, most)
    }

    /// An optional text of 1 to `most` characters.
    pub fn optional_text(&mut self, field: &'static str, most: usize) -> Option<String> {
        let value = self.optional(field)?;
        self.bounded_text(field, value, most)
    }

    /// A required token of the payment provider, as [`Fields::optional_token`].
    pub fn token(&mut self, field: &'static str) -> Option<String> {
        let value = self.required(field)?;
        self.token_of(field, value)
    }

    /// An optional token of the payment provider, at most 255 characters: it is opaque, but a card number is recognisable
    /// and must not enter the system.
    pub fn optional_token(&mut self, field: &'static str) -> Option<String> {
        let value = self.optional(field)?;
        self.token_of(field, value)
    }

    fn token_of(&mut self, field: &str, value: &Value) -> Option<String> {
        let token = self.bounded_text(field, value, MAX_TOKEN)?;
        if card_number::is_in(&token) || !token.bytes().all(|c| c.is_ascii_graphic()) {
            self.refuse(field, "token", "must be the provider's token, never a card number");
            return None;
        }
        Some(token)
    }

    fn bounded_text(&mut self, field: &str, value: &Value, most: usize) -> Option<String> {
        let text = self.text_of(field, value)?;
        let printable = !text.trim().is_empty() && !text.chars().any(char::is_control);
        if printable && text.chars().count() <= most {
            return Some(text);
        }
        self.refuse(field, "length", format!("must be 1 to {most} printable characters"));
        None
    }

    fn text_of(&mut self, field: &str, value: &Value) -> Option<String> {
        let text = value.as_str().map(str::to_owned);
        if text.is_none() {
            self.refuse(field, "type", format!("must be a string, not {}", kind(value)));
        }
        text
    }

    /// A required whole number within `range`.
    pub fn integer(&mut self, field: &'static str, range: RangeInclusive<u64>) -> Option<u64> {
        let value = self.required(field)?;
        self.bounded_integer(field, value, range)
    }

    /// An optional whole number within `range`.
    pub fn optional_integer(&mut self, field: &'static str, range: RangeInclusive<u64>) -> Option<u64> {
        let value = self.optional(field)?;
        self.bounded_integer(field, value, range)
    }

    fn bounded_integer(&mut self, field: &str, value: &Value, range: RangeInclusive<u64>) -> Option<u64> {
        if !value.is_i64() && !value.is_u64() {
            self.refuse(field, "type", format!("must be a whole number, not {}", kind(value)));
            return None;
        }
        let number = value.as_u64().filter(|number| range.contains(number));
        if number.is_none() {
            self.refuse(field, "range", format!("must be {} to {}", range.start(), range.end()));
        }
        number
    }

    /// Every broken rule, unknown fields included.
    #[must_use]
    pub fn finish(mut self) -> Vec<FieldError> {
        let object = self.object;
        for field in object.keys().filter(|field| !self.known.contains(field.as_str())) {
            // A field's name comes from the client; a very long one is not worth repeating in full.
            let shown: String = field.chars().take(64).collect();
            let name = self.name(&shown);
            self.errors.push(FieldError::new(name, "unknown", "is not a field of this request"));
        }
        self.errors
    }
}

/// What a JSON value is, in words.
#[must_use]
pub fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(n) if n.is_f64() => "a fraction or a number out of range",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rules(body: &Value, read: impl Fn(&mut Fields<'_>)) -> Vec<(String, &'static str)> {
        let mut fields = Fields::new(body.as_object().unwrap());
        read(&mut fields);
        fields.finish().into_iter().map(|e| (e.field, e.rule)).collect()
    }

    /// Guards: no float, boolean or text passes for a number, and the bounds hold.
    #[test]
    fn numbers_are_whole_and_bounded() {
        for (bad, rule) in [
            (json!(1.0), "type"),
            (json!(1.5), "type"),
            (json!("1"), "type"),
            (json!(true), "type"),
            (json!(null), "type"),
            (json!(1e30), "type"),
            (json!(0), "range"),
            (json!(-1), "range"),
            (json!(11), "range"),
        ] {
            let got = rules(&json!({ "n": bad }), |f| {
                f.integer("n", 1..=10);
            });
            assert_eq!(got, [("n".to_owned(), rule)], "{bad}");
        }
    }

    /// Guards: one answer names everything that is wrong.
    #[test]
    fn every_wrong_field_is_named_at_once() {
        let got = rules(&json!({"a": 1, "extra": 2}), |f| {
            f.text("a", 5);
            f.integer("b", 1..=2);
        });
        let names: Vec<&str> = got.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["a", "b", "extra"]);
    }

    #[test]
    fn a_body_is_an_object_within_the_limit() {
        assert!(object(b"{}").is_ok());
        for bad in [&b"[]"[..], b"{", b"", b"\xff", b"{\"a\": 1, \"a\": 1}"] {
            assert_eq!(object(bad).unwrap_err().status, 400);
        }
        assert_eq!(object(&vec![b' '; MAX_BODY_BYTES + 1]).unwrap_err().status, 413);
    }
}
