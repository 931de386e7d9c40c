//! The reaction loop: one record in, at most one transaction out.
//!
//! Load, decide, commit state + inbox row + event rows together. What cannot be committed is decided again
//! from fresh state, a bounded number of times. An outward call is made between two commits: the intent is
//! committed first and without the inbox row, because that row belongs to the transaction of the outcome; a
//! crash in between must look like work to finish, not like a duplicate.

use crate::store::{CommitError, Rejected, Store, every_row};
use crate::telling::{Cause, Entry, Kind, envelope_of, event_rows};
use crate::{Attr, Condition, Failure, Item, Key, Ports, Write};
use chrono::{DateTime, Duration, Utc};
use events::{Envelope, EventId, Metadata, Unreadable, envelope::millis};
use serde::{Serialize, de::DeserializeOwned};
use std::future::Future;

/// How often one delivery is decided anew when others keep changing the same rows.
pub const MAX_ATTEMPTS: u32 = 8;

/// How many outward calls one delivery may lead to.
const MAX_CALLS: u32 = 2;

/// How long an inbox row is kept. Longer than any queue keeps a message; after it, the state itself refuses
/// what it already knows.
const INBOX_DAYS: i64 = 7;

/// The counter of an inbox row: how often the event was delivered again.
const DUPLICATES: &str = "duplicates";

/// What became of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verdict {
    /// It changed something, or was taken note of.
    Applied,
    /// The inbox knew it.
    Duplicate,
    /// It came before what it depends on, and is remembered.
    Early,
    /// It came after the order was given up, and is being undone.
    LateCompensated,
    /// The state already was past it.
    Stale,
    /// It makes no sense in this state.
    Refused,
}

impl Verdict {
    /// As it stands in inbox rows, logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Duplicate => "duplicate",
            Self::Early => "early",
            Self::LateCompensated => "late_compensated",
            Self::Stale => "stale",
            Self::Refused => "refused",
        }
    }
}

/// A message that changes nothing, and why. Comparable, so that a spec can expect it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Already known, or overtaken.
    #[error("stale: {0}")]
    Stale(&'static str),
    /// Not legal in this state.
    #[error("illegal: {0}")]
    Illegal(&'static str),
}

impl Refusal {
    const fn verdict(self) -> Verdict {
        match self {
            Self::Stale(_) => Verdict::Stale,
            Self::Illegal(_) => Verdict::Refused,
        }
    }
}

/// What a reaction writes beside its state, inbox and event rows.
pub struct SideWrite<M> {
    /// The write.
    pub write: Write,
    /// The message to decide on instead, should its condition not hold; `None` where it always holds.
    pub refused: Option<Refused<M>>,
}

/// Turns a write that its condition refused into the message to decide on instead.
pub type Refused<M> = Box<dyn Fn(Rejected) -> M + Send + Sync>;

/// The pure core of a service: no I/O, no clock, no randomness.
pub struct Core<State, Message, Fact> {
    /// Facts, or the [`Refusal`] of what is stale or illegal.
    pub decide: Decide<State, Message, Fact>,
    /// The state after a fact.
    pub evolve: fn(State, &Fact) -> State,
}

/// What a state makes of a message, at a time.
pub type Decide<State, Message, Fact> = fn(&State, &Message, DateTime<Utc>) -> Result<Vec<Fact>, Refusal>;

/// A service's reaction to what it takes from the bus: the pure domain, and how it maps to rows and events.
pub trait Reactor: Send + Sync + 'static {
    /// The service's name: the consumer of its inbox rows, the producer of its events.
    const SERVICE: &'static str;
    /// The aggregate's state; `Default` is "nothing known".
    type State: Default + Clone + Serialize + DeserializeOwned + Send + Sync;
    /// What it decides on.
    type Message: Send + Sync;
    /// What it decides.
    type Fact: Send + Sync;
    /// An outward call that a state asks for. `std::convert::Infallible` where there is none.
    type Call: Send;

    /// Its pure core.
    const CORE: Core<Self::State, Self::Message, Self::Fact>;

    /// What an envelope means to this service.
    ///
    /// # Errors
    /// [`Unreadable`] for a type it does not take or data that is not of its shape.
    fn read(envelope: &Envelope) -> Result<Self::Message, Unreadable>;

    /// The partition key of the aggregate an envelope is about.
    fn partition(metadata: &Metadata) -> String {
        format!("order#{}", metadata.subject)
    }

    /// Whether a message usually is the first that touches its aggregate. The reaction then starts from nothing
    /// without loading; where it was wrong, the commit's own condition says so and the state is loaded.
    fn opens(_message: &Self::Message) -> bool {
        false
    }

    /// The event row of a fact, if it has one.
    fn tell(fact: &Self::Fact) -> Option<Entry>;

    /// The type of the event that is the service's word as the state stands; none: the last that it told. Whoever waits
    /// for an answer is told this one again.
    fn word(_state: &Self::State) -> Option<&'static str> {
        None
    }

    /// Attributes of the state row that indexes need.
    fn index(_state: &Self::State) -> Vec<(&'static str, Attr)> {
        Vec::new()
    }

    /// Writes to other rows of the table that belong to a fact.
    fn side_writes(_fact: &Self::Fact) -> Vec<SideWrite<Self::Message>> {
        Vec::new()
    }

    /// How the delivery that led from `before` to `facts` is to be called.
    fn verdict(_before: &Self::State, _facts: &[Self::Fact]) -> Verdict {
        Verdict::Applied
    }

    /// The outward call that `state` is waiting for.
    fn due_call(_state: &Self::State) -> Option<Self::Call> {
        None
    }

    /// Makes the call; its outcome is the next message. It must carry an idempotency key: it may be repeated. `first`:
    /// its intent was committed a moment ago, so nobody can have made it yet.
    fn perform(
        &self,
        call: Self::Call,
        first: bool,
    ) -> impl Future<Output = Result<Self::Message, Failure>> + Send;
}

