//! Starts a function's processes when they are needed, and ends them when they rest for long.

use super::environments::{Mode, REST};
use super::function::Function;
use anyhow::Result;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// The longest pause before a function whose process keeps ending is started again.
const MAX_PAUSE: Duration = Duration::from_secs(5);
/// The first pause; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

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
            self.live(number).await;
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
                    function.live(number).await;
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
    async fn live(&self, number: u64) {
        let log_length = self.process.log_length();
        let ended = self.run_process(number).await;
        let was_starting = self.ended(number);
        self.report(number, ended, was_starting, log_length);
    }

    /// Says at once that a process has ended that was not meant to, and what it complained of since its log was so long.
    fn report(&self, number: u64, ended: Result<Ended>, was_starting: bool, log_length: u64) {
        match ended {
            Ok(Ended::Killed) => tracing::info!("function {}: environment {number} was ended", self.name),
            Ok(Ended::Itself(status)) if was_starting => {
                self.does_not_start(&format!("({status}){}", self.why(log_length)));
            }
            Ok(Ended::Itself(status)) => {
                tracing::warn!("function {} ended by itself ({status}){}", self.name, self.why(log_length));
            }
            Err(error) => self.does_not_start(&format!("({error:#})")),
        }
    }

    /// Says it once a minute: it is tried again and again.
    fn does_not_start(&self, why: &str) {
        if self.failed_starts.is_due(why.to_owned(), Instant::now()) {
            tracing::error!("function {} does not start {why}", self.name);
        }
    }

    fn why(&self, log_length: u64) -> String {
        let complaint = self.process.complaint(log_length).map(|line| format!(": {line}"));
        format!("{}; its log is {}", complaint.unwrap_or_default(), self.process.log().display())
    }

    async fn run_process(&self, number: u64) -> Result<Ended> {
        let mut child = self.process.spawn(number)?;
        let Some(kill) = self.work().environments.spawned(number, child.id()) else {
            return Ok(Ended::Itself(child.wait().await?));
        };
        tokio::select! {
            status = child.wait() => Ok(Ended::Itself(status?)),
            () = kill.notified() => {
                child.kill().await?;
                child.wait().await?;
                Ok(Ended::Killed)
            }
        }
    }
}

/// How a process has ended.
enum Ended {
    /// The stack killed it: it rested for long, took too long, or a fault was set.
    Killed,
    Itself(ExitStatus),
}
