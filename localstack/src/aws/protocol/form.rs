//! The protocol of AWS's older services: a form in, XML out. To a service it looks like the others: a form's names say where a
//! value stands in the request.
//!
//! <https://smithy.io/2.0/aws/protocols/aws-query-protocol.html>

use super::{ApiError, Outcome};
use crate::support::http::{self, Response};
use serde_json::{Map, Value};
use std::fmt::Write;

const METADATA: &str = "<ResponseMetadata><RequestId>local</RequestId></ResponseMetadata>";

/// The most parts of a name: each is a level of the request, and the deepest of a request known here has nine.
const MAX_PARTS: usize = 16;

/// What a form asks for.
pub struct Asked {
    pub operation: String,
    /// The version of the service's API: each service here has its own.
    pub version: String,
    /// As JSON.
    pub body: Vec<u8>,
}

/// Reads a form. `Names.member.1` is an entry of a list, `Names.entry.1.key` one of a map.
///
/// # Errors
/// `MalformedQueryString` for names that contradict each other, or have too many parts.
pub fn read(form: &[u8]) -> Result<Asked, ApiError> {
    let (mut operation, mut version, mut request) = (String::new(), String::new(), Value::Object(Map::new()));
    for (name, value) in form_urlencoded::parse(form).into_owned() {
        match name.as_str() {
            "Action" if operation.is_empty() => operation = value,
            "Version" if version.is_empty() => version = value,
            "Action" | "Version" => {
                return Err(ApiError::new(
                    "MalformedQueryString",
                    format!("{name} stands in the form twice"),
                ));
            }
            name if name.split('.').nth(MAX_PARTS).is_some() => {
                let text = format!("a parameter's name has at most {MAX_PARTS} parts");
                return Err(ApiError::new("MalformedQueryString", text));
            }
            name => place(&mut request, name, value).ok_or_else(|| {
                ApiError::new("MalformedQueryString", format!("{name} contradicts another parameter"))
            })?,
        }
    }
    Ok(Asked { operation, version, body: lists(request).to_string().into_bytes() })
}

fn place(request: &mut Value, name: &str, value: String) -> Option<()> {
    let mut at = request;
    for part in name.split('.') {
        at = at.as_object_mut()?.entry(part).or_insert_with(|| Value::Object(Map::new()));
    }
    let is_free = at.as_object().is_some_and(Map::is_empty);
    is_free.then(|| *at = value.into())
}

/// The same with arrays where a form counts.
fn lists(value: Value) -> Value {
    let Value::Object(fields) = value else { return value };
    let counted =
        ["member", "entry"].into_iter().find(|name| fields.len() == 1 && fields.contains_key(*name));
    match counted.and_then(|name| fields.get(name)?.as_object().cloned()) {
        Some(entries) => {
            let mut entries: Vec<_> = entries.into_iter().collect();
            entries.sort_by_key(|(number, _)| number.parse::<u32>().unwrap_or(u32::MAX));
            entries.into_iter().map(|(_, entry)| lists(entry)).collect()
        }
        None => fields.into_iter().map(|(name, value)| (name, lists(value))).collect(),
    }
}

/// An answer to an operation of the service with this namespace.
pub fn answer(namespace: &str, operation: &str, outcome: Outcome) -> Response {
    match outcome {
        Ok((status, body)) => {
            let mut result = String::new();
            write(&mut result, &serde_json::from_slice(&body).unwrap_or_default());
            let body = format!(
                "<{operation}Response xmlns=\"{namespace}\"><{operation}Result>{result}</{operation}Result>{METADATA}</{operation}Response>"
            );
            http::json(status, "text/xml", body)
        }
        Err(ApiError { status, code, message }) => {
            let message = escaped(&message);
            let error = format!("<Type>Sender</Type><Code>{code}</Code><Message>{message}</Message>");
            let body = format!(
                "<ErrorResponse xmlns=\"{namespace}\"><Error>{error}</Error>{METADATA}</ErrorResponse>"
            );
            http::json(status, "text/xml", body)
        }
    }
}

/// A map, as a service gives it to be written: `{"entry": [{"key": …, "value": …}]}`.
pub fn map<'a>(pairs: impl IntoIterator<Item = (&'a str, String)>) -> Value {
    let entry = |(key, value)| serde_json::json!({"key": key, "value": value});
    serde_json::json!({"entry": pairs.into_iter().map(entry).collect::<Vec<_>>()})
}

/// Entries of a list stand in `member`, those of a [`map`] side by side.
fn write(xml: &mut String, value: &Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match (name.as_str(), value) {
                    ("entry", Value::Array(entries)) => {
                        entries.iter().for_each(|entry| tag(xml, name, entry));
                    }
                    (name, value) => tag(xml, name, value),
                }
            }
        }
        Value::Array(entries) => entries.iter().for_each(|entry| tag(xml, "member", entry)),
        Value::String(text) => xml.push_str(&escaped(text)),
        Value::Null => {}
        other => xml.push_str(&other.to_string()),
    }
}

fn tag(xml: &mut String, name: &str, value: &Value) {
    let mut inside = String::new();
    write(&mut inside, value);
    // Writing to a text does not fail.
    let _ = write!(xml, "<{name}>{inside}</{name}>");
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Guards: lists and maps of a form keep their order and their places, and nothing of it is dropped.
    #[test]
    fn a_form_is_a_request() {
        let read = |form: &str| read(form.as_bytes()).map(|asked| (asked.operation, asked.body));
        let form =
            "Action=Do&Version=1&A=x&L.member.10=j&L.member.2=b&M.entry.1.key=k&M.entry.1.value=v&S.T=u";
        let (operation, body) = read(form).unwrap();
        let expected = json!({"A": "x", "L": ["b", "j"], "M": [{"key": "k", "value": "v"}], "S": {"T": "u"}});
        assert_eq!((operation.as_str(), serde_json::from_slice::<Value>(&body).unwrap()), ("Do", expected));
        for form in ["A=1&A=2", "A=1&A.b=2", "Action=Do&Action=Do", "Action=Do&Version=1&Version=1"] {
            assert!(read(form).is_err(), "{form}");
        }
    }

    /// Guards: the stack's life. A level of the request is a call of what reads it, and a form comes before any permission.
    #[test]
    fn a_name_is_not_deep() {
        assert!(read(format!("{}=1", "a.".repeat(MAX_PARTS - 1)).as_bytes()).is_ok());
        assert!(read(format!("{}=1", "a.".repeat(MAX_PARTS)).as_bytes()).is_err());
        assert!(read(format!("{}=1", "a.".repeat(100_000)).as_bytes()).is_err());
    }

    /// Guards: what is written in an answer is a text, never markup.
    #[test]
    fn an_answer_is_xml() {
        let mut xml = String::new();
        write(&mut xml, &json!({"L": [{"a": "<&>"}, {"a": 1}], "M": map([("k", "v".to_owned())])}));
        let list = "<L><member><a>&lt;&amp;&gt;</a></member><member><a>1</a></member></L>";
        assert_eq!(xml, format!("{list}<M><entry><key>k</key><value>v</value></entry></M>"));
    }
}
