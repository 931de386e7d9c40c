//! Calls with several entries, each of which goes well or fails for itself.

use super::ApiError;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// The most entries of a batch, and the longest id of one.
pub const MAX_ENTRIES: usize = 10;
pub const MAX_ID: usize = 80;

/// What every entry has.
pub trait Entry {
    fn id(&self) -> &str;
}

/// Why a whole batch is refused. The services share the codes, and say it each in words of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    Empty,
    TooMany,
    IllegalId(String),
    SameIds,
}

impl Fault {
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Empty => "EmptyBatchRequest",
            Self::TooMany => "TooManyEntriesInBatchRequest",
            Self::IllegalId(_) => "InvalidBatchEntryId",
            Self::SameIds => "BatchEntryIdsNotDistinct",
        }
    }
}

/// # Errors
/// The first [`Fault`] of the batch.
pub fn check<E: Entry>(entries: &[E]) -> Result<(), Fault> {
    if entries.is_empty() {
        return Err(Fault::Empty);
    }
    if entries.len() > MAX_ENTRIES {
        return Err(Fault::TooMany);
    }
    let is_legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let is_id = |id: &str| (1..=MAX_ID).contains(&id.len()) && id.chars().all(is_legal);
    if let Some(other) = entries.iter().find(|entry| !is_id(entry.id())) {
        return Err(Fault::IllegalId(other.id().to_owned()));
    }
    let ids: BTreeSet<&str> = entries.iter().map(Entry::id).collect();
    if ids.len() < entries.len() { Err(Fault::SameIds) } else { Ok(()) }
}

/// Runs each entry; the answer says what became of it.
pub fn each<E: Entry>(entries: &[E], run: impl Fn(&E) -> Result<Value, ApiError>) -> Value {
    let (mut successful, mut failed) = (Vec::new(), Vec::new());
    for entry in entries {
        match run(entry) {
            Ok(mut done) => {
                done["Id"] = entry.id().into();
                successful.push(done);
            }
            Err(error) => failed.push(json!({
                "Id": entry.id(), "Code": error.code, "Message": error.message, "SenderFault": true,
            })),
        }
    }
    json!({"Successful": successful, "Failed": failed})
}