/// An aggregate as loaded: its state with the version that a commit must find unchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded<T> {
    /// The state.
    pub state: T,
    /// 0: no row yet.
    pub version: u64,
    /// The number of its last event row.
    pub seq: u64,
}

impl<T: Default> Default for Loaded<T> {
    fn default() -> Self {
        Self { state: T::default(), version: 0, seq: 0 }
    }
}

/// Loads the aggregate at `pk`.
///
/// # Errors
/// [`Failure::Transient`] when the store does not answer, [`Failure::Poison`] when the row cannot be read.
pub async fn load<T, S>(store: &S, pk: &str) -> Result<Loaded<T>, Failure>
where
    T: Default + DeserializeOwned,
    S: Store,
{
    match store.load(&Key::state(pk)).await? {
        None => Ok(Loaded::default()),
        Some(row) => read_state(&row),
    }
}

/// Reads a state row.
///
/// # Errors
/// [`Failure::Poison`] when it is not one.
pub fn read_state<T: DeserializeOwned>(row: &Item) -> Result<Loaded<T>, Failure> {
    let poison = |what: &str| Failure::Poison(format!("{}: {what}", row.key));
    let data = row.text("data").ok_or_else(|| poison("no data"))?;
    Ok(Loaded {
        state: serde_json::from_str(data).map_err(|e| poison(&e.to_string()))?,
        version: row.count("version").ok_or_else(|| poison("no version"))?,
        seq: row.count("seq").ok_or_else(|| poison("no seq"))?,
    })
}

