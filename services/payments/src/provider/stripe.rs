//! Stripe's PaymentIntents over HTTP, as of one version of its API. Only tokens travel here, never card numbers.
//!
//! <https://docs.stripe.com/api/payment_intents>, <https://docs.stripe.com/api/refunds>,
//! <https://docs.stripe.com/api/customers>, <https://docs.stripe.com/api/payment_methods>,
//! <https://docs.stripe.com/api/idempotent_requests>, <https://docs.stripe.com/error-codes>.
//!
//! What decides is the state of Stripe's own objects, read by their ids. An idempotency key only keeps a single try from
//! being made twice: its answer may be an old one, or a failure that Stripe repeats, and a day later it is forgotten.

use super::{
    Attachment, CallError, ChargeStatus, Confirmation, Creation, PaymentMethod, PaymentProvider, Refund,
    RefundAttempt, RefundStatus,
};
use crate::payment::{Bill, Capture};
use chassis::http::client::{Answer, Method};
use events::{Currency, CustomerId, Money, OrderId};
use form_urlencoded::Serializer;
use serde_json::Value;
use std::future::Future;

/// The API version that the requests below were written for.
pub const STRIPE_VERSION: &str = "2026-08-26.dahlia";

/// The reason that payments gives for cancelling an intent that asks for its customer.
const ABANDONED: &str = "abandoned";
/// The code of a decline for which a customer would have to be there.
const AUTHENTICATION_REQUIRED: &str = "authentication_required";
/// What Stripe answers to a call that does not fit an intent's status; the intent comes with it.
const UNEXPECTED_STATE: &str = "payment_intent_unexpected_state";
/// The parameters by which a customer's order can be wrong. No intent exists then, so nothing can have been captured.
const OF_THE_CUSTOMER: [&str; 4] = ["amount", "customer", "payment_method", "source"];

/// One request to Stripe's API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub method: Method,
    /// With its query, if it has one.
    pub path: String,
    /// On every POST.
    pub idempotency_key: Option<String>,
    /// The body, form-encoded.
    pub form: String,
}

/// What carries calls to Stripe, or to what stands for it.
pub trait Transport: Send + Sync + 'static {
    /// Sends a call.
    ///
    /// # Errors
    /// A [`CallError`] where there is no answer, or none that says more than to come again.
    fn send(&self, call: Call) -> impl Future<Output = Result<Answer, CallError>> + Send;
}

/// A provider that speaks Stripe's API.
pub struct Stripe<T>(pub T);

/// How an intent stands.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Standing {
    Unconfirmed,
    Captured(Capture),
    Declined { code: String },
    RequiresAction,
    Cancelled { code: String },
    Processing,
}

impl<T: Transport> Stripe<T> {
    async fn get(&self, path: String) -> Result<Answer, CallError> {
        let call = Call { method: Method::GET, path, idempotency_key: None, form: String::new() };
        let answer = self.0.send(call).await?;
        if answer.status.as_u16() == 200 { Ok(answer) } else { Err(failure(&answer)) }
    }

    async fn post(&self, path: String, key: String, form: &[(&str, &str)]) -> Result<Answer, CallError> {
        let form = Serializer::new(String::new()).extend_pairs(form).finish();
        self.0.send(Call { method: Method::POST, path, idempotency_key: Some(key), form }).await
    }

    async fn retrieve(&self, intent: &str) -> Result<Standing, CallError> {
        let answer = self.get(format!("/v1/payment_intents/{intent}")).await?;
        standing(&answer.body).ok_or_else(|| unreadable(&answer))
    }

    /// Asks Stripe to confirm an intent; gives how it stands then.
    async fn ask(&self, order_id: OrderId, intent: &str, tries: u32) -> Result<Standing, CallError> {
        let path = format!("/v1/payment_intents/{intent}/confirm");
        // No customer is there to answer a challenge: a request for authentication is a decline.
        let form = [("error_on_requires_action", "true")];
        let answer = self.post(path, format!("{order_id}:confirm:{tries}"), &form).await?;
        match (answer.status.as_u16(), answer.text("/error/type"), answer.text("/error/code")) {
            (200, ..) => standing(&answer.body).ok_or_else(|| unreadable(&answer)),
            (402, Some("card_error"), _) => Ok(Standing::Declined { code: decline(&answer.body["error"]) }),
            (400, _, Some(UNEXPECTED_STATE)) => self.retrieve(intent).await,
            _ => Err(failure(&answer)),
        }
    }
}

