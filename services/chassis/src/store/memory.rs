//! The store in memory: for domain scenarios and the simulation. It passes the same contract as DynamoDB's.

use super::{
    Attr, CommitError, Condition, Indexed, Item, Key, MAX_PAGE, Rejected, Scan, Scanned, Store, Write,
    check_shape,
};
use crate::failure::Failure;
use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

#[derive(Default)]
struct Table {
    rows: BTreeMap<Key, Item>,
    inserted: Vec<Item>,
}

/// A table in memory, and beside it the table of keys. Clones share them.
#[derive(Clone, Default)]
pub struct MemoryStore {
    table: Arc<Mutex<Table>>,
    keys: Arc<Mutex<Table>>,
}

impl MemoryStore {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The table of keys.
    #[must_use]
    pub fn keys(&self) -> Self {
        Self { table: Arc::clone(&self.keys), keys: Arc::default() }
    }

    /// The rows inserted since the last call, oldest first: what a stream would have shown.
    #[must_use]
    pub fn take_inserted(&self) -> Vec<Item> {
        std::mem::take(&mut self.table().inserted)
    }

    /// Every row, by key.
    #[must_use]
    pub fn rows(&self) -> Vec<Item> {
        self.table().rows.values().cloned().collect()
    }

    /// A table with these rows.
    #[must_use]
    pub fn of(rows: impl IntoIterator<Item = Item>) -> Self {
        let rows = rows.into_iter().map(|row| (row.key.clone(), row)).collect();
        Self { table: Arc::new(Mutex::new(Table { rows, inserted: Vec::new() })), keys: Arc::default() }
    }

    /// The rows that an index has in a partition, by their place in it.
    fn indexed(&self, index: &str, partition: &str) -> Vec<Indexed> {
        let (table, name) = (self.table(), format!("{index}_at"));
        let of = table.rows.values().filter(|item| item.text(index) == Some(partition));
        let indexed = |item: &Item| Some(Indexed { key: item.key.clone(), at: item.text(&name)?.to_owned() });
        let mut found: Vec<Indexed> = of.filter_map(indexed).collect();
        found.sort_by(|a, b| (&a.at, &a.key).cmp(&(&b.at, &b.key)));
        found
    }

    /// A table of its own with the same rows.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self { keys: Self::of(self.keys().rows()).table, ..Self::of(self.rows()) }
    }

    /// Deletes a row, as TTL would.
    pub fn expire(&self, key: &Key) {
        self.table().rows.remove(key);
    }
}

/// How many rows a page may have.
fn rows(limit: u32) -> usize {
    usize::try_from(limit.min(MAX_PAGE)).unwrap_or(usize::MAX)
}

fn holds(when: &Condition, current: Option<&Item>) -> bool {
    match (when, current) {
        (Condition::Absent | Condition::AbsentOrExpired(_) | Condition::Newer(..), None) => true,
        (Condition::Absent, Some(_)) | (Condition::Matches(_), None) => false,
        (Condition::AbsentOrExpired(now), Some(item)) => {
            item.number("expires_at").is_some_and(|at| at <= *now)
        }
        (Condition::Newer(name, value), Some(item)) => item.number(name).is_some_and(|n| n < *value),
        (Condition::Matches(wanted), Some(item)) => {
            wanted.iter().all(|(name, value)| item.attrs.get(*name) == Some(value))
        }
    }
}

/// What a write makes of a row.
enum After {
    Row(Item),
    Nothing,
}

/// What is there after the write, or `None` when its condition does not hold.
fn apply(write: &Write, current: Option<&Item>) -> Option<After> {
    match write {
        Write::Put { item, when } => holds(when, current).then(|| After::Row(item.clone())),
        Write::Delete { when, .. } => holds(when, current).then_some(After::Nothing),
        Write::Adjust { by, .. } => {
            let mut item = current?.clone();
            for (name, difference) in by {
                let sum = item.number(name)?.checked_add(*difference).filter(|n| *n >= 0)?;
                item.attrs.insert((*name).to_owned(), Attr::N(sum));
            }
            Some(After::Row(item))
        }
        Write::Count { key, by } => {
            let mut item = current.cloned().unwrap_or_else(|| Item::new(key.clone()));
            for (name, more) in by {
                let so_far = if item.attrs.contains_key(*name) { item.number(name)? } else { 0 };
                let sum = so_far.checked_add(i64::try_from(*more).ok()?)?;
                item.attrs.insert((*name).to_owned(), Attr::N(sum));
            }
            Some(After::Row(item))
        }
        Write::NewKey(item) => holds(&Condition::Absent, current).then(|| After::Row(item.clone())),
    }
}

