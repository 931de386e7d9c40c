//! The sweeper: finds the sagas that wait too long, and reminds the silent step by publishing again the events that lead to
//! it. What never arrived arrives now; a service that has answered publishes its answer again.
//!
//! Orders that have ended are reconciled, once: the sweeper publishes again how they ended, for those whose answer no saga
//! waits for. Fulfillment answers with the shipment, payments with the refund, and these reach their consumers again too.
//!
//! A sweep looks at the most overdue first, at ended orders last, and ends before its function does: the next one goes on
//! where it stopped, so that sagas that cannot be dealt with keep no other waiting.

use crate::saga::deadlines::NUDGES;
use crate::saga::known::Known;
use crate::saga::measures::OVERDUE;
use crate::saga::step::Step;
use crate::saga::{Message, Saga};
use chassis::aggregate::load;
use chassis::outbox::{Cause, envelope_of};
use chassis::ports::Bus;
use chassis::reaction::{Executed, execute};
use chassis::store::{
    CommitError, Condition, EVENTS, Indexed, Item, Key, MAX_PAGE, Store, Write, every_row, overdue,
};
use chassis::task::{Task, TaskError};
use chassis::{AggregateId, Decider, Failure, Loaded, Ports, Refusal};
use chrono::{DateTime, TimeDelta, Utc};
use events::envelope::millis;
use events::{Envelope, EventId, OrderId};
use futures_util::{StreamExt, stream};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The most sagas that one sweep reminds.
pub const MAX_SAGAS: usize = 1000;
/// The most ended orders that one sweep reconciles, if it has the time.
const MAX_ENDED: usize = 5000;
/// How many of either it looks up at a time, the most overdue of all shards.
const ROUND: usize = 100;
/// How many of them it deals with at a time.
const CONCURRENCY: usize = 10;
/// How long a sweep begins another round, in seconds: its function has more time than that.
pub const MAX_SECONDS: i64 = 40;
/// The farthest that a sweep may look ahead, in seconds: a day.
const MAX_AHEAD: u32 = 86_400;

/// Sweeps.
pub struct Sweeper<S, B> {
    pub ports: Ports<S>,
    /// Where reminders go.
    pub bus: B,
}

/// What a sweep is asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Remind already what will be overdue in so many seconds, at most a day: an operator need not wait.
    #[serde(default)]
    pub ahead_seconds: u32,
    /// Cancel this order for its customer instead of sweeping: an operator asks for it.
    #[serde(default)]
    pub cancel: Option<OrderId>,
}

/// What the sweep did with one saga.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Swept {
    /// The number of the reminder; 0 for one ahead of time.
    Nudged(u32),
    TimedOut,
    Reconciled,
    /// An event arrived meanwhile.
    InTime,
}

/// How far a sweep has come: of each shard that it did not see the end of, the last saga that it has looked at.
type Position = BTreeMap<String, Indexed>;

/// The times of a sweep.
struct Times {
    /// What is due by then is dealt with.
    as_of: DateTime<Utc>,
    /// When it stops.
    until: DateTime<Utc>,
}

impl<S: Store, B: Bus> Task for Sweeper<S, B> {
    type Input = Input;

    async fn run(&self, input: Input) -> Result<Value, TaskError> {
        if let Some(order) = input.cancel {
            return Ok(self.cancel(&AggregateId::order(order)).await?);
        }
        let ahead = TimeDelta::seconds(input.ahead_seconds.min(MAX_AHEAD).into());
        self.sweep(self.ports.clock.now() + ahead).await
    }
}

impl<S: Store, B: Bus> Sweeper<S, B> {
    /// The same decision as `POST /orders/{id}/cancel`: whether it is accepted, and where the order stands; no status for an
    /// order that was never placed.
    async fn cancel(&self, id: &AggregateId) -> Result<Value, Failure> {
        let history = self.history(&id.pk).await?;
        if history.is_empty() {
            return Ok(json!({"accepted": false, "status": null}));
        }
        let cause = self.cause(&history)?;
        let (is_accepted, order) = match execute::<Saga, S>(&self.ports, id, Message::Cancel, &cause).await? {
            Executed::Done(order) | Executed::Unchanged(order) => (true, order),
            // Cancelled twice is cancelled once.
            Executed::Refused(refusal, order) => (matches!(refusal, Refusal::Stale(_)), order),
        };
        Ok(json!({"accepted": is_accepted, "status": order.state.status().as_str()}))
    }

