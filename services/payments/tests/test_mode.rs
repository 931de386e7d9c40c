//! The real client against Stripe's test mode: one test for each call, which does nothing but these calls and prints where
//! Stripe differs from what the simulator answers.
//!
//! ```text
//! STRIPE_KEY=sk_test_… cargo test -p payments --features tls -- --ignored stripe
//! ```
//!
//! `STRIPE_URL` names another address. `.ci/stripe/run` runs them against the simulator, whose answers differ in nothing: so
//! what is expected below is what the simulator answers.

use chassis::Failure;
use chassis::http::client::Answer;
use chassis::ports::Secret;
use events::{Currency, Money, OrderId};
use hyper::Uri;
use payments::payment::{Bill, Capture};
use payments::provider::https::Https;
use payments::provider::stripe::{Call, Stripe, Transport};
use payments::provider::{
    CallError, ChargeStatus, Confirmation, Creation, PaymentMethod, PaymentProvider, Refund, RefundAttempt,
    RefundStatus,
};
use serde_json::Value;
use std::env;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use uuid::Uuid;

/// Why a test stops, in plain text.
struct Stop(String);

impl fmt::Debug for Stop {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(&self.0)
    }
}

impl<E: std::error::Error> From<E> for Stop {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

type Tested = Result<(), Stop>;

/// What a field of an answer is.
#[derive(Clone, Copy, Debug)]
enum Is {
    /// This text.
    Exactly(&'static str),
    Text,
    /// This whole number.
    Number(u64),
    Array,
    Object,
    /// Null, or not there.
    Nothing,
}

impl Is {
    fn fits(self, value: &Value) -> bool {
        match self {
            Self::Exactly(text) => value == text,
            Self::Number(number) => value == number,
            Self::Text => value.is_string(),
            Self::Array => value.is_array(),
            Self::Object => value.is_object(),
            Self::Nothing => value.is_null(),
        }
    }
}

/// The fields of one answer, by their JSON pointers.
type Shape = Vec<(&'static str, Is)>;

struct Key(String);

impl Secret for Key {
    async fn read(&self) -> Result<String, Failure> {
        Ok(self.0.clone())
    }
}

/// The line to Stripe, which remembers the last answers.
struct Watched {
    line: Https<Key>,
    /// The path, the status, and the body.
    answers: Mutex<Vec<(String, u16, Value)>>,
}

impl Transport for Watched {
    async fn send(&self, call: Call) -> Result<Answer, CallError> {
        let path = call.path.clone();
        let answer = self.line.send(call).await?;
        let seen = (path, answer.status.as_u16(), answer.body.clone());
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).push(seen);
        Ok(answer)
    }
}

/// A client, an order of its own, and what differed so far.
struct Session {
    stripe: Stripe<Watched>,
    order_id: OrderId,
    differences: Vec<String>,
}

const AMOUNT: u64 = 500;

fn settings() -> Result<(String, Uri), Stop> {
    let asked = "set STRIPE_KEY to a secret key of Stripe's test mode, sk_test_…";
    let key = env::var("STRIPE_KEY").map_err(|_| Stop(asked.into()))?;
    if !["sk_test_", "rk_test_"].iter().any(|prefix| key.starts_with(prefix)) {
        return Err(Stop(format!("{asked}: this one may move money")));
    }
    let base = env::var("STRIPE_URL").unwrap_or_else(|_| "https://api.stripe.com".into());
    if base.starts_with("https:") && !cfg!(feature = "tls") {
        return Err(Stop(format!("{base} needs --features tls")));
    }
    Ok((key, base.parse()?))
}

impl Session {
    async fn begin() -> Result<Self, Stop> {
        let (key, base) = settings()?;
        let line = Https::new(&base, Key(key)).await?;
        let stripe = Stripe(Watched { line, answers: Mutex::default() });
        Ok(Self { stripe, order_id: OrderId(Uuid::now_v7()), differences: Vec::new() })
    }

    /// Notes where the last answer differs from what the simulator answers.
    fn last(&mut self, status: u16, shape: Shape) {
        let last = self.stripe.0.answers.lock().unwrap_or_else(PoisonError::into_inner).last().cloned();
        let Some((path, got, body)) = last else { return };
        if got != status {
            self.differences.push(format!("{path}: status {got}, the simulator gives {status}"));
        }
        for (pointer, wanted) in shape {
            let value = body.pointer(pointer).unwrap_or(&Value::Null);
            if !wanted.fits(value) {
                let difference = format!("{path}: {pointer} is {value}, the simulator gives {wanted:?}");
                self.differences.push(difference);
            }
        }
    }