/// The writes that turn `before` into `after`: the state row under its version, and the event rows.
///
/// # Errors
/// [`Failure::Poison`] when an event is too large or the state cannot be written as JSON.
pub fn writes<R: Reactor>(
    before: &Loaded<R::State>,
    facts: &[R::Fact],
    (pk, subject): (&str, &str),
    (cause, now): (&Cause, DateTime<Utc>),
) -> Result<(Loaded<R::State>, Vec<Write>), Failure> {
    let state = facts.iter().fold(before.state.clone(), R::CORE.evolve);
    let entries: Vec<Entry> = facts.iter().filter_map(R::tell).collect();
    let told = u64::try_from(entries.len()).unwrap_or(u64::MAX);
    let after = Loaded { state, version: before.version + 1, seq: before.seq + told };
    let rows = event_rows(&entries, (pk, subject), before.seq + 1, (R::SERVICE, cause, now))?;
    let data = serde_json::to_string(&after.state).map_err(|e| Failure::Poison(e.to_string()))?;
    let mut row = Item::new(Key::state(pk))
        .with("version", number(after.version))
        .with("seq", number(after.seq))
        .with("updated_at", millis::text(&now))
        .with("data", data);
    for (name, value) in R::index(&after.state) {
        row = row.with(name, value);
    }
    let when = match before.version {
        0 => Condition::Absent,
        version => Condition::Matches(vec![("version", number(version).into())]),
    };
    let mut writes = vec![Write::Put { item: row, when }];
    writes.extend(rows.into_iter().map(|item| Write::Put { item, when: Condition::Absent }));
    Ok((after, writes))
}

fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// The row by which the aggregate at `pk` remembers that it has dealt with an event, and how.
#[must_use]
pub fn inbox_row(metadata: &Metadata, pk: &str, verdict: Verdict, now: DateTime<Utc>) -> Write {
    let item = Item::new(Key::inbox(pk, metadata.id))
        .with("verdict", verdict.as_str())
        .with("event_id", metadata.id.to_string())
        .with("type", metadata.kind.as_str())
        .with("time", millis::text(&metadata.time))
        .with("at", millis::text(&now))
        .with(DUPLICATES, 0)
        .with("expires_at", (now + Duration::days(INBOX_DAYS)).timestamp());
    Write::Put { item, when: Condition::Absent }
}

/// Counts one delivery more of an event that is known already, for the timeline.
///
/// # Errors
/// A [`Failure`] when the store does not answer.
pub async fn count_duplicate<S: Store>(store: &S, pk: &str, metadata: &Metadata) -> Result<(), Failure> {
    let again = Write::Adjust { key: Key::inbox(pk, metadata.id), by: vec![(DUPLICATES, 1)] };
    match store.commit(vec![again]).await {
        // Rejected: the row has expired in this moment, and with it the count.
        Ok(()) | Err(CommitError::Rejected(_)) => Ok(()),
        Err(CommitError::Busy(reason)) => Err(Failure::Transient(reason)),
        Err(CommitError::Failed(failure)) => Err(failure),
    }
}

/// A service's word on an aggregate as it stands: the event that [`Reactor::word`] names, as it was told last.
///
/// # Errors
/// A [`Failure`] when the store does not answer.
pub async fn word<R: Reactor, S: Store>(store: &S, pk: &str) -> Result<Option<Envelope>, Failure> {
    let kind = R::word(&load::<R::State, S>(store, pk).await?.state);
    let rows = every_row(store, pk, "event#").await?;
    let is_told = |row: &&Item| row.text("kind") == Some(Kind::Published.as_str());
    let told = rows.iter().filter(is_told).rfind(|row| kind.is_none() || row.text("type") == kind);
    told.map(envelope_of).transpose()
}

/// How long it is kept why a delivery failed: as long as a dead-letter queue keeps the message.
const FAILURE_DAYS: i64 = 14;

/// The row that says why the last delivery of an event failed.
#[must_use]
pub fn failure_key(event: EventId) -> Key {
    Key::new(format!("failure#{event}"), "failure")
}

/// Keeps why a delivery failed, for whoever finds the message in a dead-letter queue.
async fn note<S: Store>(ports: &Ports<S>, metadata: &Metadata, failure: &Failure) {
    let now = ports.clock.now();
    let item = Item::new(failure_key(metadata.id))
        .with("type", metadata.kind.as_str())
        .with("subject", metadata.subject.as_str())
        .with("reason", failure.to_string())
        .with("at", millis::text(&now))
        .with("failed_at", now.timestamp_millis())
        .with("expires_at", (now + Duration::days(FAILURE_DAYS)).timestamp());
    let noted = ports
        .store
        .commit(vec![Write::Put { item, when: Condition::Newer("failed_at", now.timestamp_millis()) }]);
    match noted.await {
        // Rejected: another delivery of the event failed later than this one.
        Ok(()) | Err(CommitError::Rejected(_)) => {}
        // The table itself may be what failed. The log has the reason in any case.
        Err(error) => tracing::warn!(reason = error.to_string(), "a failure could not be noted"),
    }
}

