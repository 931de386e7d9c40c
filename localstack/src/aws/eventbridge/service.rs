//! What EventBridge's calls have in common: the buses with what belongs to them.

use super::bus::Buses;
use super::replays::Replays;
use crate::template::resources::Model;
use std::sync::Arc;

/// The buses as callers see them.
pub struct Service {
    pub buses: Buses,
    pub replays: Replays,
    pub model: Arc<Model>,
    /// When the stack started, in epoch milliseconds.
    pub since: i64,
}
