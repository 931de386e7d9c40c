//! How calls reach Stripe: over HTTPS, with a secret key that may change while the function is warm.

use super::CallError;
use super::stripe::{Call, STRIPE_VERSION, Transport};
use chassis::Failure;
use chassis::http::client::{Answer, HttpClient, Method};
use hyper::{Uri, header};
use std::future::Future;
use std::time::Duration;

/// How long Stripe may take to capture: card networks are slow at times.
const CAPTURE_TIMEOUT: Duration = Duration::from_secs(20);
/// How long it may take for anything else. One of each fits into the function's own limit.
const TIMEOUT: Duration = Duration::from_secs(8);
/// The longest pause that Stripe may ask for within one call; a longer one is the queue's.
const MAX_PAUSE: Duration = Duration::from_secs(2);

/// Where the secret key is kept.
pub trait Secret: Send + Sync + 'static {
    /// The key as it is now.
    fn read(&self) -> impl Future<Output = Result<String, Failure>> + Send;
}

/// Stripe at an address.
pub struct Https<S> {
    client: HttpClient,
    secret: S,
}

impl<S: Secret> Https<S> {
    /// Stripe at `base`, with the key that `secret` holds.
    ///
    /// # Errors
    /// Those of reading the secret, and of [`HttpClient::new`].
    pub async fn new(base: &Uri, secret: S) -> Result<Self, Failure> {
        Ok(Self { client: HttpClient::new("provider", base, &secret.read().await?)?, secret })
    }

    async fn once(&self, call: &Call) -> Result<Answer, CallError> {
        let mut request = self.client.request(call.method.clone(), &call.path);
        request = request.header("Stripe-Version", STRIPE_VERSION);
        if let Some(key) = &call.idempotency_key {
            request = request
                .header("Idempotency-Key", key)
                .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        }
        let captures = call.method == Method::POST && call.path.ends_with("/confirm");
        let timeout = if captures { CAPTURE_TIMEOUT } else { TIMEOUT };
        let sent = self.client.send_within(timeout, request, call.form.clone()).await;
        sent.map_err(|failure| match failure {
            Failure::Poison(reason) => CallError::Refused(reason),
            failure => CallError::Down(failure.to_string()),
        })
    }

    /// Reads the key again; whether it is another one now.
    async fn renew(&self) -> Result<bool, CallError> {
        let secret = self.secret.read().await.map_err(|e| CallError::Later(e.to_string()))?;
        self.client.authorize(&secret).map_err(|e| CallError::Refused(e.to_string()))
    }
}

impl<S: Secret> Transport for Https<S> {
    async fn send(&self, call: Call) -> Result<Answer, CallError> {
        let answer = self.once(&call).await?;
        match answer.status.as_u16() {
            // The key was rotated while this function was warm.
            401 | 403 if self.renew().await? => self.once(&call).await,
            429 => match answer.retry_after().filter(|pause| *pause <= MAX_PAUSE) {
                Some(pause) => {
                    tokio::time::sleep(pause).await;
                    self.once(&call).await
                }
                None => Ok(answer),
            },
            _ => Ok(answer),
        }
    }
}
