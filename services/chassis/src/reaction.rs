//! The reaction: one message in, at most one transaction out.
//!
//! The loop loads the aggregate, decides, and commits the state with its inbox and the event rows together. When another worker
//! was faster it decides again from fresh state, a bounded number of times. Events and commands run through the same loop.
//! An outward call is made between two commits: the intent is committed first and does not enter the inbox, because the
//! delivery belongs to the transaction of the outcome; a crash in between must look like work to finish, not like a duplicate.
//! A call that is harmless to repeat is made between deciding and the only commit.

use crate::aggregate::{Aggregate, Appended, Loaded, SideWrite, append, load};
use crate::decider::{Decider, Refusal};
use crate::effects::{Attempt, Effects};
use crate::failure::Failure;
use crate::inbox::{self, Delivered, Verdict};
use crate::live::Live;
use crate::metrics;
use crate::outbox::{Cause, Context};
use crate::ports::{MAX_ATTEMPTS, Ports};
use crate::reactor::Reactor;
use crate::spans::{self, Kind, Span};
use crate::store::{AggregateId, CommitError, Rejected, Store, Write};
use chrono::{DateTime, Utc};
use events::{Envelope, EventId, Metadata};
use std::future::{Future, ready};

/// How many outward calls one delivery may lead to.
const MAX_CALLS: u32 = 2;

/// Lets a service react to one delivered event.
///
/// # Errors
/// A [`Failure`]: everything that is not a verdict. The last attempt wrote nothing but the note of why it failed.
pub async fn react<E, S>(ports: &Ports<S>, effects: &E, envelope: &Envelope) -> Result<Verdict, Failure>
where
    E: Effects,
    S: Store,
{
    let outcome = deliver(ports, effects, envelope).await;
    if let Err(failure) = &outcome {
        inbox::note_failure(ports, &envelope.metadata, failure).await;
    }
    outcome
}

async fn deliver<E, S>(ports: &Ports<S>, effects: &E, envelope: &Envelope) -> Result<Verdict, Failure>
where
    E: Effects,
    S: Store,
{
    let live = Live::of(&envelope.metadata);
    if live.is_none() && E::CALLS {
        return inbox::leave_alone(ports, &envelope.metadata, &E::Reactor::id(&envelope.metadata)).await;
    }
    let mut stand = begin(ports, effects, envelope).await?;
    for calls in 0.. {
        stand = match stand {
            Stand::Ended(verdict) => return Ok(verdict),
            Stand::Pending { .. } if calls == MAX_CALLS => break,
            Stand::Pending { call, attempt, state } => {
                let live = live.ok_or_else(|| Failure::Poison("a replayed event calls nothing".into()))?;
                let began = ports.clock.now();
                let outcome = effects.perform(call, attempt, live).await;
                spans::record(|| call_span::<E, S>(ports, &envelope.metadata, began, &outcome));
                let outcome = outcome?;
                resume(ports, effects, envelope, state, outcome).await?
            }
        };
    }
    let id = E::Reactor::id(&envelope.metadata);
    Err(Failure::Transient(format!("{id} asks for more than {MAX_CALLS} outward calls in one delivery")))
}

/// The span of an outward call, in that of the reaction.
fn call_span<E: Effects, S>(
    ports: &Ports<S>,
    metadata: &Metadata,
    began: DateTime<Utc>,
    outcome: &Result<<E::Reactor as Decider>::Message, Failure>,
) -> Span {
    let reaction = Cause::from(metadata).span(E::Reactor::SERVICE);
    Span {
        context: reaction.child(ports.ids.fresh()),
        parent: Some(reaction.span),
        kind: Kind::Client,
        name: format!("{} calls outside", E::Reactor::SERVICE),
        began,
        ended: ports.clock.now(),
        attributes: vec![(metadata.subject_name(), metadata.subject.clone())],
        error: outcome.as_ref().err().map(Failure::class),
    }
}

/// Where a delivery stands after a commit.
pub enum Stand<E: Effects> {
    /// It ended with this verdict.
    Ended(Verdict),
    /// Its intent is committed: a call has to be made, whose outcome goes to [`resume`].
    Pending {
        /// What to call.
        call: E::Call,
        /// Whether another worker may have made it.
        attempt: Attempt,
        /// The aggregate that waits for it.
        state: Loaded<E::Reactor>,
    },
}

