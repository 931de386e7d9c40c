//! A function: its invocations, and the processes that take them.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>

use super::process::{Process, Sandbox};
use crate::template::resources::Function as Declared;
use anyhow::Result;
use bytes::Bytes;
use std::collections::{HashMap, VecDeque};
use std::process::ExitStatus;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, oneshot};
use uuid::Uuid;

/// The longest pause before a function whose process keeps ending is started again.
const MAX_PAUSE: Duration = Duration::from_secs(5);
/// The first pause; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// Lambda's default timeout.
const TIMEOUT_SECONDS: u32 = 3;

/// Why an invocation gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvokeError {
    /// The invocation took longer than the function's timeout; its process was killed.
    #[error("the function timed out after {0:?}")]
    Timeout(Duration),
    /// The process ended before it answered.
    #[error("the function's process ended")]
    Crashed,
    /// The function itself reported an error, as JSON.
    #[error("the function failed: {0}")]
    Failed(String),
}

struct Invocation {
    id: String,
    payload: Bytes,
    reply: oneshot::Sender<Result<Bytes, InvokeError>>,
}

struct Running {
    process: u64,
    reply: oneshot::Sender<Result<Bytes, InvokeError>>,
}

#[derive(Default)]
struct Work {
    waiting: VecDeque<Invocation>,
    running: HashMap<String, Running>,
    process: u64,
    pid: Option<u32>,
}

pub struct Function {
    pub name: String,
    /// The role's ARN.
    pub role: String,
    /// How long one invocation may take.
    pub timeout: Duration,
    process: Process,
    work: Mutex<Work>,
    arrived: Notify,
    kill: Notify,
}

impl Function {
    /// A function as declared, with credentials of its role.
    ///
    /// # Errors
    /// When there is no binary for its code.
    pub fn new(declared: &Declared, access_key: &str, sandbox: &Sandbox) -> Result<Self> {
        Ok(Self {
            name: declared.function_name.clone(),
            role: declared.role.clone(),
            timeout: Duration::from_secs(declared.timeout.unwrap_or(TIMEOUT_SECONDS).into()),
            process: Process::new(declared, access_key, sandbox)?,
            work: Mutex::default(),
            arrived: Notify::new(),
            kill: Notify::new(),
        })
    }

    fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs the function on a payload and waits for its answer.
    ///
    /// # Errors
    /// [`InvokeError`].
    pub async fn invoke(&self, payload: Bytes) -> Result<Bytes, InvokeError> {
        let (reply, answer) = oneshot::channel();
        let id = Uuid::new_v4().to_string();
        self.work().waiting.push_back(Invocation { id: id.clone(), payload, reply });
        self.arrived.notify_one();
        match tokio::time::timeout(self.timeout, answer).await {
            Ok(answer) => answer.unwrap_or(Err(InvokeError::Crashed)),
            Err(_) => {
                let mut work = self.work();
                work.waiting.retain(|invocation| invocation.id != id);
                let stuck = work.running.remove(&id).map(|running| running.process);
                // Kills only the process that has the invocation, not one that was started since.
                if stuck == Some(work.process) && work.pid.is_some() {
                    self.kill.notify_one();
                }
                Err(InvokeError::Timeout(self.timeout))
            }
        }
    }

    /// Kills the process: its invocations fail, and the supervisor starts another one.
    pub fn kill(&self) {
        self.kill.notify_one();
    }

    /// The id of the process; `None` between two processes.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.work().pid
    }

    /// Whether no invocation waits and none is running.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let work = self.work();
        work.waiting.is_empty() && work.running.is_empty()
    }

    /// Waits for an invocation and hands it to a process.
    pub(super) async fn next(&self, process: u64) -> (String, Bytes) {
        loop {
            let arrived = self.arrived.notified();
            match self.take(process) {
                Some(Some(taken)) => return taken,
                Some(None) => {}
                // The connection of a process that was killed may live a moment longer; it gets no invocation.
                None => {
                    self.arrived.notify_one();
                    return std::future::pending().await;
                }
            }
            arrived.await;
        }
    }

    /// The oldest waiting invocation: `Some(None)` when none waits, `None` for a process that is not the current one.
    fn take(&self, process: u64) -> Option<Option<(String, Bytes)>> {
        let mut work = self.work();
        if work.process != process {
            return None;
        }
        let Some(Invocation { id, payload, reply }) = work.waiting.pop_front() else { return Some(None) };
        work.running.insert(id.clone(), Running { process, reply });
        if !work.waiting.is_empty() {
            self.arrived.notify_one();
        }
        Some(Some((id, payload)))
    }

    /// Hands an answer to the invoker; returns `false` when the invoker has given up.
    pub(super) fn finish(&self, id: &str, answer: Result<Bytes, InvokeError>) -> bool {
        let running = self.work().running.remove(id);
        running.is_some_and(|running| running.reply.send(answer).is_ok())
    }

    /// Keeps a process running until the stack stops.
    pub async fn supervise(&self) {
        let mut pause = FIRST_PAUSE;
        loop {
            let started = Instant::now();
            match self.run_once().await {
                Ok(status) => tracing::warn!("{} ended ({status}); starting it again", self.name),
                Err(error) => tracing::error!("{}: {error:#}", self.name),
            }
            pause = if started.elapsed() > MAX_PAUSE { FIRST_PAUSE } else { pause * 2 };
            pause = pause.min(MAX_PAUSE);
            tokio::time::sleep(pause).await;
        }
    }

    /// Runs one process until it ends; the invocations that it worked on have failed.
    async fn run_once(&self) -> Result<ExitStatus> {
        let number = {
            let mut work = self.work();
            work.process += 1;
            work.process
        };
        let mut child = self.process.spawn(number)?;
        self.work().pid = child.id();
        let status = tokio::select! {
            status = child.wait() => status?,
            () = self.kill.notified() => {
                child.kill().await?;
                child.wait().await?
            }
        };
        self.fail_running(number);
        Ok(status)
    }

    fn fail_running(&self, process: u64) {
        let mut work = self.work();
        work.pid = None;
        let lost = work.running.iter().filter(|(_, running)| running.process == process);
        let ids: Vec<String> = lost.map(|(id, _)| id.clone()).collect();
        for id in ids {
            if let Some(running) = work.running.remove(&id) {
                // The invoker may have given up already.
                let _ = running.reply.send(Err(InvokeError::Crashed));
            }
        }
    }
}
