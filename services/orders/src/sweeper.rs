//! The sweeper: finds the sagas that wait too long, and reminds the silent step by publishing again the events that lead to
//! it. What never arrived arrives now; a service that has answered publishes its answer again.

use crate::saga::deadlines::NUDGES;
use crate::saga::known::{Known, Noted};
use crate::saga::step::Step;
use crate::saga::{Message, Saga};
use chassis::aggregate::load;
use chassis::outbox::{Cause, envelope_of};
use chassis::ports::Bus;
use chassis::reaction::{Executed, execute};
use chassis::store::{EVENTS, Indexed, Key, all_before, every_row, overdue};
use chassis::task::{Task, TaskError};
use chassis::{AggregateId, Decider, Failure, Loaded, Ports, Store, log};
use chrono::{DateTime, TimeDelta, Utc};
use events::Envelope;
use events::envelope::millis;
use futures_util::{StreamExt, stream};
use serde::Deserialize;
use serde_json::{Value, json};

/// The most sagas of one shard that one sweep looks at; the next one goes on.
const MAX_PER_SHARD: usize = 500;
/// How many of them at a time.
const CONCURRENCY: usize = 10;
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
}

/// What the sweep did with one saga.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Swept {
    /// The number of the reminder; 0 for one ahead of time.
    Nudged(usize),
    TimedOut,
    /// An event arrived meanwhile.
    InTime,
}

impl<S: Store, B: Bus> Task for Sweeper<S, B> {
    type Input = Input;

    async fn run(&self, input: Input) -> Result<Value, TaskError> {
        let ahead = TimeDelta::seconds(input.ahead_seconds.min(MAX_AHEAD).into());
        self.sweep(self.ports.clock.now() + ahead).await
    }
}

impl<S: Store, B: Bus> Sweeper<S, B> {
    async fn sweep(&self, as_of: DateTime<Utc>) -> Result<Value, TaskError> {
        let (mut found, before) = (Vec::new(), millis::text(&as_of));
        for shard in overdue::shards() {
            found
                .extend(all_before(&self.ports.store, overdue::INDEX, &shard, &before, MAX_PER_SHARD).await?);
        }
        let one = |row: Indexed| self.one(row.key, as_of);
        let swept = stream::iter(found).map(one).buffer_unordered(CONCURRENCY);
        let swept: Vec<Result<Swept, Failure>> = swept.collect().await;
        report(&swept)
    }

    async fn one(&self, key: Key, as_of: DateTime<Utc>) -> Result<Swept, Failure> {
        let id = AggregateId::of_partition(&key.pk);
        let saga: Loaded<Saga> = load(&self.ports.store, &id).await?;
        let now = self.ports.clock.now();
        let step = match (saga.state.deadline(), saga.state.decide(&Message::Sweep, now)) {
            // Looking ahead only reminds: it ends nothing, and does not count.
            (Some((step, deadline)), Err(_)) if deadline <= as_of => {
                self.remind(&key.pk, step, saga.state.nudges_of(step) + 1).await?;
                return Ok(Swept::Nudged(0));
            }
            (_, Err(_)) => return Ok(Swept::InTime),
            (_, Ok(facts)) => facts.iter().find_map(nudged),
        };
        let nudge = step.map_or(0, |step| saga.state.nudges_of(step) + 1);
        // The reminder goes out before it is counted: one that was counted and never sent would cancel orders whose
        // services were never reminded. One that is sent twice changes nothing.
        if let Some(step) = step {
            self.remind(&key.pk, step, nudge).await?;
        }
        let cause = Cause::request(self.ports.ids.fresh(), self.ports.ids.fresh(), None);
        let swept = execute::<Saga, S>(&self.ports, &id, Message::Sweep, &cause).await?;
        Ok(match (swept, step) {
            (Executed::Refused(..), _) => Swept::InTime,
            (Executed::Done(_) | Executed::Unchanged(_), Some(_)) => Swept::Nudged(nudge),
            (Executed::Done(_) | Executed::Unchanged(_), None) => Swept::TimedOut,
        })
    }

    /// Publishes again the events that lead to `step`.
    async fn remind(&self, pk: &str, step: Step, nudge: usize) -> Result<(), Failure> {
        let rows = every_row(&self.ports.store, pk, EVENTS).await?;
        let mut causes = rows.iter().map(envelope_of).collect::<Result<Vec<Envelope>, _>>()?;
        causes.retain(|event| step.causes().contains(&event.metadata.kind.as_str()));
        for event in &mut causes {
            event.metadata.nudge = Some(u32::try_from(nudge).unwrap_or(u32::MAX));
        }
        self.bus.publish(&causes).await
    }
}

fn nudged(fact: &Noted) -> Option<Step> {
    if let Known::Nudged(step) = fact.what { Some(step) } else { None }
}

/// Counts what a sweep did. The sweep fails if a part of it failed; the next one repeats it.
fn report(swept: &[Result<Swept, Failure>]) -> Result<Value, TaskError> {
    let count = |is: &dyn Fn(&Swept) -> bool| swept.iter().flatten().filter(|one| is(one)).count();
    let nudged = count(&|one| matches!(one, Swept::Nudged(_)));
    let timed_out = count(&|one| *one == Swept::TimedOut);
    let silent = count(&|one| matches!(one, Swept::Nudged(nudges) if *nudges > NUDGES));
    let counts = [("nudged", nudged), ("timed_out", timed_out), ("silent", silent)];
    for (what, number) in counts.into_iter().filter(|(_, number)| *number > 0) {
        log::count("sagas", ("overdue", what), u64::try_from(number).unwrap_or(u64::MAX));
    }
    match swept.iter().find_map(|one| one.as_ref().err()) {
        None => {
            Ok(json!({"overdue": swept.len(), "nudged": nudged, "timed_out": timed_out, "silent": silent}))
        }
        Some(failure) => Err(failure.clone().into()),
    }
}