/// Lets a service react to one delivered event.
///
/// # Errors
/// A [`Failure`]: everything that is not a verdict. Nothing of the last attempt was written, but why it failed.
pub async fn react<R, S>(ports: &Ports<S>, reactor: &R, envelope: &Envelope) -> Result<Verdict, Failure>
where
    R: Reactor,
    S: Store,
{
    let outcome = attempt(ports, reactor, envelope).await;
    if let Err(failure) = &outcome {
        note(ports, &envelope.metadata, failure).await;
    }
    outcome
}

async fn attempt<R, S>(ports: &Ports<S>, reactor: &R, envelope: &Envelope) -> Result<Verdict, Failure>
where
    R: Reactor,
    S: Store,
{
    let mut run = Run::<R, S> {
        ports,
        metadata: &envelope.metadata,
        cause: Cause::from(&envelope.metadata),
        pk: R::partition(&envelope.metadata),
        loaded: None,
    };
    let mut message = R::read(envelope)?;
    run.loaded = R::opens(&message).then(Loaded::default);
    let (mut attempts, mut calls) = (0, 0);
    loop {
        match run.step(&message).await? {
            Step::Done(verdict) => return Ok(verdict),
            Step::Instead(other) => message = other,
            Step::Call(call, first) => {
                calls += 1;
                message = reactor.perform(call, first).await?;
            }
            Step::Again => {
                attempts += 1;
                ports.back_off(attempts).await;
            }
        }
        if attempts == MAX_ATTEMPTS || calls > MAX_CALLS {
            return Err(Failure::Conflict { attempts });
        }
    }
}

/// Lets an aggregate decide on a message that came by another way than its queue, and commits what follows. There is no
/// inbox row: the state itself has to refuse a repetition.
///
/// # Errors
/// A [`Failure`]; nothing was written. The inner error is the aggregate's own refusal.
pub async fn apply<R, S>(
    ports: &Ports<S>,
    (pk, subject): (&str, &str),
    message: &R::Message,
    cause: &Cause,
) -> Result<Result<Loaded<R::State>, Refusal>, Failure>
where
    R: Reactor,
    S: Store,
{
    for attempt in 0..MAX_ATTEMPTS {
        let before = load(&ports.store, pk).await?;
        let now = ports.clock.now();
        let facts = match (R::CORE.decide)(&before.state, message, now) {
            Ok(facts) => facts,
            Err(refusal) => return Ok(Err(refusal)),
        };
        if facts.is_empty() {
            return Ok(Ok(before));
        }
        let (after, writes) = writes::<R>(&before, &facts, (pk, subject), (cause, now))?;
        match ports.store.commit(writes).await {
            Ok(()) => return Ok(Ok(after)),
            Err(CommitError::Rejected(_) | CommitError::Busy(_)) => ports.back_off(attempt).await,
            Err(CommitError::Failed(failure)) => return Err(failure),
        }
    }
    Err(Failure::Conflict { attempts: MAX_ATTEMPTS })
}

/// What one pass of the loop came to.
enum Step<R: Reactor> {
    Done(Verdict),
    /// The call, and whether its intent has just been committed.
    Call(R::Call, bool),
    Instead(R::Message),
    Again,
}

/// One delivery being worked on.
struct Run<'a, R: Reactor, S> {
    ports: &'a Ports<S>,
    metadata: &'a Metadata,
    cause: Cause,
    pk: String,
    loaded: Option<Loaded<R::State>>,
}

