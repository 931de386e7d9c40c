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
#[derive(Default)]
pub struct Tokens {
    hasher: RandomState,
    known: Remembered<Instant, u64, u64>,
}

impl Tokens {
    /// Whether a token came before, with the request of the same hash.
    ///
    /// # Errors
    /// When it came with another.
    pub fn is_known(&mut self, token: &str, request: u64) -> Result<bool, TokenMisused> {
        let is_recent = |at: Instant| at.elapsed() <= WINDOW;
        match self.known.recent(&self.hasher.hash_one(token), is_recent) {
            None => Ok(false),
            Some(known) if *known == request => Ok(true),
            Some(_) => Err(TokenMisused),
        }
    }

    pub fn remember(&mut self, token: &str, request: u64) {
        self.known.add(self.hasher.hash_one(token), Instant::now(), request);
    }
}