impl<T: Transport> PaymentProvider for Stripe<T> {
    async fn create_customer(&self, customer: &CustomerId, key: u32) -> Result<Option<String>, CallError> {
        let (key, form) =
            (format!("customer:{customer}:create:{key}"), [("metadata[customer_id]", customer.as_str())]);
        let answer = self.post("/v1/customers".into(), key, &form).await?;
        match (answer.status.as_u16(), answer.text("/id")) {
            (200, Some(id)) => Ok(Some(id.to_owned())),
            _ if answer.is_replayed() => Ok(None),
            _ => Err(failure(&answer)),
        }
    }

    async fn attach(
        &self,
        payment_method: &str,
        provider_customer: &str,
        key: &str,
    ) -> Result<Attachment, CallError> {
        let path = format!("/v1/payment_methods/{payment_method}/attach");
        let answer = self.post(path, key.to_owned(), &[("customer", provider_customer)]).await?;
        match answer.status.as_u16() {
            200 => attached(&answer.body, provider_customer).ok_or_else(|| unreadable(&answer)),
            _ => unattached(&answer).ok_or_else(|| failure(&answer)),
        }
    }

    async fn create(&self, bill: &Bill, method: &PaymentMethod, tries: u32) -> Result<Creation, CallError> {
        let (amount, order_id) = (bill.amount.amount.to_string(), bill.order_id.to_string());
        let currency = bill.amount.currency.as_str().to_ascii_lowercase();
        let mut form = vec![
            ("amount", amount.as_str()),
            ("currency", &currency),
            ("payment_method", &method.id),
            // Without it no intent may be confirmed with `error_on_requires_action`.
            ("payment_method_types[]", "card"),
            ("metadata[order_id]", &order_id),
        ];
        form.extend(method.customer.as_deref().map(|customer| ("customer", customer)));
        let key = format!("{order_id}:create:{tries}");
        let answer = self.post("/v1/payment_intents".into(), key, &form).await?;
        let of_customer = match answer.text("/error/param") {
            Some(parameter) => OF_THE_CUSTOMER.contains(&parameter),
            // Of a method that was used up Stripe says so in the message alone.
            None => {
                answer.text("/error/type") == Some("invalid_request_error")
                    && answer.text("/error/code").is_none()
                    && answer.status.as_u16() == 400
            }
        };
        match (answer.status.as_u16(), answer.text("/id")) {
            (200, Some(id)) => Ok(Creation::Opened { intent: id.to_owned() }),
            (400 | 404, _) if of_customer => Ok(Creation::Declined { code: decline(&answer.body["error"]) }),
            _ => Err(failure(&answer)),
        }
    }

    async fn confirm(&self, order_id: OrderId, intent: &str, tries: u32) -> Result<Confirmation, CallError> {
        // What declined once is not asked again: a customer's default method might be charged instead.
        let known = if tries > 1 { self.retrieve(intent).await? } else { Standing::Unconfirmed };
        let stands = match known {
            Standing::Unconfirmed => self.ask(order_id, intent, tries).await?,
            known => known,
        };
        match stands {
            Standing::Captured(capture) => Ok(Confirmation::Captured(capture)),
            Standing::Declined { code } | Standing::Cancelled { code } => Ok(Confirmation::Declined { code }),
            // A decline only once the intent can capture nothing any more.
            Standing::RequiresAction
                if self.cancel(intent, &format!("{order_id}:cancel:{tries}")).await? =>
            {
                Ok(Confirmation::Declined { code: AUTHENTICATION_REQUIRED.into() })
            }
            Standing::RequiresAction | Standing::Processing | Standing::Unconfirmed => {
                Err(CallError::Later(format!("intent {intent} is not decided yet")))
            }
        }
    }