    async fn sweep(&self, as_of: DateTime<Utc>) -> Result<Value, TaskError> {
        let times = Times { as_of, until: self.ports.clock.now() + TimeDelta::seconds(MAX_SECONDS) };
        let place = position_key(as_of > self.ports.clock.now());
        let stored = self.resume(&place).await?;
        let mut position = stored.clone();
        // One that looked further ahead may have left it: an index has no place behind its last.
        let until = millis::text(&as_of);
        position.retain(|_, row| row.at <= until);
        let mut swept = self.pass(overdue::shards().collect(), MAX_SAGAS, &mut position, &times).await?;
        swept.extend(self.pass(overdue::all_ended().collect(), MAX_ENDED, &mut position, &times).await?);
        if position != stored {
            self.stop_at(place, &position).await?;
        }
        report(&swept, !position.is_empty())
    }

    /// Looks at what is due in some shards, at most so many. At the end of them, the next pass begins at their head again.
    async fn pass(
        &self,
        shards: Vec<String>,
        most: usize,
        position: &mut Position,
        times: &Times,
    ) -> Result<Vec<Result<Swept, Failure>>, Failure> {
        let mut swept = Vec::new();
        while swept.len() < most && self.ports.clock.now() < times.until {
            let due = self.most_overdue(&shards, position, times.as_of).await?;
            let is_last = due.len() < ROUND;
            let one = |row: Indexed| self.one(row.key, times.as_of);
            swept.extend(stream::iter(due).map(one).buffer_unordered(CONCURRENCY).collect::<Vec<_>>().await);
            if is_last {
                position.retain(|shard, _| !shards.contains(shard));
                break;
            }
        }
        Ok(swept)
    }

    /// The most overdue after the position, which moves behind them.
    async fn most_overdue(
        &self,
        shards: &[String],
        position: &mut Position,
        as_of: DateTime<Utc>,
    ) -> Result<Vec<Indexed>, Failure> {
        let (mut found, until) = (Vec::new(), millis::text(&as_of));
        for shard in shards {
            let after = position.get(shard);
            let page = self.ports.store.oldest(overdue::INDEX, shard, &until, after, MAX_PAGE).await?;
            found.extend(page.into_iter().map(|row| (shard.clone(), row)));
        }
        found.sort_by(|(_, a), (_, b)| a.at.cmp(&b.at));
        found.truncate(ROUND);
        position.extend(found.iter().cloned());
        Ok(found.into_iter().map(|(_, row)| row).collect())
    }

    /// Where the last sweep stopped; nowhere, if it came to the end.
    async fn resume(&self, place: &Key) -> Result<Position, Failure> {
        let Some(row) = self.ports.store.load(place).await? else { return Ok(Position::new()) };
        let place = |shard: String| {
            let (at, pk) = row.text(&shard)?.split_once(' ')?;
            Some((shard, Indexed { key: Key::state(pk), at: at.to_owned() }))
        };
        Ok(overdue::shards().chain(overdue::all_ended()).filter_map(place).collect())
    }

