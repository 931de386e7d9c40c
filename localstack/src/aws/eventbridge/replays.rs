//! Replays: each takes the events of an archive whose own time lies in a window, minute by minute, and gives them to rules of
//! the bus once more. A replay that runs when the stack stops goes on at the next start.
//!
//! <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-archive.html>
//! <https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_StartReplay.html>

use super::bus::{Archived, Buses};
use crate::support::journal::{Entry, Journal, Wanted};
use anyhow::{Context, Result};
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How the keys of replays begin in the journal.
const PREFIX: &str = "replay/";
/// How many events are read at once; between two reads a replay looks whether it was cancelled.
const PAGE: u32 = 100;
/// How many replays there may be at a time.
const MOST: usize = 10;
/// How long a replay is known.
const KNOWN: TimeDelta = TimeDelta::days(90);

/// AWS's own names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum State {
    Starting,
    Running,
    Cancelling,
    Completed,
    Cancelled,
    Failed,
}

impl State {
    const fn has_ended(self) -> bool {
        matches!(self, Self::Completed | Self::Cancelled | Self::Failed)
    }
}

/// What is replayed, and to whom.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    pub name: String,
    pub description: Option<String>,
    /// By name.
    pub archive: String,
    /// By name.
    pub bus: String,
    /// By name; every rule of the bus when empty.
    pub rules: Vec<String>,
    /// Epoch milliseconds: the first of the window, and the first after it.
    pub window: (i64, i64),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Replay {
    pub plan: Plan,
    pub state: State,
    /// Why it failed.
    pub reason: Option<String>,
    pub started_at: DateTime<Utc>,
    pub ended_at: Option<DateTime<Utc>>,
    /// The time of the last event that was replayed, as in the event, and its id.
    pub last: Option<(String, String)>,
}

/// Why a replay is not started or cancelled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("Replay {0} already exists.")]
    Exists(String),
    #[error("there are {MOST} replays already")]
    TooMany,
    #[error("Replay {0} does not exist.")]
    Unknown(String),
    #[error("Replay {0} is neither starting nor running.")]
    HasEnded(String),
}

/// Every replay, by name. Clones share them.
#[derive(Clone)]
pub struct Replays {
    replays: Arc<Mutex<BTreeMap<String, Replay>>>,
    pub(super) buses: Buses,
    journal: Journal,
}

/// The parts of an archived event that a replay reads.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Head {
    id: String,
    time: String,
    detail_type: String,
}

impl Replays {
    /// The replays that the journal kept.
    #[must_use]
    pub fn open(buses: &Buses, journal: &Journal) -> Self {
        let replays = Arc::new(Mutex::new(journal.records(PREFIX)));
        Self { replays, buses: buses.clone(), journal: journal.clone() }
    }

