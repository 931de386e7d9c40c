//! The simulator's HTTP API: Stripe's PaymentIntents, charges, refunds and customers.

use super::payment::{Answer, Behaviour, Payment, error};
use crate::support::http::{self, Request, Response};
use crate::support::journal::{Journal, Past};
use hyper::{HeaderMap, Method};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use uuid::Uuid;

/// How long an answer that never comes is held back; every client has given up by then.
const NEVER: Duration = Duration::from_secs(60);
/// The most bytes of a request.
const MAX_BODY_BYTES: usize = 64 * 1024;
/// The prefix of payments in the journal.
const PREFIX: &str = "provider/";

/// Clones share one simulator.
#[derive(Clone)]
pub struct Provider {
    /// By idempotency key.
    payments: Arc<Mutex<BTreeMap<String, Payment>>>,
    journal: Journal,
}

impl Provider {
    /// A simulator with the payments that the journal kept.
    ///
    /// # Errors
    /// When a kept payment cannot be read.
    pub fn new(journal: &Journal, past: &Past) -> anyhow::Result<Self> {
        let payments = Arc::new(Mutex::new(past.records(PREFIX)?));
        Ok(Self { payments, journal: journal.clone() })
    }

    pub async fn answer(self, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path().to_owned();
        let (status, body) = match (&parts.method, path.as_str()) {
            (&Method::GET, "/book") => (200, json!(self.records())),
            (&Method::POST, "/v1/payment_intents") => match http::body(body, MAX_BODY_BYTES).await {
                Ok(body) => self.create(&parts.headers, &body).await,
                Err(status) => return http::empty(status),
            },
            (&Method::GET, path) if path.starts_with("/v1/customers/") => customer(last(path)),
            (&Method::GET, "/v1/payment_intents/search") => {
                self.search(parts.uri.query().unwrap_or_default())
            }
            (&Method::GET, path) if path.starts_with("/v1/charges/") => self.charge(last(path)),
            (&Method::POST, "/v1/refunds") => match http::body(body, MAX_BODY_BYTES).await {
                Ok(body) => self.refund(&parts.headers, &body).await,
                Err(status) => return http::empty(status),
            },
            (&Method::POST, path) if path.ends_with("/cancel") => {
                self.cancel(last(path.trim_end_matches("/cancel"))).await
            }
            _ => error(404, "invalid_request_error", "url_invalid", "no such path"),
        };
        http::json(status, "application/json", body.to_string())
    }

    fn payments(&self) -> MutexGuard<'_, BTreeMap<String, Payment>> {
        self.payments.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// By idempotency key.
    #[must_use]
    pub fn records(&self) -> BTreeMap<String, Payment> {
        self.payments().clone()
    }

    /// Puts a payment on disk before its answer is sent.
    async fn keep(&self, key: &str, payment: &Payment) {
        self.journal.keep(format!("{PREFIX}{key}"), payment).await;
    }

    /// Creates and confirms a PaymentIntent.
    async fn create(&self, headers: &HeaderMap, body: &[u8]) -> Answer {
        if !header(headers, "authorization").is_some_and(|value| value.starts_with("Bearer sk_")) {
            return error(401, "invalid_request_error", "api_key_missing", "no API key was given");
        }
        // Of a name that stands twice, the last value counts.
        let parameters: BTreeMap<String, String> = form_urlencoded::parse(body).into_owned().collect();
        let key = idempotency_key(headers);
        let behaviour = Behaviour::of(&parameters);
        let payment = {
            let mut payments = self.payments();
            let payment = payments.entry(key.clone()).or_default();
            payment.call(&parameters, behaviour);
            payment.clone()
        };
        self.keep(&key, &payment).await;
        let is_lost = payment.calls == 1 && behaviour == Behaviour::LosesItsAnswer;
        if is_lost || behaviour == Behaviour::NeverAnswers {
            tokio::time::sleep(NEVER).await;
        }
        payment.answer_to(&parameters)
    }

    /// Every intent of the order that the query names, with its charge.
    fn search(&self, query: &str) -> Answer {
        let query: HashMap<String, String> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let order_id = query.get("query").and_then(|query| query.split('\'').nth(3)).unwrap_or_default();
        let payments = self.payments();
        let of_order = payments.values().filter(|payment| payment.order_id == order_id);
        let found: Vec<Value> = of_order.filter_map(Payment::intent_with_charge).collect();
        (200, json!({"object": "search_result", "data": found}))
    }

    /// The key of the payment whose intent has `value` in `field`.
    fn find(&self, field: &str, value: &str) -> Option<String> {
        let payments = self.payments();
        let is_meant =
            |payment: &Payment| payment.intent.as_ref().is_some_and(|intent| intent[field] == value);
        payments.iter().find(|(_, payment)| is_meant(payment)).map(|(key, _)| key.clone())
    }

    fn charge(&self, id: &str) -> Answer {
        let key = self.find("latest_charge", id);
        let charge = key.and_then(|key| self.payments().get(&key).map(Payment::charge));
        charge.map_or_else(not_found, |charge| (200, charge))
    }

    /// Cancels an intent that has not captured anything.
    async fn cancel(&self, id: &str) -> Answer {
        let Some(key) = self.find("id", id) else { return not_found() };
        let payment = {
            let mut payments = self.payments();
            let Some(payment) = payments.get_mut(&key) else { return not_found() };
            if let Err(refusal) = payment.cancel() {
                return refusal;
            }
            payment.clone()
        };
        self.keep(&key, &payment).await;
        (200, payment.intent.unwrap_or_default())
    }

    async fn refund(&self, headers: &HeaderMap, body: &[u8]) -> Answer {
        let parameters: HashMap<String, String> = form_urlencoded::parse(body).into_owned().collect();
        let charge = parameters.get("charge").map(String::as_str).unwrap_or_default();
        let Some(key) = self.find("latest_charge", charge) else { return not_found() };
        let (answer, payment) = {
            let mut payments = self.payments();
            let Some(payment) = payments.get_mut(&key) else { return not_found() };
            (payment.refund(idempotency_key(headers)), payment.clone())
        };
        self.keep(&key, &payment).await;
        answer
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// A call without a key gets one that no other call has.
fn idempotency_key(headers: &HeaderMap) -> String {
    header(headers, "idempotency-key").map_or_else(|| Uuid::new_v4().to_string(), str::to_owned)
}

fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

fn not_found() -> Answer {
    error(404, "invalid_request_error", "resource_missing", "there is no such thing")
}

/// Every customer has a default payment method that works.
fn customer(id: &str) -> Answer {
    let settings = json!({"default_payment_method": "pm_card_visa"});
    (200, json!({"id": id, "object": "customer", "invoice_settings": settings}))
}
