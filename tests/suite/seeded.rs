//! Time, ids and chance that follow from a seed: the same seed, the same run.

use chassis::ports::{Clock, Ids};
use chrono::{DateTime, TimeDelta, Utc};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;
use uuid::Uuid;

/// A small generator (SplitMix64).
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(n.max(1)).unwrap()).unwrap()
    }
}

/// A clock that moves on by a millisecond at each look, and ids that count.
#[derive(Default)]
pub struct Counter {
    millis: AtomicI64,
    ids: AtomicU64,
}

impl Counter {
    pub fn advance(&self, seconds: i64) {
        self.millis.fetch_add(seconds * 1000, Ordering::SeqCst);
    }
}

impl Clock for Counter {
    fn now(&self) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::milliseconds(self.millis.fetch_add(1, Ordering::SeqCst))
    }
}

impl Ids for Counter {
    fn fresh(&self) -> Uuid {
        Uuid::from_u128(u128::from(self.ids.fetch_add(1, Ordering::SeqCst)) + (7 << 76))
    }

    fn jitter(&self, _most: Duration) -> Duration {
        Duration::ZERO
    }

    fn secret(&self) -> [u8; 32] {
        let id = self.fresh().into_bytes();
        std::array::from_fn(|n| id[n % id.len()])
    }
}
