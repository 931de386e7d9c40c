//! The rows that commits on their way write: of two that write the same row, one waits for the other.

use super::Key;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

#[derive(Default)]
struct Shared {
    held: Mutex<HashSet<Key>>,
    /// Something was given back.
    free: Notify,
}

impl Shared {
    fn held(&self) -> MutexGuard<'_, HashSet<Key>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Rows, each held by one commit at most. Clones share them.
#[derive(Clone, Default)]
pub struct Rows(Arc<Shared>);

/// Rows that are held. Dropped, they are given back.
pub struct Held {
    rows: Arc<Shared>,
    keys: Vec<Key>,
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut held = self.rows.held();
        for key in &self.keys {
            held.remove(key);
        }
        drop(held);
        self.rows.free.notify_waiters();
    }
}

impl Rows {
    /// Waits until nobody holds any of these rows, and holds all of them. Whoever waits holds none, so none waits for ever.
    pub async fn hold(&self, keys: Vec<Key>) -> Held {
        loop {
            // Made before looking: what is given back from now on is not missed.
            let free = self.0.free.notified();
            if self.take(&keys) {
                return Held { rows: Arc::clone(&self.0), keys };
            }
            free.await;
        }
    }

    fn take(&self, keys: &[Key]) -> bool {
        let mut held = self.0.held();
        let is_free = keys.iter().all(|key| !held.contains(key));
        if is_free {
            held.extend(keys.iter().cloned());
        }
        is_free
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    /// Guards: of two commits that write the same row one waits, others do not, and one that is dropped while it waits or works holds
    /// nobody up.
    #[tokio::test]
    async fn a_row_is_held_by_one() {
        let (rows, [a, b, c]) = (Rows::default(), ["a", "b", "c"].map(Key::state));
        let first = rows.hold(vec![a.clone(), b.clone()]).await;
        let mut second = Box::pin(rows.hold(vec![b.clone(), c.clone()]));
        let gone = Box::pin(rows.hold(vec![a.clone()]));
        assert!((&mut second).now_or_never().is_none() && gone.now_or_never().is_none());
        let third = rows.hold(vec![c.clone()]).now_or_never();
        assert!(third.is_some(), "who waits holds nothing");
        drop(third);
        drop(first);
        let second = second.await;
        assert!(rows.hold(vec![b]).now_or_never().is_none());
        drop(second);
        assert!(rows.hold(vec![c]).now_or_never().is_some());
    }
}
