//! Deleting a row. Only an operator does that, and only where it is the way to forget: no service has the permission.

use super::{Key, Store};
use crate::failure::Failure;
use std::future::Future;

/// A table whose rows can be deleted.
pub trait Erase: Store {
    /// Deletes a row; whether there was one.
    ///
    /// # Errors
    /// As [`Store::load`].
    fn erase(&self, key: &Key) -> impl Future<Output = Result<bool, Failure>> + Send;
}
