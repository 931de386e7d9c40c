//! Keys in memory.

use super::{Batch, Change, Range, Space};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

type Keys = BTreeMap<Vec<u8>, Bytes>;

/// One map for each space.
#[derive(Default)]
pub struct Memory([RwLock<Keys>; Space::ALL.len()]);

impl Memory {
    fn read(&self, space: Space) -> RwLockReadGuard<'_, Keys> {
        self.0[space as usize].read().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn get(&self, space: Space, key: &[u8]) -> Option<Bytes> {
        self.read(space).get(key).cloned()
    }

    pub fn visit(
        &self,
        space: Space,
        range: &Range,
        visit: &mut impl FnMut(&[u8], Bytes) -> ControlFlow<()>,
    ) {
        let keys = self.read(space);
        let mut found = keys.range::<Vec<u8>, _>((range.from.as_ref(), range.to.as_ref()));
        while let Some((key, value)) = if range.is_backward { found.next_back() } else { found.next() } {
            if visit(key, value.clone()).is_break() {
                return;
            }
        }
    }

    pub fn write(&self, batch: Batch) {
        for (space, key, change) in batch.0 {
            let mut keys = self.0[space as usize].write().unwrap_or_else(PoisonError::into_inner);
            match change {
                Change::Put(value) => drop(keys.insert(key, value)),
                Change::Delete => drop(keys.remove(&key)),
            }
        }
    }
}