impl<R: Reactor, S: Store> Run<'_, R, S> {
    async fn step(&mut self, message: &R::Message) -> Result<Step<R>, Failure> {
        let loaded = match self.loaded.take() {
            Some(loaded) => loaded,
            None => load(&self.ports.store, &self.pk).await?,
        };
        let now = self.ports.clock.now();
        match (R::CORE.decide)(&loaded.state, message, now) {
            Err(refusal) => self.settle(refusal.verdict(), now).await,
            Ok(facts) => self.carry_out(loaded, facts, now).await,
        }
    }

    /// Remembers a delivery that changes nothing.
    async fn settle(&self, verdict: Verdict, now: DateTime<Utc>) -> Result<Step<R>, Failure> {
        let inbox = inbox_row(self.metadata, &self.pk, verdict, now);
        match self.ports.store.commit(vec![inbox]).await {
            Ok(()) => Ok(Step::Done(verdict)),
            Err(CommitError::Rejected(_)) => self.duplicate().await,
            Err(CommitError::Busy(_)) => Ok(Step::Again),
            Err(CommitError::Failed(failure)) => Err(failure),
        }
    }

    async fn duplicate(&self) -> Result<Step<R>, Failure> {
        count_duplicate(&self.ports.store, &self.pk, self.metadata).await?;
        Ok(Step::Done(Verdict::Duplicate))
    }

    async fn carry_out(
        &mut self,
        loaded: Loaded<R::State>,
        facts: Vec<R::Fact>,
        now: DateTime<Utc>,
    ) -> Result<Step<R>, Failure> {
        if facts.is_empty() {
            return match R::due_call(&loaded.state) {
                Some(call) => {
                    self.loaded = Some(loaded);
                    Ok(Step::Call(call, false))
                }
                None => self.settle(Verdict::Applied, now).await,
            };
        }
        let about = (self.pk.as_str(), self.metadata.subject.as_str());
        let (after, mut writes) = writes::<R>(&loaded, &facts, about, (&self.cause, now))?;
        let sides: Vec<_> = facts.iter().flat_map(R::side_writes).collect();
        let first_side = writes.len();
        writes.extend(sides.iter().map(|side| side.write.clone()));
        let call = R::due_call(&after.state);
        // A delivery that finds the call still due may be the second to make it.
        let first = R::due_call(&loaded.state).is_none();
        let verdict = R::verdict(&loaded.state, &facts);
        if call.is_none() {
            writes.push(inbox_row(self.metadata, &self.pk, verdict, now));
        }
        let inbox = call.is_none().then_some(first_side + sides.len());
        match (self.ports.store.commit(writes).await, call) {
            (Ok(()), None) => Ok(Step::Done(verdict)),
            (Ok(()), Some(call)) => {
                self.loaded = Some(after);
                Ok(Step::Call(call, first))
            }
            (Err(CommitError::Rejected(rejected)), _) if is_known(&rejected, inbox) => self.duplicate().await,
            (Err(CommitError::Rejected(rejected)), _) => sort_out(rejected, first_side, &sides),
            (Err(CommitError::Busy(_)), _) => Ok(Step::Again),
            (Err(CommitError::Failed(failure)), _) => Err(failure),
        }
    }
}

/// Whether it was the inbox row that stood in the way.
fn is_known(rejected: &[Option<Rejected>], inbox: Option<usize>) -> bool {
    inbox.is_some_and(|inbox| rejected.get(inbox).is_some_and(Option::is_some))
}

/// Which of the other conditions failed decides what to do: a side write's, or the version.
fn sort_out<R: Reactor>(
    rejected: Vec<Option<Rejected>>,
    first_side: usize,
    sides: &[SideWrite<R::Message>],
) -> Result<Step<R>, Failure> {
    // A moved version comes first: what a side write said may be about a state that is no longer true.
    if rejected.iter().take(first_side).any(Option::is_some) {
        return Ok(Step::Again);
    }
    let refused = rejected.into_iter().skip(first_side).zip(sides);
    match refused.filter_map(|(rejected, side)| Some((side, rejected?))).next() {
        Some((SideWrite { refused: Some(instead), .. }, rejected)) => Ok(Step::Instead(instead(rejected))),
        Some((side, _)) => Err(Failure::Poison(format!("{} cannot be adjusted", side.write.key()))),
        None => Ok(Step::Again),
    }
}
