//! `PUT /customers/{id}/payment-method` and `GET /customers/{id}/payment-method`.

use crate::customer::{self, Customer, Message};
use crate::provider::circuit_breaker::{CircuitBreaker, Open};
use crate::provider::{Attachment, CallError, PaymentProvider};
use chassis::aggregate::{Loaded, load};
use chassis::http::access::{Access, Auth, OPERATE, READ, WRITE, require};
use chassis::http::fields::{self, Fields};
use chassis::http::{Api, FieldError, Problem, Request, Response};
use chassis::outbox::Cause;
use chassis::reaction::{Executed, execute};
use chassis::{Failure, Live, Ports, Store};
use events::CustomerId;
use serde_json::{Value, json};
use std::future::Future;

/// Payments' part of the HTTP API.
pub struct CustomersApi<P, S> {
    pub ports: Ports<S>,
    /// Where payment methods are attached.
    pub circuit: CircuitBreaker<P, S>,
    /// Whether callers were verified by the gateway.
    pub auth: Auth,
}

const PUT: &str = "PUT /customers/{id}/payment-method";
const GET: &str = "GET /customers/{id}/payment-method";
/// How often one request creates a customer: the first key may be spent.
const MAX_CREATIONS: u32 = 2;

impl<P: PaymentProvider, S: Store> Api for CustomersApi<P, S> {
    const ROUTES: &'static [&'static str] = &[PUT, GET];
    const SCOPES: &'static [&'static str] = &[READ, WRITE, OPERATE];

    async fn answer(&self, request: Request) -> Result<Response, Problem> {
        match request.route.as_str() {
            PUT => self.put(&request).await,
            GET => self.get(&request).await,
            _ => Err(Problem::not_found("no such route")),
        }
    }
}

/// The id of a payment method at the provider, `pm_…`: it becomes a part of a path there.
fn read(request: &Request) -> Result<String, Problem> {
    fields::expect_json(request)?;
    let object = fields::object(&request.body)?;
    let mut fields = Fields::new(&object);
    let method = fields.token("payment_method");
    if method.as_ref().is_some_and(|method| !is_method(method)) {
        let rule = "must be the provider's id of a payment method: pm_, then A-Z, a-z, 0-9 and _";
        fields.refuse("payment_method", "format", rule);
    }
    match (method, fields.finish()) {
        (Some(method), errors) if errors.is_empty() => Ok(method),
        (_, errors) => Err(Problem::invalid(&errors)),
    }
}

fn is_method(text: &str) -> bool {
    let rest = text.strip_prefix("pm_").unwrap_or_default();
    !rest.is_empty() && rest.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_')
}

impl<P: PaymentProvider, S: Store> CustomersApi<P, S> {
    /// The customer that a request is about, if its caller may act for it.
    fn customer(&self, request: &Request, scope: &str) -> Result<CustomerId, Problem> {
        require(self.auth, request, &[scope])?;
        let id: CustomerId = request.parameter("id").parse().map_err(|rule: events::ids::NotAnId| {
            Problem::invalid(&[FieldError::new("customer_id", "format", rule.to_string())])
        })?;
        match Access::of(self.auth, request)?.includes(&id) {
            true => Ok(id),
            false => Err(Problem::foreign_customer()),
        }
    }

    async fn get(&self, request: &Request) -> Result<Response, Problem> {
        let id = self.customer(request, READ)?;
        let known: Loaded<Customer> = load(&self.ports.store, &customer::id(&id)).await?;
        let method = known.state.payment_method();
        let method = method.ok_or_else(|| Problem::not_found("this customer has saved no payment method"))?;
        Ok(Response::json(200, shown(&id, method)))
    }

    async fn put(&self, request: &Request) -> Result<Response, Problem> {
        let id = self.customer(request, WRITE)?;
        let method = read(request)?;
        let cause = Cause::request(self.ports.ids.fresh(), request.correlation_id, request.trace());
        let saving = Saving { api: self, id: &id, cause };
        let before: Loaded<Customer> = load(&self.ports.store, &customer::id(&id)).await?;
        let status = if before.state.payment_method().is_some() { 200 } else { 201 };
        let provider_customer = saving.register(before.state).await?;
        let saved = saving.attach(&method, provider_customer).await?;
        Ok(Response::json(status, shown(&id, &saved)))
    }
}

