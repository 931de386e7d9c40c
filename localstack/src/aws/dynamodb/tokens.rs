//! `ClientRequestToken`: a repeated transaction is answered again, and not carried out.
//!
//! <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html>

use std::collections::{HashMap, VecDeque};
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
    known: HashMap<u64, u64>,
    ages: VecDeque<(Instant, u64)>,
}

impl Tokens {
    /// Whether a token came before, with the request of the same hash.
    ///
    /// # Errors
    /// When it came with another.
    pub fn is_known(&mut self, token: &str, request: u64) -> Result<bool, TokenMisused> {
        while self.ages.front().is_some_and(|(at, _)| at.elapsed() > WINDOW) {
            if let Some((_, old)) = self.ages.pop_front() {
                self.known.remove(&old);
            }
        }
        match self.known.get(&self.hasher.hash_one(token)) {
            None => Ok(false),
            Some(known) if *known == request => Ok(true),
            Some(_) => Err(TokenMisused),
        }
    }

    pub fn remember(&mut self, token: &str, request: u64) {
        let token = self.hasher.hash_one(token);
        self.ages.push_back((Instant::now(), token));
        self.known.insert(token, request);
    }
}
