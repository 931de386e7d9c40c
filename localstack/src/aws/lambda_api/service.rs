//! What Lambda's calls have in common: the functions, and what feeds them.

use super::mappings::Mappings;
use crate::aws::lambda::{AsynchronousEvents, Functions};
use crate::template::resources::Model;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// The functions as callers see them.
pub struct Service {
    pub functions: Functions,
    pub model: Arc<Model>,
    pub mappings: Mappings,
    /// What nothing waits for, by function.
    pub events: BTreeMap<String, Arc<AsynchronousEvents>>,
    /// The folder of the functions' logs.
    pub logs: PathBuf,
    /// When the stack started, in epoch milliseconds.
    pub since: i64,
}
