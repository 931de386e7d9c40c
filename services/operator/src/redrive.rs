//! Sending dead letters back to where they failed, and seeing what becomes of each.

use crate::letters::{Known, MOST, SUFFIX, Stage, service};
use chassis::ports::Bus;
use chassis::reaction::failure_key;
use chassis::{Failure, Key, Store};
use chrono::{DateTime, Utc};
use events::{Envelope, OrderId};
use std::fmt;
use std::time::Duration;

/// How long to wait for what becomes of a letter.
const PATIENCE: Duration = Duration::from_secs(15);
/// How often to look.
const PAUSE: Duration = Duration::from_millis(200);

/// Why nothing was sent back.
#[derive(Debug, thiserror::Error)]
pub enum NotRedriven {
    /// There is no such queue.
    #[error("there is no dead-letter queue {0}; `operator dlq` lists those that hold something")]
    NoSuchQueue(String),
    /// What lies in it is no event.
    #[error(
        "{0} holds no events, only where something went missing: what a saga waits for is told again by the sweeper"
    )]
    NoEvents(String),
    /// A queue or table did not answer.
    #[error(transparent)]
    Failed(#[from] Failure),
}

/// Where the letters of a queue go.
enum Way {
    /// Back to the service's own queue.
    Queue(String),
    /// To the bus: the target that missed them is no queue.
    Bus,
}

/// What became of one letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Became {
    /// The service has dealt with it, and called it this.
    Dealt(String),
    /// It failed again.
    Failed(String),
    /// Nobody can read it: it stays.
    Stays(String),
    /// Nothing was heard of it yet.
    Unknown,
}

/// A letter that was dealt with here.
struct Sent {
    line: String,
    event: Option<Envelope>,
    at: DateTime<Utc>,
    became: Option<Became>,
}

impl<S: Store> Stage<S> {
    /// Sends the letters of a dead-letter queue back, or those of one order; a line for each, and whether all went well.
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
        let url = queues.get(queue).filter(|_| queue.ends_with(SUFFIX));
        let url = url.ok_or_else(|| NotRedriven::NoSuchQueue(queue.to_owned()))?;
        let way = match queue.strip_suffix(SUFFIX).and_then(|name| queues.get(name)) {
            Some(url) => Way::Queue(url.clone()),
            None if queue.ends_with("-compensation-dlq") => Way::Bus,
            None => return Err(NotRedriven::NoEvents(queue.to_owned())),
        };
        let (mut sent, mut kept) = (Vec::new(), Vec::new());
        let gone = self.send_all((queue, url), (&way, bus), order, (&mut sent, &mut kept)).await;
        for known in &kept {
            self.queues.put_back(url, &known.letter).await?;
        }
        gone?;
        let hidden = self.queues.hidden(url).await?;
        let (mut lines, mut well) = self.follow(queue, sent).await?;
        if hidden > 0 {
            lines.push(format!(
                "{hidden} more are being looked at by somebody else: try again in some minutes"
            ));
            well = false;
        }
        Ok((lines, well))
    }

    /// Sends the letters that are meant; those that stay are kept, to be put back.
    async fn send_all<B: Bus>(
        &self,
        (queue, url): (&str, &str),
        (way, bus): (&Way, &B),
        order: Option<OrderId>,
        (sent, kept): (&mut Vec<Sent>, &mut Vec<Known>),
    ) -> Result<(), Failure> {
        while sent.len() + kept.len() < MOST {
            let letters = self.open(queue, url).await?;
            if letters.is_empty() {
                break;
            }
            for known in letters {
                let about = known.event.as_ref().map(|event| event.metadata.subject.as_str());
                if order.is_some_and(|order| about != Some(&order.to_string())) {
                    kept.push(known);
                    continue;
                }
                let (at, line) = (Utc::now(), what(&known));
                let became = self.send_back(way, url, &known, bus).await?;
                sent.push(Sent { line, event: known.event.clone(), at, became: became.clone() });
                kept.extend(matches!(became, Some(Became::Stays(_))).then_some(known));
            }
        }
        Ok(())
    }

    /// Sends one letter; the copy in the dead-letter queue is deleted only afterwards. Twice is once: the inbox knows.
    async fn send_back<B: Bus>(
        &self,
        way: &Way,
        url: &str,
        known: &Known,
        bus: &B,
    ) -> Result<Option<Became>, Failure> {
        let Some(event) = &known.event else {
            return Ok(Some(Became::Stays(known.reason.clone())));
        };
        let became = match way {
            Way::Queue(target) => {
                self.queues.send(target, &known.letter.body).await?;
                None
            }
            Way::Bus => {
                bus.publish(std::slice::from_ref(event)).await?;
                Some(Became::Dealt("told again on the bus".into()))
            }
        };
        self.queues.delete(url, &known.letter).await?;
        Ok(became)
    }

    async fn follow(&self, queue: &str, sent: Vec<Sent>) -> Result<(Vec<String>, bool), Failure> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let (mut lines, mut well) = (Vec::new(), true);
        for Sent { line, event, at, mut became } in sent {
            while let (None, Some(event), Some(service)) = (&became, &event, service(&self.name, queue)) {
                became = self.look(service, event, at).await?;
                if tokio::time::Instant::now() >= deadline {
                    break;
                }
                if became.is_none() {
                    tokio::time::sleep(PAUSE).await;
                }
            }
            let became = became.unwrap_or(Became::Unknown);
            well &= matches!(became, Became::Dealt(_));
            lines.push(format!("{line}: {became}"));
        }
        Ok((lines, well))
    }

    /// What a service says of an event that was sent back at `since`.
    async fn look(
        &self,
        service: &str,
        event: &Envelope,
        since: DateTime<Utc>,
    ) -> Result<Option<Became>, Failure> {
        let (table, id, subject) = (self.table_of(service), event.metadata.id, &event.metadata.subject);
        let places = ["order", "product", "breaker"].map(|kind| format!("{kind}#{subject}"));
        for pk in places.into_iter().chain([format!("notice#{id}")]) {
            if let Some(row) = table.load(&Key::inbox(&pk, id)).await? {
                return Ok(Some(Became::Dealt(row.text("verdict").unwrap_or("dealt with").to_owned())));
            }
        }
        let failed = table.load(&failure_key(id)).await?;
        let failed = failed.filter(|row| row.number("failed_at") >= Some(since.timestamp_millis()));
        Ok(failed.map(|row| Became::Failed(row.text("reason").unwrap_or_default().to_owned())))
    }
}

/// A letter in a few words.
fn what(known: &Known) -> String {
    match &known.event {
        Some(event) => format!("{} {}", event.metadata.kind, event.metadata.subject),
        None => format!("message {}", known.letter.id),
    }
}

impl fmt::Display for Became {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dealt(verdict) => f.write_str(verdict),
            Self::Failed(reason) => write!(f, "failed again and is being retried, {reason}"),
            Self::Stays(reason) => write!(f, "stays, {reason}"),
            Self::Unknown => f.write_str("sent, nothing heard yet"),
        }
    }
}
