//! What the calls of CloudWatch have in common.

use super::depths::Depths;
use super::states::States;
use crate::aws::logs::Groups;
use crate::aws::sqs::Queues;
use crate::aws::stepfunctions::StateMachines;
use crate::template::resources::Model;
use std::sync::Arc;

/// What is watched, and what is noted of it.
#[derive(Clone)]
pub struct Service(Arc<Kept>);

struct Kept {
    watched: Watched,
    states: States,
    depths: Depths,
}

pub struct Watched {
    pub groups: Groups,
    pub model: Arc<Model>,
    pub queues: Queues,
    pub machines: StateMachines,
    /// When the stack started, in epoch milliseconds.
    pub since: i64,
    /// What was logged before this is of an earlier life of the stage, in epoch milliseconds.
    pub begun: i64,
}

impl Service {
    #[must_use]
    pub fn new(watched: Watched) -> Self {
        Self(Arc::new(Kept { watched, states: States::default(), depths: Depths::default() }))
    }

    /// Measures the queues, as SQS does once a minute.
    pub fn measure(&self, now: i64) {
        self.0.depths.note(&self.queues, now);
    }

    pub(super) fn states(&self) -> &States {
        &self.0.states
    }

    pub(super) fn depths(&self) -> &Depths {
        &self.0.depths
    }
}

impl std::ops::Deref for Service {
    type Target = Watched;

    fn deref(&self) -> &Watched {
        &self.0.watched
    }
}
