//! Calls to services outside the platform: bounded in time and size, their failures sorted into the classes that the
//! reaction loop knows.

use crate::failure::Failure;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::http::request::Builder;
use hyper::{HeaderMap, Request, Uri, header};
use hyper_util::client::legacy::{self, Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use std::error::Error;
use std::io::ErrorKind;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

pub use hyper::{Method, StatusCode};

/// How long one call may take. Well below a function's own timeout, so that giving up is our decision.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Whether an answer was given before under the same idempotency key.
const REPLAYED: &str = "idempotent-replayed";
/// The most of an answer that is read.
const MAX_ANSWER_BYTES: usize = 256 * 1024;

/// What connects: with the feature `tls` also by https.
#[cfg(feature = "tls")]
pub type Connector = hyper_rustls::HttpsConnector<HttpConnector>;
/// What connects: with the feature `tls` also by https.
#[cfg(not(feature = "tls"))]
pub type Connector = HttpConnector;

/// A connector.
///
/// # Errors
/// [`Failure::Poison`] when the machine has no root certificates.
#[cfg(feature = "tls")]
pub fn connector() -> Result<Connector, Failure> {
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_nodelay(true);
    let roots = hyper_rustls::HttpsConnectorBuilder::new().with_native_roots();
    let builder = roots.map_err(|e| Failure::Poison(format!("no root certificates: {e}")))?;
    Ok(builder.https_or_http().enable_http1().wrap_connector(http))
}

/// A connector.
///
/// # Errors
/// None without the feature `tls`.
#[cfg(not(feature = "tls"))]
pub fn connector() -> Result<Connector, Failure> {
    let mut http = HttpConnector::new();
    http.set_nodelay(true);
    Ok(http)
}

/// A client of one outside service, with a secret key.
pub struct HttpClient {
    who: &'static str,
    client: Client<Connector, Full<Bytes>>,
    base: String,
    authorization: RwLock<header::HeaderValue>,
}

/// An outside service's answer.
#[derive(Debug)]
pub struct Answer {
    who: &'static str,
    /// HTTP status.
    pub status: StatusCode,
    /// The body; null when it is not JSON.
    pub body: Value,
    headers: HeaderMap,
}

fn bearer(who: &str, secret: &str) -> Result<header::HeaderValue, Failure> {
    let value = header::HeaderValue::from_str(&format!("Bearer {secret}"));
    let mut value =
        value.map_err(|_| Failure::Poison(format!("{who}: the secret cannot be sent in a header")))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Whether a connection was closed before its answer began. Most likely it died while Lambda had the function frozen. The
/// request may have arrived nevertheless: each of ours may be made twice.
fn was_closed(error: &legacy::Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<hyper::Error>() {
            return error.is_incomplete_message() || error.is_canceled() || is_reset(error);
        }
        cause = error.source();
    }
    false
}

fn is_reset(error: &hyper::Error) -> bool {
    let kind =
        error.source().and_then(|cause| cause.downcast_ref::<std::io::Error>()).map(std::io::Error::kind);
    matches!(kind, Some(ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted))
}

impl HttpClient {
    /// `who`, at `base`, with a bearer token.
    ///
    /// # Errors
    /// [`Failure::Poison`] when the secret cannot be sent in a header, or there are no root certificates.
    pub fn new(who: &'static str, base: &Uri, secret: &str) -> Result<Self, Failure> {
        let authorization = RwLock::new(bearer(who, secret)?);
        let base = base.to_string().trim_end_matches('/').to_owned();
        Ok(Self {
            who,
            client: Client::builder(TokioExecutor::new()).build(connector()?),
            base,
            authorization,
        })
    }

    /// Uses another secret key from now on; whether it is another one.
    ///
    /// # Errors
    /// [`Failure::Poison`] when the secret cannot be sent in a header.
    pub fn authorize(&self, secret: &str) -> Result<bool, Failure> {
        let key = bearer(self.who, secret)?;
        let mut authorization = self.authorization.write().unwrap_or_else(PoisonError::into_inner);
        let is_other = *authorization != key;
        *authorization = key;
        Ok(is_other)
    }

    /// A request to a path, to be finished and sent.
    #[must_use]
    pub fn request(&self, method: Method, path: &str) -> Builder {
        let uri = format!("{}{path}", self.base);
        let authorization = self.authorization.read().unwrap_or_else(PoisonError::into_inner);
        Request::builder().method(method).uri(uri).header(header::AUTHORIZATION, &*authorization)
    }

    /// Sends a request; waits three seconds for its answer.
    ///
    /// # Errors
    /// As [`HttpClient::send_within`].
    pub async fn send(&self, request: Builder, body: String) -> Result<Answer, Failure> {
        self.send_within(TIMEOUT, request, body).await
    }

    /// Sends a request.
    ///
    /// # Errors
    /// [`Failure::Transient`] when there is no whole answer within `timeout`, [`Failure::Poison`] for a request
    /// that cannot be sent.
    pub async fn send_within(
        &self,
        timeout: Duration,
        request: Builder,
        body: String,
    ) -> Result<Answer, Failure> {
        let who = self.who;
        let request = request.body(Full::from(body)).map_err(|e| Failure::Poison(e.to_string()))?;
        let lost = |reason: String| Failure::Transient(format!("{who}: {reason}"));
        let exchange = async {
            let answer = match self.client.request(request.clone()).await {
                Err(error) if was_closed(&error) => self.client.request(request).await,
                answer => answer,
            };
            let answer = answer.map_err(|e| lost(e.to_string()))?;
            let (status, headers) = (answer.status(), answer.headers().clone());
            let body = Limited::new(answer.into_body(), MAX_ANSWER_BYTES).collect().await;
            let body = body.map_err(|e| lost(e.to_string()))?.to_bytes();
            Ok(Answer { who, status, headers, body: serde_json::from_slice(&body).unwrap_or(Value::Null) })
        };
        match tokio::time::timeout(timeout, exchange).await {
            Ok(answer) => answer,
            Err(_) => Err(lost(format!("no answer within {timeout:?}"))),
        }
    }
}

impl Answer {
    /// An answer, for tests of what is made of it.
    #[must_use]
    pub fn new(status: StatusCode, body: Value) -> Self {
        Self { who: "provider", status, body, headers: HeaderMap::new() }
    }

    /// The answer as one that was given before under the same idempotency key, for tests.
    #[must_use]
    pub fn replayed(mut self) -> Self {
        self.headers.insert(REPLAYED, header::HeaderValue::from_static("true"));
        self
    }

    /// Whether it was given before under the same idempotency key.
    #[must_use]
    pub fn is_replayed(&self) -> bool {
        self.headers.get(REPLAYED).is_some_and(|value| value == "true")
    }

    /// The pause that it asks for, if it names one in seconds.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        let seconds = self.headers.get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
        Some(Duration::from_secs(seconds))
    }

    /// Who answered what, in a line: the status and the error's code.
    #[must_use]
    pub fn described(&self) -> String {
        let code = self.text("/error/code").or_else(|| self.text("/error/type")).unwrap_or("no code");
        format!("{}: {} ({code})", self.who, self.status)
    }

    /// A text in its body.
    #[must_use]
    pub fn text(&self, pointer: &str) -> Option<&str> {
        self.body.pointer(pointer).and_then(Value::as_str)
    }

    /// The failure that stands for an answer which is neither yes nor no. 409: another call works on the same thing.
    #[must_use]
    pub fn failure(&self) -> Failure {
        if self.status == StatusCode::CONFLICT {
            return Failure::Conflict { attempts: 1 };
        }
        Failure::Transient(self.described())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// A server that answers the first request of each connection, and closes it at the second; gives its address.
    async fn forgetful() -> Uri {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            loop {
                let mut connection = listener.accept().await.unwrap().0;
                tokio::spawn(async move {
                    let mut head = [0; 1024];
                    assert!(connection.read(&mut head).await.unwrap() > 0);
                    connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await.unwrap();
                    assert!(connection.read(&mut head).await.unwrap() > 0);
                });
            }
        });
        format!("http://{address}").parse().unwrap()
    }

    /// Guards: a connection that died while the function was frozen costs another connection and no delivery.
    #[tokio::test]
    async fn a_connection_that_has_died_is_replaced() {
        let client = HttpClient::new("carrier", &forgetful().await, "key").unwrap();
        for _ in 0..3 {
            let answer = client.send(client.request(Method::PUT, "/shipments/1"), "{}".into()).await;
            assert_eq!(answer.unwrap().status, 200);
        }
    }
}
