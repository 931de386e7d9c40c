//! A function: its invocations, and the environments that work on them.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>

use super::concurrency::{Account, Place, Places};
use super::environments::{Environments, Mode};
use super::process::{MEMORY_MIB, Process, Sandbox};
use crate::faults::Faults;
use crate::support::meter::{Meter, Unit};
use crate::support::rarely::Rarely;
use crate::template::resources::Function as Declared;
use anyhow::Result;
use bytes::Bytes;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::timeout;
use uuid::Uuid;

/// Lambda's default timeout.
const TIMEOUT_SECONDS: u32 = 3;
/// How long an invocation waits for an environment. Lambda gives one ten seconds to start; a machine on which many start at
/// the same time needs longer.
const INIT: Duration = Duration::from_secs(30);

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
    /// The function was not run: it, or the account, runs as often as it may. The reason is Lambda's.
    #[error("the function is throttled: {0}")]
    Throttled(&'static str),
}

type Answer = Result<Bytes, InvokeError>;

struct Invocation {
    id: String,
    payload: Bytes,
    started: oneshot::Sender<()>,
    reply: oneshot::Sender<Answer>,
}

struct Running {
    environment: u64,
    reply: oneshot::Sender<Answer>,
}

/// What a function has to do, and what does it.
#[derive(Default)]
pub(super) struct Work {
    waiting: VecDeque<Invocation>,
    running: HashMap<String, Running>,
    pub environments: Environments,
    /// How many environments in a row have ended before they asked for work.
    failed_starts: u32,
}

impl Work {
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }
}

pub struct Function {
    pub name: String,
    /// The role's ARN.
    pub role: String,
    /// How long one invocation may take.
    pub timeout: Duration,
    pub(super) mode: Mode,
    pub(super) process: Process,
    places: Places,
    faults: Faults,
    pub(super) meter: Meter,
    memory_mib: u32,
    work: Mutex<Work>,
    /// An invocation waits for an environment.
    pub(super) arrived: Notify,
    /// An invocation may need another environment.
    pub(super) wanted: Notify,
    /// Whether an environment has asked for work.
    up: watch::Sender<bool>,
    /// Why starts have failed.
    pub(super) failed_starts: Rarely<String>,
}

impl Function {
    /// A function as declared, with credentials of its role and places of the account.
    ///
    /// # Errors
    /// When there is no binary for its code.
    pub fn new(declared: &Declared, access_key: &str, sandbox: &Sandbox, account: &Account) -> Result<Self> {
        Ok(Self {
            name: declared.function_name.clone(),
            role: declared.role.clone(),
            timeout: Duration::from_secs(declared.timeout.unwrap_or(TIMEOUT_SECONDS).into()),
            mode: sandbox.mode,
            process: Process::new(declared, access_key, sandbox)?,
            places: account.places(declared.reserved_concurrent_executions),
            faults: sandbox.faults.clone(),
            meter: sandbox.meter.clone(),
            memory_mib: declared.memory_size.unwrap_or(MEMORY_MIB),
            work: Mutex::default(),
            arrived: Notify::new(),
            wanted: Notify::new(),
            up: watch::Sender::new(false),
            failed_starts: Rarely::default(),
        })
    }

    pub(super) fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs the function on a payload and waits for its answer. It runs to its end even when the invoker gives up.
    ///
    /// # Errors
    /// [`InvokeError`].
    pub async fn invoke(self: &Arc<Self>, payload: Bytes) -> Answer {
        if self.faults.throttles(&self.name) {
            return Err(InvokeError::Throttled(self.places.reason()));
        }
        let Some(place) = self.places.take() else {
            return Err(InvokeError::Throttled(self.places.reason()));
        };
        let function = Arc::clone(self);
        let running = tokio::spawn(async move { function.run(payload, place).await });
        running.await.unwrap_or(Err(InvokeError::Crashed))
    }

    async fn run(&self, payload: Bytes, _place: Place) -> Answer {
        let (reply, answer) = oneshot::channel();
        let (started, start) = oneshot::channel();
        let id = Uuid::new_v4().to_string();
        self.work().waiting.push_back(Invocation { id: id.clone(), payload, started, reply });
        self.announce();
        if timeout(INIT, start).await.is_err() && self.withdraw(&id) {
            return Err(InvokeError::Timeout(INIT));
        }
        let began = Instant::now();
        let answer = timeout(self.timeout, answer).await;
        self.bill(began.elapsed());
        match answer {
            Ok(answer) => answer.unwrap_or(Err(InvokeError::Crashed)),
            Err(_) => {
                let mut work = self.work();
                if let Some(stuck) = work.running.remove(&id) {
                    work.environments.kill(stuck.environment);
                }
                Err(InvokeError::Timeout(self.timeout))
            }
        }
    }