    /// Notes where an outcome differs from the one that the simulator leads to.
    fn outcome<T: fmt::Debug + PartialEq>(&mut self, what: &str, got: &T, wanted: &T) {
        if got != wanted {
            self.differences.push(format!("{what}: {got:?}, the simulator leads to {wanted:?}"));
        }
    }

    async fn create(&mut self, method: &str) -> Result<Creation, Stop> {
        let bill = Bill {
            order_id: self.order_id,
            customer_id: "ada".parse()?,
            amount: Money::new(AMOUNT, Currency::USD),
            payment_method: None,
        };
        let method = PaymentMethod { id: method.into(), customer: None };
        Ok(self.stripe.create(&bill, &method, 1).await?)
    }

    /// An intent that waits to be confirmed.
    async fn open(&mut self, method: &str) -> Result<String, Stop> {
        match self.create(method).await? {
            Creation::Opened { intent } => Ok(intent),
            Creation::Declined { code } => Err(Stop(format!("{method}: declined with {code}"))),
        }
    }

    /// An intent that has captured.
    async fn paid(&mut self, method: &str) -> Result<String, Stop> {
        let intent = self.open(method).await?;
        match self.stripe.confirm(self.order_id, &intent, 1).await? {
            Confirmation::Captured(_) => Ok(intent),
            Confirmation::Declined { code } => Err(Stop(format!("{method}: declined with {code}"))),
        }
    }

    async fn refund(&mut self, intent: &str, number: u64) -> Result<Refund, Stop> {
        let attempt = RefundAttempt { generation: 1, number };
        let refunded = self.stripe.refund(self.order_id, intent, attempt).await?;
        refunded.map_err(|code| Stop(format!("{intent}: refund refused with {code}")))
    }