    async fn stop_at(&self, place: Key, position: &Position) -> Result<(), Failure> {
        let now = self.ports.clock.now().timestamp_millis();
        let item = Item::new(place).with("stopped_at", now);
        let item = position
            .iter()
            .fold(item, |item, (shard, row)| item.with(shard, format!("{} {}", row.at, row.key.pk)));
        let write = Write::Put { item, when: Condition::Newer("stopped_at", now) };
        match self.ports.commit_alone(write).await {
            // Rejected: a sweep beside this one stopped later.
            Ok(()) | Err(CommitError::Rejected(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn one(&self, key: Key, as_of: DateTime<Utc>) -> Result<Swept, Failure> {
        let id = AggregateId::of_partition(&key.pk);
        let saga: Loaded<Saga> = load(&self.ports.store, &id).await?;
        let (due, is_ahead) = match saga.state.decide(&Message::Sweep, self.ports.clock.now()) {
            Ok(facts) => (facts.into_iter().next().map(|fact| fact.what), false),
            // Looking ahead only publishes: it ends nothing, and does not count.
            Err(_) => (due_by(&saga.state, as_of), true),
        };
        let Some(due) = due else { return Ok(Swept::InTime) };
        let history = self.history(&key.pk).await?;
        let cause = self.cause(&history)?;
        // What is published goes out before it is counted: a reminder that was counted and never sent would cancel orders
        // whose services were never reminded. One that is sent twice changes nothing.
        let (done, causes, nudge) = match due {
            Known::Nudged(step) => {
                let nudge = saga.state.nudges_of(step).saturating_add(1);
                (Swept::Nudged(if is_ahead { 0 } else { nudge }), step.causes(), nudge)
            }
            Known::Reconciled => (Swept::Reconciled, &Step::ENDS[..], 1),
            _ => (Swept::TimedOut, &[][..], 0),
        };
        self.publish_again(history, causes, nudge).await?;
        if is_ahead {
            return Ok(done);
        }
        match execute::<Saga, S>(&self.ports, &id, Message::Sweep, &cause).await? {
            Executed::Refused(..) => Ok(Swept::InTime),
            Executed::Done(_) | Executed::Unchanged(_) => Ok(done),
        }
    }

    /// Everything in an order's history, oldest first.
    async fn history(&self, pk: &str) -> Result<Vec<Envelope>, Failure> {
        every_row(&self.ports.store, pk, EVENTS).await?.iter().map(envelope_of).collect()
    }

    /// What a sweep decides belongs to the request that placed the order.
    fn cause(&self, history: &[Envelope]) -> Result<Cause, Failure> {
        let placed = history.first().ok_or_else(|| Failure::Poison("an order without a history".into()))?;
        let (correlation_id, fresh) = (placed.metadata.correlation_id, self.ports.ids.fresh());
        let trace = Cause::from(&placed.metadata).span("orders");
        Ok(Cause::Request { fresh: EventId(fresh), correlation_id, span: trace.child(fresh) })
    }

    /// Publishes the events of these types again. A service that knows them publishes its answer again.
    async fn publish_again(
        &self,
        mut history: Vec<Envelope>,
        kinds: &[&str],
        nudge: u32,
    ) -> Result<(), Failure> {
        history.retain(|event| kinds.contains(&event.metadata.kind.as_str()));
        for event in &mut history {
            event.metadata.nudge = Some(nudge);
        }
        if history.is_empty() { Ok(()) } else { self.bus.publish(&history).await }
    }
}

/// What a sweep will decide by then, short of ending an order.
fn due_by(saga: &Saga, as_of: DateTime<Utc>) -> Option<Known> {
    if saga.reconciliation().is_some_and(|due| due <= as_of) {
        return Some(Known::Reconciled);
    }
    let (step, deadline) = saga.deadline()?;
    (deadline <= as_of).then_some(Known::Nudged(step))
}

/// Where a sweep that did not come to the end keeps its position. One that looks ahead has a place of its own: it would carry the
/// others past what is not due yet.
fn position_key(is_ahead: bool) -> Key {
    Key::new("sweep", if is_ahead { "position#ahead" } else { "position" })
}

/// Counts what a sweep did. The sweep fails if a part of it failed; another repeats it.
fn report(swept: &[Result<Swept, Failure>], is_cut: bool) -> Result<Value, TaskError> {
    let count = |is: &dyn Fn(&Swept) -> bool| swept.iter().flatten().filter(|one| is(one)).count();
    let nudged = count(&|one| matches!(one, Swept::Nudged(_)));
    let timed_out = count(&|one| *one == Swept::TimedOut);
    let reconciled = count(&|one| *one == Swept::Reconciled);
    let silent = count(&|one| matches!(one, Swept::Nudged(nudges) if *nudges > NUDGES));
    let counts =
        [("nudged", nudged), ("timed_out", timed_out), ("silent", silent), ("reconciled", reconciled)];
    for (what, number) in counts.into_iter().filter(|(_, number)| *number > 0) {
        OVERDUE.count(what, u64::try_from(number).unwrap_or(u64::MAX));
    }
    match swept.iter().find_map(|one| one.as_ref().err()) {
        None => Ok(json!({
            "overdue": swept.len() - reconciled, "nudged": nudged, "timed_out": timed_out, "silent": silent,
            "reconciled": reconciled, "more": is_cut,
        })),
        Some(failure) => Err(failure.clone().into()),
    }
}
