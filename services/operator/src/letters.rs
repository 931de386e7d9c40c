//! Dead letters: what lies in the dead-letter queues of a stage, since when, about which order, and why.

use chassis::aws::sqs::{Letter, Queues};
use chassis::reaction::failure_key;
use chassis::store::{Indexed, all_before};
use chassis::{Failure, Store, batch};
use chrono::{DateTime, TimeDelta, Utc};
use events::Envelope;
use events::envelope::millis;
use futures_util::{StreamExt, stream};
use std::collections::BTreeMap;

/// The most letters of one queue that are looked at together.
pub const MOST: usize = 1000;
/// How many queues are looked into at a time: an empty one is only known as such after a while.
const AT_A_TIME: usize = 16;
/// Over how many partitions orders spreads the index of those that wait; by test the same number.
pub const SHARDS: u128 = 8;
/// How the names of dead-letter queues end.
pub const SUFFIX: &str = "-dlq";

/// A stage, as an operator reaches it.
pub struct Stage<S> {
    /// `dev`
    pub name: String,
    /// Its queues.
    pub queues: Queues,
    /// Opens a table by its name.
    pub table: Box<dyn Fn(String) -> S + Send + Sync>,
}

/// A dead letter with what is known about it.
#[derive(Debug)]
pub struct Known {
    /// The letter.
    pub letter: Letter,
    /// The event in it; none when nobody can read it.
    pub event: Option<Envelope>,
    /// Why it is here.
    pub reason: String,
}

/// The service whose queue a dead-letter queue belongs to: `payments` of `dev-payments-events-dlq`.
#[must_use]
pub fn service<'a>(stage: &str, queue: &'a str) -> Option<&'a str> {
    queue.strip_prefix(stage)?.strip_prefix('-')?.strip_suffix("-events-dlq")
}

impl<S: Store> Stage<S> {
    /// Takes letters out of a dead-letter queue, some at a time; none when there are no more.
    ///
    /// # Errors
    /// A [`Failure`] when a queue or table does not answer.
    pub async fn open(&self, queue: &str, url: &str) -> Result<Vec<Known>, Failure> {
        let mut known = Vec::new();
        for letter in self.queues.take(url).await? {
            known.push(self.know(queue, letter).await?);
        }
        Ok(known)
    }

    async fn know(&self, queue: &str, letter: Letter) -> Result<Known, Failure> {
        let read = batch::read_body(&letter.body);
        let reason = match (&letter.error, &read) {
            (Some(error), _) => error.clone(),
            (None, Ok(event)) => self.noted(queue, event).await?,
            (None, Err(_)) if queue.ends_with("-pipe-dlq") => "the pipe could not carry a record".into(),
            (None, Err(failure)) => failure.to_string(),
        };
        Ok(Known { letter, event: read.ok(), reason })
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
        let queues = self.queues.list(&format!("{}-", self.name)).await?;
        if queues.is_empty() {
            return Err(Failure::Poison(format!("there is no stage {}: no queue has its name", self.name)));
        }
        Ok(queues)
    }

    /// The orders that wait for somebody: those that FAILED, then those with a step that is overdue, a line each.
    ///
    /// # Errors
    /// A [`Failure`] when the table of orders does not answer.
    pub async fn waiting(&self, now: DateTime<Utc>) -> Result<Vec<String>, Failure> {
        let table = self.table_of("orders");
        let (mut lines, before) = (Vec::new(), millis::text(&now));
        for partition in
            std::iter::once("failed".to_owned()).chain((0..SHARDS).map(|shard| shard.to_string()))
        {
            let word = if partition == "failed" { "since" } else { "overdue since" };
            for Indexed { key, at } in all_before(&table, "overdue", &partition, &before, usize::MAX).await? {
                let row = table.load(&key).await?;
                let status = row.as_ref().and_then(|row| row.text("status")).unwrap_or("?");
                lines.push(format!("{status}  {}  {word} {at}", key.pk.trim_start_matches("order#")));
            }
        }
        Ok(lines)
    }

    /// A service's table.
    pub fn table_of(&self, service: &str) -> S {
        (self.table)(format!("{}-{service}", self.name))
    }

    /// Every dead-letter queue of the stage that holds something, a line for each and for each letter.
    ///
    /// # Errors
    /// As [`Stage::open`].
    pub async fn list(&self, now: DateTime<Utc>) -> Result<Vec<String>, Failure> {
        let mut queues = self.all().await?;
        queues.retain(|queue, _| queue.ends_with(SUFFIX));
        let looks = queues.iter().map(|(queue, url)| self.look_into(queue, url, now));
        // Every look comes to its end, and puts back what it took, whatever becomes of another.
        let lines: Vec<Result<Vec<String>, Failure>> =
            stream::iter(looks).buffered(AT_A_TIME).collect().await;
        Ok(lines.into_iter().collect::<Result<Vec<_>, _>>()?.concat())
    }

    async fn look_into(&self, queue: &str, url: &str, now: DateTime<Utc>) -> Result<Vec<String>, Failure> {
        let mut letters: Vec<Known> = Vec::new();
        while letters.len() < MOST {
            let more = self.open(queue, url).await?;
            if more.is_empty() {
                break;
            }
            letters.extend(more);
        }
        letters.sort_by_key(|known| known.letter.sent_at);
        // Besides those that this look has taken.
        let hidden = self.queues.hidden(url).await?.saturating_sub(letters.len());
        let more = if letters.len() < MOST { "" } else { " and perhaps more" };
        let elsewhere = match hidden {
            0 => String::new(),
            hidden => format!(", {hidden} being looked at by somebody else"),
        };
        let mut lines = Vec::new();
        if !letters.is_empty() || hidden > 0 {
            lines.push(format!("{queue}: {}{more}{elsewhere}", letters.len()));
        }
        for known in letters {
            lines.push(format!("  {}", line(&known, now)));
            self.queues.put_back(url, &known.letter).await?;
        }
        Ok(lines)
    }
}

/// `12 m  order.created  order 018f…  transient: …`
fn line(known: &Known, now: DateTime<Utc>) -> String {
    let age = known.letter.sent_at.map_or_else(|| "?".into(), |sent| age(now - sent));
    match &known.event {
        Some(event) => {
            let metadata = &event.metadata;
            format!("{age:>5}  {}  {}  {}", metadata.kind, metadata.subject, known.reason)
        }
        None => format!("{age:>5}  message {}  {}", known.letter.id, known.reason),
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
        assert_eq!(service("dev", "dev-payments-events-dlq"), Some("payments"));
        assert_eq!(service("dev", "dev-payments-pipe-dlq"), None);
        assert_eq!(service("dev", "prod-payments-events-dlq"), None);
    }

    #[test]
    fn ages_are_short() {
        for (seconds, shown) in [(-3, "0 s"), (59, "59 s"), (60, "1 m"), (7300, "2 h"), (200_000, "2 d")] {
            assert_eq!(age(TimeDelta::seconds(seconds)), shown);
        }
    }
}
