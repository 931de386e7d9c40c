//! The payment provider simulator: Stripe's PaymentIntents with Stripe's test tokens and a few of its own.
//!
//! <https://docs.stripe.com/testing>, <https://docs.stripe.com/api/idempotent_requests>
//!
//! Its book (calls, captures, refunds) is kept in the journal and can be read at `GET /book`: what a test
//! needs to know about money stands here and not in the services' own tables.

use crate::support::http::{self, Incame, Response};
use crate::support::journal::{self, Journal};
use hyper::{HeaderMap, Method};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use uuid::Uuid;

/// How long an answer that never comes is held back; every client has given up by then.
const NEVER: Duration = Duration::from_secs(60);

/// What the book says of one idempotency key.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Record {
    /// How often the key was used.
    pub calls: u32,
    /// The order it was for.
    pub order_id: String,
    /// Minor units captured.
    pub captured: u64,
    /// Minor units refunded.
    pub refunded: u64,
    /// The currency, in lower case as Stripe writes it.
    pub currency: String,
    /// The PaymentIntent.
    pub intent: Option<Value>,
    /// The answers to refunds, by their own idempotency key.
    #[serde(default)]
    pub refunds: BTreeMap<String, (u16, Value)>,
    /// The parameters, to tell a repetition from a mistake.
    parameters: BTreeMap<String, String>,
    /// The status and body of the first answer, repeated for every further call.
    answer: Option<(u16, Value)>,
}

#[derive(Default)]
struct Book {
    records: BTreeMap<String, Record>,
}

/// The running simulator. Clones share it.
#[derive(Clone)]
pub struct Provider {
    book: Arc<Mutex<Book>>,
    journal: Journal,
}

/// The most bytes of a request.
const MAX_BODY_BYTES: usize = 64 * 1024;
/// Where the journal keeps the book.
const PREFIX: &str = "provider/";

impl Provider {
    /// A simulator with the book that the journal kept.
    ///
    /// # Errors
    /// When a kept record cannot be read.
    pub fn new(journal: &Journal, kept: &[(String, String)]) -> anyhow::Result<Self> {
        let records = journal::book(kept, PREFIX)?;
        Ok(Self { book: Arc::new(Mutex::new(Book { records })), journal: journal.clone() })
    }

