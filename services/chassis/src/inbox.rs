//! The inbox: what an aggregate remembers of the events that were delivered to it, and the verdict on each. A delivery that
//! changes the aggregate is remembered in its state row, so that one write makes both true. One that changes nothing leaves a row of
//! its own beside it, and so does a repeat, which it counts. A delivery that failed leaves a note of why instead.

use crate::decider::Refusal;
use crate::failure::Failure;
use crate::ports::Ports;
use crate::store::{AggregateId, Attr, CommitError, Condition, INBOX, Item, Key, Store, Write};
use chrono::{DateTime, Duration, Utc};
use events::{EventId, Metadata, envelope::millis};
use serde::de::{IntoDeserializer, value::StrDeserializer};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How long an inbox row is kept. Longer than any queue keeps a message; afterwards the state itself refuses what it
/// already knows.
pub const INBOX_DAYS: i64 = 7;
/// How long the note of a failed delivery is kept: as long as a dead-letter queue keeps the message.
const FAILURE_DAYS: i64 = 14;
/// The counter of an inbox row: how often the event was delivered again.
const DUPLICATES: &str = "duplicates";
/// The attribute by which a state row remembers deliveries.
const REMEMBERED: &str = "inbox";
/// How many deliveries a state row remembers, so that it stays small. Each one after these gets an inbox row.
const IN_STATE: usize = 16;

/// What a delivery came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It changed the aggregate, or the aggregate took note of it.
    Applied,
    /// The inbox has it already.
    Duplicate,
    /// It came before the event that it depends on, and is remembered.
    Early,
    /// It came after the order was cancelled, and is being undone.
    LateCompensated,
    /// The state is past it.
    Stale,
    /// It makes no sense in this state.
    Refused,
    /// It and the state cannot both be true. It changes nothing, and an alarm sounds.
    Contradicted,
    /// It is of a newer version than the service knows; the older one is published beside it.
    NewerVersion,
    /// It comes from a replay, and the service acts outside: it may do that on live events only. It changes nothing.
    Replayed,
}

impl Verdict {
    /// As it stands in the inbox, logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Duplicate => "duplicate",
            Self::Early => "early",
            Self::LateCompensated => "late_compensated",
            Self::Stale => "stale",
            Self::Refused => "refused",
            Self::Contradicted => "contradicted",
            Self::NewerVersion => "newer_version",
            Self::Replayed => "replayed",
        }
    }
}

impl Verdict {
    fn parse(text: &str) -> Option<Self> {
        let text: StrDeserializer<'_, serde::de::value::Error> = text.into_deserializer();
        Self::deserialize(text).ok()
    }
}

impl From<Refusal> for Verdict {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Stale(_) => Self::Stale,
            Refusal::Illegal(_) => Self::Refused,
            Refusal::Contradicted(_) => Self::Contradicted,
        }
    }
}

/// A delivery as it is remembered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivered {
    /// The event.
    #[serde(rename = "id")]
    pub event_id: EventId,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// What the delivery came to.
    pub verdict: Verdict,
    /// When the event was committed.
    #[serde(with = "chrono::serde::ts_milliseconds")]
    pub time: DateTime<Utc>,
    /// When it was delivered.
    #[serde(with = "chrono::serde::ts_milliseconds")]
    pub at: DateTime<Utc>,
    /// What the event is about, where the partition does not say it: the audit could not find the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<About>,
    /// How often it was delivered again.
    #[serde(skip)]
    pub duplicates: u64,
}

/// Where an event lies in its producer's table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// Its subject.
    pub subject: String,
    /// Its number.
    pub seq: u64,
}

impl Delivered {
    /// The delivery of an event to the aggregate in this partition.
    #[must_use]
    pub fn of(metadata: &Metadata, pk: &str, verdict: Verdict, now: DateTime<Utc>) -> Self {
        let about = || About { subject: metadata.subject.clone(), seq: metadata.seq };
        Self {
            event_id: metadata.id,
            kind: metadata.kind.clone(),
            verdict,
            time: metadata.time,
            at: now,
            about: (!pk.ends_with(&metadata.subject)).then(about),
            // The first delivery is the one that the state row remembers.
            duplicates: u64::from(verdict == Verdict::Duplicate),
        }
    }

