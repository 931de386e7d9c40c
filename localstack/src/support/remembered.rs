//! What is remembered for a while, by key: deduplication ids and tokens.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, Hash, RandomState};

/// Makes short keys of long ones: 128 bits by keys that are this process's own.
#[derive(Debug, Default)]
pub struct Fingerprints([RandomState; 2]);

impl Fingerprints {
    pub fn of(&self, text: &str) -> u128 {
        self.0.iter().fold(0, |bits, half| bits << u64::BITS | u128::from(half.hash_one(text)))
    }
}

/// Values with their times, forgotten in the order in which they came.
#[derive(Debug)]
pub struct Remembered<T, K, V> {
    known: HashMap<K, (T, V)>,
    /// The same keys, oldest first.
    times: VecDeque<(T, K)>,
}

impl<T, K, V> Default for Remembered<T, K, V> {
    fn default() -> Self {
        Self { known: HashMap::default(), times: VecDeque::default() }
    }
}

impl<T: Copy, K: Clone + Eq + Hash, V> Remembered<T, K, V> {
    /// The value of a key, if its time is recent; what is not any more is forgotten.
    pub fn recent(&mut self, key: &K, is_recent: impl Fn(T) -> bool) -> Option<&V> {
        while let Some((_, old)) = self.times.pop_front_if(|(at, _)| !is_recent(*at)) {
            // A key that was added once more since stands further back again.
            if self.known.get(&old).is_some_and(|(at, _)| !is_recent(*at)) {
                self.known.remove(&old);
            }
        }
        self.known.get(key).filter(|(at, _)| is_recent(*at)).map(|(_, value)| value)
    }

    pub fn add(&mut self, key: K, at: T, value: V) {
        self.times.push_back((at, key.clone()));
        self.known.insert(key, (at, value));
    }

    /// How many keys there are, and how many times.
    #[cfg(test)]
    pub fn len(&self) -> (usize, usize) {
        (self.known.len(), self.times.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: a key that was added again is known for as long as its last time says, and an old time does not end it.
    #[test]
    fn a_key_that_was_added_again_is_known() {
        let mut remembered = Remembered::default();
        remembered.add("a", 1, "first");
        remembered.add("b", 2, "other");
        remembered.add("a", 9, "again");
        assert_eq!(remembered.recent(&"a", |at| at > 5), Some(&"again"));
        assert_eq!(remembered.len(), (1, 1));
        assert_eq!(remembered.recent(&"b", |at| at > 5), None);
        assert_eq!(remembered.recent(&"a", |at| at > 9), None);
        assert_eq!(remembered.len(), (0, 0));
    }
}
