//! A small JSON client for the API.

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use chassis::http::client::{Connector, connector};
pub use contracts::openapi::Answer;
use contracts::openapi::Description;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request};
use hyper_util::client::legacy::Client as Hyper;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often a request is sent again that the API refused for now, and the pause before each time where the API names none.
const THROTTLED_TRIES: u32 = 50;
const THROTTLED_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause that an API is given.
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// A connection without a use for so long is not used again: the local stack closes it after 30 seconds, and what is sent at that moment is lost.
const IDLE: Duration = Duration::from_secs(20);

/// For how long a refused client is to wait.
fn pause(answer: &Answer) -> Duration {
    let seconds = answer.headers.get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
    seconds.map_or(THROTTLED_PAUSE, |seconds| Duration::from_secs(seconds).min(MAX_PAUSE))
}

/// A client of one API. Clones share its connections.
#[derive(Clone)]
pub struct Client {
    http: Hyper<Connector, Full<Bytes>>,
    base: String,
    token: Option<String>,
    description: Option<Arc<Description>>,
}

/// The price of a unit: 2.50.
pub const CENTS: u64 = 250;

impl Client {
    /// A client of the API at `base`, `http://127.0.0.1:3000`; with the feature `tls` also at `https://…`.
    ///
    /// # Panics
    /// When the feature `tls` finds no root certificates.
    #[allow(clippy::expect_used, reason = "a test that cannot connect has nothing else to do")]
    pub fn new(base: impl Into<String>) -> Self {
        Self {
            http: Hyper::builder(TokioExecutor::new())
                .pool_idle_timeout(IDLE)
                .build(connector().expect("root certificates")),
            base: base.into(),
            token: None,
            description: None,
        }
    }

    /// Where the API is.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The client in the name of a token.
    #[must_use]
    pub fn bearing(&self, token: impl Into<String>) -> Self {
        Self { token: Some(token.into()), ..self.clone() }
    }

    /// The client that fails on an answer that the description does not allow.
    #[must_use]
    pub fn checking(&self, description: &Arc<Description>) -> Self {
        Self { description: Some(Arc::clone(description)), ..self.clone() }
    }

