//! The key of the cursors, as a warm function keeps it: read again every few minutes, so that a new one comes into use
//! without a deployment.

use chassis::http::cursor::Cursors;
use chassis::http::{Api, Problem, Request, Response};
use chassis::ports::{Clock, Secret};
use chrono::{DateTime, TimeDelta, Utc};
use std::sync::{Arc, Mutex, PoisonError};

/// How old the key may be.
const MAX_AGE: TimeDelta = TimeDelta::minutes(5);

/// An API whose cursors follow their secret.
pub struct Renewed<A, K> {
    api: A,
    cursors: Cursors,
    key: K,
    clock: Arc<dyn Clock>,
    read_at: Mutex<DateTime<Utc>>,
}

impl<A, K: Secret> Renewed<A, K> {
    /// An API, its cursors, the secret that they were just made from, and the time.
    pub fn new(api: A, cursors: Cursors, key: K, clock: Arc<dyn Clock>) -> Self {
        let read_at = Mutex::new(clock.now());
        Self { api, cursors, key, clock, read_at }
    }

    /// Whether the key has to be read again; of several requests at a time one reads it.
    fn is_old(&self) -> bool {
        let (now, mut read_at) =
            (self.clock.now(), self.read_at.lock().unwrap_or_else(PoisonError::into_inner));
        let is_old = now - *read_at >= MAX_AGE;
        if is_old {
            *read_at = now;
        }
        is_old
    }
}

impl<A: Api, K: Secret> Api for Renewed<A, K> {
    const ROUTES: &'static [&'static str] = A::ROUTES;
    const SCOPES: &'static [&'static str] = A::SCOPES;

    async fn answer(&self, request: Request) -> Result<Response, Problem> {
        if self.is_old() {
            match self.key.read().await {
                Ok(key) => self.cursors.renew(&key),
                Err(failure) => {
                    tracing::warn!(reason = failure.to_string(), "the old key of the cursors is used on");
                }
            }
        }
        self.api.answer(request).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chassis::Failure;

    struct Sealing(Cursors);

    impl Api for Sealing {
        const ROUTES: &'static [&'static str] = &[];
        const SCOPES: &'static [&'static str] = &[];

        async fn answer(&self, _request: Request) -> Result<Response, Problem> {
            Ok(Response::json(200, self.0.seal("list", "position").into()))
        }
    }

    #[derive(Clone)]
    struct Known(Arc<Mutex<Result<&'static str, ()>>>);

    impl Secret for Known {
        async fn read(&self) -> Result<String, Failure> {
            let key = *self.0.lock().unwrap();
            key.map(str::to_owned).map_err(|()| Failure::Transient("no answer".into()))
        }
    }

    struct At(Mutex<DateTime<Utc>>);

    impl Clock for At {
        fn now(&self) -> DateTime<Utc> {
            *self.0.lock().unwrap()
        }
    }

    /// Guards: a new key is used by a warm function five minutes later, and one that cannot be read stops nothing.
    #[tokio::test]
    async fn a_new_key_is_used_after_five_minutes() {
        let cursors = Cursors::new("old").unwrap();
        let (key, clock) = (Known(Arc::new(Mutex::new(Ok("new")))), Arc::new(At(Mutex::default())));
        let api = Renewed::new(Sealing(cursors.clone()), cursors, key.clone(), clock.clone());
        let [old, new] = ["old", "new"].map(|key| Cursors::new(key).unwrap().seal("list", "position"));
        let sealed = async || api.answer(Request::default()).await.unwrap().body;
        assert_eq!(sealed().await, old);
        *clock.0.lock().unwrap() += MAX_AGE;
        *key.0.lock().unwrap() = Err(());
        assert_eq!(sealed().await, old);
        *clock.0.lock().unwrap() += MAX_AGE;
        *key.0.lock().unwrap() = Ok("new");
        assert_eq!(sealed().await, new);
    }
}
