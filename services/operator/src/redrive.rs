//! Sending dead letters back to where they failed, and the verdict on each.

use crate::dead_letters::{DeadLetter, MAX_PER_QUEUE, Stage, service, source};
use chassis::inbox::failure_key;
use chassis::ports::Bus;
use chassis::store::Key;
use chassis::{Failure, Store};
use chrono::{DateTime, Utc};
use events::{Envelope, OrderId};
use std::fmt;
use std::time::Duration;

/// How long to wait for the service's verdict on a dead letter.
const TIMEOUT: Duration = Duration::from_secs(15);
/// How often to look.
const PAUSE: Duration = Duration::from_millis(200);

/// Why nothing was sent back.
#[derive(Debug, thiserror::Error)]
pub enum NotRedriven {
    /// There is no such queue.
    #[error("there is no dead-letter queue {0}; `quadrille dlq` lists those that hold something")]
    NoSuchQueue(String),
    /// What lies in it is no event.
    #[error(
        "{0} holds no events, only where something went missing: the sweeper publishes again what a saga waits for, and how each order ended"
    )]
    NoEvents(String),
    /// A queue or table did not answer.
    #[error(transparent)]
    Failed(#[from] Failure),
}

/// Where the dead letters of a queue go.
enum Way {
    /// Back to the service's own queue.
    Queue(String),
    /// To the bus: the target that missed them is no queue.
    Bus,
}

/// What redriving one dead letter came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The service has dealt with it, with this verdict.
    Dealt(String),
    /// It failed again.
    Failed(String),
    /// It cannot be read: it stays.
    Stays(String),
    /// There is no verdict yet.
    Unknown,
}

/// A dead letter that was dealt with here.
struct Sent {
    line: String,
    event: Option<Envelope>,
    at: DateTime<Utc>,
    outcome: Option<Outcome>,
}

impl<S: Store> Stage<S> {
    /// Sends the dead letters of a dead-letter queue back, or those of one order; a line for each, and whether all went well.
    ///
    /// # Errors
    /// [`NotRedriven`]. What was not sent is in the queue still.
    pub async fn redrive<B: Bus>(
        &self,
        queue: &str,
        order: Option<OrderId>,
        bus: &B,
    ) -> Result<(Vec<String>, bool), NotRedriven> {
        let queues = self.all().await?;
        let there = queues.get(queue).zip(source(queue));
        let (url, source) = there.ok_or_else(|| NotRedriven::NoSuchQueue(queue.to_owned()))?;
        let way = match queues.get(&source) {
            Some(url) => Way::Queue(url.clone()),
            None if queue.ends_with("-compensation-dlq") => Way::Bus,
            None => return Err(NotRedriven::NoEvents(queue.to_owned())),
        };
        let (mut sent, mut kept) = (Vec::new(), Vec::new());
        let gone = self.send_all((queue, url), (&way, bus), order, (&mut sent, &mut kept)).await;
        for dead_letter in &kept {
            self.queues.release(url, &dead_letter.message).await?;
        }
        gone?;
        let (_, hidden) = self.queues.depth(url).await?;
        let (mut lines, mut well) = self.follow(queue, sent).await?;
        if hidden > 0 {
            lines.push(format!("{hidden} more are hidden by another receiver: try again in some minutes"));
            well = false;
        }
        Ok((lines, well))
    }

    /// Sends the dead letters of the order; the others are kept, to be released.
    async fn send_all<B: Bus>(
        &self,
        (queue, url): (&str, &str),
        (way, bus): (&Way, &B),
        order: Option<OrderId>,
        (sent, kept): (&mut Vec<Sent>, &mut Vec<DeadLetter>),
    ) -> Result<(), Failure> {
        while sent.len() + kept.len() < MAX_PER_QUEUE {
            let dead_letters = self.open(queue, url).await?;
            if dead_letters.is_empty() {
                break;
            }
            for dead_letter in dead_letters {
                if order.is_some_and(|order| dead_letter.subject() != Some(&order.to_string())) {
                    kept.push(dead_letter);
                    continue;
                }
                let (at, line) = (Utc::now(), what(&dead_letter));
                let outcome = self.send_back(way, url, &dead_letter, bus).await?;
                sent.push(Sent { line, event: dead_letter.event.clone(), at, outcome: outcome.clone() });
                kept.extend(matches!(outcome, Some(Outcome::Stays(_))).then_some(dead_letter));
            }
        }
        Ok(())
    }

