//! Stripe's PaymentIntents over HTTP.
//!
//! <https://docs.stripe.com/api/payment_intents/create>, <https://docs.stripe.com/api/idempotent_requests>,
//! <https://docs.stripe.com/error-codes>. Only tokens travel here, never card numbers.

use super::{ChargeOutcome, ChargeStatus, PaymentProvider, RefundAttempt};
use crate::payment::Bill;
use chassis::http::client::{Answer, HttpClient, Method, StatusCode};
use chassis::{Attempt, Failure};
use events::OrderId;
use form_urlencoded::Serializer;
use hyper::{Uri, header};
use serde_json::Value;
use std::future::Future;

/// The API version that the requests below were written for.
const STRIPE_VERSION: &str = "2025-09-30.clover";

/// One request to Stripe's API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub method: Method,
    /// With its query, if it has one.
    pub path: String,
    pub idempotency_key: Option<String>,
    /// The body, form-encoded.
    pub form: String,
}

/// What carries calls to Stripe, or to what stands for it.
pub trait Transport: Send + Sync + 'static {
    /// Sends a call, once.
    fn send(&self, call: Call) -> impl Future<Output = Result<Answer, Failure>> + Send;
}

impl Transport for HttpClient {
    async fn send(&self, Call { method, path, idempotency_key, form }: Call) -> Result<Answer, Failure> {
        let mut request = self.request(method, &path).header("Stripe-Version", STRIPE_VERSION);
        if let Some(key) = idempotency_key {
            request = request
                .header("Idempotency-Key", key)
                .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        }
        Self::send(self, request, form).await
    }
}

/// A provider that speaks Stripe's API.
pub struct Stripe<T>(pub T);

impl Stripe<HttpClient> {
    /// The provider at `base`, with its secret key.
    ///
    /// # Errors
    /// As [`HttpClient::new`].
    pub fn new(base: &Uri, secret: &str) -> Result<Self, Failure> {
        HttpClient::new("provider", base, secret).map(Self)
    }
}

impl<T: Transport> Stripe<T> {
    async fn send(
        &self,
        method: Method,
        path: &str,
        form: Option<(String, String)>,
    ) -> Result<Answer, Failure> {
        let (idempotency_key, form) = form.map_or((None, String::new()), |(key, form)| (Some(key), form));
        self.0.send(Call { method, path: path.to_owned(), idempotency_key, form }).await
    }

    /// The customer's default payment method: <https://docs.stripe.com/api/customers/retrieve>.
    async fn default_method(&self, bill: &Bill) -> Result<Result<String, ChargeOutcome>, Failure> {
        let path = format!("/v1/customers/{}", bill.customer_id);
        let answer = self.send(Method::GET, &path, None).await?;
        match answer.status {
            StatusCode::OK => {
                let method = answer.text("/invoice_settings/default_payment_method");
                Ok(method.map(str::to_owned).ok_or_else(|| declined("no_default_payment_method")))
            }
            StatusCode::NOT_FOUND => Ok(Err(declined("no_default_payment_method"))),
            _ => Err(answer.failure()),
        }
    }
}

fn declined(code: &str) -> ChargeOutcome {
    ChargeOutcome::Declined { code: code.to_owned() }
}

/// Sorts the answer to a confirmed PaymentIntent. What is neither a clear yes nor a clear no is unknown,
/// and is asked again under the same idempotency key.
fn outcome(answer: &Answer) -> Result<ChargeOutcome, Failure> {
    match answer.status.as_u16() {
        200 if answer.text("/status") == Some("succeeded") => {
            let charge_id = answer.text("/latest_charge").or_else(|| answer.text("/id"));
            let charge_id = charge_id.ok_or_else(|| answer.failure())?.to_owned();
            Ok(ChargeOutcome::Captured { charge_id })
        }
        // The key was used with other parameters: by a void, or for a default method that has changed since. How that
        // ended is not known here, and must not be taken for a decline.
        400 if answer.text("/error/type") == Some("idempotency_error") => {
            Err(Failure::Conflict { attempts: 1 })
        }
        // 402: the card was declined. 400 and 404: the provider does not know such a payment method.
        400 | 402 | 404 => {
            let code = answer.text("/error/decline_code").or_else(|| answer.text("/error/code"));
            Ok(declined(code.unwrap_or("declined")))
        }
        _ => Err(answer.failure()),
    }
}

