//! Reading a whole table. Only an operator does that: it costs as much as the table is large.

use super::{Item, Key, Store};
use crate::failure::Failure;
use std::future::Future;

/// One page of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scanned {
    /// The rows of it that were asked for.
    pub rows: Vec<Item>,
    /// The last row that was read, asked for or not; none when the table is at its end.
    pub last: Option<Key>,
}

/// A table that can be read from its first row to its last.
pub trait Scan: Store {
    /// The rows whose sort key begins with `prefix`, among the next `limit` rows after `after`. Partitions come in the
    /// table's own order, which stays the same; the rows of one come together, oldest first.
    ///
    /// # Errors
    /// As [`Store::load`].
    fn scan(
        &self,
        prefix: &str,
        after: Option<&Key>,
        limit: u32,
    ) -> impl Future<Output = Result<Scanned, Failure>> + Send;
}

/// Hands the rows of a table whose sort key begins with `prefix` to `visit`, in pages of so many rows read.
///
/// # Errors
/// As [`Store::load`], and those of `visit`.
pub async fn scan_all<S: Scan, E: From<Failure>>(
    table: &S,
    prefix: &str,
    page: u32,
    mut visit: impl AsyncFnMut(Vec<Item>) -> Result<(), E>,
) -> Result<(), E> {
    let mut after = None;
    loop {
        let scanned = table.scan(prefix, after.as_ref(), page).await?;
        visit(scanned.rows).await?;
        after = scanned.last;
        if after.is_none() {
            return Ok(());
        }
    }
}
