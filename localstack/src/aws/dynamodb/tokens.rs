//! `ClientRequestToken`: a repeated transaction is answered again, and not carried out.
//!
//! <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html>

use crate::support::remembered::Remembered;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

/// DynamoDB's ten minutes.
const WINDOW: Duration = Duration::from_secs(600);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("The provided request token has already been used with different request parameters")]
pub struct TokenMisused;

/// Hashes of tokens and of their requests, forgotten in the order in which they came.
pub struct Tokens {
    hasher: RandomState,
    began: Instant,
    /// By milliseconds since `began`: an order leaves ten of them for ten minutes, and an `Instant` would be twice as long.
    known: Remembered<u64, u64, u64>,
}

impl Default for Tokens {
    fn default() -> Self {
        Self { hasher: RandomState::new(), began: Instant::now(), known: Remembered::default() }
    }
}

impl Tokens {
    /// Whether a token came before, with the request of the same hash.
    ///
    /// # Errors
    /// When it came with another.
    pub fn is_known(&mut self, token: &str, request: u64) -> Result<bool, TokenMisused> {
        let now = self.now();
        let is_recent = |at: u64| Duration::from_millis(now.saturating_sub(at)) <= WINDOW;
        match self.known.recent(&self.hasher.hash_one(token), is_recent) {
            None => Ok(false),
            Some(known) if *known == request => Ok(true),
            Some(_) => Err(TokenMisused),
        }
    }

    pub fn remember(&mut self, token: &str, request: u64) {
        self.known.add(self.hasher.hash_one(token), self.now(), request);
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
