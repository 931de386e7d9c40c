//! `ClientRequestToken`: a repeated transaction gets its first answer again.

use bytes::Bytes;
use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

/// DynamoDB's ten minutes.
const WINDOW: Duration = Duration::from_secs(600);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the token was used with other parameters")]
pub struct TokenMisused;

/// Answers by token, forgotten in the order in which they came.
#[derive(Default)]
pub struct Tokens {
    answers: HashMap<String, (u64, Bytes)>,
    ages: VecDeque<(Instant, String)>,
}

fn fingerprint(body: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    hasher.finish()
}

impl Tokens {
    /// The answer that a token got before, if it did.
    ///
    /// # Errors
    /// When the token came with another request.
    pub fn check(&mut self, token: &str, body: &[u8]) -> Result<Option<Bytes>, TokenMisused> {
        while self.ages.front().is_some_and(|(at, _)| at.elapsed() > WINDOW) {
            if let Some((_, old)) = self.ages.pop_front() {
                self.answers.remove(&old);
            }
        }
        match self.answers.get(token) {
            None => Ok(None),
            Some((known, answer)) if *known == fingerprint(body) => Ok(Some(answer.clone())),
            Some(_) => Err(TokenMisused),
        }
    }

    pub fn remember(&mut self, token: String, body: &[u8], answer: Bytes) {
        self.ages.push_back((Instant::now(), token.clone()));
        self.answers.insert(token, (fingerprint(body), answer));
    }
}
