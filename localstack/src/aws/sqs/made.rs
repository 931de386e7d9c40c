//! Queues that are made while the stack runs, and deleted: an operator's own. They are standard queues in memory, and gone
//! after a restart; those of the templates stay as they are declared.

use super::queue::Queue;
use crate::aws::resource_policies;
use crate::support::journal::Journal;
use crate::template::names;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Instant;

/// The queues that were made. Clones share them.
#[derive(Clone, Default)]
pub struct MadeQueues {
    pub(super) journal: Option<Journal>,
    state: Arc<RwLock<State>>,
}

#[derive(Default)]
pub struct State {
    pub queues: HashMap<String, Made>,
    /// When a queue of this name was deleted.
    pub deleted: HashMap<String, Instant>,
}

pub struct Made {
    pub queue: Arc<Queue>,
    /// As it was made with.
    pub attributes: BTreeMap<String, String>,
    pub policy: Option<Value>,
}

impl MadeQueues {
    /// None yet; nothing of them is written to the journal.
    pub fn new(journal: &Journal) -> Self {
        Self { journal: Some(journal.forgetting()), state: Arc::default() }
    }

    pub fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn get(&self, name: &str) -> Option<Arc<Queue>> {
        self.read().queues.get(name).map(|made| made.queue.clone())
    }

    pub fn all(&self) -> Vec<Arc<Queue>> {
        self.read().queues.values().map(|made| made.queue.clone()).collect()
    }

    /// Whether the policy of a queue lets a rule send to it: on AWS, what it does not let in vanishes.
    pub fn admits(&self, queue: &str, rule: &str) -> bool {
        let policy = self.read().queues.get(queue).and_then(|made| made.policy.clone());
        policy.is_some_and(|policy| {
            resource_policies::lets_rule_send(&policy, rule, &names::queue_arn(queue)).unwrap_or(false)
        })
    }
}
