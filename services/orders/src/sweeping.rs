//! The sweeper: finds the sagas that wait too long, and reminds the silent step by telling it again what it should
//! have reacted to. What never arrived arrives now; what was answered is answered again.

use crate::deadlines::{NUDGES, Step};
use crate::reactor::{OVERDUE, SHARDS, Tracker};
use crate::tracker::{self, Fact, Message, Order};
use chassis::lambda::{Task, TaskError};
use chassis::ports::Bus;
use chassis::reaction::{Loaded, apply, load};
use chassis::store::{Indexed, all_before, every_row};
use chassis::telling::{Cause, envelope_of};
use chassis::{Failure, Key, Ports, Store, log};
use chrono::{DateTime, TimeDelta, Utc};
use events::Envelope;
use events::envelope::millis;
use futures_util::{StreamExt, stream};
use serde::Deserialize;
use serde_json::{Value, json};

/// The most sagas of one shard that one sweep looks at; the next one goes on.
const MOST: usize = 500;
/// How many of them at a time.
const CONCURRENCY: usize = 10;
/// The farthest that a sweep may look ahead, in seconds: a day.
const FARTHEST: u32 = 86_400;

/// Sweeps.
pub struct Sweeper<S, B> {
    /// The ports.
    pub ports: Ports<S>,
    /// Where reminders go.
    pub bus: B,
}

/// What a sweep is asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Remind already what will be overdue in so many seconds, at most a day: an operator's way not to wait.
    #[serde(default)]
    pub ahead_seconds: u32,
}

/// What became of one saga.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Swept {
    /// So many times by now; 0 for a reminder ahead of time.
    Nudged(usize),
    TimedOut,
    /// Something was heard meanwhile.
    InTime,
}

impl<S: Store, B: Bus> Task for Sweeper<S, B> {
    type Input = Input;

    async fn run(&self, input: Input) -> Result<Value, TaskError> {
        let ahead = TimeDelta::seconds(input.ahead_seconds.min(FARTHEST).into());
        self.sweep(self.ports.clock.now() + ahead).await
    }
}

impl<S: Store, B: Bus> Sweeper<S, B> {
    async fn sweep(&self, as_of: DateTime<Utc>) -> Result<Value, TaskError> {
        let (mut overdue, before) = (Vec::new(), millis::text(&as_of));
        for shard in 0..SHARDS {
            let shard = shard.to_string();
            overdue.extend(all_before(&self.ports.store, OVERDUE, &shard, &before, MOST).await?);
        }
        let one = |row: Indexed| self.one(row.key, as_of);
        let swept = stream::iter(overdue).map(one).buffer_unordered(CONCURRENCY);
        let swept: Vec<Result<Swept, Failure>> = swept.collect().await;
        report(&swept)
    }

    async fn one(&self, key: Key, as_of: DateTime<Utc>) -> Result<Swept, Failure> {
        let saga: Loaded<Order> = load(&self.ports.store, &key.pk).await?;
        let now = self.ports.clock.now();
        let step = match (saga.state.deadline(), tracker::decide(&saga.state, &Message::Sweep, now)) {
            // Looking ahead only reminds: a clock that was put forward ends nothing, and does not count.
            (Some((step, deadline)), Err(_)) if deadline <= as_of => {
                self.remind(&key.pk, step, saga.state.nudges_of(step) + 1).await?;
                return Ok(Swept::Nudged(0));
            }
            (_, Err(_)) => return Ok(Swept::InTime),
            (_, Ok(facts)) => facts.iter().find_map(nudged),
        };
        let nudge = step.map_or(0, |step| saga.state.nudges_of(step) + 1);
        // The reminder goes out before it is counted: one that was counted and never sent would end orders whose
        // services were never asked. One that is sent twice changes nothing.
        if let Some(step) = step {
            self.remind(&key.pk, step, nudge).await?;
        }
        let subject = key.pk.trim_start_matches("order#");
        let cause = Cause::request(self.ports.ids.fresh(), self.ports.ids.fresh(), None);
        let swept = apply::<Tracker, S>(&self.ports, (&key.pk, subject), &Message::Sweep, &cause).await?;
        Ok(match (swept, step) {
            (Err(_), _) => Swept::InTime,
            (Ok(_), Some(_)) => Swept::Nudged(nudge),
            (Ok(_), None) => Swept::TimedOut,
        })
    }

    /// Tells again what leads to `step`.
    async fn remind(&self, pk: &str, step: Step, nudge: usize) -> Result<(), Failure> {
        let rows = every_row(&self.ports.store, pk, "event#").await?;
        let mut causes = rows.iter().map(envelope_of).collect::<Result<Vec<Envelope>, _>>()?;
        causes.retain(|event| step.causes().contains(&event.metadata.kind.as_str()));
        for event in &mut causes {
            event.metadata.nudge = Some(u32::try_from(nudge).unwrap_or(u32::MAX));
        }
        self.bus.publish(&causes).await
    }
}

fn nudged(fact: &Fact) -> Option<Step> {
    if let Fact::Nudged(nudge) = fact { Some(nudge.step) } else { None }
}

/// Counts what a sweep did; it failed if a part of it did, and is then made again.
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