/// Reacts to an event up to the first outward call.
///
/// # Errors
/// A [`Failure`]; nothing was written.
pub async fn begin<E: Effects, S: Store>(
    ports: &Ports<S>,
    effects: &E,
    envelope: &Envelope,
) -> Result<Stand<E>, Failure> {
    advance(ports, effects, envelope, None, E::Reactor::read(envelope)?).await
}

/// Goes on with what a call came to, up to the next one.
///
/// # Errors
/// A [`Failure`]; nothing was written since the call.
pub async fn resume<E: Effects, S: Store>(
    ports: &Ports<S>,
    effects: &E,
    envelope: &Envelope,
    state: Loaded<E::Reactor>,
    outcome: <E::Reactor as Decider>::Message,
) -> Result<Stand<E>, Failure> {
    advance(ports, effects, envelope, Some(state), outcome).await
}

async fn advance<E: Effects, S: Store>(
    ports: &Ports<S>,
    effects: &E,
    envelope: &Envelope,
    loaded: Option<Loaded<E::Reactor>>,
    message: <E::Reactor as Decider>::Message,
) -> Result<Stand<E>, Failure> {
    let metadata = &envelope.metadata;
    let id = E::Reactor::id(metadata);
    let turn = Turn { ports, id: &id, cause: &Cause::from(metadata) };
    let delivery = Delivery { metadata, pk: &id.pk, effects };
    let (state, attempt, verdict) = match turn.run(loaded, message, &delivery).await? {
        Ended::Refused(refusal, _) => {
            return inbox::settle(ports, metadata, &id, refusal.into()).await.map(Stand::Ended);
        }
        Ended::Delivered | Ended::Occupied(_) => {
            return inbox::duplicate(ports, metadata, &id).await.map(Stand::Ended);
        }
        Ended::Unchanged(state) => (state, Attempt::Repeat, None),
        Ended::Committed(after, noted) => (after, noted.attempt, Some(noted.verdict)),
    };
    match (E::pending_call(&state.state), verdict) {
        (Some(call), _) => Ok(Stand::Pending { call, attempt, state }),
        (None, Some(verdict)) => Ok(Stand::Ended(verdict)),
        (None, None) => inbox::settle(ports, metadata, &id, Verdict::Applied).await.map(Stand::Ended),
    }
}

/// What a command came to.
#[derive(Debug)]
pub enum Executed<A> {
    /// Its facts are committed.
    Done(Loaded<A>),
    /// There was nothing to do.
    Unchanged(Loaded<A>),
    /// The aggregate refused it, in this state; nothing was written.
    Refused(Refusal, Loaded<A>),
}

/// Lets an aggregate decide on what an event means for it, and commits what follows together with the delivery. For a
/// consumer that makes no outward calls, and reads its events with the help of other rows.
///
/// # Errors
/// A [`Failure`].
pub async fn receive<A, S>(
    ports: &Ports<S>,
    metadata: &Metadata,
    id: &AggregateId,
    message: A::Message,
) -> Result<Verdict, Failure>
where
    A: Aggregate,
    S: Store,
{
    let turn = Turn { ports, id, cause: &Cause::from(metadata) };
    match turn.run::<A, _>(None, message, &Once { metadata, pk: &id.pk }).await? {
        Ended::Committed(..) => Ok(Verdict::Applied),
        Ended::Unchanged(_) => inbox::settle(ports, metadata, id, Verdict::Applied).await,
        Ended::Refused(refusal, _) => inbox::settle(ports, metadata, id, refusal.into()).await,
        Ended::Delivered | Ended::Occupied(_) => inbox::duplicate(ports, metadata, id).await,
    }
}

/// Lets an aggregate decide on a message that did not come through its queue, and commits what follows. It leaves nothing in
/// the inbox: the state itself has to refuse a repetition.
///
/// # Errors
/// A [`Failure`].
pub async fn execute<A, S>(
    ports: &Ports<S>,
    id: &AggregateId,
    command: A::Message,
    cause: &Cause,
) -> Result<Executed<A>, Failure>
where
    A: Aggregate,
    S: Store,
{
    let executed = execute_beside(ports, id, command, cause, Vec::new()).await?;
    executed.map_err(|_| Failure::Poison("a condition failed of a write that does not exist".into()))
}