    /// Fails with all that differed, a difference on a line.
    fn end(self) -> Tested {
        if self.differences.is_empty() { Ok(()) } else { Err(Stop(self.differences.join("\n"))) }
    }
}

/// An intent, as far as payments reads it.
fn intent(status: &'static str) -> Shape {
    let is_captured = status == "succeeded";
    vec![
        ("/object", Is::Exactly("payment_intent")),
        ("/id", Is::Text),
        ("/status", Is::Exactly(status)),
        ("/currency", Is::Exactly("usd")),
        ("/amount_received", Is::Number(if is_captured { AMOUNT } else { 0 })),
        ("/latest_charge", if is_captured { Is::Text } else { Is::Nothing }),
        ("/last_payment_error", Is::Nothing),
        ("/cancellation_reason", if status == "canceled" { Is::Exactly("abandoned") } else { Is::Nothing }),
    ]
}

/// A refund, as far as payments reads it.
fn refund(status: &'static str) -> Shape {
    let object = ("/object", Is::Exactly("refund"));
    vec![
        object,
        ("/id", Is::Text),
        ("/status", Is::Exactly(status)),
        ("/payment_intent", Is::Text),
        ("/failure_reason", Is::Nothing),
    ]
}

/// A refusal, as far as payments reads it.
fn refusal(kind: &'static str, code: &'static str, decline_code: Is, parameter: Is) -> Shape {
    vec![
        ("/error/type", Is::Exactly(kind)),
        ("/error/code", Is::Exactly(code)),
        ("/error/decline_code", decline_code),
        ("/error/param", parameter),
    ]
}

#[tokio::test]
#[ignore = "calls Stripe: needs STRIPE_KEY"]
async fn stripe_creates() -> Tested {
    let mut session = Session::begin().await?;
    session.open("pm_card_visa").await?;
    session.last(200, intent("requires_confirmation"));
    // The same key once more: the same intent.
    let (first, again) = (session.create("pm_card_visa").await?, session.create("pm_card_visa").await?);
    session.outcome("created twice", &again, &first);
    session.order_id = OrderId(Uuid::now_v7());
    let declined = session.create("pm_no_such_method").await?;
    session.outcome("unknown method", &declined, &Creation::Declined { code: "resource_missing".into() });
    let parameter = Is::Exactly("payment_method");
    session.last(400, refusal("invalid_request_error", "resource_missing", Is::Nothing, parameter));
    session.end()
}

#[tokio::test]
#[ignore = "calls Stripe: needs STRIPE_KEY"]
async fn stripe_confirms() -> Tested {
    let mut session = Session::begin().await?;
    let id = session.open("pm_card_visa").await?;
    let confirmed = session.stripe.confirm(session.order_id, &id, 1).await?;
    session.last(200, intent("succeeded"));
    match confirmed {
        Confirmation::Captured(Capture { intent, amount, charge_id }) => {
            session.outcome("captured", &(intent, amount), &(id, Money::new(AMOUNT, Currency::USD)));
            session.outcome("charge", &charge_id.starts_with("ch_"), &true);
        }
        Confirmation::Declined { code } => session.outcome("confirmed", &code.as_str(), &"captured"),
    }
    for (method, code, decline_code, published) in [
        ("pm_card_visa_chargeDeclined", "card_declined", "generic_decline", "generic_decline"),
        (
            "pm_card_authenticationRequired",
            "authentication_required",
            "authentication_not_handled",
            "authentication_required",
        ),
    ] {
        session.order_id = OrderId(Uuid::now_v7());
        let id = session.open(method).await?;
        let confirmed = session.stripe.confirm(session.order_id, &id, 1).await?;
        session.outcome(method, &confirmed, &Confirmation::Declined { code: published.into() });
        let mut shape = refusal("card_error", code, Is::Exactly(decline_code), Is::Nothing);
        shape.push(("/error/payment_intent/status", Is::Exactly("requires_payment_method")));
        session.last(402, shape);
    }
    session.end()
}

#[tokio::test]
#[ignore = "calls Stripe: needs STRIPE_KEY"]
async fn stripe_cancels() -> Tested {
    let mut session = Session::begin().await?;
    let order_id = session.order_id;
    let id = session.open("pm_card_visa").await?;
    let cancelled = session.stripe.cancel(&id, &format!("{order_id}:void:1")).await?;
    session.outcome("cancelled", &cancelled, &true);
    session.last(200, intent("canceled"));
    // Stripe refuses the second one, and shows the intent.
    let again = session.stripe.cancel(&id, &format!("{order_id}:void:2")).await?;
    session.outcome("cancelled twice", &again, &true);
    session.last(200, intent("canceled"));
    session.order_id = OrderId(Uuid::now_v7());
    let paid = session.paid("pm_card_visa").await?;
    let cancelled = session.stripe.cancel(&paid, &format!("{}:void:1", session.order_id)).await?;
    session.outcome("cancelled once captured", &cancelled, &false);
    session.end()
}

#[tokio::test]
#[ignore = "calls Stripe: needs STRIPE_KEY"]
async fn stripe_retrieves() -> Tested {
    let mut session = Session::begin().await?;
    let id = session.open("pm_card_visa").await?;
    let status = session.stripe.look_up(&id).await?;
    session.outcome("looked up", &status, &ChargeStatus::Open);
    session.last(200, intent("requires_confirmation"));
    session.stripe.confirm(session.order_id, &id, 1).await?;
    let status = session.stripe.look_up(&id).await?;
    session.outcome("looked up once captured", &status, &ChargeStatus::Captured);
    session.last(200, vec![("/object", Is::Exactly("list")), ("/data", Is::Array)]);
    let refund = session.refund(&id, 0).await?.id;
    let status = session.stripe.look_up(&id).await?;
    session.outcome("looked up once refunded", &status, &ChargeStatus::Refunded { refund });
    session.last(200, vec![("/data/0", Is::Object), ("/data/0/status", Is::Exactly("succeeded"))]);
    session.end()
}

#[tokio::test]
#[ignore = "calls Stripe: needs STRIPE_KEY"]
async fn stripe_refunds() -> Tested {
    let mut session = Session::begin().await?;
    let id = session.paid("pm_card_visa").await?;
    let made = session.refund(&id, 0).await?;
    session.outcome("refunded", &made.status, &RefundStatus::Succeeded);
    session.last(200, refund("succeeded"));
    // Stripe refuses the second one, and its list has the first.
    let again = session.refund(&id, 1).await?;
    session.outcome("refunded twice", &again, &made);
    session.order_id = OrderId(Uuid::now_v7());
    let id = session.paid("pm_card_pendingRefund").await?;
    let made = session.refund(&id, 0).await?;
    session.outcome("refunded later", &made.status, &RefundStatus::Pending);
    session.last(200, refund("pending"));
    session.end()
}

#[tokio::test]
#[ignore = "calls Stripe: needs STRIPE_KEY"]
async fn stripe_shows_a_refund() -> Tested {
    let mut session = Session::begin().await?;
    let id = session.paid("pm_card_visa").await?;
    let made = session.refund(&id, 0).await?;
    let status = session.stripe.refund_status(&made.id).await?;
    session.outcome("refund", &status, &RefundStatus::Succeeded);
    session.last(200, refund("succeeded"));
    session.end()
}
