//! Dead letters: what lies in the dead-letter queues of a stage, since when, about which order, and why.

use aws::eventbridge::read_body;
use aws::sqs::{Queues, Received};
use chassis::inbox::failure_key;
use chassis::store::{Indexed, all_until, overdue};
use chassis::{AggregateId, Failure, Store};
use chrono::{DateTime, TimeDelta, Utc};
use events::Envelope;
use events::envelope::millis;
use futures_util::{StreamExt, stream};
use std::collections::BTreeMap;

/// The most dead letters of one queue that are listed or redriven together.
pub const MAX_PER_QUEUE: usize = 1000;
/// How many queues are read at a time: SQS takes a while to say that a queue is empty.
const AT_A_TIME: usize = 16;
/// How the names of dead-letter queues end; those of FIFO queues end in [`FIFO`] after it.
const SUFFIX: &str = "-dlq";
const FIFO: &str = ".fifo";

/// A stage, as an operator reaches it.
pub struct Stage<S> {
    /// `dev`
    pub name: String,
    /// Its queues.
    pub queues: Queues,
    /// Opens a table by its name.
    pub table: Box<dyn Fn(String) -> S + Send + Sync>,
}

/// A message in a dead-letter queue, with its event and why it is there.
#[derive(Debug)]
pub struct DeadLetter {
    /// The message.
    pub message: Received,
    /// The event in it; none when it cannot be read.
    pub event: Option<Envelope>,
    /// Why it is here.
    pub reason: String,
}

/// The queue whose dead letters a queue has: `x-events` of `x-events-dlq`, `x.fifo` of `x-dlq.fifo`; none when it is no
/// dead-letter queue.
#[must_use]
pub fn source(queue: &str) -> Option<String> {
    match queue.strip_suffix(FIFO) {
        Some(name) => Some(format!("{}{FIFO}", name.strip_suffix(SUFFIX)?)),
        None => queue.strip_suffix(SUFFIX).map(str::to_owned),
    }
}

/// The service whose queue a dead-letter queue belongs to: `payments` of `dev-quadrille-payments-events-dlq`.
#[must_use]
pub fn service<'a>(stage: &str, queue: &'a str) -> Option<&'a str> {
    queue.strip_prefix(stage)?.strip_prefix("-quadrille-")?.strip_suffix("-events-dlq")
}

/// What a body that is no event stands for: not every dead-letter queue is one of events.
fn unread(queue: &str, failure: &Failure) -> String {
    match queue {
        _ if queue.ends_with("-outbox-dlq") => "an event row could not be published".into(),
        _ if queue.ends_with("-sweeper-dlq") => {
            "an invocation of the sweeper that was given up; the next one does its work".into()
        }
        _ => failure.to_string(),
    }
}

impl DeadLetter {
    /// The order or other subject that it is about, if that can be read.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        let of_event = self.event.as_ref().map(|event| event.metadata.subject.as_str());
        of_event.or(self.message.group.as_deref())
    }
}

impl<S: Store> Stage<S> {
    /// Receives messages of a dead-letter queue, some at a time; none when none is visible.
    ///
    /// # Errors
    /// A [`Failure`] when a queue or table does not answer.
    pub async fn open(&self, queue: &str, url: &str) -> Result<Vec<DeadLetter>, Failure> {
        let mut dead_letters = Vec::new();
        for message in self.queues.receive(url).await? {
            dead_letters.push(self.explain(queue, message).await?);
        }
        Ok(dead_letters)
    }

    async fn explain(&self, queue: &str, message: Received) -> Result<DeadLetter, Failure> {
        let read = read_body(&message.body);
        let reason = match (&message.error, &read) {
            (Some(error), _) => error.clone(),
            _ if message.group.is_some() => "a message to a customer that the mailer did not delete".into(),
            (None, Ok(event)) => self.noted(queue, event).await?,
            (None, Err(failure)) => unread(queue, failure),
        };
        Ok(DeadLetter { message, event: read.ok(), reason })
    }

    /// Why the service's last try failed, as it noted itself.
    async fn noted(&self, queue: &str, event: &Envelope) -> Result<String, Failure> {
        let unknown = || "not noted; the function's log has it".to_owned();
        let Some(service) = service(&self.name, queue) else { return Ok(unknown()) };
        let row = self.table_of(service).load(&failure_key(event.metadata.id)).await?;
        Ok(row.and_then(|row| row.text("reason").map(str::to_owned)).unwrap_or_else(unknown))
    }

    /// Every queue of the stage, by name.
    ///
    /// # Errors
    /// [`Failure::Poison`] when there is none: there is no such stage.
    pub async fn all(&self) -> Result<BTreeMap<String, String>, Failure> {
        let queues = self.queues.list(&format!("{}-quadrille-", self.name)).await?;
        if queues.is_empty() {
            return Err(Failure::Poison(format!("there is no stage {}: no queue has its name", self.name)));
        }
        Ok(queues)
    }

