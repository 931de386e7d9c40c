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
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

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
    pub(crate) queues: Queues,
    /// Opens a table by its name.
    table: Table<S>,
    /// What was received and neither released nor deleted, with the URL of its queue.
    held: Mutex<Vec<(String, Received)>>,
    is_stopped: AtomicBool,
}

/// Opens a table by its name.
type Table<S> = Box<dyn Fn(String) -> S + Send + Sync>;

/// What an operator named that is not there.
#[derive(Debug, thiserror::Error)]
pub enum NotThere {
    /// There is no such dead-letter queue.
    #[error("there is no dead-letter queue {0}; `quadrille dlq list` shows those that hold something")]
    Queue(String),
    /// There is no such message in it that could be received.
    #[error("{queue} has no message {message} that can be seen now")]
    Message {
        /// The queue.
        queue: String,
        /// The message's id.
        message: String,
    },
    /// A queue or table did not answer.
    #[error(transparent)]
    Failed(#[from] Failure),
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

    /// The event's type; `message` for what is no event.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.event.as_ref().map_or("message", |event| event.metadata.kind.as_str())
    }
}

impl<S: Store> Stage<S> {
    /// The stage called `name`, its queues, and what opens a table by its name.
    pub fn new(
        name: impl Into<String>,
        queues: Queues,
        table: impl Fn(String) -> S + Send + Sync + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            queues,
            table: Box::new(table),
            held: Mutex::default(),
            is_stopped: AtomicBool::new(false),
        }
    }

    fn held(&self) -> MutexGuard<'_, Vec<(String, Received)>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has whatever works on the queues end with a failure before its next step. A call that is under way is finished: a message
    /// whose receipt got lost would stay hidden.
    pub fn stop(&self) {
        self.is_stopped.store(true, Ordering::Relaxed);
    }

    pub(crate) fn go_on(&self) -> Result<(), Failure> {
        if self.is_stopped.load(Ordering::Relaxed) {
            return Err(Failure::Transient("stopped".into()));
        }
        Ok(())
    }

    /// Receives messages of a dead-letter queue, some at a time; none when none is visible. They are hidden from others until
    /// they are released or deleted.
    ///
    /// # Errors
    /// A [`Failure`] when a queue or table does not answer.
    pub async fn open(&self, queue: &str, url: &str) -> Result<Vec<DeadLetter>, Failure> {
        self.go_on()?;
        let received = self.queues.receive(url).await?;
        self.held().extend(received.iter().map(|message| (url.to_owned(), message.clone())));
        let mut dead_letters = Vec::new();
        for message in received {
            dead_letters.push(self.explain(queue, message).await?);
        }
        Ok(dead_letters)
    }

    /// Every message of a dead-letter queue that is visible, oldest first, [`MAX_PER_QUEUE`] at most.
    ///
    /// # Errors
    /// As [`Stage::open`].
    pub async fn open_all(&self, queue: &str, url: &str) -> Result<Vec<DeadLetter>, Failure> {
        let mut dead_letters: Vec<DeadLetter> = Vec::new();
        while dead_letters.len() < MAX_PER_QUEUE {
            let more = self.open(queue, url).await?;
            if more.is_empty() {
                break;
            }
            dead_letters.extend(more);
        }
        dead_letters.sort_by_key(|dead_letter| dead_letter.message.sent_at);
        Ok(dead_letters)
    }

    /// Lets others see again what is held, of one queue or of all: whatever ends a command early, this comes after it.
    ///
    /// # Errors
    /// A [`Failure`] when a queue does not answer; what it is about is visible again when its time is up.
    pub async fn release(&self, url: Option<&str>) -> Result<(), Failure> {
        let release =
            |(url, message): (String, Received)| async move { self.queues.release(&url, &message).await };
        let held = stream::iter(self.let_go(url)).map(release);
        let released: Vec<_> = held.buffer_unordered(AT_A_TIME).collect().await;
        released.into_iter().collect()
    }

    fn let_go(&self, url: Option<&str>) -> Vec<(String, Received)> {
        let mut held = self.held();
        let is_meant = |(held, _): &(String, Received)| url.is_none_or(|url| url == held);
        let (meant, others) = std::mem::take(&mut *held).into_iter().partition(is_meant);
        *held = others;
        meant
    }

    /// Lets others see a message again.
    ///
    /// # Errors
    /// As [`Stage::open`].
    pub async fn release_one(&self, url: &str, message: &Received) -> Result<(), Failure> {
        self.queues.release(url, message).await?;
        self.held().retain(|(_, held)| held.receipt != message.receipt);
        Ok(())
    }

    /// Deletes a message that is held.
    ///
    /// # Errors
    /// As [`Stage::open`].
    pub async fn delete(&self, url: &str, message: &Received) -> Result<(), Failure> {
        self.queues.delete(url, message).await?;
        self.held().retain(|(_, held)| held.receipt != message.receipt);
        Ok(())
    }

    /// The URL of a dead-letter queue.
    ///
    /// # Errors
    /// [`NotThere`]
    pub async fn dead_letter_queue(&self, queue: &str) -> Result<String, NotThere> {
        let url = self.all().await?.remove(queue).filter(|_| source(queue).is_some());
        url.ok_or_else(|| NotThere::Queue(queue.to_owned()))
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

    /// The orders that wait for an operator, which are FAILED, then those with an overdue step.
    ///
    /// # Errors
    /// A [`Failure`] when the table of orders does not answer.
    pub async fn waiting(&self, now: DateTime<Utc>) -> Result<Vec<Waiting>, Failure> {
        let table = self.table_of("orders");
        let (mut waiting, until) = (Vec::new(), millis::text(&now));
        for partition in std::iter::once(overdue::FAILED.to_owned()).chain(overdue::shards()) {
            for Indexed { key, at } in all_until(&table, overdue::INDEX, &partition, &until).await? {
                let row = table.load(&key).await?;
                waiting.push(Waiting {
                    status: row.as_ref().and_then(|row| row.text("status")).unwrap_or("?").to_owned(),
                    order_id: AggregateId::of_partition(&key.pk).subject,
                    is_overdue: partition != overdue::FAILED,
                    since: at,
                });
            }
        }
        Ok(waiting)
    }

    /// A service's table.
    pub fn table_of(&self, service: &str) -> S {
        (self.table)(format!("{}-quadrille-{service}", self.name))
    }

    /// What the dead-letter queues of the stage hold.
    ///
    /// # Errors
    /// As [`Stage::open`].
    pub async fn list(&self, now: DateTime<Utc>) -> Result<Vec<Listed>, Failure> {
        let mut queues = self.all().await?;
        queues.retain(|queue, _| source(queue).is_some());
        let lists = queues.iter().map(|(queue, url)| self.list_one(queue, url, now));
        // Every queue is read to its end and its messages are released, even when another queue fails.
        let lists: Vec<Result<Vec<Listed>, Failure>> =
            stream::iter(lists).buffered(AT_A_TIME).collect().await;
        Ok(lists.into_iter().collect::<Result<Vec<_>, _>>()?.concat())
    }

    async fn list_one(&self, queue: &str, url: &str, now: DateTime<Utc>) -> Result<Vec<Listed>, Failure> {
        let opened = self.open_all(queue, url).await;
        // Besides those that this call has received.
        let depth = self.queues.depth(url).await;
        self.release(Some(url)).await?;
        let (dead_letters, (_, hidden)) = (opened?, depth?);
        let mut listed: Vec<Listed> =
            dead_letters.iter().map(|dead_letter| Listed::of(queue, dead_letter, now)).collect();
        if listed.len() >= MAX_PER_QUEUE {
            listed.push(Listed::note(queue, "there may be more".into()));
        }
        let hidden = hidden.saturating_sub(dead_letters.len());
        if hidden > 0 {
            listed.push(Listed::note(queue, format!("{hidden} more are hidden by another receiver")));
        }
        Ok(listed)
    }
}

