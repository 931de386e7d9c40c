//! The execution environments of a function: processes that start, work, rest frozen, and end.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html>

use super::function::Function;
use anyhow::Result;
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// The longest pause before a function whose process keeps ending is started again.
const MAX_PAUSE: Duration = Duration::from_secs(5);
/// The first pause; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// How long an environment rests until it ends. AWS documents no time.
const REST: Duration = Duration::from_secs(60);

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
    fn begin(&mut self) -> u64 {
        self.last += 1;
        let environment =
            Environment { state: State::Starting, pid: None, is_frozen: false, kill: Arc::default() };
        self.all.insert(self.last, environment);
        self.last
    }

    /// How many can have an invocation, now or once they have started.
    fn ready(&self) -> usize {
        self.all.values().filter(|environment| environment.state != State::Working).count()
    }

    /// Whether another one may start now.
    fn may_start(&self) -> bool {
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
    fn end_rested(&mut self, then: Instant) {
        let rested = |it: &Environment| matches!(it.state, State::Resting(since) if since < then);
        self.all
            .extract_if(.., |_, it| rested(it))
            .for_each(|(_, environment)| environment.kill.notify_one());
    }
}

impl Function {
    /// Keeps the function's environments running until the stack stops.
    pub async fn supervise(self: Arc<Self>) {
        match self.mode {
            Mode::Shared => self.supervise_one().await,
            Mode::Classic => self.supervise_many().await,
        }
    }

    /// Keeps one process running.
    async fn supervise_one(&self) {
        let mut pause = FIRST_PAUSE;
        loop {
            let started = Instant::now();
            let number = self.work().environments.begin();
            match self.live(number).await {
                Ok(status) => tracing::warn!("{} ended ({status}); starting it again", self.name),
                Err(error) => tracing::error!("{}: {error:#}", self.name),
            }
            pause = if started.elapsed() > MAX_PAUSE { FIRST_PAUSE } else { pause * 2 };
            pause = pause.min(MAX_PAUSE);
            tokio::time::sleep(pause).await;
        }
    }

    /// Starts as many processes as invocations wait for one, and ends those that rest for long.
    async fn supervise_many(self: Arc<Self>) {
        let mut environments = JoinSet::new();
        let mut tidying = tokio::time::interval(REST / 4);
        loop {
            while let Some(number) = self.lacks() {
                let function = Arc::clone(&self);
                environments.spawn(async move {
                    tracing::info!("{} starts environment {number}", function.name);
                    match function.live(number).await {
                        Ok(status) => {
                            tracing::info!("{} ended environment {number} ({status})", function.name);
                        }
                        Err(error) => tracing::error!("{}: {error:#}", function.name),
                    }
                });
            }
            tokio::select! {
                () = self.wanted.notified() => {}
                Some(_) = environments.join_next() => {}
                _ = tidying.tick() => {
                    if let Some(then) = Instant::now().checked_sub(REST) {
                        self.work().environments.end_rested(then);
                    }
                }
            }
        }
    }

    /// The number of a new environment, if more invocations wait than there are environments without one.
    fn lacks(&self) -> Option<u64> {
        let mut work = self.work();
        let lacks = work.waiting() > work.environments.ready() && work.environments.may_start();
        lacks.then(|| work.environments.begin())
    }

    /// Runs an environment's process until it ends; the invocations that it worked on have failed.
    async fn live(&self, number: u64) -> Result<ExitStatus> {
        let ended = self.run_process(number).await;
        self.ended(number);
        ended
    }

    async fn run_process(&self, number: u64) -> Result<ExitStatus> {
        let mut child = self.process.spawn(number)?;
        let Some(kill) = self.work().environments.spawned(number, child.id()) else {
            return Ok(child.wait().await?);
        };
        tokio::select! {
            status = child.wait() => Ok(status?),
            () = kill.notified() => {
                child.kill().await?;
                Ok(child.wait().await?)
            }
        }
    }
}

impl Environments {
    /// The process of an environment has begun; returns what kills it.
    fn spawned(&mut self, number: u64, pid: Option<u32>) -> Option<Arc<Notify>> {
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