    /// Those of the last 90 days: older ones are forgotten, on disk too.
    fn replays(&self) -> MutexGuard<'_, BTreeMap<String, Replay>> {
        let mut replays = self.replays.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = Utc::now() - KNOWN;
        let old = replays.extract_if(.., |_, replay| replay.started_at <= oldest);
        let forgotten: Vec<Entry> =
            old.map(|(name, _)| Entry::Forgotten { key: format!("{PREFIX}{name}") }).collect();
        self.journal.write(forgotten);
        replays
    }

    /// Forgets old replays, and the events that the archives keep no longer.
    pub fn forget(&self, now: DateTime<Utc>) {
        drop(self.replays());
        self.buses.forget_archived(now);
    }

    /// Every replay of the last 90 days, by name.
    #[must_use]
    pub fn all(&self) -> Vec<Replay> {
        self.replays().values().cloned().collect()
    }

    #[must_use]
    pub fn get(&self, name: &str) -> Option<Replay> {
        self.replays().get(name).cloned()
    }

    /// Whether no replay is at work.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.replays().values().all(|replay| replay.state.has_ended())
    }

    /// Goes on with the replays that were running when the stack stopped.
    pub fn resume(&self) {
        let running = self.all().into_iter().filter(|replay| !replay.state.has_ended());
        running.for_each(|replay| self.spawn(replay.plan.name));
    }

    /// Starts a replay.
    ///
    /// # Errors
    /// [`Refused::Exists`], [`Refused::TooMany`].
    pub fn start(&self, plan: Plan) -> Result<Replay, Refused> {
        let mut replays = self.replays();
        if replays.contains_key(&plan.name) {
            return Err(Refused::Exists(plan.name));
        }
        if replays.values().filter(|replay| !replay.state.has_ended()).count() >= MOST {
            return Err(Refused::TooMany);
        }
        let (state, started_at) = (State::Starting, Utc::now());
        let replay = Replay { plan, state, reason: None, started_at, ended_at: None, last: None };
        let name = replay.plan.name.clone();
        replays.insert(name.clone(), replay.clone());
        drop(replays);
        self.keep(&replay);
        self.spawn(name);
        Ok(replay)
    }

    /// Cancels a replay; what was replayed stays so.
    ///
    /// # Errors
    /// [`Refused::Unknown`], [`Refused::HasEnded`].
    pub fn cancel(&self, name: &str) -> Result<Replay, Refused> {
        let mut replays = self.replays();
        let replay = replays.get_mut(name).ok_or_else(|| Refused::Unknown(name.to_owned()))?;
        if !matches!(replay.state, State::Starting | State::Running) {
            return Err(Refused::HasEnded(name.to_owned()));
        }
        replay.state = State::Cancelling;
        self.keep(replay);
        Ok(replay.clone())
    }

    /// Makes a replay as old as if it had started then.
    #[cfg(test)]
    pub(super) fn age(&self, name: &str, started_at: DateTime<Utc>) {
        self.change(name, |replay| replay.started_at = started_at);
    }

    /// Returns once everything that was said so far is on disk.
    pub async fn flush(&self) {
        self.journal.flush().await;
    }

    fn keep(&self, replay: &Replay) {
        let value = serde_json::to_string(replay).unwrap_or_default();
        self.journal.write(vec![Entry::Record { key: format!("{PREFIX}{}", replay.plan.name), value }]);
    }

    fn spawn(&self, name: String) {
        let replays = self.clone();
        tokio::spawn(async move {
            if let Err(error) = replays.run(&name).await {
                tracing::error!("replay {name} fails: {error:#}");
                replays.change(&name, |replay| replay.end(State::Failed, Some(format!("{error:#}"))));
            }
        });
    }

    /// Changes a replay; `None` when it is forgotten.
    fn change(&self, name: &str, change: impl FnOnce(&mut Replay)) -> Option<Replay> {
        let mut replays = self.replays();
        let replay = replays.get_mut(name)?;
        change(replay);
        self.keep(replay);
        Some(replay.clone())
    }

    async fn run(&self, name: &str) -> Result<()> {
        while let Some(replay) = self.change(name, Replay::go_on)
            && !replay.state.has_ended()
        {
            let forgotten = self.buses.remembers_from(&replay.plan.archive, Utc::now());
            let events = self.journal.archived(&replay.next_page(forgotten));
            let last = self.replay_all(&replay.plan, &events)?;
            self.change(name, |replay| replay.has_replayed(last));
            // The functions that the events are for want their turn.
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Replays the events; the time and id of the last one.
    fn replay_all(&self, plan: &Plan, events: &[String]) -> Result<Option<(String, String)>> {
        let mut last = None;
        for json in events {
            let head: Head = serde_json::from_str(json).context("an archived event cannot be read")?;
            let event = Archived { json, detail_type: &head.detail_type };
            self.buses.replay(&plan.bus, &plan.name, &plan.rules, &event)?;
            last = Some((head.time, head.id));
        }
        Ok(last)
    }
}

impl Replay {
    /// The next state before a page is read.
    fn go_on(&mut self) {
        match self.state {
            State::Starting => self.state = State::Running,
            State::Cancelling => self.end(State::Cancelled, None),
            _ => {}
        }
    }

    /// What is read next, of what the archive still has.
    fn next_page(&self, remembers_from: Option<DateTime<Utc>>) -> Wanted {
        // An event's time has whole seconds.
        let first = |millis: i64| millis.div_euclid(1000) + i64::from(millis.rem_euclid(1000) > 0);
        let (from, to) = self.plan.window;
        let from = remembers_from.map_or(from, |time| from.max(time.timestamp_millis()));
        let (archive, window) = (self.plan.archive.clone(), (first(from), first(to)));
        Wanted { archive, window, after: self.last.clone(), limit: PAGE }
    }

    /// After a page; an empty one was the last.
    fn has_replayed(&mut self, last: Option<(String, String)>) {
        match last {
            None if self.state == State::Running => self.end(State::Completed, None),
            None => {}
            last => self.last = last,
        }
    }

    fn end(&mut self, state: State, reason: Option<String>) {
        (self.state, self.reason, self.ended_at) = (state, reason, Some(Utc::now()));
    }
}
