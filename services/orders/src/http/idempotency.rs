//! `Idempotency-Key`: the same request twice is one order and one answer.
//!
//! The key's row is part of the order's own transaction, under a condition: of any number of requests at the same
//! time one writes it, and the others find it. It is scoped to the customer, good for 24 hours by its own
//! `expires_at`, and holds nothing but the answer of a request that was accepted: a failure may be tried again.

use chassis::Failure;
use chassis::http::{Problem, Request};
use chassis::store::{Condition, Item, Key, Write};
use chrono::{DateTime, Duration, Utc};
use events::CustomerId;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// How long a key is remembered.
const HOURS: i64 = 24;
/// The longest key.
const MAX_KEY: usize = 255;
/// The two names of the header.
const HEADERS: [&str; 2] = ["idempotency-key", "x-idempotency-key"];

/// A request that is to happen once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Once {
    row: Key,
    fingerprint: String,
}

fn digest(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

/// The key in a request's headers, if it has one.
///
/// # Errors
/// 400 for two headers that differ, and for a key that is too long or not printable ASCII.
pub fn key(request: &Request) -> Result<Option<&str>, Problem> {
    let keys: Vec<&str> = HEADERS.iter().filter_map(|name| request.header(name)).collect();
    let field = "Idempotency-Key";
    match keys.as_slice() {
        [] => Ok(None),
        [one, other] if one != other => {
            Err(Problem::field(field, "conflict", "differs from x-idempotency-key; send one of them"))
        }
        [key, ..] if (1..=MAX_KEY).contains(&key.len()) && key.bytes().all(is_key) => Ok(Some(key)),
        _ => {
            let rule = format!(
                "must be one key of 1 to {MAX_KEY} printable ASCII characters, no blank and no comma"
            );
            Err(Problem::field(field, "format", rule))
        }
    }
}

/// No comma: the gateway joins the values of a header that was sent twice, and two keys are none.
const fn is_key(c: u8) -> bool {
    c.is_ascii_graphic() && c != b','
}

impl Once {
    /// The request `body` under `key`, as `customer` sent it. Bodies are compared as JSON values: blanks and the
    /// order of fields do not make another request.
    #[must_use]
    pub fn new(key: &str, customer: &CustomerId, body: &[u8]) -> Self {
        let value = serde_json::from_slice::<Value>(body).map(|value| value.to_string());
        let fingerprint = digest(value.as_ref().map_or(body, |text| text.as_bytes()));
        let pk = format!("idempotency#{}#{}", customer.key(), digest(key.as_bytes()));
        Self { row: Key::new(pk, "request"), fingerprint }
    }

    /// The row that remembers it.
    #[must_use]
    pub const fn row(&self) -> &Key {
        &self.row
    }

    /// The write that claims the key for `answer`, in the transaction of the order itself.
    #[must_use]
    pub fn claim(&self, answer: &Value, now: DateTime<Utc>) -> Write {
        let item = Item::new(self.row.clone())
            .with("fingerprint", self.fingerprint.as_str())
            .with("answer", answer.to_string())
            .with("expires_at", (now + Duration::hours(HOURS)).timestamp());
        Write::Put { item, when: Condition::AbsentOrExpired(now.timestamp()) }
    }

    /// The answer that `row` remembers, if it still counts. DynamoDB deletes expired rows only some time
    /// afterwards, so their age is checked here.
    ///
    /// # Errors
    /// 422 when the key was used for another request.
    pub fn answer(&self, row: &Item, now: DateTime<Utc>) -> Result<Option<Value>, Problem> {
        if row.number("expires_at").is_none_or(|at| at <= now.timestamp()) {
            return Ok(None);
        }
        if row.text("fingerprint") != Some(self.fingerprint.as_str()) {
            let detail = "this Idempotency-Key was used for another request within the last 24 hours";
            return Err(Problem::new(422, "IDEMPOTENCY_KEY_REUSED", detail));
        }
        let answer = row.text("answer").and_then(|text| serde_json::from_str(text).ok());
        let broken = || Problem::from(Failure::Poison(format!("{}: no usable answer", row.key)));
        answer.map(Some).ok_or_else(broken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn with(headers: &[(&str, &str)]) -> Request {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Request { headers: headers.collect(), ..Request::default() }
    }

    #[test]
    fn both_headers_are_one_key_unless_they_differ() {
        let (a, b) = (HEADERS[0], HEADERS[1]);
        assert_eq!(key(&with(&[])), Ok(None));
        assert_eq!(key(&with(&[(b, "k")])), Ok(Some("k")));
        assert_eq!(key(&with(&[(a, "k"), (b, "k")])), Ok(Some("k")));
        for bad in [
            with(&[(a, "k"), (b, "l")]),
            with(&[(a, "")]),
            with(&[(a, "k,k")]),
            with(&[(a, &"x".repeat(256))]),
        ] {
            assert_eq!(key(&bad).unwrap_err().status, 400);
        }
    }

    fn once(key: &str, customer: &str, body: &str) -> Once {
        Once::new(key, &customer.parse().unwrap(), body.as_bytes())
    }

    /// Guards: the scope. Another customer's key of the same text is another key.
    #[test]
    fn keys_are_scoped_to_the_customer() {
        assert_eq!(once("k", "ada", "{}").row, once("k", "ada", "[]").row);
        assert_ne!(once("k", "ada", "{}").row, once("k", "bob", "{}").row);
        assert_ne!(once("k", "ada", "{}").row, once("l", "ada", "{}").row);
        assert!(once("k", "auth0|a#b", "{}").row.pk.starts_with("idempotency#auth0%7Ca%23b#"));
    }

    /// Guards: the fingerprint, and that age is checked against `expires_at`.
    #[test]
    fn a_row_answers_the_same_request_for_a_day() {
        let now = DateTime::UNIX_EPOCH;
        let first = once("k", "ada", r#"{"a": 1, "b": 2}"#);
        let Write::Put { item, .. } = first.claim(&json!({"order_id": 7}), now) else { panic!() };
        let again = once("k", "ada", r#"{"b":2,"a":1}"#);
        assert_eq!(again.answer(&item, now), Ok(Some(json!({"order_id": 7}))));
        assert_eq!(again.answer(&item, now + Duration::hours(HOURS)), Ok(None));
        let other = once("k", "ada", r#"{"a": 1, "b": 3}"#);
        assert_eq!(other.answer(&item, now).unwrap_err().status, 422);
    }
}
