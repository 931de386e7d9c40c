//! The store port: strongly consistent reads, and one atomic, conditional commit.

mod group;
mod held;
mod joint;
mod memory;
pub mod overdue;
mod rows;
mod scan;
mod shape;

pub use group::{Grouped, Limits};
pub use memory::MemoryStore;
pub use rows::{AggregateId, Attr, Condition, EVENTS, INBOX, Item, Key, Write};
pub use scan::{Scan, Scanned, scan_all};
pub use shape::check_shape;

use crate::failure::Failure;
use std::future::Future;

/// The most writes one commit may hold (DynamoDB: 100 actions per TransactWriteItems).
pub const MAX_WRITES: usize = 100;

/// The most rows one page of a table may hold: one more than a page of the API, to see whether another follows.
pub const MAX_PAGE: u32 = 101;

/// Why nothing of a commit was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// Conditions did not hold. One entry per write, in order: `None` for those that would have passed.
    #[error("conditions did not hold")]
    Rejected(Vec<Option<Rejected>>),
    /// Another transaction held the same rows, or the table throttled the call. Try again.
    #[error("busy: {0}")]
    Busy(String),
    /// Not worth a retry here, or not worth one anywhere; the failure says which.
    #[error(transparent)]
    Failed(#[from] Failure),
}

impl From<CommitError> for Failure {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Rejected(_) => Self::Conflict { attempts: 1 },
            CommitError::Busy(reason) => Self::Transient(reason),
            CommitError::Failed(failure) => failure,
        }
    }
}

/// A write whose condition did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// The row as it was, when there is one.
    pub current: Option<Item>,
}

/// A row as an index knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Indexed {
    /// The row.
    pub key: Key,
    /// Its place in the index: the attribute `<index>_at`.
    pub at: String,
}

/// A service's own table.
pub trait Store: Clone + Send + Sync + 'static {
    /// One row, strongly consistent.
    ///
    /// # Errors
    /// [`Failure::Transient`] when the table did not answer, [`Failure::Poison`] for a row that cannot be read.
    fn load(&self, key: &Key) -> impl Future<Output = Result<Option<Item>, Failure>> + Send;

    /// Several rows, strongly consistent, in the order of the keys. At most [`MAX_WRITES`] distinct keys.
    ///
    /// # Errors
    /// As [`Store::load`].
    fn load_many(&self, keys: &[Key]) -> impl Future<Output = Result<Vec<Option<Item>>, Failure>> + Send;

    /// The rows of one partition whose sort key starts with `prefix` and is greater than `after`, oldest
    /// first, at most `limit` (capped at [`MAX_PAGE`]).
    ///
    /// # Errors
    /// As [`Store::load`].
    fn page(
        &self,
        pk: &str,
        prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<Item>, Failure>> + Send;

    /// The keys of the rows that have the attribute `index` equal to `partition`, by falling attribute
    /// `<index>_at`; only those below `before`, at most `limit` (capped at [`MAX_PAGE`]). From a secondary index,
    /// so a row appears a moment after its commit.
    ///
    /// # Errors
    /// As [`Store::load`].
    fn newest(
        &self,
        index: &'static str,
        partition: &str,
        before: Option<&str>,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<Indexed>, Failure>> + Send;

    /// As [`Store::newest`] by rising attribute `<index>_at`: only those not above `until`, after the row `after`.
    ///
    /// # Errors
    /// As [`Store::load`]; [`Failure::Poison`] when `after` is itself above `until`, as DynamoDB refuses it.
    fn oldest(
        &self,
        index: &'static str,
        partition: &str,
        until: &str,
        after: Option<&Indexed>,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<Indexed>, Failure>> + Send;

    /// All of the writes, or none.
    ///
    /// # Errors
    /// [`CommitError`]; in every case nothing was written.
    fn commit(&self, writes: Vec<Write>) -> impl Future<Output = Result<(), CommitError>> + Send;
}

/// Every row of a partition whose sort key starts with `prefix`, oldest first.
///
/// # Errors
/// As [`Store::load`].
pub async fn every_row<S: Store>(store: &S, pk: &str, prefix: &str) -> Result<Vec<Item>, Failure> {
    let mut rows: Vec<Item> = Vec::new();
    loop {
        let after = rows.last().map(|row| row.key.sk.clone());
        let page = store.page(pk, prefix, after.as_deref(), MAX_PAGE).await?;
        let full = page.len() == usize::try_from(MAX_PAGE).unwrap_or(usize::MAX);
        rows.extend(page);
        if !full {
            return Ok(rows);
        }
    }
}

/// As [`Store::load_many`], however many keys there are.
///
/// # Errors
/// As [`Store::load`].
pub async fn load_all<S: Store>(store: &S, keys: &[Key]) -> Result<Vec<Option<Item>>, Failure> {
    let mut rows = Vec::with_capacity(keys.len());
    for some in keys.chunks(MAX_WRITES) {
        rows.extend(store.load_many(some).await?);
    }
    Ok(rows)
}

/// As [`Store::oldest`], page after page until there are no more.
///
/// # Errors
/// As [`Store::load`].
pub async fn all_until<S: Store>(
    store: &S,
    index: &'static str,
    partition: &str,
    until: &str,
) -> Result<Vec<Indexed>, Failure> {
    let mut found: Vec<Indexed> = Vec::new();
    loop {
        let page = store.oldest(index, partition, until, found.last(), MAX_PAGE).await?;
        if page.is_empty() {
            return Ok(found);
        }
        found.extend(page);
    }
}