impl Store for MemoryStore {
    async fn load(&self, key: &Key) -> Result<Option<Item>, Failure> {
        Ok(self.table().rows.get(key).cloned())
    }

    async fn load_many(&self, keys: &[Key]) -> Result<Vec<Option<Item>>, Failure> {
        let table = self.table();
        Ok(keys.iter().map(|key| table.rows.get(key).cloned()).collect())
    }

    async fn page(
        &self,
        pk: &str,
        prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Item>, Failure> {
        let table = self.table();
        let wanted = |key: &Key| key.sk.starts_with(prefix) && after.is_none_or(|after| *key.sk > *after);
        let from = Key::new(pk, prefix);
        let found = table.rows.range(from..).take_while(|(key, _)| key.pk == pk);
        Ok(found.filter(|(key, _)| wanted(key)).map(|(_, item)| item.clone()).take(rows(limit)).collect())
    }

    async fn newest(
        &self,
        index: &'static str,
        partition: &str,
        before: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Indexed>, Failure> {
        let mut found = self.indexed(index, partition);
        found.retain(|row| before.is_none_or(|before| row.at.as_str() < before));
        found.reverse();
        found.truncate(rows(limit));
        Ok(found)
    }

    async fn oldest(
        &self,
        index: &'static str,
        partition: &str,
        until: &str,
        after: Option<&Indexed>,
        limit: u32,
    ) -> Result<Vec<Indexed>, Failure> {
        if after.is_some_and(|after| after.at.as_str() > until) {
            return Err(Failure::Poison(format!("{until}: a starting key outside of the query")));
        }
        let mut found = self.indexed(index, partition);
        let is_after =
            |row: &Indexed| after.is_none_or(|after| (&row.at, &row.key) > (&after.at, &after.key));
        found.retain(|row| row.at.as_str() <= until && is_after(row));
        found.truncate(rows(limit));
        Ok(found)
    }

    async fn commit(&self, writes: Vec<Write>) -> Result<(), CommitError> {
        check_shape(&writes)?;
        let keys = self.keys();
        let (mut table, mut keys) = (self.table(), keys.table());
        let current = |write: &Write| match write {
            Write::NewKey(item) => keys.rows.get(&item.key),
            _ => table.rows.get(write.key()),
        };
        let results: Vec<Option<After>> = writes.iter().map(|write| apply(write, current(write))).collect();
        if results.iter().any(Option::is_none) {
            let rejected = |(write, result): (&Write, &Option<After>)| match (write, result) {
                (_, Some(_)) => None,
                // A key is never shown to its writer.
                (Write::NewKey(_), None) => Some(Rejected { current: None }),
                (_, None) => Some(Rejected { current: current(write).cloned() }),
            };
            return Err(CommitError::Rejected(writes.iter().zip(&results).map(rejected).collect()));
        }
        for (write, after) in writes.iter().zip(results.into_iter().flatten()) {
            let table = if matches!(write, Write::NewKey(_)) { &mut keys } else { &mut table };
            match after {
                After::Nothing => drop(table.rows.remove(write.key())),
                After::Row(item) => {
                    if table.rows.insert(item.key.clone(), item.clone()).is_none() {
                        table.inserted.push(item);
                    }
                }
            }
        }
        Ok(())
    }
}

impl Scan for MemoryStore {
    async fn scan(&self, prefix: &str, after: Option<&Key>, limit: u32) -> Result<Scanned, Failure> {
        let table = self.table();
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let read: Vec<_> = table.rows.range((from, Bound::Unbounded)).take(limit).collect();
        let last = read.last().filter(|_| read.len() == limit).map(|(key, _)| (*key).clone());
        let wanted = read.into_iter().filter(|(key, _)| key.sk.starts_with(prefix));
        Ok(Scanned { rows: wanted.map(|(_, row)| row.clone()).collect(), last })
    }
}