    /// The inbox row of it. Its condition makes the transaction fail when there is one.
    #[must_use]
    pub fn row(&self, pk: &str) -> Write {
        let mut item = Item::new(Key::inbox(pk, self.event_id))
            .with("verdict", self.verdict.as_str())
            .with("event_id", self.event_id.to_string())
            .with("type", self.kind.as_str())
            .with("time", millis::text(&self.time))
            .with("at", millis::text(&self.at))
            .with(DUPLICATES, i64::try_from(self.duplicates).unwrap_or(i64::MAX))
            .with("expires_at", (self.at + Duration::days(INBOX_DAYS)).timestamp());
        if let Some(About { subject, seq }) = &self.about {
            item =
                item.with("subject", subject.as_str()).with("seq", i64::try_from(*seq).unwrap_or(i64::MAX));
        }
        Write::Put { item, when: Condition::Absent }
    }

    fn read(row: &Item) -> Result<Self, Failure> {
        let missing = |name: &str| Failure::Poison(format!("{}: no usable {name:?}", row.key));
        let text = |name: &str| row.text(name).ok_or_else(|| missing(name));
        let time = |name: &str| {
            let time = DateTime::parse_from_rfc3339(text(name)?).map_err(|_| missing(name))?;
            Ok::<_, Failure>(time.with_timezone(&Utc))
        };
        let seq = row.count("seq");
        let about = row.text("subject").zip(seq).map(|(subject, seq)| About { subject: subject.into(), seq });
        Ok(Self {
            event_id: text("event_id")?.parse().map(EventId).map_err(|_| missing("event_id"))?,
            kind: text("type")?.to_owned(),
            verdict: Verdict::parse(text("verdict")?).ok_or_else(|| missing("verdict"))?,
            time: time("time")?,
            at: time("at")?,
            about,
            duplicates: row.count(DUPLICATES).unwrap_or_default(),
        })
    }
}

/// The deliveries that a state row remembers: a set, by event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inbox(Vec<Delivered>);

impl Inbox {
    /// That of a state row.
    ///
    /// # Errors
    /// [`Failure::Poison`] when it cannot be read.
    pub fn read(state: &Item) -> Result<Self, Failure> {
        let Some(text) = state.text(REMEMBERED) else { return Ok(Self::default()) };
        let unreadable = |_| Failure::Poison(format!("{}: no usable {REMEMBERED:?}", state.key));
        serde_json::from_str(text).map(Self).map_err(unreadable)
    }

    /// Whether it remembers this event.
    #[must_use]
    pub fn knows(&self, event: EventId) -> bool {
        self.0.iter().any(|delivered| delivered.event_id == event)
    }

    /// What it remembers together with the inbox rows of its partition, by event: a row of what it remembers itself counts the
    /// repeats.
    ///
    /// # Errors
    /// [`Failure::Poison`] when a row cannot be read.
    pub fn deliveries<'a>(
        self,
        beside: impl IntoIterator<Item = &'a Item>,
    ) -> Result<BTreeMap<EventId, Delivered>, Failure> {
        let mut found: BTreeMap<_, _> = self.0.into_iter().map(|one| (one.event_id, one)).collect();
        for row in beside {
            let one = Delivered::read(row)?;
            let known = found.entry(one.event_id);
            known.and_modify(|first| first.duplicates = one.duplicates).or_insert(one);
        }
        Ok(found)
    }

    /// Remembers one more; the row that has to be written instead when it is full.
    pub(crate) fn remember(&mut self, delivered: Delivered, pk: &str) -> Option<Write> {
        if self.0.len() >= IN_STATE {
            return Some(delivered.row(pk));
        }
        let place = self.0.partition_point(|known| known.event_id < delivered.event_id);
        self.0.insert(place, delivered);
        None
    }

    /// The attribute of the state row; none when nothing was delivered.
    pub(crate) fn attribute(&self) -> Result<Option<(&'static str, Attr)>, Failure> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let text = serde_json::to_string(&self.0).map_err(|e| Failure::Poison(e.to_string()))?;
        Ok(Some((REMEMBERED, text.into())))
    }
}

/// The deliveries that a row remembers: an inbox row one, a state row several, any other none.
///
/// # Errors
/// [`Failure::Poison`] when it cannot be read.
pub fn remembered_by(row: &Item) -> Result<Vec<Delivered>, Failure> {
    if row.key.sk.starts_with(INBOX) {
        return Delivered::read(row).map(|one| vec![one]);
    }
    Inbox::read(row).map(|inbox| inbox.0)
}

