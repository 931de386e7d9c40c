//! The queues that the templates declare, each connected to its dead-letter queue, and those made at run time.

use super::made::MadeQueues;
use super::queue::{Queue, Redrive};
use crate::support::journal::Journal;
use crate::template::names;
use crate::template::resources::Queue as Declared;
use anyhow::{Context, Result, ensure};
use std::collections::HashMap;
use std::sync::Arc;

/// Every queue, by name. Clones share them.
#[derive(Clone, Default)]
pub struct Queues {
    declared: Arc<HashMap<String, Arc<Queue>>>,
    /// Those that were made while the stack runs.
    pub(super) made: MadeQueues,
}

impl Queues {
    /// The declared queues with the messages that the journal kept; those in flight when the stack stopped
    /// are visible again.
    ///
    /// # Errors
    /// For a FIFO queue as SQS would not have it, when a redrive policy names a queue that no template declares or one of the
    /// other type, or when the queue of a kept message is gone.
    pub fn start(declared: &[Declared], journal: &Journal) -> Result<Self> {
        declared.iter().try_for_each(check)?;
        let queue = |declared: &Declared| {
            (declared.queue_name.clone(), Arc::new(Queue::new(declared, journal.clone())))
        };
        let made = MadeQueues::new(journal);
        let queues = Self { declared: Arc::new(declared.iter().map(queue).collect()), made };
        for Declared { queue_name, redrive_policy, .. } in declared {
            if let (Some(policy), Some(queue)) = (redrive_policy, queues.get(queue_name)) {
                let dead_letters = queues.of_either_type(&policy.dead_letter_target_arn)?;
                let (dead, name) = (&dead_letters.name, &queue.name);
                ensure!(
                    dead_letters.is_fifo == queue.is_fifo,
                    "{dead} is the dead-letter queue of {name}: both have to be FIFO, or neither"
                );
                queue.redrive(Redrive { max_receives: policy.max_receive_count, dead_letters });
            }
        }
        for (name, _) in journal.queues() {
            ensure!(
                queues.is_declared(&name),
                "the journal holds a message of {name}, which no template declares; start with --fresh"
            );
        }
        queues.declared.values().for_each(|queue| queue.resume());
        Ok(queues)
    }

    #[must_use]
    pub fn get(&self, name: &str) -> Option<Arc<Queue>> {
        self.declared.get(name).cloned().or_else(|| self.made.get(name))
    }

    /// Whether a template declares a queue of this name.
    #[must_use]
    pub fn is_declared(&self, name: &str) -> bool {
        self.declared.contains_key(name)
    }

    /// A queue that was made while the stack runs, and whether its policy lets a rule send to it.
    #[must_use]
    pub fn made_for(&self, name: &str, rule: &str) -> Option<(Arc<Queue>, bool)> {
        Some((self.made.get(name)?, self.made.admits(name, rule)))
    }

    /// A standard queue. Rules, pipes, schedules and mappings name theirs by this: with a FIFO queue they would need more.
    ///
    /// # Errors
    /// When no template declares the queue, or it is a FIFO queue.
    pub fn by_arn(&self, arn: &str) -> Result<Arc<Queue>> {
        let queue = self.of_either_type(arn)?;
        ensure!(
            !queue.is_fifo,
            "{} is a FIFO queue: the local stack fills it from an SNS FIFO topic or by SendMessage only",
            queue.name
        );
        Ok(queue)
    }

    /// A FIFO queue.
    ///
    /// # Errors
    /// When no template declares the queue, or it is a standard queue.
    pub fn fifo_by_arn(&self, arn: &str) -> Result<Arc<Queue>> {
        let queue = self.of_either_type(arn)?;
        ensure!(queue.is_fifo, "{} is a standard queue, and has to be a FIFO queue here", queue.name);
        Ok(queue)
    }

    fn of_either_type(&self, arn: &str) -> Result<Arc<Queue>> {
        self.get(names::last_part(arn)).with_context(|| format!("no template declares the queue {arn}"))
    }

    /// Sorted by name.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Queue>> {
        let mut all: Vec<_> = self.declared.values().cloned().chain(self.made.all()).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }
}

/// SQS ends the names of FIFO queues, and of no others, with `.fifo`, and accepts no other value of `FifoQueue` than true.
///
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_CreateQueue.html>
fn check(declared: &Declared) -> Result<()> {
    let Declared { queue_name, fifo_queue, content_based_deduplication, .. } = declared;
    let ends_so = queue_name.ends_with(".fifo");
    ensure!(*fifo_queue != Some(false), "queue {queue_name}: FifoQueue is true or left out");
    ensure!(
        fifo_queue.is_some() == ends_so,
        "queue {queue_name}: the name of a FIFO queue, and of no other, ends in .fifo"
    );
    ensure!(
        content_based_deduplication.is_none(),
        "queue {queue_name}: ContentBasedDeduplication is not implemented by the local stack"
    );
    Ok(())
}