    /// The orders that wait for an operator, which are FAILED, then those with an overdue step, a line each.
    ///
    /// # Errors
    /// A [`Failure`] when the table of orders does not answer.
    pub async fn waiting(&self, now: DateTime<Utc>) -> Result<Vec<String>, Failure> {
        let table = self.table_of("orders");
        let (mut lines, until) = (Vec::new(), millis::text(&now));
        for partition in std::iter::once(overdue::FAILED.to_owned()).chain(overdue::shards()) {
            let since = if partition == overdue::FAILED { "since" } else { "overdue since" };
            let found = all_until(&table, overdue::INDEX, &partition, &until).await?;
            for Indexed { key, at } in found {
                let row = table.load(&key).await?;
                let status = row.as_ref().and_then(|row| row.text("status")).unwrap_or("?");
                lines.push(format!("{status}  {}  {since} {at}", AggregateId::of_partition(&key.pk).subject));
            }
        }
        Ok(lines)
    }

    /// A service's table.
    pub fn table_of(&self, service: &str) -> S {
        (self.table)(format!("{}-quadrille-{service}", self.name))
    }

    /// Every dead-letter queue of the stage that holds something, a line for each and for each dead letter.
    ///
    /// # Errors
    /// As [`Stage::open`].
    pub async fn list(&self, now: DateTime<Utc>) -> Result<Vec<String>, Failure> {
        let mut queues = self.all().await?;
        queues.retain(|queue, _| source(queue).is_some());
        let lists = queues.iter().map(|(queue, url)| self.list_one(queue, url, now));
        // Every queue is read to its end and its messages are released, even when another queue fails.
        let lines: Vec<Result<Vec<String>, Failure>> =
            stream::iter(lists).buffered(AT_A_TIME).collect().await;
        Ok(lines.into_iter().collect::<Result<Vec<_>, _>>()?.concat())
    }

    async fn list_one(&self, queue: &str, url: &str, now: DateTime<Utc>) -> Result<Vec<String>, Failure> {
        let mut dead_letters: Vec<DeadLetter> = Vec::new();
        while dead_letters.len() < MAX_PER_QUEUE {
            let more = self.open(queue, url).await?;
            if more.is_empty() {
                break;
            }
            dead_letters.extend(more);
        }
        dead_letters.sort_by_key(|dead_letter| dead_letter.message.sent_at);
        // Besides those that this call has received.
        let (_, hidden) = self.queues.depth(url).await?;
        let hidden = hidden.saturating_sub(dead_letters.len());
        let more = if dead_letters.len() < MAX_PER_QUEUE { "" } else { " and perhaps more" };
        let elsewhere = match hidden {
            0 => String::new(),
            hidden => format!(", {hidden} hidden by another receiver"),
        };
        let mut lines = Vec::new();
        if !dead_letters.is_empty() || hidden > 0 {
            lines.push(format!("{queue}: {}{more}{elsewhere}", dead_letters.len()));
        }
        for dead_letter in dead_letters {
            lines.push(format!("  {}", line(&dead_letter, now)));
            self.queues.release(url, &dead_letter.message).await?;
        }
        Ok(lines)
    }
}

/// `12 m  order.created  order 018f…  transient: …`
fn line(dead_letter: &DeadLetter, now: DateTime<Utc>) -> String {
    let age = dead_letter.message.sent_at.map_or_else(|| "?".into(), |sent| age(now - sent));
    let what = match (&dead_letter.event, &dead_letter.message.group) {
        (Some(event), _) => format!("{}  {}", event.metadata.kind, event.metadata.subject),
        (None, Some(order)) => format!("message  {order}"),
        (None, None) => format!("message {}", dead_letter.message.id),
    };
    format!("{age:>5}  {what}  {}", dead_letter.reason)
}

/// The largest unit that fits.
fn age(age: TimeDelta) -> String {
    match (age.num_days(), age.num_hours(), age.num_minutes()) {
        (1.., ..) => format!("{} d", age.num_days()),
        (_, 1.., _) => format!("{} h", age.num_hours()),
        (_, _, 1..) => format!("{} m", age.num_minutes()),
        _ => format!("{} s", age.num_seconds().max(0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_names_its_service() {
        assert_eq!(service("dev", "dev-quadrille-payments-events-dlq"), Some("payments"));
        assert_eq!(service("dev", "dev-quadrille-payments-outbox-dlq"), None);
        assert_eq!(service("dev", "prod-quadrille-payments-events-dlq"), None);
    }

    #[test]
    fn a_dead_letter_queue_names_its_source() {
        assert_eq!(source("x-events-dlq").as_deref(), Some("x-events"));
        assert_eq!(source("x-messages-dlq.fifo").as_deref(), Some("x-messages.fifo"));
        assert_eq!((source("x-events"), source("x-messages.fifo")), (None, None));
    }

    /// Guards: a dead letter is called an illegible event only where events are.
    #[test]
    fn a_body_without_an_event_is_what_its_queue_holds() {
        let failure = Failure::Poison("illegible".into());
        let said = |queue: &str| unread(&format!("dev-quadrille-{queue}"), &failure);
        assert!(said("orders-sweeper-dlq").starts_with("an invocation of the sweeper that was given up"));
        assert_eq!(said("orders-outbox-dlq"), "an event row could not be published");
        assert_eq!(said("orders-events-dlq"), failure.to_string());
    }

    #[test]
    fn ages_are_short() {
        for (seconds, shown) in [(-3, "0 s"), (59, "59 s"), (60, "1 m"), (7300, "2 h"), (200_000, "2 d")] {
            assert_eq!(age(TimeDelta::seconds(seconds)), shown);
        }
    }
}