/// One request to save a payment method.
struct Saving<'a, P, S> {
    api: &'a CustomersApi<P, S>,
    id: &'a CustomerId,
    cause: Cause,
}

impl<P: PaymentProvider, S: Store> Saving<'_, P, S> {
    /// Makes a call in the customer's name.
    async fn call<T: Send>(
        &self,
        call: impl Future<Output = Result<T, CallError>> + Send,
    ) -> Result<T, Problem> {
        let circuit = &self.api.circuit;
        let permit = circuit.acquire(Live::command()).await?;
        let permit = permit.map_err(|Open { retry_after_seconds }| unavailable(retry_after_seconds))?;
        circuit.guarded(permit, self.id, call).await.map_err(|failure| match failure {
            Failure::Poison(_) => failure.into(),
            failure => Problem { failure: Some(Box::new(failure)), ..unavailable(1) },
        })
    }

    async fn record(&self, message: Message) -> Result<Executed<Customer>, Failure> {
        execute::<Customer, S>(&self.api.ports, &customer::id(self.id), message, &self.cause).await
    }

    /// The provider's id of the customer, committed: nothing is attached to one that another request could replace.
    async fn register(&self, known: Customer) -> Result<String, Problem> {
        let mut known = known;
        for _ in 0..MAX_CREATIONS {
            let key = match known {
                Customer::Registered { id, .. } => return Ok(id),
                Customer::Unregistered { key } => key,
            };
            let call = self.api.circuit.provider().create_customer(self.id, key);
            let message = match self.call(call).await? {
                Some(id) => Message::Created { id },
                None => Message::KeySpent { key },
            };
            known = match self.record(message).await? {
                Executed::Done(after) | Executed::Unchanged(after) | Executed::Refused(_, after) => {
                    after.state
                }
            };
        }
        known.provider_id().map(str::to_owned).ok_or_else(|| unavailable(1))
    }

    /// Attaches a method to the provider's customer and saves it; gives the provider's id of it.
    async fn attach(&self, method: &str, id: String) -> Result<String, Problem> {
        // What Stripe refuses today may be fine tomorrow, so its answer is not to be an old one.
        let key = format!("attach:{}", self.api.ports.ids.fresh());
        let call = self.api.circuit.provider().attach(method, &id, &key);
        let payment_method = match self.call(call).await? {
            Attachment::Attached { payment_method } => payment_method,
            Attachment::Declined { code } => return Err(declined(&code)),
            Attachment::Unknown => return Err(refused("unknown", "is not known to the payment provider")),
            Attachment::Unusable => {
                return Err(refused("unusable", "belongs to another customer or was used up"));
            }
            Attachment::CustomerGone => {
                self.record(Message::Gone { id }).await?;
                return Err(unavailable(1));
            }
        };
        match self.record(Message::Attached { id, payment_method: payment_method.clone() }).await? {
            Executed::Done(_) | Executed::Unchanged(_) => Ok(payment_method),
            Executed::Refused(..) => Err(unavailable(1)),
        }
    }
}

fn shown(id: &CustomerId, method: &str) -> Value {
    json!({"customer_id": id, "payment_method": method})
}

fn declined(code: &str) -> Problem {
    let message = "was declined by the bank";
    let error = FieldError::new("payment_method", "declined", message);
    Problem::new(402, "PAYMENT_METHOD_DECLINED", format!("payment_method {message}; nothing was saved"))
        .with("errors", json!([error]))
        .with("decline_code", code.into())
}

fn refused(rule: &'static str, message: &str) -> Problem {
    let error = FieldError::new("payment_method", rule, message);
    Problem::new(422, "PAYMENT_METHOD_REFUSED", format!("payment_method {message}; nothing was saved"))
        .with("errors", json!([error]))
}

/// The provider cannot be asked, or its answer is to come again.
fn unavailable(seconds: u32) -> Problem {
    let detail = "the payment provider cannot be reached; nothing was saved, try again";
    Problem::new(503, "PAYMENT_PROVIDER_UNAVAILABLE", detail)
        .saying("retry-after", seconds.to_string())
        .with("retry_after_seconds", seconds.into())
}