    /// Answers a request.
    pub async fn answer(self, request: Incame) -> Response {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path().to_owned();
        match (&parts.method, path.as_str()) {
            (&Method::GET, "/book") => json_response(200, &json!(self.records())),
            (&Method::POST, "/v1/payment_intents") => match http::body(body, MAX_BODY_BYTES).await {
                Ok(body) => create(&self, &parts.headers, &body).await,
                Err(status) => http::empty(status),
            },
            (&Method::GET, path) if path.starts_with("/v1/customers/") => customer(path),
            (&Method::GET, "/v1/payment_intents/search") => {
                self.search(parts.uri.query().unwrap_or_default())
            }
            (&Method::GET, path) if path.starts_with("/v1/charges/") => self.charge(last(path)),
            (&Method::POST, "/v1/refunds") => match http::body(body, MAX_BODY_BYTES).await {
                Ok(body) => self.refund(&parts.headers, &body).await,
                Err(status) => http::empty(status),
            },
            (&Method::POST, path) if path.ends_with("/cancel") => {
                self.cancel(last(path.trim_end_matches("/cancel"))).await
            }
            _ => {
                let (status, body) = error(404, "invalid_request_error", "url_invalid", "no such path");
                json_response(status, &body)
            }
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The book, by idempotency key.
    #[must_use]
    pub fn records(&self) -> BTreeMap<String, Record> {
        self.book().records.clone()
    }

    /// Remembers a record before anybody hears of it.
    async fn keep(&self, key: &str, record: &Record) {
        self.journal.keep(format!("{PREFIX}{key}"), record).await;
    }
}

fn json_response(status: u16, body: &Value) -> Response {
    http::json(status, "application/json", body.to_string())
}

fn error(status: u16, kind: &str, code: &str, message: &str) -> (u16, Value) {
    (status, json!({"error": {"type": kind, "code": code, "message": message}}))
}

fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

/// A charge as its intent shows it.
fn charge_of(record: &Record) -> Value {
    let intent = record.intent.as_ref();
    json!({
        "id": intent.map(|intent| &intent["latest_charge"]),
        "object": "charge",
        "amount": record.captured,
        "amount_refunded": record.refunded,
        "refunded": record.captured > 0 && record.refunded == record.captured,
    })
}

fn not_found() -> Response {
    let (status, body) = error(404, "invalid_request_error", "resource_missing", "there is no such thing");
    json_response(status, &body)
}

impl Provider {
    /// Every intent of the order that the query names, with its charge.
    fn search(&self, query: &str) -> Response {
        let query: HashMap<String, String> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let wanted = query.get("query").and_then(|query| query.split('\'').nth(3)).unwrap_or_default();
        let book = self.book();
        let of_order = book.records.values().filter(|record| record.order_id == wanted);
        let with_charge = |record: &Record| {
            let mut intent = record.intent.clone()?;
            if record.captured > 0 {
                intent["latest_charge"] = charge_of(record);
            }
            Some(intent)
        };
        let found: Vec<Value> = of_order.filter_map(with_charge).collect();
        json_response(200, &json!({"object": "search_result", "data": found}))
    }

    /// The key of the record whose intent has `value` in `field`.
    fn find(&self, field: &str, value: &str) -> Option<String> {
        let book = self.book();
        let mut records = book.records.iter();
        let is = |record: &Record| record.intent.as_ref().is_some_and(|intent| intent[field] == value);
        records.find(|(_, record)| is(record)).map(|(key, _)| key.clone())
    }

    fn charge(&self, id: &str) -> Response {
        let key = self.find("latest_charge", id);
        let record = key.and_then(|key| self.book().records.get(&key).cloned());
        record.map_or_else(not_found, |record| json_response(200, &charge_of(&record)))
    }

    /// Cancels an intent that has not captured anything.
    async fn cancel(&self, id: &str) -> Response {
        let Some(key) = self.find("id", id) else { return not_found() };
        let record = {
            let mut book = self.book();
            let Some(record) = book.records.get_mut(&key) else { return not_found() };
            if record.captured > 0 {
                let (status, body) = error(
                    400,
                    "invalid_request_error",
                    "payment_intent_unexpected_state",
                    "This PaymentIntent has succeeded.",
                );
                return json_response(status, &body);
            }
            if let Some(intent) = &mut record.intent {
                intent["status"] = "canceled".into();
            }
            record.clone()
        };
        self.keep(&key, &record).await;
        json_response(200, &record.intent.unwrap_or_default())
    }

    /// Gives a charge back, all of it, once.
    async fn refund(&self, headers: &HeaderMap, body: &[u8]) -> Response {
        let parameters: HashMap<String, String> = form_urlencoded::parse(body).into_owned().collect();
        let idempotency = headers.get("idempotency-key").and_then(|value| value.to_str().ok());
        let idempotency = idempotency.map_or_else(|| Uuid::new_v4().to_string(), str::to_owned);
        let charge = parameters.get("charge").map(String::as_str).unwrap_or_default();
        let Some(key) = self.find("latest_charge", charge) else { return not_found() };
        let (answer, record) = {
            let mut book = self.book();
            let Some(record) = book.records.get_mut(&key) else { return not_found() };
            let answer = match record.refunds.get(&idempotency) {
                Some(known) => known.clone(),
                None => give_back(record),
            };
            record.refunds.insert(idempotency, answer.clone());
            (answer, record.clone())
        };
        self.keep(&key, &record).await;
        json_response(answer.0, &answer.1)
    }
}

/// The answer to a refund under a key of its own. A token may say how many are refused before one is made.
fn give_back(record: &mut Record) -> (u16, Value) {
    let method = record.parameters.get("payment_method").map(String::as_str).unwrap_or_default();
    let refusals = match method {
        "pm_sim_refund_refused" => 4,
        "pm_sim_refund_refused_3_times" => 3,
        _ => 0,
    };
    if record.refunded > 0 {
        return error(400, "invalid_request_error", "charge_already_refunded", "It has been refunded.");
    }
    if record.refunds.len() < refusals {
        return error(402, "card_error", "refund_not_allowed", "The issuer does not take it back.");
    }
    record.refunded = record.captured;
    let id = Uuid::new_v4().simple();
    (
        200,
        json!({"id": format!("re_{id}"), "object": "refund", "amount": record.captured, "status": "succeeded"}),
    )
}

/// Every customer has a default payment method that works.
fn customer(path: &str) -> Response {
    let id = path.rsplit('/').next().unwrap_or_default();
    let settings = json!({"default_payment_method": "pm_card_visa"});
    json_response(200, &json!({"id": id, "object": "customer", "invoice_settings": settings}))
}

/// How a payment method behaves.
enum Behaviour {
    Succeeds,
    Declines(&'static str),
    NeverAnswers,
    Fails,
    LosesItsAnswer,
    DeclinesOnce,
    Unknown,
}

fn behaviour(method: &str) -> Behaviour {
    match method {
        "pm_card_visa" | "pm_card_mastercard" => Behaviour::Succeeds,
        "pm_sim_refund_refused" | "pm_sim_refund_refused_3_times" => Behaviour::Succeeds,
        "pm_card_visa_chargeDeclined" => Behaviour::Declines("generic_decline"),
        "pm_card_visa_chargeDeclinedInsufficientFunds" => Behaviour::Declines("insufficient_funds"),
        "pm_sim_timeout" => Behaviour::NeverAnswers,
        "pm_sim_error" => Behaviour::Fails,
        "pm_sim_declines_once" => Behaviour::DeclinesOnce,
        "pm_sim_lost_answer" => Behaviour::LosesItsAnswer,
        _ => Behaviour::Unknown,
    }
}

/// Creates and confirms a PaymentIntent.
async fn create(provider: &Provider, headers: &HeaderMap, body: &[u8]) -> Response {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if !header("authorization").is_some_and(|value| value.starts_with("Bearer sk_")) {
        let (status, body) = error(401, "invalid_request_error", "api_key_missing", "no API key was given");
        return json_response(status, &body);
    }
    let parameters: HashMap<String, String> = form_urlencoded::parse(body).into_owned().collect();
    let parameters: BTreeMap<String, String> = parameters.into_iter().collect();
    let key = header("idempotency-key").map_or_else(|| Uuid::new_v4().to_string(), str::to_owned);
    let method = behaviour(parameters.get("payment_method").map_or("", String::as_str));
    let (first, record) = provider.call(&key, &parameters, &method);
    provider.keep(&key, &record).await;
    let lost = first && matches!(method, Behaviour::LosesItsAnswer);
    if lost || matches!(method, Behaviour::NeverAnswers) {
        tokio::time::sleep(NEVER).await;
    }
    let mismatch =
        error(400, "idempotency_error", "idempotency_key_in_use", "other parameters under this key");
    let (status, body) = if record.parameters == parameters {
        record
            .answer
            .unwrap_or_else(|| error(500, "api_error", "api_error", "the simulator was told to fail"))
    } else {
        mismatch
    };
    json_response(status, &body)
}

impl Provider {
    /// Books a call; says whether it is the first one under its key, and what the book holds now.
    fn call(&self, key: &str, parameters: &BTreeMap<String, String>, method: &Behaviour) -> (bool, Record) {
        let mut book = self.book();
        let record = book.records.entry(key.to_owned()).or_default();
        record.calls += 1;
        let first = record.calls == 1;
        if first {
            record.parameters = parameters.clone();
            record.order_id = parameters.get("metadata[order_id]").cloned().unwrap_or_default();
            record.currency = parameters.get("currency").cloned().unwrap_or_default();
            record.answer = decide(record, method);
        }
        // Worse than any real provider: it forgets what it said under a key, and would now take the money.
        if record.calls == 2 && matches!(method, Behaviour::DeclinesOnce) {
            record.answer = decide(record, &Behaviour::Succeeds);
        }
        (first, record.clone())
    }
}

/// The answer to a first call, which captures the amount when it succeeds.
fn decide(record: &mut Record, method: &Behaviour) -> Option<(u16, Value)> {
    let amount = record.parameters.get("amount").and_then(|amount| amount.parse::<u64>().ok());
    let Some(amount) = amount.filter(|amount| *amount > 0) else {
        return Some(error(
            400,
            "invalid_request_error",
            "parameter_invalid_integer",
            "the amount is not one",
        ));
    };
    // An intent that is never confirmed: whoever makes it wants the key to be taken.
    if record.parameters.get("confirm").is_some_and(|confirm| confirm == "false") {
        let intent = json!({
            "id": format!("pi_{}", Uuid::new_v4().simple()),
            "object": "payment_intent",
            "amount": amount,
            "amount_received": 0,
            "status": "requires_payment_method",
            "latest_charge": null,
            "metadata": {"order_id": record.order_id},
        });
        record.intent = Some(intent.clone());
        return Some((200, intent));
    }
    match method {
        Behaviour::Succeeds | Behaviour::LosesItsAnswer => {
            record.captured = amount;
            let id = Uuid::new_v4().simple();
            let intent = json!({
                "id": format!("pi_{id}"),
                "object": "payment_intent",
                "amount": amount,
                "amount_received": amount,
                "currency": record.currency,
                "status": "succeeded",
                "latest_charge": format!("ch_{id}"),
                "metadata": {"order_id": record.order_id},
            });
            record.intent = Some(intent.clone());
            Some((200, intent))
        }
        Behaviour::DeclinesOnce => decide(record, &Behaviour::Declines("generic_decline")),
        Behaviour::Declines(code) => {
            let mut answer = error(402, "card_error", "card_declined", "Your card was declined.");
            answer.1["error"]["decline_code"] = (*code).into();
            Some(answer)
        }
        Behaviour::Unknown => {
            Some(error(400, "invalid_request_error", "resource_missing", "No such PaymentMethod"))
        }
        Behaviour::NeverAnswers | Behaviour::Fails => None,
    }
}
