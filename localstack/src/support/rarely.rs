//! What is worth saying, and not again a moment later.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// For so long nothing is said twice.
const PAUSE: Duration = Duration::from_secs(60);
/// So many things are remembered; then those are forgotten that may be said again.
const REMEMBERED: usize = 10_000;

/// When each thing was said.
#[derive(Debug)]
pub struct Rarely<K>(Mutex<HashMap<K, Instant>>);

impl<K> Default for Rarely<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash> Rarely<K> {
    /// Whether a thing is to be said now: it was not within the last minute.
    pub fn is_due(&self, what: K, now: Instant) -> bool {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_recent = |at: &Instant| now.saturating_duration_since(*at) < PAUSE;
        if said.get(&what).is_some_and(is_recent) {
            return false;
        }
        if said.len() >= REMEMBERED {
            said.retain(|_, at| is_recent(at));
        }
        if said.len() < REMEMBERED {
            said.insert(what, now);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: a failure that repeats a thousand times a second is one line a minute, and not a different one.
    #[test]
    fn a_thing_is_said_once_a_minute() {
        let (rarely, now) = (Rarely::default(), Instant::now());
        assert_eq!(
            [0, 1, 59].map(|s| rarely.is_due("a", now + Duration::from_secs(s))),
            [true, false, false]
        );
        assert!(rarely.is_due("b", now));
        assert!(rarely.is_due("a", now + PAUSE) && !rarely.is_due("a", now + PAUSE));
    }
}
