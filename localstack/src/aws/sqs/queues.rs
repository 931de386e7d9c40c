//! The queues that the templates declare, each connected to its dead-letter queue.

use super::queue::{Message, Queue, Redrive};
use crate::support::journal::{Journal, KeptMessage};
use crate::template::names;
use crate::template::resources::Queue as Declared;
use anyhow::{Context, Result};
use std::collections::HashMap;
use std::sync::Arc;

/// Every queue, by name. Clones share them.
#[derive(Clone, Default)]
pub struct Queues(Arc<HashMap<String, Arc<Queue>>>);

impl Queues {
    /// The declared queues with the messages that the journal kept; those in flight when the stack stopped
    /// are visible again.
    ///
    /// # Errors
    /// When a redrive policy names a queue that no template declares, or the queue of a kept message is gone.
    pub fn start(declared: &[Declared], kept: &[KeptMessage], journal: &Journal) -> Result<Self> {
        let queue = |declared: &Declared| {
            (declared.queue_name.clone(), Arc::new(Queue::new(declared, journal.clone())))
        };
        let queues = Self(Arc::new(declared.iter().map(queue).collect()));
        for Declared { queue_name, redrive_policy, .. } in declared {
            if let (Some(policy), Some(queue)) = (redrive_policy, queues.get(queue_name)) {
                let dead_letters = queues.by_arn(&policy.dead_letter_target_arn)?;
                queue.redrive(Redrive { max_receives: policy.max_receive_count, dead_letters });
            }
        }
        for KeptMessage { id, queue, body, sent_at, receives } in kept {
            let queue = queues.get(queue).with_context(|| {
                format!(
                    "the journal holds a message of {queue}, which no template declares; start with --fresh"
                )
            })?;
            let (id, body) = (id.clone(), body.as_str().into());
            queue.restore(Message { id, body, sent_at: *sent_at, receives: *receives });
        }
        Ok(queues)
    }

    #[must_use]
    pub fn get(&self, name: &str) -> Option<Arc<Queue>> {
        self.0.get(name).cloned()
    }

    /// # Errors
    /// When no template declares the queue.
    pub fn by_arn(&self, arn: &str) -> Result<Arc<Queue>> {
        self.get(names::last_part(arn)).with_context(|| format!("no template declares the queue {arn}"))
    }

    /// Sorted by name.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Queue>> {
        let mut all: Vec<_> = self.0.values().cloned().collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }
}
