//! Sending dead letters back to where they failed, and the verdict on each.

use crate::dead_letters::{DeadLetter, NotThere, Stage, service, source};
use chassis::inbox::{delivery, failure_key};
use chassis::ports::Bus;
use chassis::{Failure, Store};
use chrono::{DateTime, Utc};
use events::orders::OrderCancelled;
use events::{Envelope, Event, OrderId};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// How long to wait for the service's verdict on a dead letter.
const TIMEOUT: Duration = Duration::from_secs(15);
/// How often to look.
const PAUSE: Duration = Duration::from_millis(200);

/// Which dead letters are meant.
#[derive(Clone, Debug)]
pub enum Meant {
    /// Those of every dead-letter queue.
    All,
    /// Those of one queue, or those about one order in it.
    Of(String, Option<OrderId>),
}

/// What redriving a dead letter, or a queue that holds none that could be, came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fate {
    /// The dead-letter queue.
    pub queue: String,
    /// The message; none for a remark on the queue.
    pub message_id: Option<String>,
    /// The event's type; none for a remark.
    pub what: Option<String>,
    /// The order or other subject.
    pub subject: Option<String>,
    /// In words.
    pub fate: String,
    /// Whether nothing is left to do.
    #[serde(rename = "well")]
    pub is_well: bool,
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

/// A dead letter with its queue: name, URL and way back.
struct Opened<'a> {
    queue: &'a str,
    url: &'a str,
    way: &'a Way,
    dead_letter: DeadLetter,
}

impl Opened<'_> {
    /// Cancellations go first: what they undo grows older, and what comes after them is then known to be late.
    fn is_cancellation(&self) -> bool {
        self.dead_letter.kind() == OrderCancelled::TYPE
    }

    fn fate(&self, outcome: &Outcome) -> Fate {
        Fate {
            queue: self.queue.to_owned(),
            message_id: Some(self.dead_letter.message.id.clone()),
            what: Some(self.dead_letter.kind().to_owned()),
            subject: self.dead_letter.subject().map(str::to_owned),
            fate: outcome.to_string(),
            is_well: matches!(outcome, Outcome::Dealt(_)),
        }
    }
}

/// What is said of a queue as a whole.
fn remark(queue: &str, fate: String) -> Fate {
    Fate { queue: queue.to_owned(), message_id: None, what: None, subject: None, fate, is_well: false }
}

/// The way back for the dead letters of a queue; none where they are no events.
fn way(queue: &str, queues: &BTreeMap<String, String>) -> Option<Way> {
    match queues.get(&source(queue)?) {
        Some(url) => Some(Way::Queue(url.clone())),
        None => queue.ends_with("-compensation-dlq").then_some(Way::Bus),
    }
}

impl<S: Store> Stage<S> {
    /// Sends dead letters back, cancellations before all others; the fate of each is handed to `said`. What was not sent is
    /// in its queue still, and visible once [`Stage::release`] has been called.
    ///
    /// # Errors
    /// [`NotThere`].
    pub async fn redrive<B: Bus>(
        &self,
        meant: &Meant,
        bus: &B,
        mut said: impl FnMut(Fate),
    ) -> Result<(), NotThere> {
        let queues = self.all().await?;
        let (one, order) = match meant {
            Meant::All => (None, None),
            Meant::Of(queue, order) => (Some(queue), *order),
        };
        let names = queues.keys().filter(|name| source(name).is_some());
        let names: Vec<&String> = names.filter(|name| one.is_none_or(|one| one == *name)).collect();
        if let (Some(one), true) = (one, names.is_empty()) {
            return Err(NotThere::Queue(one.clone()));
        }
        let (mut ways, mut opened) = (BTreeMap::new(), Vec::new());
        for queue in names {
            match (way(queue, &queues), queues.get(queue)) {
                (Some(way), Some(url)) => drop(ways.insert(queue, (url, way))),
                (None, Some(url)) => self.remark_on(queue, url, one.is_some(), &mut said).await?,
                (_, None) => {}
            }
        }
        for (queue, (url, way)) in &ways {
            for dead_letter in self.open_all(queue, url).await? {
                if order.is_none_or(|order| dead_letter.subject() == Some(&order.to_string())) {
                    opened.push(Opened { queue, url, way, dead_letter });
                } else {
                    self.release_one(url, &dead_letter.message).await?;
                }
            }
        }
        let (cancellations, others): (Vec<_>, Vec<_>) = opened.into_iter().partition(Opened::is_cancellation);
        self.wave(cancellations, bus, &mut said).await?;
        self.wave(others, bus, &mut said).await?;
        self.release(None).await?;
        for (queue, (url, _)) in &ways {
            self.remark_hidden(queue, url, &mut said).await?;
        }
        Ok(())
    }

