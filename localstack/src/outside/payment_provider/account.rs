//! What the simulator answers: a function of what it keeps, of the call and of the time, without I/O.
//!
//! <https://docs.stripe.com/api/idempotent_requests>

use super::form::Form;
use super::refusal::Refusal;
use super::state::Kept;
pub use super::state::{Account, KEPT_SECONDS, Outcome, Record};
use serde_json::Value;

/// The most characters of an idempotency key.
const MAX_KEY: usize = 255;

/// One call.
#[derive(Clone, Debug)]
pub struct Call<'a> {
    pub method: &'a str,
    /// Without its query.
    pub path: &'a str,
    pub query: &'a str,
    pub idempotency_key: Option<&'a str>,
    /// The body, form-encoded.
    pub form: &'a str,
}

/// What becomes of a call, beside what its parameters say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fate {
    /// It is answered.
    Answered,
    /// The provider fails before it does anything, and keeps that answer under the key.
    Fails,
    /// The provider fails after it has done everything, and keeps that answer under the key.
    FailsAfterwards,
    /// Another call holds the object that it is about.
    Locked,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    pub body: Value,
    /// Whether an earlier call under the same key got it first.
    pub is_replayed: bool,
    /// The client never gets it.
    pub is_lost: bool,
}

impl Reply {
    /// A refusal as an answer.
    #[must_use]
    pub fn refused(refusal: &Refusal) -> Self {
        Self { status: refusal.status, body: refusal.body(), is_replayed: false, is_lost: false }
    }
}

impl Account {
    /// Answers a call at `now`, in epoch seconds.
    pub fn answer(&mut self, call: &Call<'_>, now: i64, fate: Fate) -> Reply {
        let key = call.idempotency_key.filter(|_| call.method == "POST");
        if key.is_some_and(|key| key.len() > MAX_KEY) {
            let refusal = Refusal::long_key();
            return Reply::refused(&refusal);
        }
        if let Some(reply) = key.and_then(|key| self.replay(key, call, now)) {
            return reply;
        }
        let mut is_lost = false;
        let outcome = match fate {
            Fate::Fails => Err(Refusal::failed()),
            Fate::Locked => Err(Refusal::locked()),
            Fate::Answered => self.route(call, now, &mut is_lost),
            Fate::FailsAfterwards => self.route(call, now, &mut is_lost).and(Err(Refusal::failed())),
        };
        let is_kept = outcome.as_ref().err().is_none_or(|refusal| refusal.is_kept);
        let (status, body) = match outcome {
            Ok(body) => (200, body),
            Err(refusal) => (refusal.status, refusal.body()),
        };
        if let Some(key) = key.filter(|_| is_kept) {
            let (path, form) = (call.path.to_owned(), call.form.to_owned());
            let kept = Kept { path, form, status, body: body.to_string(), at: now };
            self.keys.insert(key.to_owned(), kept);
            self.changed(key);
        }
        Reply { status, body, is_replayed: false, is_lost }
    }

    /// The first answer under a key, as long as it is kept.
    fn replay(&mut self, key: &str, call: &Call<'_>, now: i64) -> Option<Reply> {
        let kept = self.keys.get(key).filter(|kept| now - kept.at < KEPT_SECONDS)?;
        let refusal = match (kept.path == call.path, kept.form == call.form) {
            (true, true) => None,
            (true, false) => Some(Refusal::other_use(key, "with the same parameters")),
            (false, _) => Some(Refusal::other_use(key, "for the same endpoint")),
        };
        let is_replayed = refusal.is_none();
        let (status, body) = match refusal {
            None => (kept.status, serde_json::from_str(&kept.body).unwrap_or_default()),
            Some(refusal) => (refusal.status, refusal.body()),
        };
        self.count(call);
        Some(Reply { status, body, is_replayed, is_lost: false })
    }

    /// Counts a call about an intent.
    fn count(&mut self, call: &Call<'_>) {
        let id = call.path.split('/').nth(3).unwrap_or_default();
        if let Some(intent) = self.intents.get_mut(id).filter(|_| call.path.ends_with("/confirm")) {
            intent.calls = intent.calls.saturating_add(1);
            self.changed(id);
        }
    }

    fn route(&mut self, call: &Call<'_>, now: i64, is_lost: &mut bool) -> Outcome {
        self.count(call);
        self.settle_refunds(now);
        let form = Form::parse(if call.method == "GET" { call.query } else { call.form });
        let path: Vec<&str> = call.path.trim_start_matches('/').split('/').collect();
        match (call.method, path.as_slice()) {
            ("POST", ["v1", "payment_intents"]) => self.create_intent(form, is_lost),
            ("GET", ["v1", "payment_intents", id]) => self.retrieve_intent(id, form),
            ("POST", ["v1", "payment_intents", id, "confirm"]) => self.confirm_intent(id, form, is_lost),
            ("POST", ["v1", "payment_intents", id, "cancel"]) => self.cancel_intent(id, form, now),
            ("POST", ["v1", "refunds"]) => self.create_refund(form, now),
            ("GET", ["v1", "refunds"]) => self.list_refunds(form),
            ("GET", ["v1", "refunds", id]) => self.retrieve_refund(id, form),
            ("POST", ["v1", "customers"]) => self.create_customer(form),
            ("GET", ["v1", "customers", id]) => self.retrieve_customer(id, form),
            ("GET", ["v1", "payment_methods", id]) => self.retrieve_method(id, form),
            ("POST", ["v1", "payment_methods", id, "attach"]) => self.attach_method(id, form),
            _ => Err(Refusal::no_such_call(call.method, call.path)),
        }
    }
}
