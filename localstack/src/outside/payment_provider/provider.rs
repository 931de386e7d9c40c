//! The simulator's HTTP API, its journal and its clock.

use super::account::{Call, Fate, Reply};
use super::kept::Kept;
use super::locks::Locks;
use super::objects::Payment;
use super::refusal::Refusal;
use crate::support::http::{self, Request, Response};
use crate::support::journal::{Journal, PAGE};
use bytes::Bytes;
use hyper::header::{HeaderName, HeaderValue};
use hyper::{HeaderMap, Method};
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// The version of Stripe's API that it speaks: the one that payments pins.
const VERSION: &str = "2026-08-26.dahlia";
/// How long a call that is not answered holds its intent and its key, before the stack's scale of time.
const LOCKED: Duration = Duration::from_secs(10);
/// How long an answer that never comes is held back; every client has given up by then.
const NEVER: Duration = Duration::from_secs(60);
/// The most bytes of a request.
const MAX_BODY_BYTES: usize = 64 * 1024;
/// How many requests it remembers.
const MAX_REQUESTS: usize = 10_000;
/// The most seconds by which its clock is moved: a year.
const MAX_ADVANCE: i64 = 365 * 24 * 3600;

/// Clones share one simulator.
#[derive(Clone)]
pub struct Provider {
    shared: Arc<Mutex<Shared>>,
    locked: Duration,
}

pub(super) struct Shared {
    pub(super) kept: Kept,
    /// How many objects there are.
    made: u64,
    locks: Locks,
    /// How many calls there were: the next one's id.
    calls: u64,
    /// Seconds by which its clock is ahead.
    ahead: i64,
    /// JSON, oldest first.
    requests: VecDeque<Value>,
}

impl Shared {
    fn now(&self) -> i64 {
        chrono::Utc::now().timestamp().saturating_add(self.ahead)
    }

    pub(super) fn new(kept: Kept) -> Self {
        let made = kept.made();
        Self { kept, made, locks: Locks::default(), calls: 0, ahead: 0, requests: VecDeque::new() }
    }

    /// Answers a call and keeps what it changed; one without an answer locks its intent for so long.
    fn answer(&mut self, call: &Call<'_>, locked: Duration) -> Reply {
        self.answer_at(call, self.now(), locked)
    }