    /// Lambda bills each started millisecond of an invocation that works alone in its environment; here several may share one.
    fn bill(&self, lasted: Duration) {
        let millis = u64::try_from(lasted.as_micros().div_ceil(1000)).unwrap_or(u64::MAX);
        self.meter.count(Unit::Invocations, &self.name, 1);
        self.meter.count(Unit::MebibyteMillis, &self.name, millis.saturating_mul(self.memory_mib.into()));
    }

    /// Withdraws an invocation that no environment has begun; returns whether it was still waiting.
    fn withdraw(&self, id: &str) -> bool {
        let mut work = self.work();
        let before = work.waiting.len();
        work.waiting.retain(|invocation| invocation.id != id);
        work.waiting.len() < before
    }

    /// Has an environment look for a waiting invocation.
    fn announce(&self) {
        // The one that was at work last: the others may end.
        self.arrived.notify_last();
        self.wanted.notify_one();
    }

    /// Kills an environment: its invocations fail, and another one starts when it is needed.
    pub fn kill(&self, environment: u64) {
        self.work().environments.kill(environment);
    }

    /// The id of a process of the function, one at work if there is one; `None` when there is none.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.work().environments.pid()
    }

    /// How many environments were started, and how many there are.
    #[must_use]
    pub fn environments(&self) -> (u64, usize) {
        let work = self.work();
        (work.environments.started(), work.environments.count())
    }

    /// Returns once one of its environments has asked for work.
    pub async fn is_up(&self) {
        // The sender lives as long as the function.
        let _ = self.up.subscribe().wait_for(|is_up| *is_up).await;
    }

    /// The binary that it runs: its service.
    #[must_use]
    pub fn service(&self) -> &str {
        self.process.service()
    }

    /// Whether no invocation waits and none is running.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let work = self.work();
        work.waiting.is_empty() && work.running.is_empty()
    }

    /// Waits for an invocation and hands it to an environment; a classic one is frozen meanwhile.
    pub(super) async fn next(&self, environment: u64) -> (String, Bytes) {
        loop {
            let arrived = self.arrived.notified();
            match self.take(environment) {
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

    /// The oldest waiting invocation: `Some(None)` when none waits, `None` for an environment that has ended.
    fn take(&self, environment: u64) -> Option<Option<(String, Bytes)>> {
        let mut work = self.work();
        if !work.environments.is_there(environment) {
            return None;
        }
        self.up.send_if_modified(|is_up| !std::mem::replace(is_up, true));
        let Some(Invocation { id, payload, started, reply }) = work.waiting.pop_front() else {
            work.environments.rest(environment, self.mode);
            return Some(None);
        };
        work.environments.wake(environment);
        work.failed_starts = 0;
        work.running.insert(id.clone(), Running { environment, reply });
        // The invoker waits for it, or the stack is about to stop.
        let _ = started.send(());
        if !work.waiting.is_empty() {
            self.announce();
        }
        Some(Some((id, payload)))
    }

    /// Hands an answer to the invoker; returns `false` when the invoker has given up.
    pub(super) fn finish(&self, id: &str, answer: Answer) -> bool {
        let mut work = self.work();
        let Some(Running { environment, reply }) = work.running.remove(id) else { return false };
        work.environments.answered(environment);
        reply.send(answer).is_ok()
    }

    /// An environment has ended: what it worked on has failed. One that never asked for work is replaced, once; as Lambda
    /// does, which starts an environment a second time before it fails the invocation. Whether it never asked for work.
    pub(super) fn ended(&self, environment: u64) -> bool {
        let mut work = self.work();
        let was_starting = work.environments.end(environment);
        let lost = work.running.iter().filter(|(_, running)| running.environment == environment);
        let ids: Vec<String> = lost.map(|(id, _)| id.clone()).collect();
        let lost: Vec<_> = ids.iter().filter_map(|id| work.running.remove(id)).map(|it| it.reply).collect();
        work.failed_starts += u32::from(was_starting);
        let fails = self.mode == Mode::Classic && work.failed_starts >= 2;
        if fails {
            work.failed_starts = 0;
        }
        let unstarted = if fails { work.waiting.pop_front() } else { None };
        for reply in lost.into_iter().chain(unstarted.map(|invocation| invocation.reply)) {
            // The invoker may have given up already.
            let _ = reply.send(Err(InvokeError::Crashed));
        }
        was_starting
    }
}
