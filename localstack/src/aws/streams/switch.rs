//! The switch of what reads a stream, a pipe or a mapping: an operator stops it and starts it again. It survives a restart.
//!
//! <https://docs.aws.amazon.com/eventbridge/latest/userguide/pipes-start-stop.html>

use crate::support::journal::Journal;
use chrono::Utc;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// How the keys of switches begin in the journal.
pub const PREFIX: &str = "reader/";

/// What the journal keeps of a switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    pub is_stopped: bool,
    /// Epoch milliseconds, as the next one.
    pub created_at: i64,
    pub changed_at: i64,
}

/// How a reader is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Running,
    /// It still works on a batch.
    Stopping,
    Stopped,
    Starting,
}

/// A reader is not in the state from which it could be stopped or started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is {0:?}")]
pub struct Conflict(pub State);

/// A switch, and the state of its reader.
pub struct Switch {
    key: String,
    now: Mutex<(Kept, State)>,
    changed: Notify,
    journal: Journal,
}

impl Switch {
    /// The switch of the reader `name` as it was left; on for one that is new.
    #[must_use]
    pub fn new(name: &str, kept: &BTreeMap<String, Kept>, journal: &Journal) -> Self {
        let now = Utc::now().timestamp_millis();
        let new = Kept { is_stopped: false, created_at: now, changed_at: now };
        let kept = kept.get(name).copied().unwrap_or(new);
        let state = if kept.is_stopped { State::Stopped } else { State::Running };
        let (key, journal) = (format!("{PREFIX}{name}"), journal.clone());
        Self { key, now: Mutex::new((kept, state)), changed: Notify::new(), journal }
    }

    fn now(&self) -> MutexGuard<'_, (Kept, State)> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the switch says, and what its reader does.
    #[must_use]
    pub fn state(&self) -> (Kept, State) {
        *self.now()
    }

    /// Switches the reader off, or on again; on disk when it returns.
    ///
    /// # Errors
    /// [`Conflict`] when the reader is not running, or not stopped.
    pub async fn turn(&self, off: bool) -> Result<(), Conflict> {
        let kept = {
            let mut now = self.now();
            let (kept, state) = &mut *now;
            *state = match (off, *state) {
                (true, State::Running) => State::Stopping,
                (false, State::Stopped) => State::Starting,
                (_, other) => return Err(Conflict(other)),
            };
            (kept.is_stopped, kept.changed_at) = (off, Utc::now().timestamp_millis());
            *kept
        };
        self.changed.notify_waiters();
        self.journal.keep(self.key.clone(), &kept).await;
        Ok(())
    }

    /// Whether the reader is to stand still. It asks between two batches, and is then what it is to be.
    pub(super) fn stands_still(&self) -> bool {
        let mut now = self.now();
        let (kept, state) = &mut *now;
        *state = if kept.is_stopped { State::Stopped } else { State::Running };
        kept.is_stopped
    }

    /// Ready when the switch is turned the next time.
    pub(super) fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::storage::Storage;

    /// Guards: a reader is stopped once, and started once it stands still; what a switch says is kept.
    #[tokio::test]
    async fn a_switch_is_turned_when_its_reader_has_followed() {
        let (journal, _) = Journal::open(&Storage::memory()).unwrap();
        let switch = Switch::new("pipe", &BTreeMap::new(), &journal);
        assert_eq!(switch.turn(false).await, Err(Conflict(State::Running)));
        assert_eq!(switch.turn(true).await, Ok(()));
        assert_eq!(switch.turn(true).await, Err(Conflict(State::Stopping)));
        assert_eq!(switch.turn(false).await, Err(Conflict(State::Stopping)));
        assert!(switch.stands_still());
        assert_eq!(switch.state().1, State::Stopped);
        assert_eq!(switch.turn(false).await, Ok(()));
        assert_eq!(switch.turn(true).await, Err(Conflict(State::Starting)));
        assert!(!switch.stands_still());
        assert_eq!(switch.state().1, State::Running);
    }

    /// Guards: what a switch says survives a restart.
    #[tokio::test]
    async fn a_stopped_reader_is_stopped_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let open = || Journal::open(&Storage::open(&path).unwrap()).unwrap();
        let (journal, _) = open();
        let kept = journal.records(PREFIX);
        let switch = Switch::new("pipe", &kept, &journal);
        switch.turn(true).await.unwrap();
        drop((switch, journal));
        let (journal, _) = open();
        let kept = journal.records(PREFIX);
        assert_eq!(Switch::new("pipe", &kept, &journal).state().1, State::Stopped);
        assert_eq!(Switch::new("other", &kept, &journal).state().1, State::Running);
    }
}