    async fn look_up(&self, intent: &str) -> Result<ChargeStatus, CallError> {
        match self.retrieve(intent).await? {
            Standing::Captured(_) => {}
            Standing::Cancelled { .. } => return Ok(ChargeStatus::Cancelled),
            _ => return Ok(ChargeStatus::Open),
        }
        let answer = self.get(format!("/v1/refunds?payment_intent={intent}&limit=100")).await?;
        let refunds = answer.body["data"].as_array().ok_or_else(|| unreadable(&answer))?;
        let refunds = refunds.iter().map(refund).collect::<Option<Vec<Refund>>>();
        let refunds = refunds.ok_or_else(|| unreadable(&answer))?;
        let with =
            |status| refunds.iter().find(|refund| refund.status == status).map(|refund| refund.id.clone());
        Ok(match (with(RefundStatus::Succeeded), with(RefundStatus::Pending)) {
            (Some(refund), _) => ChargeStatus::Refunded { refund },
            (None, Some(refund)) => ChargeStatus::Refunding { refund },
            (None, None) => ChargeStatus::Captured,
        })
    }

    async fn cancel(&self, intent: &str, key: &str) -> Result<bool, CallError> {
        let path = format!("/v1/payment_intents/{intent}/cancel");
        let answer = self.post(path, key.to_owned(), &[("cancellation_reason", ABANDONED)]).await?;
        match (answer.status.as_u16(), answer.text("/error/code")) {
            (200, _) => Ok(true),
            // Cancelled already, or captured: only the first is a void.
            (400, Some(UNEXPECTED_STATE)) => {
                Ok(matches!(self.retrieve(intent).await?, Standing::Cancelled { .. }))
            }
            _ => Err(failure(&answer)),
        }
    }

    async fn refund(
        &self,
        order_id: OrderId,
        intent: &str,
        RefundAttempt { generation, number }: RefundAttempt,
    ) -> Result<Result<Refund, String>, CallError> {
        let key = format!("{order_id}:refund:{generation}:{number}");
        let answer = self.post("/v1/refunds".into(), key, &[("payment_intent", intent)]).await?;
        match answer.status.as_u16() {
            200 => match refund(&answer.body).ok_or_else(|| unreadable(&answer))? {
                Refund { status: RefundStatus::Failed { code }, .. } => Ok(Err(code)),
                refund => Ok(Ok(refund)),
            },
            // An earlier try may have come through after all.
            400 | 402 | 404 => Ok(match self.look_up(intent).await? {
                ChargeStatus::Refunded { refund: id } => Ok(Refund { id, status: RefundStatus::Succeeded }),
                ChargeStatus::Refunding { refund: id } => Ok(Refund { id, status: RefundStatus::Pending }),
                _ => Err(decline(&answer.body["error"])),
            }),
            _ => Err(failure(&answer)),
        }
    }

    async fn refund_status(&self, id: &str) -> Result<RefundStatus, CallError> {
        let answer = self.get(format!("/v1/refunds/{id}")).await?;
        refund(&answer.body).map(|refund| refund.status).ok_or_else(|| unreadable(&answer))
    }
}

/// Sorts an answer that says neither yes nor no.
fn failure(answer: &Answer) -> CallError {
    let text = answer.described();
    match answer.status.as_u16() {
        // What Stripe repeats for a key says nothing about how it is now.
        500.. if !answer.is_replayed() => CallError::Down(text),
        409 | 429 | 500.. => CallError::Later(text),
        _ => CallError::Refused(text),
    }
}

fn unreadable(answer: &Answer) -> CallError {
    CallError::Refused(format!("{}: an answer of another shape", answer.described()))
}

/// The code of a refusal: a bank's own where there is one.
fn decline(error: &Value) -> String {
    let text = |name: &str| error[name].as_str();
    let code = match text("code") {
        Some(AUTHENTICATION_REQUIRED) => Some(AUTHENTICATION_REQUIRED),
        code => text("decline_code").or(code),
    };
    code.unwrap_or("payment_method_refused").to_owned()
}

/// A payment method that belongs to this customer by its own account; none for an object that is not one.
fn attached(method: &Value, provider_customer: &str) -> Option<Attachment> {
    let id = method["id"].as_str().filter(|_| method["customer"] == provider_customer)?;
    Some(Attachment::Attached { payment_method: id.to_owned() })
}