    /// Sends raw bytes as JSON.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn send(&self, method: Method, path: &str, body: impl Into<Bytes>) -> Result<Answer> {
        self.send_with(method, path, &[("content-type", "application/json")], body).await
    }

    /// Sends raw bytes under these headers.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn send_with(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Answer> {
        let mut request = Request::builder().uri(format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let request = request.method(method.clone()).body(Full::new(body.into()))?;
        let answer = self.http.request(request).await.with_context(|| format!("{}{path}", self.base))?;
        let (parts, body) = answer.into_parts();
        let body = body.collect().await?.to_bytes();
        let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        let answer = Answer { status: parts.status.as_u16(), headers: parts.headers, body };
        let allowed = self.description.as_ref().map_or(Ok(()), |d| d.check(&method, path, &answer));
        allowed.map_err(|reason| anyhow::anyhow!("{method} {path}: {reason}: {}", answer.body))?;
        Ok(answer)
    }

    /// Gets a path.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn get(&self, path: &str) -> Result<Answer> {
        self.send(Method::GET, path, Bytes::new()).await
    }

    /// Puts a product at [`CENTS`]; with `stock` units, counted when its ETag was `etag`.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn put(&self, id: &str, stock: Option<u64>, etag: Option<&str>) -> Result<Answer> {
        let mut body = json!({"name": id, "unit_price_cents": CENTS});
        if let Some(stock) = stock {
            body["stock"] = stock.into();
        }
        let mut headers = vec![("content-type", "application/json")];
        headers.extend(etag.map(|etag| ("if-match", etag)));
        self.send_with(Method::PUT, &format!("/products/{id}"), &headers, body.to_string()).await
    }

    /// Lists a new product at [`CENTS`] with `stock` units.
    ///
    /// # Errors
    /// When the API does not take it.
    pub async fn list(&self, id: &str, stock: u64) -> Result<()> {
        let answer = self.put(id, Some(stock), None).await?;
        // 428: it is listed already, by an earlier try whose answer was lost.
        let is_listed = answer.status < 300 || answer.status == 428;
        ensure!(is_listed, "listing {id}: {} {}", answer.status, answer.body);
        Ok(())
    }

    /// The ETag of a product.
    ///
    /// # Errors
    /// When there is no such product.
    pub async fn etag(&self, id: &str) -> Result<String> {
        let answer = self.get(&format!("/products/{id}")).await?;
        let etag = answer.headers.get("etag").with_context(|| format!("{id}: {}", answer.status))?;
        Ok(etag.to_str()?.to_owned())
    }

    /// Lists a product, and waits until orders knows its price.
    ///
    /// # Errors
    /// When that takes longer than `timeout`.
    pub async fn sell(&self, id: &str, stock: u64, timeout: Duration) -> Result<()> {
        let deadline = Instant::now() + timeout;
        // A function that is still starting answers with a server error.
        while let Err(error) = self.list(id, stock).await {
            ensure!(Instant::now() < deadline, "{error:#}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        // Orders refuses a wrong price as such only when it knows the right one.
        let mut probe = order_of(id, 1);
        probe["items"][0]["unit_price_cents"] = 1.into();
        while self.post(&probe).await?.body["error"] != "PRICE_MISMATCH" {
            ensure!(Instant::now() < deadline, "the price of {id} never reached orders");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// A product.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn product(&self, id: &str) -> Result<Value> {
        Ok(self.get(&format!("/products/{id}")).await?.body)
    }

    /// Posts an order.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn post(&self, order: &Value) -> Result<Answer> {
        self.send(Method::POST, "/orders", order.to_string()).await
    }

    /// Posts an order that must be accepted, again where the API refused it for now; gives its id.
    ///
    /// # Errors
    /// When it is not accepted.
    pub async fn place(&self, order: &Value) -> Result<String> {
        let answer = self.in_turn(Method::POST, "/orders", order.to_string()).await?;
        ensure!(answer.status == 202, "{order}: {} {}", answer.status, answer.body);
        Ok(answer.body["order_id"].as_str().context("no order_id")?.to_owned())
    }

    /// An order.
    ///
    /// # Errors
    /// When there is no such order.
    pub async fn order(&self, id: &str) -> Result<Value> {
        let answer = self.in_turn(Method::GET, &format!("/orders/{id}"), String::new()).await?;
        ensure!(answer.status == 200, "order {id}: {} {}", answer.status, answer.body);
        Ok(answer.body)
    }

    /// The answer once the API's rate leaves room for the request.
    async fn in_turn(&self, method: Method, path: &str, body: String) -> Result<Answer> {
        for _ in 0..THROTTLED_TRIES {
            let answer = self.send(method.clone(), path, body.clone()).await?;
            if answer.status != 429 {
                return Ok(answer);
            }
            tokio::time::sleep(pause(&answer)).await;
        }
        self.send(method, path, body).await
    }

    /// The order once nothing more happens to it by itself.
    ///
    /// # Errors
    /// When that takes longer than `timeout`.
    pub async fn ended(&self, id: &str, timeout: Duration) -> Result<Value> {
        let deadline = Instant::now() + timeout;
        loop {
            let order = self.order(id).await?;
            if !matches!(order["status"].as_str(), Some("PENDING" | "CONFIRMED" | "CANCELLING")) {
                return Ok(order);
            }
            ensure!(Instant::now() < deadline, "after {timeout:?} the order is {order}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// A text as one segment of a path or one value of a query.
#[must_use]
pub fn encoded(text: &str) -> String {
    let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-');
    text.bytes().map(|c| if plain(c) { char::from(c).to_string() } else { format!("%{c:02X}") }).collect()
}

/// An order of `quantity` units of one product.
#[must_use]
pub fn order_of(product: &str, quantity: u64) -> Value {
    order_for("ada", product, quantity)
}

/// The same for another customer.
#[must_use]
pub fn order_for(customer: &str, product: &str, quantity: u64) -> Value {
    json!({"customer_id": customer, "payment_method": "pm_card_visa",
        "items": [{"product_id": product, "quantity": quantity}]})
}
