//! Eventually consistent reads: while a fault wants it, those show the tables as they were a moment ago, as replicas and indexes of
//! DynamoDB may.
//!
//! <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.ReadConsistency.html>

use super::schema::{Index, RowKey, Schema};
use super::value::read;
use crate::support::storage::{Range, Space, Storage};
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

/// Of so many changes is kept what was before. Where a table changes faster than that, reads are less far behind.
pub const MOST_CHANGES: usize = 10_000;

/// What changed in a table a moment ago.
#[derive(Default)]
pub struct Lag {
    by: Duration,
    /// When each row changed, and what it was before; oldest first.
    changes: VecDeque<(Instant, RowKey, Option<Bytes>)>,
}

impl Lag {
    /// How far behind the reads are from now on: at most, for what changed before is not known.
    pub fn set(&mut self, by: Duration) {
        let now = Instant::now();
        self.forget(now);
        self.by = by;
        self.forget(now);
    }

    fn forget(&mut self, now: Instant) {
        let by = self.by;
        while self.changes.pop_front_if(|(at, ..)| now.duration_since(*at) >= by).is_some() {}
    }

    /// Keeps what a row was.
    pub fn keep(&mut self, key: &RowKey, before: Option<Bytes>) {
        let now = Instant::now();
        self.forget(now);
        if self.changes.len() >= MOST_CHANGES {
            self.changes.pop_front();
        }
        self.changes.push_back((now, key.clone(), before));
    }

    /// The rows that changed meanwhile, as they were.
    #[must_use]
    pub fn past(&self) -> Past {
        let now = Instant::now();
        let changes = self.changes.iter().rev().filter(|(at, ..)| now.duration_since(*at) < self.by);
        // The earliest change of a row is the last to be collected.
        Past(changes.map(|(_, key, before)| (key.clone(), before.clone())).collect())
    }
}

/// Rows as they were, where that differs from what they are; none at the end of a row that was not there.
#[derive(Default)]
pub struct Past(BTreeMap<RowKey, Option<Bytes>>);

impl Past {
    /// A row's JSON.
    #[must_use]
    pub fn row(&self, storage: &Storage, key: &RowKey) -> Option<Bytes> {
        self.0.get(key).map_or_else(|| storage.get(Space::Rows, key.as_bytes()), Clone::clone)
    }

    /// Shows the rows at the places of a table or of its index, until `visit` breaks off.
    pub fn visit(
        &self,
        storage: &Storage,
        (schema, index, range): (&Schema, Option<&Index>, &Range),
        mut visit: impl FnMut(&[u8]) -> ControlFlow<()>,
    ) {
        let mut old = self.places(schema, index, range).into_iter().peekable();
        let is_due = |old: &[u8], place: &[u8]| if range.is_backward { old >= place } else { old <= place };
        let space = if index.is_some() { Space::Indexes } else { Space::Rows };
        let mut flow = ControlFlow::Continue(());
        storage.visit(space, range, |place, value| {
            while let Some((_, row)) = old.next_if(|(old, _)| is_due(old, place)) {
                flow = visit(row);
                if flow.is_break() {
                    return flow;
                }
            }
            let key = RowKey::at(if index.is_some() { &value } else { place });
            if !self.0.contains_key(&key) {
                let row =
                    if index.is_some() { storage.get(Space::Rows, key.as_bytes()) } else { Some(value) };
                // An entry and its row are written together.
                flow = row.map_or(ControlFlow::Continue(()), |row| visit(&row));
            }
            flow
        });
        while let (ControlFlow::Continue(()), Some((_, row))) = (flow, old.next()) {
            flow = visit(row);
        }
    }

    /// The places of a range where rows were, in its direction.
    fn places(&self, schema: &Schema, index: Option<&Index>, range: &Range) -> Vec<(Vec<u8>, &Bytes)> {
        let place = |key: &RowKey, row: &Bytes| match index {
            None => Some(key.as_bytes().to_vec()),
            Some(index) => schema.entry(index, &read(row)),
        };
        let rows = self.0.iter().filter_map(|(key, row)| Some((key, row.as_ref()?)));
        let places = rows.filter_map(|(key, row)| Some((place(key, row)?, row)));
        let mut places: Vec<_> = places.filter(|(place, _)| range.holds(place)).collect();
        places.sort();
        if range.is_backward {
            places.reverse();
        }
        places
    }
}
