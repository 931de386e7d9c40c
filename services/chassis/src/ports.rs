//! The outside world a reaction may touch: a store, a clock, ids and jitter. All are arguments, so that the
//! same code runs on Lambda, in tests and under a seeded simulation.

use crate::failure::Failure;
use crate::store::{CommitError, Grouped, Limits, Store, Write};
use aes_gcm::{Aes256Gcm, KeyInit, aead::OsRng};
use chrono::{DateTime, Utc};
use events::Envelope;
use std::{future::Future, sync::Arc, time::Duration};
use uuid::Uuid;

/// How often a worker tries again while others keep changing the same rows.
pub const MAX_ATTEMPTS: u32 = 8;

/// The time.
pub trait Clock: Send + Sync {
    /// The current time, UTC, cut to milliseconds.
    fn now(&self) -> DateTime<Utc>;
}

/// Makes the ids that are not derived from a cause, the jitter of retries, and secrets.
pub trait Ids: Send + Sync {
    /// A fresh UUIDv7.
    fn fresh(&self) -> Uuid;
    /// A duration between zero and `most`.
    fn jitter(&self, most: Duration) -> Duration;
    /// Bytes that cannot be guessed.
    fn secret(&self) -> [u8; 32];
}

/// A topic for messages to people: published on it is not sent to anyone.
pub trait Topic: Send + Sync + 'static {
    /// Publishes a message: in order with others of its group, and once for an `id`, however often the caller tries
    /// within the topic's window (SNS: five minutes).
    fn publish(
        &self,
        group: &str,
        id: &str,
        body: String,
    ) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// A secret's text, which may change while a function is warm.
pub trait Secret: Send + Sync + 'static {
    /// The text as it is now.
    fn read(&self) -> impl Future<Output = Result<String, Failure>> + Send;
}

/// The bus, for events that are published once more. The first time, the pipe publishes them from the outbox.
pub trait Bus: Clone + Send + Sync + 'static {
    /// Publishes events; the bus accepts each, or the call fails.
    fn publish(&self, events: &[Envelope]) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// The bus of a consumer that has none.
#[derive(Clone, Copy, Debug)]
pub enum NoBus {}

impl Bus for NoBus {
    async fn publish(&self, _events: &[Envelope]) -> Result<(), Failure> {
        match *self {}
    }
}

/// The machine's clock.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> DateTime<Utc> {
        events::envelope::to_millis(Utc::now())
    }
}

/// The machine's randomness.
#[derive(Clone, Copy, Debug)]
pub struct RandomIds;

impl Ids for RandomIds {
    fn fresh(&self) -> Uuid {
        Uuid::now_v7()
    }

    fn jitter(&self, most: Duration) -> Duration {
        let micros = u64::try_from(most.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(fastrand::u64(0..=micros))
    }

    /// From the operating system's own generator: `fastrand` could be guessed.
    fn secret(&self) -> [u8; 32] {
        Aes256Gcm::generate_key(OsRng).into()
    }
}

/// Everything a reaction or a request handler is given.
#[derive(Clone)]
pub struct Ports<S> {
    /// The service's own table.
    pub store: S,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Ids and jitter.
    pub ids: Arc<dyn Ids>,
}

impl<S> Ports<S> {
    /// Real time and real randomness around `store`.
    pub fn system(store: S) -> Self {
        Self { store, clock: Arc::new(SystemClock), ids: Arc::new(RandomIds) }
    }

    /// As [`Ports::back_off`], after an attempt that the store refused for now.
    ///
    /// # Errors
    /// [`Failure::Transient`] with the store's `reason`, after the last attempt.
    pub async fn wait_for_store(&self, attempt: u32, reason: String) -> Result<(), Failure> {
        if attempt == MAX_ATTEMPTS {
            return Err(Failure::Transient(format!("{reason}; attempts made: {attempt}")));
        }
        self.back_off(attempt).await;
        Ok(())
    }

    /// Waits after attempt number `attempt`: exponential from 10 ms, capped at 400 ms, full jitter.
    pub async fn back_off(&self, attempt: u32) {
        let ceiling = Duration::from_millis(10_u64.saturating_mul(1 << attempt.min(10)).min(400));
        let pause = self.ids.jitter(ceiling);
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    }
}

impl<S: Store> Ports<S> {
    /// The same around a store that puts together what is asked for at the same time.
    pub fn grouped(self, limits: Limits) -> Ports<Grouped<S>> {
        Ports { store: Grouped::new(self.store, limits), clock: self.clock, ids: self.ids }
    }

    /// Commits one write that depends on no decision, again and again while other transactions hold its row.
    ///
    /// # Errors
    /// A [`CommitError`], which is never `Busy`.
    pub async fn commit_alone(&self, write: Write) -> Result<(), CommitError> {
        for attempt in 1..=MAX_ATTEMPTS {
            match self.store.commit(vec![write.clone()]).await {
                Err(CommitError::Busy(reason)) => self.wait_for_store(attempt, reason).await?,
                outcome => return outcome,
            }
        }
        Err(Failure::Conflict { attempts: MAX_ATTEMPTS }.into())
    }
}