impl<T: Transport> PaymentProvider for Stripe<T> {
    async fn charge(&self, bill: &Bill, attempt: Attempt) -> Result<ChargeOutcome, Failure> {
        let method = match &bill.payment_method {
            Some(token) => token.clone(),
            None => match self.default_method(bill).await? {
                Ok(token) => token,
                Err(declined) if attempt == Attempt::First => return Ok(declined),
                // There was one at the first attempt, and how that ended is not known.
                Err(_) => return Err(Failure::Conflict { attempts: 1 }),
            },
        };
        let form = Serializer::new(String::new())
            .append_pair("amount", &bill.amount.amount.to_string())
            .append_pair("currency", &bill.amount.currency.as_str().to_ascii_lowercase())
            .append_pair("payment_method", &method)
            .append_pair("confirm", "true")
            // No customer is there to answer a challenge: a request for authentication counts as a decline.
            .append_pair("error_on_requires_action", "true")
            .append_pair("metadata[order_id]", &bill.order_id.to_string())
            .finish();
        let key = format!("{}:charge", bill.order_id);
        outcome(&self.send(Method::POST, "/v1/payment_intents", Some((key, form))).await?)
    }

    /// A charge whose id is known is retrieved: <https://docs.stripe.com/api/charges/retrieve>. Otherwise the intents
    /// are searched by the order in their metadata, which lags behind by up to a minute:
    /// <https://docs.stripe.com/api/payment_intents/search>.
    async fn look_up(&self, order_id: OrderId, charge_id: Option<&str>) -> Result<ChargeStatus, Failure> {
        if let Some(id) = charge_id {
            let answer = self.send(Method::GET, &format!("/v1/charges/{id}"), None).await?;
            return match (answer.status, answer.body["refunded"].as_bool()) {
                (StatusCode::OK, Some(true)) => Ok(ChargeStatus::Refunded),
                (StatusCode::OK, Some(false)) => Ok(ChargeStatus::Captured { charge_id: id.to_owned() }),
                _ => Err(answer.failure()),
            };
        }
        let query = Serializer::new(String::new())
            .append_pair("query", &format!("metadata['order_id']:'{order_id}'"))
            .append_pair("expand[]", "data.latest_charge")
            .finish();
        let answer = self.send(Method::GET, &format!("/v1/payment_intents/search?{query}"), None).await?;
        let found = answer.body["data"].as_array().filter(|_| answer.status == StatusCode::OK);
        status_of(found.ok_or_else(|| answer.failure())?).ok_or_else(|| answer.failure())
    }

    async fn void(&self, bill: &Bill, intent: Option<&str>) -> Result<bool, Failure> {
        let intent = match intent {
            Some(intent) => intent.to_owned(),
            None => match self.claim(bill).await? {
                Some(intent) => intent,
                // A default method may have changed since: only the very same request repeats its answer.
                None if bill.payment_method.is_none() => return Ok(false),
                // The key is taken, so asking for the charge once more makes none.
                None => {
                    return Ok(matches!(
                        self.charge(bill, Attempt::Repeat).await,
                        Ok(ChargeOutcome::Declined { .. })
                    ));
                }
            },
        };
        let key = format!("{}:void", bill.order_id);
        let path = format!("/v1/payment_intents/{intent}/cancel");
        let answer = self.send(Method::POST, &path, Some((key, String::new()))).await?;
        match answer.status.as_u16() {
            200 => Ok(true),
            // It has been captured, or cancelled, in the meantime: the next look tells which.
            400 => Ok(false),
            _ => Err(answer.failure()),
        }
    }