/// As [`execute`], together with writes `beside` the facts; the inner error: the condition of the first of them that failed did
/// not hold, and nothing was written.
///
/// # Errors
/// As [`execute`].
pub async fn execute_beside<A, S>(
    ports: &Ports<S>,
    id: &AggregateId,
    command: A::Message,
    cause: &Cause,
    beside: Vec<Write>,
) -> Result<Result<Executed<A>, Rejected>, Failure>
where
    A: Aggregate,
    S: Store,
{
    Ok(match (Turn { ports, id, cause }).run(None, command, &Beside(beside)).await? {
        Ended::Committed(after, ()) => Ok(Executed::Done(after)),
        Ended::Unchanged(state) => Ok(Executed::Unchanged(state)),
        Ended::Refused(refusal, before) => Ok(Executed::Refused(refusal, before)),
        Ended::Occupied(rejected) => Err(rejected),
        Ended::Delivered => return Err(Failure::Poison("a command is no delivery".into())),
    })
}

/// What distinguishes an event's delivery from a command: what is remembered of it, and what is written beside the facts.
trait Origin<A: Aggregate>: Sync {
    /// What it notes of the state before.
    type Note: Send;
    /// Does outside what the facts say.
    fn carry_out(&self, _facts: &[A::Fact]) -> impl Future<Output = Result<(), Failure>> + Send {
        ready(Ok(()))
    }
    fn note(&self, before: &A, facts: &[A::Fact]) -> Self::Note;
    /// The event: an aggregate that knows it has nothing left to do.
    fn event(&self) -> Option<EventId> {
        None
    }
    /// What the state row remembers, after the facts.
    fn delivered(&self, _note: &Self::Note, _after: &A, _now: DateTime<Utc>) -> Option<Delivered> {
        None
    }
    fn beside(&self) -> &[Write] {
        &[]
    }
}

/// An event: the state row remembers it with the facts, unless an outward call has to be made first.
struct Delivery<'a, E> {
    metadata: &'a Metadata,
    pk: &'a str,
    effects: &'a E,
}

/// What a delivery notes of the state before.
struct Noted {
    verdict: Verdict,
    attempt: Attempt,
}

impl<E: Effects> Origin<E::Reactor> for Delivery<'_, E> {
    type Note = Noted;

    async fn carry_out(&self, facts: &[<E::Reactor as Decider>::Fact]) -> Result<(), Failure> {
        match Live::of(self.metadata) {
            Some(live) => self.effects.carry_out(facts, live).await,
            // A service that acts outside leaves a replayed event alone.
            None => Ok(()),
        }
    }

    fn note(&self, before: &E::Reactor, facts: &[<E::Reactor as Decider>::Fact]) -> Noted {
        // A delivery that finds the call still pending may be the second to make it.
        let attempt = if E::pending_call(before).is_none() { Attempt::First } else { Attempt::Repeat };
        Noted { verdict: before.verdict(facts), attempt }
    }

    fn event(&self) -> Option<EventId> {
        Some(self.metadata.id)
    }

    fn delivered(&self, noted: &Noted, after: &E::Reactor, now: DateTime<Utc>) -> Option<Delivered> {
        let is_settled = E::pending_call(after).is_none();
        is_settled.then(|| Delivered::of(self.metadata, self.pk, noted.verdict, now))
    }
}

/// An event that leads to no outward call.
struct Once<'a> {
    metadata: &'a Metadata,
    pk: &'a str,
}

impl<A: Aggregate> Origin<A> for Once<'_> {
    type Note = ();

    fn note(&self, _before: &A, _facts: &[A::Fact]) {}

    fn event(&self) -> Option<EventId> {
        Some(self.metadata.id)
    }

    fn delivered(&self, (): &(), _after: &A, now: DateTime<Utc>) -> Option<Delivered> {
        Some(Delivered::of(self.metadata, self.pk, Verdict::Applied, now))
    }
}

/// A command: beside the facts stands what its sender wants written with them.
struct Beside(Vec<Write>);

impl<A: Aggregate> Origin<A> for Beside {
    type Note = ();

    fn note(&self, _before: &A, _facts: &[A::Fact]) {}

    fn beside(&self) -> &[Write] {
        &self.0
    }
}

/// What the loop came to.
enum Ended<A, N> {
    /// The facts are committed.
    Committed(Loaded<A>, N),
    /// There were no facts.
    Unchanged(Loaded<A>),
    Refused(Refusal, Loaded<A>),
    /// The aggregate remembers the event.
    Delivered,
    /// A write beside the facts found its row there already.
    Occupied(Rejected),
}