/// An order that waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Waiting {
    /// Where it stands.
    pub status: String,
    /// The order.
    pub order_id: String,
    /// Whether a step of it is overdue; it is FAILED otherwise.
    #[serde(rename = "overdue")]
    pub is_overdue: bool,
    /// Since when.
    pub since: String,
}

/// A dead letter as it is listed: nothing of its data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// The dead-letter queue.
    pub queue: String,
    /// The message; none for a remark on the queue.
    pub message_id: Option<String>,
    /// For how long it has been a message.
    pub age: Option<String>,
    /// The event's type, or what else it is.
    pub what: Option<String>,
    /// The order or other subject that it is about, if that can be read.
    pub subject: Option<String>,
    /// Why it is there.
    pub reason: String,
}

impl Listed {
    fn of(queue: &str, dead_letter: &DeadLetter, now: DateTime<Utc>) -> Self {
        Self {
            message_id: Some(dead_letter.message.id.clone()),
            age: dead_letter.message.sent_at.map(|sent| age(now - sent)),
            what: Some(dead_letter.kind().to_owned()),
            subject: dead_letter.subject().map(str::to_owned),
            ..Self::note(queue, dead_letter.reason.clone())
        }
    }

    fn note(queue: &str, reason: String) -> Self {
        Self { queue: queue.to_owned(), message_id: None, age: None, what: None, subject: None, reason }
    }
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
