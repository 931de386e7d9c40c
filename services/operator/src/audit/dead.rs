//! The events in dead-letter queues: what lies there is sent back from there, and not published again.

use super::{Difference, Found, Lost};
use crate::dead_letters::{MAX_PER_QUEUE, Stage};
use chassis::{Failure, Store};
use events::EventId;
use std::collections::BTreeSet;

/// Which event lies in which dead-letter queue.
pub type DeadEvents = BTreeSet<(String, EventId)>;

impl<S: Store> Stage<S> {
    /// The events in the dead-letter queues of services.
    ///
    /// # Errors
    /// A [`Failure`] when a queue does not answer.
    pub async fn dead_events(&self) -> Result<DeadEvents, Failure> {
        let mut dead = DeadEvents::new();
        for (queue, url) in self.all().await?.iter().filter(|(queue, _)| queue.ends_with("-events-dlq")) {
            let mut opened = Vec::new();
            while opened.len() < MAX_PER_QUEUE {
                let more = self.open(queue, url).await?;
                if more.is_empty() {
                    break;
                }
                opened.extend(more);
            }
            for dead_letter in opened {
                dead.extend(dead_letter.event.iter().map(|event| (queue.clone(), event.metadata.id)));
                self.queues.release(url, &dead_letter.message).await?;
            }
        }
        Ok(dead)
    }
}

impl Found {
    /// Whether an event is missing somewhere.
    #[must_use]
    pub fn has_lost_events(&self) -> bool {
        self.differences.iter().any(|difference| difference.lost.is_some())
    }

    /// Names the command that sends back what lies in a dead-letter queue.
    #[must_use]
    pub fn with_dead(self, stage: &str, dead: &DeadEvents) -> Self {
        let redriven = |difference: Difference| match &difference.lost {
            Some(Lost { consumer, event, subject }) => {
                let queue = format!("{stage}-quadrille-{consumer}-events-dlq");
                let mend = format!("quadrille dlq redrive {queue} --order {subject}");
                if dead.contains(&(queue, *event)) { difference.mended_by(mend) } else { difference }
            }
            None => difference,
        };
        Self { differences: self.differences.into_iter().map(redriven).collect(), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chassis::store::Key;
    use uuid::Uuid;

    /// Guards: what lies in a dead-letter queue is sent back from there; what lies in another service's is not.
    #[test]
    fn what_lies_in_a_dead_letter_queue_is_redriven() {
        let event = EventId(Uuid::nil());
        let lost = Lost { consumer: "rewards", event, subject: "018f".into() };
        let difference =
            Difference { lost: Some(lost), ..Difference::new("rewards", &Key::state("order#018f"), "what") };
        let mend = |queue: &str| {
            let found = Found { differences: [difference.clone()].into(), ..Found::default() };
            assert!(found.has_lost_events());
            let found = found.with_dead("dev", &[(queue.to_owned(), event)].into());
            found.differences.first().unwrap().mend.clone()
        };
        let queue = "dev-quadrille-rewards-events-dlq";
        assert_eq!(mend(queue), format!("quadrille dlq redrive {queue} --order 018f"));
        assert_eq!(mend("dev-quadrille-payments-events-dlq"), difference.mend);
    }
}