    /// Says of a queue without events that it has some, or that it is such a queue.
    async fn remark_on(
        &self,
        queue: &str,
        url: &str,
        is_named: bool,
        said: &mut impl FnMut(Fate),
    ) -> Result<(), Failure> {
        let (visible, hidden) = self.queues.depth(url).await?;
        if is_named || visible + hidden > 0 {
            let what = "holds no events, only where something went missing: the sweeper publishes again what a saga \
                        waits for, and how each order ended";
            said(remark(queue, what.into()));
        }
        Ok(())
    }

    async fn remark_hidden(
        &self,
        queue: &str,
        url: &str,
        said: &mut impl FnMut(Fate),
    ) -> Result<(), Failure> {
        let (_, hidden) = self.queues.depth(url).await?;
        if hidden > 0 {
            let text = format!("{hidden} more are hidden by another receiver: try again in some minutes");
            said(remark(queue, text));
        }
        Ok(())
    }

    /// Sends dead letters, then waits for the verdict on each.
    async fn wave<B: Bus>(
        &self,
        opened: Vec<Opened<'_>>,
        bus: &B,
        said: &mut impl FnMut(Fate),
    ) -> Result<(), Failure> {
        let mut sent = Vec::new();
        for one in opened {
            self.go_on()?;
            let at = Utc::now();
            let outcome = self.send_back(one.way, one.url, &one.dead_letter, bus).await?;
            if matches!(outcome, Some(Outcome::Stays(_))) {
                self.release_one(one.url, &one.dead_letter.message).await?;
            }
            sent.push((one, at, outcome));
        }
        let deadline = tokio::time::Instant::now() + TIMEOUT;
        for (one, at, outcome) in sent {
            let outcome = match outcome {
                Some(outcome) => outcome,
                None => self.verdict(&one, at, deadline).await?,
            };
            said(one.fate(&outcome));
        }
        Ok(())
    }

    /// Waits for the service's verdict on a dead letter that was sent back.
    async fn verdict(
        &self,
        one: &Opened<'_>,
        since: DateTime<Utc>,
        deadline: tokio::time::Instant,
    ) -> Result<Outcome, Failure> {
        let service = service(&self.name, one.queue);
        let (Some(event), Some(service)) = (&one.dead_letter.event, service) else {
            return Ok(Outcome::Unknown);
        };
        loop {
            self.go_on()?;
            if let Some(outcome) = self.look(service, event, since).await? {
                return Ok(outcome);
            }
            if tokio::time::Instant::now() >= deadline {
                return Ok(Outcome::Unknown);
            }
            tokio::time::sleep(PAUSE).await;
        }
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
        self.delete(url, &dead_letter.message).await?;
        Ok(outcome)
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
            if let Some(delivered) = delivery(&table, &pk, id).await? {
                return Ok(Some(Outcome::Dealt(delivered.verdict.as_str().to_owned())));
            }
        }
        let failed = table.load(&failure_key(id)).await?;
        let failed = failed.filter(|row| row.number("failed_at") >= Some(since.timestamp_millis()));
        Ok(failed.map(|row| Outcome::Failed(row.text("reason").unwrap_or_default().to_owned())))
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
