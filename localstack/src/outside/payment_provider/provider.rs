//! The simulator's HTTP API, its journal and its clock.

use super::account::{Account, Call, Fate, Record, Reply};
use super::refusal::Refusal;
use crate::support::http::{self, Request, Response};
use crate::support::journal::{Entry, Journal, Past};
use bytes::Bytes;
use hyper::header::{HeaderName, HeaderValue};
use hyper::{HeaderMap, Method};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long an answer that never comes is held back; every client has given up by then.
const NEVER: Duration = Duration::from_secs(60);
/// The most bytes of a request.
const MAX_BODY_BYTES: usize = 64 * 1024;
/// How many requests it remembers.
const MAX_REQUESTS: usize = 10_000;
/// The most seconds by which its clock is moved: a year.
const MAX_ADVANCE: i64 = 365 * 24 * 3600;
/// The prefix of its records in the journal.
const PREFIX: &str = "provider/";

/// One order's payment as the book shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payment {
    pub order_id: Option<String>,
    /// How often a client asked to confirm it.
    pub calls: u32,
    /// Minor units.
    pub captured: u64,
    /// Minor units.
    pub refunded: u64,
    /// In lower case, as Stripe writes it.
    pub currency: String,
    /// As Stripe names it.
    pub status: String,
}

/// Clones share one simulator.
#[derive(Clone)]
pub struct Provider {
    shared: Arc<Mutex<Shared>>,
    journal: Journal,
}

#[derive(Default)]
struct Shared {
    account: Account,
    /// Seconds by which its clock is ahead.
    ahead: i64,
    /// JSON, oldest first.
    requests: VecDeque<Value>,
}

impl Shared {
    fn now(&self) -> i64 {
        chrono::Utc::now().timestamp().saturating_add(self.ahead)
    }

    fn remember(&mut self, parts: &hyper::http::request::Parts, body: &str) {
        let header = |name: &HeaderName, value: &HeaderValue| {
            let shown = if name == "authorization" { "***" } else { value.to_str().unwrap_or("?") };
            (name.to_string(), Value::from(shown))
        };
        let headers: serde_json::Map<_, _> =
            parts.headers.iter().map(|(name, value)| header(name, value)).collect();
        let pairs = |text: &str| form_urlencoded::parse(text.as_bytes()).into_owned().collect::<Vec<_>>();
        let form = [pairs(parts.uri.query().unwrap_or_default()), pairs(body)].concat();
        let request = json!({"method": parts.method.as_str(), "path": parts.uri.path(), "headers": headers, "form": form});
        self.requests.push_back(request);
        if self.requests.len() > MAX_REQUESTS {
            self.requests.pop_front();
        }
    }
}

impl Provider {
    /// A simulator with what the journal kept.
    ///
    /// # Errors
    /// When the kept account cannot be read.
    pub fn new(journal: &Journal, past: &Past) -> anyhow::Result<Self> {
        let records: BTreeMap<String, Record> = past.records(PREFIX)?;
        let account = Account::of(records.into_values());
        let shared = Arc::new(Mutex::new(Shared { account, ..Shared::default() }));
        Ok(Self { shared, journal: journal.clone() })
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every intent, by its id.
    #[must_use]
    pub fn records(&self) -> BTreeMap<String, Payment> {
        let book = self.shared().account.book();
        let read = |(id, shown)| Some((id, serde_json::from_value(shown).ok()?));
        book.into_iter().filter_map(read).collect()
    }

    pub async fn answer(self, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        let body = match http::body(body, MAX_BODY_BYTES).await {
            Ok(body) => body,
            Err(status) => return http::empty(status),
        };
        match (&parts.method, parts.uri.path()) {
            (&Method::GET, "/book") => shown(&json!(self.records())),
            (&Method::GET, "/requests") => self.requests(),
            (&Method::POST, "/clock") => self.move_clock(&body),
            _ => self.call(&parts, &String::from_utf8_lossy(&body)).await,
        }
    }

    /// What was asked, one JSON object a line, oldest first.
    fn requests(&self) -> Response {
        let lines: String = self.shared().requests.iter().map(|request| format!("{request}\n")).collect();
        http::json(200, "application/jsonl", lines)
    }

    fn move_clock(&self, body: &Bytes) -> Response {
        let asked: Value = serde_json::from_slice(body).unwrap_or_default();
        match asked["advance_seconds"].as_i64().filter(|seconds| (0..=MAX_ADVANCE).contains(seconds)) {
            Some(seconds) => {
                let mut shared = self.shared();
                shared.ahead = shared.ahead.saturating_add(seconds);
                let now = shared.now();
                shared.account.settle_refunds(now);
                shown(&json!({"now": now}))
            }
            None => {
                let rule = format!("advance_seconds must be a whole number from 0 to {MAX_ADVANCE}\n");
                http::json(400, "text/plain", rule)
            }
        }
    }

    async fn call(&self, parts: &hyper::http::request::Parts, body: &str) -> Response {
        let reply = match refused_key(&parts.headers) {
            Some(refusal) => {
                Reply { status: refusal.status, body: refusal.body(), is_replayed: false, is_lost: false }
            }
            None => self.ask(parts, body).await,
        };
        if reply.is_lost {
            tokio::time::sleep(NEVER).await;
        }
        let mut response = http::json(reply.status, "application/json", reply.body.to_string());
        let headers = response.headers_mut();
        headers.insert("request-id", HeaderValue::from_static("req_simulated"));
        if reply.is_replayed {
            headers.insert("idempotent-replayed", HeaderValue::from_static("true"));
        }
        response
    }

    /// Asks the account, and puts it on disk before its answer is sent.
    async fn ask(&self, parts: &hyper::http::request::Parts, body: &str) -> Reply {
        let call = Call {
            method: parts.method.as_str(),
            path: parts.uri.path(),
            query: parts.uri.query().unwrap_or_default(),
            idempotency_key: header(&parts.headers, "idempotency-key"),
            form: body,
        };
        let (reply, changes) = {
            let mut shared = self.shared();
            shared.remember(parts, body);
            let now = shared.now();
            let reply = shared.account.answer(&call, now, Fate::Answered);
            (reply, shared.account.take_changes())
        };
        let entry = |(id, record)| Entry::Record {
            key: format!("{PREFIX}{id}"),
            value: serde_json::to_string(&record).unwrap_or_default(),
        };
        if !changes.is_empty() {
            self.journal.write(changes.into_iter().map(entry).collect());
            self.journal.flush().await;
        }
        reply
    }
}

fn shown(body: &Value) -> Response {
    http::json(200, "application/json", body.to_string())
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn refused_key(headers: &HeaderMap) -> Option<Refusal> {
    match header(headers, "authorization") {
        None => Some(Refusal::no_key()),
        Some(key) if !key.starts_with("Bearer sk_") => Some(Refusal::wrong_key()),
        Some(_) => None,
    }
}