    /// Sends one dead letter, and deletes the copy in the dead-letter queue only afterwards: sent twice, the inbox absorbs it.
    async fn send_back<B: Bus>(
        &self,
        way: &Way,
        url: &str,
        dead_letter: &DeadLetter,
        bus: &B,
    ) -> Result<Option<Outcome>, Failure> {
        let outcome = match (way, &dead_letter.event) {
            (Way::Queue(target), None) if dead_letter.message.group.is_some() => {
                self.queues.send_again(target, &dead_letter.message).await?;
                // No service reads it, so there is no verdict to wait for.
                Some(Outcome::Dealt("in the queue for the mailer".into()))
            }
            (_, None) => return Ok(Some(Outcome::Stays(dead_letter.reason.clone()))),
            (Way::Queue(target), Some(_)) => {
                self.queues.send_again(target, &dead_letter.message).await?;
                None
            }
            (Way::Bus, Some(event)) => {
                bus.publish(std::slice::from_ref(event)).await?;
                Some(Outcome::Dealt("published again on the bus".into()))
            }
        };
        self.queues.delete(url, &dead_letter.message).await?;
        Ok(outcome)
    }

    async fn follow(&self, queue: &str, sent: Vec<Sent>) -> Result<(Vec<String>, bool), Failure> {
        let deadline = tokio::time::Instant::now() + TIMEOUT;
        let (mut lines, mut well) = (Vec::new(), true);
        for Sent { line, event, at, mut outcome } in sent {
            while let (None, Some(event), Some(service)) = (&outcome, &event, service(&self.name, queue)) {
                outcome = self.look(service, event, at).await?;
                if tokio::time::Instant::now() >= deadline {
                    break;
                }
                if outcome.is_none() {
                    tokio::time::sleep(PAUSE).await;
                }
            }
            let outcome = outcome.unwrap_or(Outcome::Unknown);
            well &= matches!(outcome, Outcome::Dealt(_));
            lines.push(format!("{line}: {outcome}"));
        }
        Ok((lines, well))
    }

    /// The service's verdict on an event that was sent back at `since`.
    async fn look(
        &self,
        service: &str,
        event: &Envelope,
        since: DateTime<Utc>,
    ) -> Result<Option<Outcome>, Failure> {
        let (table, id, subject) = (self.table_of(service), event.metadata.id, &event.metadata.subject);
        let places = ["order", "product", "breaker"].map(|kind| format!("{kind}#{subject}"));
        for pk in places.into_iter().chain([format!("notice#{id}")]) {
            if let Some(row) = table.load(&Key::inbox(&pk, id)).await? {
                return Ok(Some(Outcome::Dealt(row.text("verdict").unwrap_or("dealt with").to_owned())));
            }
        }
        let failed = table.load(&failure_key(id)).await?;
        let failed = failed.filter(|row| row.number("failed_at") >= Some(since.timestamp_millis()));
        Ok(failed.map(|row| Outcome::Failed(row.text("reason").unwrap_or_default().to_owned())))
    }
}

/// A dead letter in a few words.
fn what(dead_letter: &DeadLetter) -> String {
    match (&dead_letter.event, &dead_letter.message.group) {
        (Some(event), _) => format!("{} {}", event.metadata.kind, event.metadata.subject),
        (None, Some(order)) => format!("message {order}"),
        (None, None) => format!("message {}", dead_letter.message.id),
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dealt(verdict) => f.write_str(verdict),
            Self::Failed(reason) => write!(f, "failed again and is being retried, {reason}"),
            Self::Stays(reason) => write!(f, "stays, {reason}"),
            Self::Unknown => f.write_str("sent, no verdict yet"),
        }
    }
}