/// Why a payment method was not attached; none for an answer that says nothing of the method or the customer.
fn unattached(answer: &Answer) -> Option<Attachment> {
    let error = |name: &str| answer.body["error"][name].as_str();
    match (answer.status.as_u16(), error("type")?, error("code"), error("param")) {
        (402, "card_error", ..) => Some(Attachment::Declined { code: decline(&answer.body["error"]) }),
        (400 | 404, _, Some("resource_missing"), Some("customer")) => Some(Attachment::CustomerGone),
        (400 | 404, _, Some("resource_missing"), _) => Some(Attachment::Unknown),
        // Stripe has no code for a method that belongs to another customer, or that was used up.
        (400, "invalid_request_error", None, _) => Some(Attachment::Unusable),
        _ => None,
    }
}

/// How an intent stands; none for an object that is not one.
fn standing(intent: &Value) -> Option<Standing> {
    let error = &intent["last_payment_error"];
    Some(match intent["status"].as_str()? {
        "succeeded" => Standing::Captured(capture(intent)?),
        "requires_confirmation" => Standing::Unconfirmed,
        "requires_payment_method" => Standing::Declined { code: decline(error) },
        "requires_action" => Standing::RequiresAction,
        "processing" => Standing::Processing,
        "canceled" if intent["cancellation_reason"] == ABANDONED => {
            Standing::Cancelled { code: AUTHENTICATION_REQUIRED.into() }
        }
        "canceled" => Standing::Cancelled { code: "payment_intent_canceled".into() },
        _ => return None,
    })
}

/// What was captured, by the intent's own account of it.
fn capture(intent: &Value) -> Option<Capture> {
    let charge = &intent["latest_charge"];
    let charge_id = charge.as_str().or_else(|| charge["id"].as_str())?.to_owned();
    let currency: Currency = intent["currency"].as_str()?.to_ascii_uppercase().parse().ok()?;
    let amount = Money::new(intent["amount_received"].as_u64()?, currency);
    Some(Capture { intent: intent["id"].as_str()?.to_owned(), charge_id, amount })
}

/// A refund; none for an object that is not one.
fn refund(refund: &Value) -> Option<Refund> {
    let status = match refund["status"].as_str()? {
        "succeeded" => RefundStatus::Succeeded,
        "pending" | "requires_action" => RefundStatus::Pending,
        status @ ("failed" | "canceled") => {
            RefundStatus::Failed { code: refund["failure_reason"].as_str().unwrap_or(status).to_owned() }
        }
        _ => return None,
    };
    Some(Refund { id: refund["id"].as_str()?.to_owned(), status })
}

#[cfg(test)]
mod tests {
    use super::*;
    use chassis::http::client::StatusCode;
    use serde_json::json;
    use std::sync::Mutex;

    fn answer(status: u16, body: Value) -> Answer {
        Answer::new(StatusCode::from_u16(status).unwrap(), body)
    }

    /// Guards: what was captured comes from the provider's object, and a failed charge is no capture.
    #[test]
    fn only_a_succeeded_intent_is_a_capture() {
        let mut intent = json!({"id": "pi_1", "status": "succeeded", "latest_charge": "ch_1",
            "amount": 700, "amount_received": 500, "currency": "usd"});
        let amount = Money::new(500, Currency::USD);
        let capture = Capture { intent: "pi_1".into(), charge_id: "ch_1".into(), amount };
        assert_eq!(standing(&intent), Some(Standing::Captured(capture)));
        intent["status"] = "requires_payment_method".into();
        intent["last_payment_error"] = json!({"code": "card_declined", "decline_code": "lost_card"});
        assert_eq!(standing(&intent), Some(Standing::Declined { code: "lost_card".into() }));
        for (status, stands) in
            [("processing", Standing::Processing), ("requires_action", Standing::RequiresAction)]
        {
            intent["status"] = status.into();
            assert_eq!(standing(&intent), Some(stands));
        }
    }

    /// Stripe as a list of answers; it keeps what was asked.
    struct Script {
        answers: Mutex<Vec<(u16, Value)>>,
        asked: Mutex<Vec<String>>,
    }

