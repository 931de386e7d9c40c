//! The rules that DynamoDB sets for a transaction as a whole. Both stores hold them.

use super::{Key, MAX_WRITES, Write};
use crate::failure::Failure;
use std::collections::HashSet;

/// Checks that a commit holds 1 to [`MAX_WRITES`] writes, each to another row.
///
/// # Errors
/// [`Failure::Poison`] with the rule that is broken.
pub fn check_shape(writes: &[Write]) -> Result<(), Failure> {
    let distinct: HashSet<&Key> = writes.iter().map(Write::key).collect();
    if writes.is_empty() || writes.len() > MAX_WRITES {
        return Err(Failure::Poison(format!(
            "a commit holds 1 to {MAX_WRITES} writes, not {}",
            writes.len()
        )));
    }
    if distinct.len() != writes.len() {
        return Err(Failure::Poison("a commit writes one row twice".into()));
    }
    Ok(())
}
