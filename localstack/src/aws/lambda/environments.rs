//! The execution environments of a function: processes that start, work, rest frozen, and end.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html>

use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// How long an environment rests until it ends. AWS documents no time.
pub(super) const REST: Duration = Duration::from_secs(60);

/// How many environments of a function start at a time. Lambda starts a hundred a second; one machine would start all of
/// them later.
const MAX_STARTING: usize = 4;

/// How a function is run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    /// One process works on up to 16 events at a time, as on Lambda Managed Instances.
    #[default]
    Shared,
    /// A process works on one event at a time and is frozen between two; more processes start, up to the limits.
    Classic,
}

/// What an environment does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Starting,
    Working,
    /// It has answered, and will ask for more in a moment.
    Answered,
    /// Since then.
    Resting(Instant),
}

struct Environment {
    state: State,
    pid: Option<u32>,
    is_frozen: bool,
    kill: Arc<Notify>,
}

/// The environments of one function, by number.
#[derive(Default)]
pub struct Environments {
    all: BTreeMap<u64, Environment>,
    last: u64,
}

impl Environment {
    /// Stops the process, or lets it go on. One that has just ended has no need of either.
    fn signal(&self, signal: Signal) {
        let pid = self.pid.and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        let _ = pid.map(|pid| kill_process(pid, signal));
    }
}

impl Environments {
    /// How many were started: each was a cold start.
    #[must_use]
    pub const fn started(&self) -> u64 {
        self.last
    }

    #[must_use]
    pub fn count(&self) -> usize {
        self.all.len()
    }

    /// A new environment's number.
    pub(super) fn begin(&mut self) -> u64 {
        self.last += 1;
        let environment =
            Environment { state: State::Starting, pid: None, is_frozen: false, kill: Arc::default() };
        self.all.insert(self.last, environment);
        self.last
    }

    /// How many can have an invocation, now or once they have started.
    pub(super) fn ready(&self) -> usize {
        self.all.values().filter(|environment| environment.state != State::Working).count()
    }

    /// Whether another one may start now.
    pub(super) fn may_start(&self) -> bool {
        let starting = self.all.values().filter(|environment| environment.state == State::Starting);
        starting.count() < MAX_STARTING
    }

    #[must_use]
    pub fn is_there(&self, number: u64) -> bool {
        self.all.contains_key(&number)
    }

    /// The environment has nothing to do; a classic one is frozen.
    pub fn rest(&mut self, number: u64, mode: Mode) {
        let Some(environment) = self.all.get_mut(&number) else { return };
        if !matches!(environment.state, State::Resting(_)) {
            environment.state = State::Resting(Instant::now());
        }
        if mode == Mode::Classic && !environment.is_frozen {
            environment.is_frozen = true;
            environment.signal(Signal::STOP);
        }
    }

    /// The environment gets an invocation.
    pub fn wake(&mut self, number: u64) {
        let Some(environment) = self.all.get_mut(&number) else { return };
        environment.state = State::Working;
        if std::mem::take(&mut environment.is_frozen) {
            environment.signal(Signal::CONT);
        }
    }

    /// The environment has handed in its answer.
    pub fn answered(&mut self, number: u64) {
        if let Some(environment) = self.all.get_mut(&number) {
            environment.state = State::Answered;
        }
    }

    /// Kills a process; one that has ended since is left alone.
    pub fn kill(&self, number: u64) {
        if let Some(environment) = self.all.get(&number) {
            environment.kill.notify_one();
        }
    }

    /// Forgets an environment that has ended; returns whether it had not even started.
    pub fn end(&mut self, number: u64) -> bool {
        self.all.remove(&number).is_some_and(|environment| environment.state == State::Starting)
    }

    /// The process of an environment at work, or of another one.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        let working = self.all.values().find(|environment| environment.state == State::Working);
        working.or_else(|| self.all.values().next())?.pid
    }

    /// Kills those that have rested since before `then`; none of them gets an invocation any more.
    pub(super) fn end_rested(&mut self, then: Instant) {
        let rested = |it: &Environment| matches!(it.state, State::Resting(since) if since < then);
        self.all
            .extract_if(.., |_, it| rested(it))
            .for_each(|(_, environment)| environment.kill.notify_one());
    }
}

impl Environments {
    /// The process of an environment has begun; returns what kills it.
    pub(super) fn spawned(&mut self, number: u64, pid: Option<u32>) -> Option<Arc<Notify>> {
        let environment = self.all.get_mut(&number)?;
        environment.pid = pid;
        Some(Arc::clone(&environment.kill))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: an environment that rests for long ends, one at work never does.
    #[tokio::test]
    async fn only_those_that_rest_for_long_end() {
        let mut environments = Environments::default();
        let (resting, working) = (environments.begin(), environments.begin());
        environments.rest(resting, Mode::Shared);
        environments.wake(working);
        let kills = [resting, working].map(|number| Arc::clone(&environments.all[&number].kill));
        let was_killed = |kill: Arc<Notify>| async move {
            tokio::time::timeout(Duration::from_millis(1), kill.notified()).await.is_ok()
        };
        environments.end_rested(Instant::now().checked_sub(REST).unwrap());
        assert!(!was_killed(Arc::clone(&kills[0])).await);
        environments.end_rested(Instant::now() + REST);
        let [resting, working] = kills;
        assert!(was_killed(resting).await && !was_killed(working).await);
    }
}