    impl Transport for Script {
        async fn send(&self, call: Call) -> Result<Answer, CallError> {
            self.asked.lock().unwrap().push(format!("{} {}", call.method, call.path));
            let (status, body) = self.answers.lock().unwrap().remove(0);
            Ok(answer(status, body))
        }
    }

    /// Guards: a later try looks before it asks. An intent that has declined is never confirmed again.
    #[tokio::test]
    async fn what_has_declined_is_not_confirmed_again() {
        let error = json!({"code": "card_declined", "decline_code": "lost_card"});
        let declined = json!({"status": "requires_payment_method", "last_payment_error": error});
        let script = Script { answers: Mutex::new(vec![(200, declined)]), asked: Mutex::default() };
        let stripe = Stripe(script);
        let order_id = OrderId("018f2b9e-7c1a-7d3e-9f00-4b6a1c2d3e4f".parse().unwrap());
        let outcome = stripe.confirm(order_id, "pi_1", 2).await;
        assert_eq!(outcome, Ok(Confirmation::Declined { code: "lost_card".into() }));
        assert_eq!(*stripe.0.asked.lock().unwrap(), ["GET /v1/payment_intents/pi_1"]);
    }

    /// Guards: the code that callers know, not the one that Stripe adds when nobody could answer the challenge.
    #[test]
    fn a_challenge_that_nobody_can_answer_has_a_code_of_its_own() {
        let error = json!({"code": "authentication_required", "decline_code": "authentication_not_handled"});
        assert_eq!(decline(&error), "authentication_required");
    }

    /// Guards: whose a payment method is comes from the provider's object.
    #[test]
    fn a_method_is_attached_only_to_its_own_customer() {
        let method = json!({"id": "pm_1", "customer": "cus_1"});
        assert_eq!(attached(&method, "cus_1"), Some(Attachment::Attached { payment_method: "pm_1".into() }));
        assert_eq!(attached(&method, "cus_2"), None);
        assert_eq!(attached(&json!({"id": "pm_1", "customer": null}), "cus_1"), None);
    }

    /// Guards: what is wrong with a payment method is the caller's to mend; a wrong request of ours, a wrong key of ours and the
    /// answer of something else than Stripe are not.
    #[test]
    fn refusals_to_attach_are_sorted() {
        let of = |status, error: Value| unattached(&answer(status, json!({ "error": error })));
        let invalid =
            |code: Value, param: &str| json!({"type": "invalid_request_error", "code": code, "param": param});
        let missing = |param| invalid("resource_missing".into(), param);
        let declined = json!({"type": "card_error", "code": "card_declined", "decline_code": "lost_card"});
        assert_eq!(of(402, declined), Some(Attachment::Declined { code: "lost_card".into() }));
        assert_eq!(of(404, missing("payment_method")), Some(Attachment::Unknown));
        assert_eq!(of(400, missing("customer")), Some(Attachment::CustomerGone));
        assert_eq!(of(400, invalid(Value::Null, "payment_method")), Some(Attachment::Unusable));
        assert_eq!(of(400, invalid("parameter_unknown".into(), "x")), None);
        assert_eq!(of(400, json!({"type": "idempotency_error"})), None);
        assert_eq!(of(401, json!({"type": "invalid_request_error"})), None);
        assert_eq!(of(429, json!({"type": "invalid_request_error", "code": "rate_limit"})), None);
        assert_eq!(unattached(&answer(404, json!("no such page"))), None);
    }

    /// Guards: only no answer and a failure of Stripe's own count against it, and not one that it repeats.
    #[test]
    fn failures_are_sorted() {
        for status in [500, 502, 503] {
            assert!(matches!(failure(&answer(status, Value::Null)), CallError::Down(_)), "{status}");
            let repeated = answer(status, Value::Null).replayed();
            assert!(matches!(failure(&repeated), CallError::Later(_)), "{status}");
        }
        for status in [409, 429] {
            assert!(matches!(failure(&answer(status, Value::Null)), CallError::Later(_)), "{status}");
        }
        for status in [400, 401, 403, 404] {
            assert!(matches!(failure(&answer(status, Value::Null)), CallError::Refused(_)), "{status}");
        }
    }
}
