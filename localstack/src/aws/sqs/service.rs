//! What SQS's calls have in common: the queues, and how a call names one.

use super::checks;
use super::moves::Moves;
use super::queue::Queue;
use super::queues::Queues;
use crate::aws::protocol::{ApiError, Call};
use crate::template::names;
use crate::template::resources::QueuePolicy;
use std::sync::Arc;

/// The queues as callers see them.
pub struct Service {
    pub queues: Queues,
    /// Those of the templates.
    pub policies: Vec<QueuePolicy>,
    pub moves: Moves,
    /// Queue URLs begin with it.
    pub endpoint: String,
}

impl Service {
    /// The queue of a URL, if the caller may do the action there.
    pub(super) fn queue(
        &self,
        call: &Call<'_>,
        action: &str,
        url: Option<&str>,
    ) -> Result<Arc<Queue>, ApiError> {
        let name = checks::queue_name(&self.endpoint, checks::required("QueueUrl", url)?)?;
        let queue = self.queues.get(name).ok_or_else(checks::no_such_queue)?;
        call.require(&format!("sqs:{action}"), &names::queue_arn(&queue.name))?;
        Ok(queue)
    }

    /// The queue of an ARN, if the caller may do the action there.
    pub(super) fn by_arn(&self, call: &Call<'_>, action: &str, arn: &str) -> Result<Arc<Queue>, ApiError> {
        call.require(&format!("sqs:{action}"), arn)?;
        let queue = arn.strip_prefix(&names::queue_arn("")).and_then(|name| self.queues.get(name));
        let missing =
            || ApiError::new("ResourceNotFoundException", "The resource that you specified doesn't exist.");
        queue.ok_or_else(missing)
    }
}