/// What follows from an attempt.
enum Next<A: Aggregate, N> {
    Ended(Ended<A, N>),
    Instead(A::Message),
    /// Another worker was faster.
    Again,
    /// The store asks for patience, and says why.
    Busy(String),
}

/// One aggregate and one cause.
struct Turn<'a, S> {
    ports: &'a Ports<S>,
    id: &'a AggregateId,
    cause: &'a Cause,
}

impl<S: Store> Turn<'_, S> {
    /// The one bounded loop: decides on `message` and commits, until no other worker has changed the same rows meanwhile.
    async fn run<A: Aggregate, O: Origin<A>>(
        &self,
        loaded: Option<Loaded<A>>,
        mut message: A::Message,
        origin: &O,
    ) -> Result<Ended<A, O::Note>, Failure> {
        let mut loaded = loaded.or_else(|| A::starts_aggregate(&message).then(Loaded::default));
        for attempt in 1..=MAX_ATTEMPTS {
            let before = match loaded.take() {
                Some(loaded) => loaded,
                None => load(&self.ports.store, self.id).await?,
            };
            match self.attempt(before, &message, origin).await? {
                Next::Ended(ended) => return Ok(ended),
                Next::Instead(other) => message = other,
                Next::Again => self.ports.back_off(attempt).await,
                Next::Busy(reason) => self.ports.wait_for_store(attempt, reason).await?,
            }
        }
        Err(Failure::Conflict { attempts: MAX_ATTEMPTS })
    }

    /// One transaction: the state with its inbox, event rows, side writes, and the writes beside them, or nothing.
    async fn attempt<A: Aggregate, O: Origin<A>>(
        &self,
        before: Loaded<A>,
        message: &A::Message,
        origin: &O,
    ) -> Result<Next<A, O::Note>, Failure> {
        if origin.event().is_some_and(|event| before.inbox.knows(event)) {
            return Ok(Next::Ended(Ended::Delivered));
        }
        let now = self.ports.clock.now();
        let facts = match before.state.decide(message, now) {
            Err(refusal) => return Ok(Next::Ended(Ended::Refused(refusal, before))),
            Ok(facts) if facts.is_empty() => return Ok(Next::Ended(Ended::Unchanged(before))),
            Ok(facts) => facts,
        };
        let note = origin.note(&before.state, &facts);
        origin.carry_out(&facts).await?;
        let sides: Vec<_> = facts.iter().flat_map(A::side_writes).collect();
        let measured = before.state.measured(&facts);
        let context = Context { cause: self.cause, now };
        let delivered = |after: &A| origin.delivered(&note, after, now);
        let Appended { after, mut writes, remembered } =
            append(before, &facts, delivered, self.id, &context)?;
        let own = writes.len();
        writes.extend(sides.iter().map(|side| side.write.clone()));
        writes.extend(remembered);
        writes.extend_from_slice(origin.beside());
        match self.ports.store.commit(writes).await {
            Ok(()) => {
                metrics::emit(&measured);
                Ok(Next::Ended(Ended::Committed(after, note)))
            }
            Err(CommitError::Rejected(rejected)) => sort_out(rejected, own, &sides),
            Err(CommitError::Busy(reason)) => Ok(Next::Busy(reason)),
            Err(CommitError::Failed(failure)) => Err(failure),
        }
    }
}

/// Finds which condition failed: that of the write beside, of the aggregate's `own` rows, or of a side write.
fn sort_out<A: Aggregate, N>(
    mut rejected: Vec<Option<Rejected>>,
    own: usize,
    sides: &[SideWrite<A::Message>],
) -> Result<Next<A, N>, Failure> {
    let beside = rejected.split_off(rejected.len().min(own + sides.len()));
    if let Some(known) = beside.into_iter().flatten().next() {
        return Ok(Next::Ended(Ended::Occupied(known)));
    }
    // A moved version comes first: a side write may have judged a state that is no longer true.
    if rejected.iter().take(own).any(Option::is_some) {
        return Ok(Next::Again);
    }
    let failed = rejected.into_iter().skip(own).zip(sides);
    match failed.filter_map(|(rejected, side)| Some((side, rejected?))).next() {
        Some((SideWrite { otherwise: Some(instead), .. }, rejected)) => Ok(Next::Instead(instead(rejected))),
        Some((side, _)) => Err(Failure::Poison(format!("{} cannot be adjusted", side.write.key()))),
        None => Ok(Next::Again),
    }
}
