//! Tasks that move messages out of a dead-letter queue. They are in memory, and gone after a restart; the messages are where
//! they were by then.
//!
//! <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_StartMessageMoveTask.html>

use super::queue::Queue;
use chrono::Utc;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// How many of a queue's tasks are remembered.
const KEPT: usize = 10;
/// For how long a queue is not purged once more.
const PURGE_RESTS: Duration = Duration::from_secs(60);

/// AWS's own names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Status {
    Running,
    Cancelling,
    Cancelled,
    Completed,
}

#[derive(Clone, Debug)]
pub struct Task {
    pub handle: String,
    pub source: String,
    /// As the caller named it.
    pub destination: Option<String>,
    pub per_second: Option<u32>,
    pub moved: usize,
    pub to_move: usize,
    /// Epoch milliseconds.
    pub started_at: i64,
    pub status: Status,
}

/// The tasks, and what else is remembered of queues. Clones share them.
#[derive(Clone, Default)]
pub struct Moves(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// Newest first.
    tasks: Vec<Task>,
    purged: HashMap<String, Instant>,
}

impl Moves {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a queue may be purged; it counts as purged then.
    pub fn may_purge(&self, queue: &str) -> bool {
        let mut state = self.state();
        let rests = state.purged.get(queue).is_some_and(|purged| purged.elapsed() < PURGE_RESTS);
        if !rests {
            state.purged.insert(queue.to_owned(), Instant::now());
        }
        !rests
    }

    /// The tasks of a source, by its ARN, newest first.
    pub fn of(&self, source: &str) -> Vec<Task> {
        self.state().tasks.iter().filter(|task| task.source == source).cloned().collect()
    }

    /// Starts to move what is visible now; `None` while another task moves messages of this source.
    pub fn start(
        &self,
        (arn, from): (&str, Arc<Queue>),
        named: Option<String>,
        to: Arc<Queue>,
        per_second: Option<u32>,
    ) -> Option<String> {
        let mut state = self.state();
        if state.tasks.iter().any(|task| task.source == arn && task.status == Status::Running) {
            return None;
        }
        let (handle, to_move) = (Uuid::new_v4().to_string(), from.counts().visible);
        let (started_at, status) = (Utc::now().timestamp_millis(), Status::Running);
        let (source, destination) = (arn.to_owned(), named);
        let task = Task {
            handle: handle.clone(),
            source,
            destination,
            per_second,
            moved: 0,
            to_move,
            started_at,
            status,
        };
        state.tasks.insert(0, task);
        let mut kept = 0;
        state.tasks.retain(|task| {
            kept += usize::from(task.source == arn);
            task.source != arn || kept <= KEPT
        });
        drop(state);
        tokio::spawn(self.clone().run(handle.clone(), (from, to), per_second));
        Some(handle)
    }

    async fn run(self, handle: String, (from, to): (Arc<Queue>, Arc<Queue>), per_second: Option<u32>) {
        let pause = per_second.map(|number| Duration::from_secs(1) / number.max(1));
        while self.goes_on(&handle) && from.move_one(&to) {
            self.change(&handle, |task| task.moved += 1);
            match pause {
                Some(pause) => tokio::time::sleep(pause).await,
                None => tokio::task::yield_now().await,
            }
        }
        self.change(&handle, |task| {
            task.status =
                if task.status == Status::Cancelling { Status::Cancelled } else { Status::Completed };
        });
    }

    fn goes_on(&self, handle: &str) -> bool {
        let state = self.state();
        let task = state.tasks.iter().find(|task| task.handle == handle);
        task.is_some_and(|task| task.status == Status::Running && task.moved < task.to_move)
    }

    fn change<R>(&self, handle: &str, change: impl FnOnce(&mut Task) -> R) -> Option<R> {
        self.state().tasks.iter_mut().find(|task| task.handle == handle).map(change)
    }

    /// Cancels a task; how many messages it has moved, and `Err` when it runs no more.
    pub fn cancel(&self, handle: &str) -> Option<Result<usize, Status>> {
        self.change(handle, |task| match task.status {
            Status::Running => {
                task.status = Status::Cancelling;
                Ok(task.moved)
            }
            other => Err(other),
        })
    }
}