    /// <https://docs.stripe.com/api/refunds/create>
    async fn refund(
        &self,
        order_id: OrderId,
        charge_id: &str,
        RefundAttempt { generation, number }: RefundAttempt,
    ) -> Result<Result<(), String>, Failure> {
        let form = Serializer::new(String::new()).append_pair("charge", charge_id).finish();
        let key = format!("{order_id}:refund:{generation}:{number}");
        let answer = self.send(Method::POST, "/v1/refunds", Some((key, form))).await?;
        let code = answer.text("/error/code").unwrap_or("refused");
        match (answer.status.as_u16(), answer.text("/status")) {
            (200, Some("succeeded" | "pending")) => Ok(Ok(())),
            (200, Some(status)) => Ok(Err(status.to_owned())),
            // An earlier try came through after all.
            (400, _) if code == "charge_already_refunded" => Ok(Ok(())),
            (400 | 402 | 404, _) => Ok(Err(code.to_owned())),
            _ => Err(answer.failure()),
        }
    }
}

impl<T: Transport> Stripe<T> {
    /// Claims the charge's idempotency key for an intent that payments never confirms. A worker that is still on its way
    /// with the charge finds the key used with other parameters, and the provider refuses it: nothing can overtake the
    /// void. `None`: the charge was there first.
    ///
    /// <https://docs.stripe.com/api/idempotent_requests>
    async fn claim(&self, bill: &Bill) -> Result<Option<String>, Failure> {
        let form = Serializer::new(String::new())
            .append_pair("amount", &bill.amount.amount.to_string())
            .append_pair("currency", &bill.amount.currency.as_str().to_ascii_lowercase())
            .append_pair("confirm", "false")
            .append_pair("metadata[order_id]", &bill.order_id.to_string())
            .finish();
        let key = format!("{}:charge", bill.order_id);
        let answer = self.send(Method::POST, "/v1/payment_intents", Some((key, form))).await?;
        match (answer.status.as_u16(), answer.text("/error/type")) {
            (200, _) => Ok(Some(answer.text("/id").ok_or_else(|| answer.failure())?.to_owned())),
            (400, Some("idempotency_error")) => Ok(None),
            _ => Err(answer.failure()),
        }
    }
}

/// The status of several intents together: one that captured counts most, then one that still may. `None`: unreadable.
fn status_of(intents: &[Value]) -> Option<ChargeStatus> {
    let mut status = ChargeStatus::Nothing;
    for intent in intents {
        match intent["status"].as_str()? {
            "succeeded" if intent["latest_charge"]["refunded"].as_bool()? => {
                return Some(ChargeStatus::Refunded);
            }
            "succeeded" => {
                let charge_id = intent["latest_charge"]["id"].as_str()?.to_owned();
                return Some(ChargeStatus::Captured { charge_id });
            }
            "canceled" if status == ChargeStatus::Nothing => status = ChargeStatus::Cancelled,
            "canceled" => {}
            _ => status = ChargeStatus::Open { intent: intent["id"].as_str()?.to_owned() },
        }
    }
    Some(status)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn outcome(status: u16, body: Value) -> Result<ChargeOutcome, Failure> {
        super::outcome(&Answer::new(StatusCode::from_u16(status).unwrap(), body))
    }

    #[test]
    fn only_a_clear_yes_is_a_capture() {
        let yes = json!({"id": "pi_1", "status": "succeeded", "latest_charge": "ch_1"});
        assert_eq!(outcome(200, yes), Ok(ChargeOutcome::Captured { charge_id: "ch_1".into() }));
        for unclear in ["processing", "requires_capture", "requires_action"] {
            assert!(matches!(outcome(200, json!({"status": unclear})), Err(Failure::Transient(_))));
        }
    }

    #[test]
    fn a_decline_is_an_answer_and_an_outage_is_not() {
        let card = json!({"error": {"code": "card_declined", "decline_code": "insufficient_funds"}});
        assert_eq!(outcome(402, card), Ok(declined("insufficient_funds")));
        assert_eq!(
            outcome(400, json!({"error": {"code": "resource_missing"}})),
            Ok(declined("resource_missing"))
        );
        let taken = json!({"error": {"type": "idempotency_error", "code": "idempotency_key_in_use"}});
        assert_eq!(outcome(400, taken), Err(Failure::Conflict { attempts: 1 }));
        assert_eq!(outcome(409, Value::Null), Err(Failure::Conflict { attempts: 1 }));
        for outage in [401, 403, 429, 500, 503] {
            assert!(matches!(outcome(outage, Value::Null), Err(Failure::Transient(_))), "{outage}");
        }
    }
}