    /// The same at `now`, in epoch seconds.
    pub(super) fn answer_at(&mut self, call: &Call<'_>, now: i64, locked: Duration) -> Reply {
        let at = Instant::now();
        if let Some(key) = self.locks.key_in_use(call, at) {
            return Reply::refused(&Refusal::key_in_use(key));
        }
        let fate = if self.locks.is_locked(call, at) { Fate::Locked } else { Fate::Answered };
        let mut account = self.kept.account(call).with_made(self.made);
        let reply = account.answer(call, now, fate);
        self.made = account.made();
        self.kept.keep(account.take_changes());
        if reply.is_lost {
            self.locks.hold(call, at + locked);
        }
        reply
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
    /// A simulator with what the journal keeps. `time_scale` divides how long a call locks its intent.
    #[must_use]
    pub fn new(journal: &Journal, time_scale: u32) -> Self {
        let shared = Arc::new(Mutex::new(Shared::new(Kept::new(journal))));
        Self { shared, locked: LOCKED / time_scale.max(1) }
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every intent, by its id.
    #[must_use]
    pub fn records(&self) -> BTreeMap<String, Payment> {
        self.book(None, usize::MAX)
    }

    fn book(&self, after: Option<&str>, limit: usize) -> BTreeMap<String, Payment> {
        let (kept, now) = {
            let shared = self.shared();
            (shared.kept.clone(), shared.now())
        };
        kept.book(after, limit, now)
    }

    /// Forgets the answers that are no longer kept.
    pub async fn forget(&self) {
        let forget = || {
            let shared = self.shared();
            shared.kept.forget(shared.now())
        };
        while forget() {
            // Callers take their turn.
            tokio::task::yield_now().await;
        }
    }

    pub async fn answer(self, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        let body = match http::body(body, MAX_BODY_BYTES).await {
            Ok(body) => body,
            Err(status) => return http::empty(status),
        };
        match (&parts.method, parts.uri.path()) {
            (&Method::GET, "/book") => {
                let after = http::after(parts.uri.query().unwrap_or_default());
                shown(&json!(self.book(after.as_deref(), PAGE)))
            }
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
                shown(&json!({"now": shared.now()}))
            }
            None => {
                let rule = format!("advance_seconds must be a whole number from 0 to {MAX_ADVANCE}\n");
                http::json(400, "text/plain", rule)
            }
        }
    }

    async fn call(&self, parts: &hyper::http::request::Parts, body: &str) -> Response {
        let id = {
            let mut shared = self.shared();
            shared.remember(parts, body);
            shared.calls = shared.calls.saturating_add(1);
            format!("req_{:014}", shared.calls)
        };
        let reply = match refused(&parts.headers) {
            Some(refusal) => Reply::refused(&refusal),
            None => self.ask(parts, body).await,
        };
        if reply.is_lost {
            tokio::time::sleep(NEVER).await;
        }
        let mut response = http::json(reply.status, "application/json", reply.body.to_string());
        let headers = response.headers_mut();
        headers.extend(HeaderValue::from_str(&id).ok().map(|id| (HeaderName::from_static("request-id"), id)));
        headers.insert("stripe-version", HeaderValue::from_static(VERSION));
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
        let (reply, kept) = {
            let mut shared = self.shared();
            (shared.answer(&call, self.locked), shared.kept.clone())
        };
        if call.method != "GET" {
            kept.flush().await;
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

/// The refusal of a call by its headers.
fn refused(headers: &HeaderMap) -> Option<Refusal> {
    let version = header(headers, "stripe-version").filter(|version| *version != VERSION);
    match header(headers, "authorization") {
        None => Some(Refusal::no_key()),
        Some(key) if !key.starts_with("Bearer sk_") => Some(Refusal::wrong_key()),
        Some(_) => version.map(Refusal::other_version),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::storage::Storage;

    fn post(shared: &mut Shared, path: &str, key: &str, form: &str, locked: Duration) -> Reply {
        let call = Call { method: "POST", path, query: "", idempotency_key: Some(key), form };
        shared.answer(&call, locked)
    }

    /// Guards: the lock. While a confirmation is not answered its key is in use and its intent is locked; afterwards the
    /// intent can be cancelled.
    #[test]
    fn a_confirmation_without_an_answer_locks_its_intent() {
        for (locked, key_status, cancel_status) in
            [(Duration::from_secs(3600), 409, 429), (Duration::ZERO, 500, 200)]
        {
            let mut shared = Shared::new(Kept::new(&Journal::open(&Storage::memory()).unwrap().0));
            let form = "amount=500&currency=usd&payment_method_types[]=card&payment_method=pm_sim_timeout";
            let made = post(&mut shared, "/v1/payment_intents", "a", form, locked);
            let path = format!("/v1/payment_intents/{}", made.body["id"].as_str().unwrap());
            let confirm = format!("{path}/confirm");
            assert!(post(&mut shared, &confirm, "b", "", locked).is_lost);
            assert_eq!(post(&mut shared, &confirm, "b", "", locked).status, key_status);
            assert_eq!(post(&mut shared, &format!("{path}/cancel"), "c", "", locked).status, cancel_status);
        }
    }

    /// Guards: who calls, and in which version of the API.
    #[test]
    fn headers_are_checked() {
        let status = |entries: &[(&'static str, &'static str)]| {
            let header = |(name, value): &(&'static str, &'static str)| {
                (HeaderName::from_static(name), HeaderValue::from_static(value))
            };
            refused(&entries.iter().map(header).collect()).map(|refusal| refusal.status)
        };
        let key = ("authorization", "Bearer sk_test_x");
        assert_eq!(status(&[]), Some(401));
        assert_eq!(status(&[("authorization", "Bearer x")]), Some(401));
        assert_eq!(status(&[key]), None);
        assert_eq!(status(&[key, ("stripe-version", VERSION)]), None);
        assert_eq!(status(&[key, ("stripe-version", "2019-01-01")]), Some(400));
    }
}