/// The deliveries that the rows of one partition remember, by event.
///
/// # Errors
/// [`Failure::Poison`] when one cannot be read.
pub fn deliveries<'a>(
    rows: impl IntoIterator<Item = &'a Item>,
) -> Result<BTreeMap<EventId, Delivered>, Failure> {
    let (beside, others): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.key.sk.starts_with(INBOX));
    let state = others.into_iter().find(|row| row.attrs.contains_key(REMEMBERED));
    state.map(Inbox::read).transpose()?.unwrap_or_default().deliveries(beside)
}

/// The delivery of an event, if the aggregate in this partition remembers it.
///
/// # Errors
/// A [`Failure`] when the store does not answer, or a row cannot be read.
pub async fn delivery<S: Store>(store: &S, pk: &str, event: EventId) -> Result<Option<Delivered>, Failure> {
    let rows = store.load_many(&[Key::state(pk), Key::inbox(pk, event)]).await?;
    Ok(deliveries(rows.iter().flatten())?.remove(&event))
}

/// Remembers a delivery that changes nothing; one more of it is counted.
///
/// # Errors
/// A [`Failure`] when the store does not answer.
pub async fn settle<S: Store>(
    ports: &Ports<S>,
    metadata: &Metadata,
    id: &AggregateId,
    verdict: Verdict,
) -> Result<Verdict, Failure> {
    let delivered = Delivered::of(metadata, &id.pk, verdict, ports.clock.now());
    match ports.commit_alone(delivered.row(&id.pk)).await {
        Ok(()) => Ok(verdict),
        Err(CommitError::Rejected(_)) => count(ports, metadata, id).await,
        Err(error) => Err(error.into()),
    }
}

/// Counts one more delivery of an event that the aggregate remembers, for the timeline.
///
/// # Errors
/// A [`Failure`] when the store does not answer.
pub async fn duplicate<S: Store>(
    ports: &Ports<S>,
    metadata: &Metadata,
    id: &AggregateId,
) -> Result<Verdict, Failure> {
    settle(ports, metadata, id, Verdict::Duplicate).await
}

async fn count<S: Store>(
    ports: &Ports<S>,
    metadata: &Metadata,
    id: &AggregateId,
) -> Result<Verdict, Failure> {
    let again = Write::Adjust { key: Key::inbox(&id.pk, metadata.id), by: vec![(DUPLICATES, 1)] };
    match ports.commit_alone(again).await {
        // Rejected: TTL has deleted the row in this moment, and with it the count.
        Ok(()) | Err(CommitError::Rejected(_)) => Ok(Verdict::Duplicate),
        Err(error) => Err(error.into()),
    }
}

/// The verdict on a replayed event of a service that must not act on one: known, or left alone. It leaves no row, so that
/// the same event is still news when it is published live.
///
/// # Errors
/// A [`Failure`] when the store does not answer.
pub async fn leave_alone<S: Store>(
    ports: &Ports<S>,
    metadata: &Metadata,
    id: &AggregateId,
) -> Result<Verdict, Failure> {
    match delivery(&ports.store, &id.pk, metadata.id).await? {
        Some(_) => duplicate(ports, metadata, id).await,
        None => Ok(Verdict::Replayed),
    }
}

/// The row that says why the last delivery of an event failed.
#[must_use]
pub fn failure_key(event: EventId) -> Key {
    Key::new(format!("failure#{event}"), "failure")
}

/// How long a note may take. A table that hung before may hang again, and the function has to answer.
const NOTE: std::time::Duration = std::time::Duration::from_millis(400);

