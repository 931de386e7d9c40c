//! How calls reach Stripe: over HTTPS, with a secret key that may change while the function is warm.

use super::CallError;
use super::stripe::{Call, STRIPE_VERSION, Transport};
use chassis::Failure;
use chassis::http::client::{Answer, HttpClient, Method};
use chassis::ports::Secret;
use hyper::{Uri, header};
use std::time::Duration;

/// How long Stripe may take to capture: card networks are slow at times.
pub const CAPTURE_TIMEOUT: Duration = Duration::from_secs(20);
/// How long it may take for anything else. Two of these and one capture fit into the function's own limit.
pub const TIMEOUT: Duration = Duration::from_secs(4);
/// The longest pause that Stripe may ask for within one call; a longer one is the queue's.
const MAX_PAUSE: Duration = Duration::from_secs(2);

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::PaymentProvider;
    use crate::provider::stripe::Stripe;
    use std::sync::{Arc, Mutex};
    use std::time::Instant;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    /// The key as Secrets Manager has it; clones share it.
    #[derive(Clone)]
    struct Kept(Arc<Mutex<&'static str>>);

    impl Kept {
        fn rotate(&self, key: &'static str) {
            *self.0.lock().unwrap() = key;
        }
    }

    impl Secret for Kept {
        async fn read(&self) -> Result<String, Failure> {
            Ok((*self.0.lock().unwrap()).to_owned())
        }
    }

    /// Reads one request without a body; gives its head.
    async fn request(connection: &mut TcpStream) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(connection.read_u8().await.unwrap());
        }
        String::from_utf8(head).unwrap()
    }

    /// A server that answers with a status and further headers, by what it was asked; and what it was asked.
    async fn server(
        answer: impl Fn(&str) -> (u16, &'static str) + Send + 'static,
    ) -> (Uri, Arc<Mutex<Vec<String>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, asked) = (listener.local_addr().unwrap(), Arc::<Mutex<Vec<String>>>::default());
        let seen = Arc::clone(&asked);
        tokio::spawn(async move {
            loop {
                let mut connection = listener.accept().await.unwrap().0;
                let head = request(&mut connection).await;
                let (status, headers) = answer(&head);
                seen.lock().unwrap().push(head);
                let length = "content-length: 0\r\nconnection: close";
                let text = format!("HTTP/1.1 {status} Reason\r\n{headers}{length}\r\n\r\n");
                connection.write_all(text.as_bytes()).await.unwrap();
            }
        });
        (format!("http://{address}").parse().unwrap(), asked)
    }

    /// A warm function, which began with the key `old`; and where the key is kept.
    async fn warm(base: &Uri) -> (Https<Kept>, Kept) {
        let kept = Kept(Arc::new(Mutex::new("old")));
        (Https::new(base, kept.clone()).await.unwrap(), kept)
    }

    fn retrieve() -> Call {
        let path = "/v1/payment_intents/pi".into();
        Call { method: Method::GET, path, idempotency_key: None, form: String::new() }
    }

    /// Guards: a key that was rotated works in a warm function, at once and from then on.
    #[tokio::test]
    async fn a_rotated_key_works_in_a_warm_function() {
        for refused in [401, 403] {
            let knows_new = |head: &str| head.contains("Bearer new");
            let (base, asked) = server(move |head| (if knows_new(head) { 200 } else { refused }, "")).await;
            let (https, kept) = warm(&base).await;
            kept.rotate("new");
            for calls in [2, 3] {
                assert_eq!(https.send(retrieve()).await.unwrap().status, 200);
                assert_eq!(asked.lock().unwrap().len(), calls, "{refused}");
            }
        }
    }

    /// Guards: a key that is refused is no outage. What no rotation mends is refused, and fails for good, with an alarm.
    #[tokio::test]
    async fn a_refused_key_is_a_refused_call() {
        for (refused, rotated, calls) in [(401, "old", 1), (403, "old", 1), (401, "new", 2), (403, "new", 2)]
        {
            let (base, asked) = server(move |_| (refused, "")).await;
            let (https, kept) = warm(&base).await;
            kept.rotate(rotated);
            let error = Stripe(https).look_up("pi").await.unwrap_err();
            assert!(matches!(error, CallError::Refused(_)), "{error:?}");
            assert!(matches!(Failure::from(error), Failure::Poison(_)));
            assert_eq!(asked.lock().unwrap().len(), calls, "{refused}, {rotated}");
        }
    }

    /// Guards: 429 waits as it is asked to, where that is short; a longer pause is the queue's.
    #[tokio::test]
    async fn too_many_requests_wait_as_asked() {
        for (pause, calls, waits) in [("retry-after: 1\r\n", 2, 1), ("retry-after: 3\r\n", 1, 0), ("", 1, 0)]
        {
            let (base, asked) = server(move |_| (429, pause)).await;
            let (https, _) = warm(&base).await;
            let started = Instant::now();
            let error = Stripe(https).look_up("pi").await.unwrap_err();
            assert!(matches!(error, CallError::Later(_)), "{error:?}");
            assert_eq!(asked.lock().unwrap().len(), calls, "{pause}");
            assert_eq!(started.elapsed().as_secs(), waits, "{pause}");
        }
    }
}
