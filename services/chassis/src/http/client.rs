//! Calls to services outside the platform: bounded in time and size, their failures sorted into the classes that the
//! reaction loop knows.

use crate::failure::Failure;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::http::request::Builder;
use hyper::{Request, Uri, header};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use std::time::Duration;

pub use hyper::{Method, StatusCode};

/// How long one call may take. Well below a function's own timeout, so that giving up is our decision.
const TIMEOUT: Duration = Duration::from_secs(3);
/// The most of an answer that is read.
const MAX_ANSWER_BYTES: usize = 256 * 1024;

#[cfg(feature = "tls")]
type Connector = hyper_rustls::HttpsConnector<HttpConnector>;
#[cfg(not(feature = "tls"))]
type Connector = HttpConnector;

#[cfg(feature = "tls")]
fn connector() -> Result<Connector, Failure> {
    let roots = hyper_rustls::HttpsConnectorBuilder::new().with_native_roots();
    let builder = roots.map_err(|e| Failure::Poison(format!("no root certificates: {e}")))?;
    Ok(builder.https_or_http().enable_http1().build())
}

#[cfg(not(feature = "tls"))]
fn connector() -> Result<Connector, Failure> {
    Ok(HttpConnector::new())
}

/// A client of one outside service, with a secret key.
pub struct HttpClient {
    who: &'static str,
    client: Client<Connector, Full<Bytes>>,
    base: String,
    authorization: header::HeaderValue,
}

/// An outside service's answer.
#[derive(Debug)]
pub struct Answer {
    who: &'static str,
    /// HTTP status.
    pub status: StatusCode,
    /// The body; null when it is not JSON.
    pub body: Value,
}

impl HttpClient {
    /// `who`, at `base`, with a bearer token.
    ///
    /// # Errors
    /// [`Failure::Poison`] when the secret cannot be sent in a header, or there are no root certificates.
    pub fn new(who: &'static str, base: &Uri, secret: &str) -> Result<Self, Failure> {
        let authorization = header::HeaderValue::from_str(&format!("Bearer {secret}"));
        let mut authorization = authorization
            .map_err(|_| Failure::Poison(format!("{who}: the secret cannot be sent in a header")))?;
        authorization.set_sensitive(true);
        let base = base.to_string().trim_end_matches('/').to_owned();
        Ok(Self {
            who,
            client: Client::builder(TokioExecutor::new()).build(connector()?),
            base,
            authorization,
        })
    }

    /// A request to a path, to be finished and sent.
    #[must_use]
    pub fn request(&self, method: Method, path: &str) -> Builder {
        let uri = format!("{}{path}", self.base);
        Request::builder().method(method).uri(uri).header(header::AUTHORIZATION, &self.authorization)
    }

    /// Sends a request.
    ///
    /// # Errors
    /// [`Failure::Transient`] when there is no whole answer within [`TIMEOUT`], [`Failure::Poison`] for a request
    /// that cannot be sent.
    pub async fn send(&self, request: Builder, body: String) -> Result<Answer, Failure> {
        let who = self.who;
        let request = request.body(Full::from(body)).map_err(|e| Failure::Poison(e.to_string()))?;
        let lost = |reason: String| Failure::Transient(format!("{who}: {reason}"));
        let exchange = async {
            let answer = self.client.request(request).await.map_err(|e| lost(e.to_string()))?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), MAX_ANSWER_BYTES).collect().await;
            let body = body.map_err(|e| lost(e.to_string()))?.to_bytes();
            Ok(Answer { who, status, body: serde_json::from_slice(&body).unwrap_or(Value::Null) })
        };
        match tokio::time::timeout(TIMEOUT, exchange).await {
            Ok(answer) => answer,
            Err(_) => Err(lost(format!("no answer within {TIMEOUT:?}"))),
        }
    }
}

impl Answer {
    /// An answer, for tests of what is made of it.
    #[must_use]
    pub const fn new(status: StatusCode, body: Value) -> Self {
        Self { who: "provider", status, body }
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
        let code = self.text("/error/code").or_else(|| self.text("/error/type")).unwrap_or("no code");
        Failure::Transient(format!("{}: {} ({code})", self.who, self.status))
    }
}