/// Keeps why a delivery failed, for the operator who finds the message in a dead-letter queue.
pub async fn note_failure<S: Store>(ports: &Ports<S>, metadata: &Metadata, failure: &Failure) {
    let now = ports.clock.now();
    let item = Item::new(failure_key(metadata.id))
        .with("type", metadata.kind.as_str())
        .with("subject", metadata.subject.as_str())
        .with("reason", failure.to_string())
        .with("at", millis::text(&now))
        .with("failed_at", now.timestamp_millis())
        .with("expires_at", (now + Duration::days(FAILURE_DAYS)).timestamp());
    let when = Condition::Newer("failed_at", now.timestamp_millis());
    let noted = tokio::time::timeout(NOTE, ports.store.commit(vec![Write::Put { item, when }]));
    let reason = match noted.await {
        // Rejected: another delivery of the event failed later than this one.
        Ok(Ok(()) | Err(CommitError::Rejected(_))) => return,
        Ok(Err(error)) => error.to_string(),
        Err(_) => "the table did not answer".to_owned(),
    };
    // The table itself may be what failed. The log has the reason in any case.
    tracing::warn!(reason, "a failure could not be noted");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::load;
    use crate::outbox::OutboxEntry;
    use crate::reaction::receive;
    use crate::store::MemoryStore;
    use crate::{Aggregate, Decider};
    use events::{Envelope, Unreadable};
    use uuid::Uuid;

    /// Counts what is delivered to it, and would count a repeat too.
    #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
    struct Tally(u64);

    impl Decider for Tally {
        type Message = ();
        type Fact = ();

        fn decide(&self, (): &(), _now: DateTime<Utc>) -> Result<Vec<()>, Refusal> {
            Ok(vec![()])
        }

        fn evolve(self, (): &()) -> Self {
            Self(self.0 + 1)
        }
    }

    impl Aggregate for Tally {
        const SERVICE: &'static str = "tally";

        fn event((): &()) -> Option<OutboxEntry> {
            None
        }

        fn facts(&self, _event: &Envelope) -> Result<Vec<()>, Unreadable> {
            Ok(Vec::new())
        }

        fn visible(&self) -> String {
            self.0.to_string()
        }
    }

    fn metadata(n: u128) -> Metadata {
        Metadata {
            id: EventId(Uuid::from_u128(n)),
            source: "quadrille.others".into(),
            kind: "other.happened".into(),
            version: 1,
            subject: "1".into(),
            seq: 1,
            time: DateTime::UNIX_EPOCH,
            correlation_id: Uuid::nil(),
            causation_id: Uuid::nil(),
            traceparent: String::new(),
            replay: None,
            nudge: None,
        }
    }

    async fn delivered(ports: &Ports<MemoryStore>, n: u128) -> Verdict {
        let id = AggregateId::new("tally", 1);
        receive::<Tally, _>(ports, &metadata(n), &id, ()).await.unwrap()
    }

    /// Guards: the limit of the state row, and the inbox rows behind it. However many events there are, the aggregate counts each
    /// once; the state row stays small.
    #[tokio::test]
    async fn what_the_state_row_cannot_hold_is_remembered_beside_it() {
        let ports = Ports::system(MemoryStore::default());
        let events = u64::try_from(IN_STATE).unwrap() + 5;
        for (round, expected) in
            [Verdict::Applied, Verdict::Duplicate, Verdict::Duplicate].into_iter().enumerate()
        {
            for n in (0..events).rev() {
                assert_eq!(delivered(&ports, n.into()).await, expected, "round {round}, event {n}");
            }
        }
        let loaded = load::<Tally, _>(&ports.store, &AggregateId::new("tally", 1)).await.unwrap();
        assert_eq!((loaded.state, loaded.version), (Tally(events), events));
        assert_eq!(loaded.inbox.0.len(), IN_STATE);
        let known = deliveries(&ports.store.rows()).unwrap();
        let shown = known.values().map(|one| (one.verdict, one.duplicates));
        assert!(shown.clone().all(|shown| shown == (Verdict::Applied, 2)), "{:?}", shown.collect::<Vec<_>>());
        assert_eq!(known.len(), IN_STATE + 5);
    }

    /// Guards: what the inbox is read from. Every verdict, and every attribute of a row, comes back as it was written.
    #[test]
    fn a_delivery_is_read_as_it_was_written() {
        let all = [
            Verdict::Applied,
            Verdict::Duplicate,
            Verdict::Early,
            Verdict::LateCompensated,
            Verdict::Stale,
            Verdict::Refused,
            Verdict::Contradicted,
            Verdict::NewerVersion,
            Verdict::Replayed,
        ];
        for verdict in all {
            for pk in ["tally#1", "notice#7"] {
                let written = Delivered::of(&metadata(7), pk, verdict, DateTime::UNIX_EPOCH);
                let Write::Put { item, .. } = written.row(pk) else { panic!("no row") };
                assert_eq!(remembered_by(&item), Ok(vec![written.clone()]));
                let mut inbox = Inbox::default();
                assert_eq!(inbox.remember(written.clone(), pk), None);
                let (name, value) = inbox.attribute().unwrap().unwrap();
                let state = Item::new(Key::state(pk)).with(name, value);
                assert_eq!(remembered_by(&state), Ok(vec![Delivered { duplicates: 0, ..written }]));
            }
        }
    }
}
