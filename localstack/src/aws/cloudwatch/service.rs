//! What the calls of CloudWatch have in common.

use super::states::States;
use crate::aws::logs::Groups;
use crate::aws::sqs::Queues;
use crate::aws::stepfunctions::StateMachines;
use crate::template::resources::Model;
use std::sync::Arc;

/// What is watched.
#[derive(Clone)]
pub struct Service(Arc<Watched>);

pub struct Watched {
    pub groups: Groups,
    pub model: Arc<Model>,
    pub queues: Queues,
    pub machines: StateMachines,
    /// When the stack started, in epoch milliseconds.
    pub since: i64,
    pub states: States,
}

impl Service {
    #[must_use]
    pub fn new(watched: Watched) -> Self {
        Self(Arc::new(watched))
    }
}

impl std::ops::Deref for Service {
    type Target = Watched;

    fn deref(&self) -> &Watched {
        &self.0
    }
}
