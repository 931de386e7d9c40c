//! The rows of one aggregate by themselves: digests, gapless numbers, and the state as the fold of the events.

use super::{Counts, Difference};
use chassis::Verdict;
use chassis::audit::Kind;
use chassis::digest::is_intact;
use chassis::inbox::{INBOX_DAYS, remembered_by};
use chassis::store::{EVENTS, INBOX, Item, Key};
use chrono::{DateTime, TimeDelta, Utc};
use events::EventId;
use std::collections::BTreeSet;

/// The verdicts after which an aggregate has a state. A row of a repeat alone is of an event that the state remembers.
const CHANGED: [Verdict; 4] =
    [Verdict::Applied, Verdict::Early, Verdict::LateCompensated, Verdict::Duplicate];

/// The rows of one partition.
pub struct Partition<'a> {
    /// Whose table.
    pub service: &'static str,
    /// What kind of aggregate.
    pub kind: &'a Kind,
    /// The partition.
    pub pk: &'a str,
    /// All of its rows, by key.
    pub rows: &'a [Item],
    /// Whether something may have made its state that has left no row in it.
    pub is_explained: bool,
}

/// The rows whose sort key begins so.
pub fn with<'a>(rows: &'a [Item], prefix: &'a str) -> impl Iterator<Item = &'a Item> {
    rows.iter().filter(move |row| row.key.sk.starts_with(prefix))
}

/// The state row among these.
pub fn state_of(rows: &[Item]) -> Option<&Item> {
    rows.iter().find(|row| row.key.sk == "state")
}

/// A time attribute.
pub fn time(row: &Item, name: &str) -> Option<DateTime<Utc>> {
    let time = DateTime::parse_from_rfc3339(row.text(name)?).ok()?;
    Some(time.with_timezone(&Utc))
}

/// Events, each with the partition that remembers it.
pub type Remembered<'a> = BTreeSet<(&'a str, EventId)>;

/// The events that rows remember. A row that cannot be read remembers none; it is named where verdicts
/// are compared with the events.
pub fn remembered<'a>(rows: impl IntoIterator<Item = &'a Item>) -> Remembered<'a> {
    let of = |row: &'a Item| {
        let events = remembered_by(row).unwrap_or_default();
        events.into_iter().map(move |one| (row.key.pk.as_str(), one.event_id))
    };
    rows.into_iter().flat_map(of).collect()
}

/// Since when inbox rows are complete.
pub fn remembered_since(now: DateTime<Utc>) -> DateTime<Utc> {
    now - TimeDelta::days(INBOX_DAYS)
}

impl Partition<'_> {
    /// What differs in it.
    pub fn check(&self, now: DateTime<Utc>, counts: &mut Counts) -> Vec<Difference> {
        let state = state_of(self.rows);
        let mut found = self.changed(state, counts);
        let gaps = self.gaps(state);
        match state {
            Some(state) if gaps.is_empty() => found.extend(self.folded(state)),
            _ => found.extend(gaps),
        }
        found.extend(self.without_state(state));
        found.extend(state.and_then(|state| self.invented(state, now)));
        found
    }

    fn differs(&self, key: &Key, what: impl Into<String>) -> Difference {
        Difference::new(self.service, key, what)
    }

    /// Rows that are not as their transaction wrote them.
    fn changed(&self, state: Option<&Item>, counts: &mut Counts) -> Vec<Difference> {
        let adjusted = (self.kind.adjusted)();
        let events = with(self.rows, EVENTS).map(|row| (row, &[][..]));
        let mut found = Vec::new();
        for (row, but) in events.chain(state.map(|row| (row, adjusted.as_slice()))) {
            match is_intact(row, but) {
                Some(true) => {}
                None => counts.without_digest += 1,
                Some(false) => {
                    let what = "was changed after it was written: its digest is not that of its attributes";
                    found.push(self.differs(&row.key, what));
                }
            }
        }
        found
    }

    /// Numbers that are missing, or that the state does not know.
    fn gaps(&self, state: Option<&Item>) -> Vec<Difference> {
        let mut last = 0;
        let mut found = Vec::new();
        for row in with(self.rows, EVENTS) {
            let seq = row.count("seq").filter(|seq| Key::event(self.pk, *seq) == row.key);
            let Some(seq) = seq else {
                found.push(self.differs(&row.key, "its number is not that of its key"));
                continue;
            };
            found.extend((last + 1..seq).map(|gone| self.gone(gone)));
            last = seq;
        }
        let Some(state) = state else { return found };
        match state.count("seq") {
            Some(known) if known > last => found.extend((last + 1..=known).map(|gone| self.gone(gone))),
            Some(known) if known < last => {
                let extra = (known + 1..=last).map(|seq| {
                    let what =
                        format!("is an event that the state does not know: its last is number {known}");
                    self.differs(&Key::event(self.pk, seq), what)
                });
                found.extend(extra);
            }
            Some(_) => {}
            None => found.push(self.differs(&state.key, "has no number of its last event")),
        }
        found
    }

    fn gone(&self, seq: u64) -> Difference {
        self.differs(&Key::event(self.pk, seq), "is missing: the numbers of events have no gaps")
    }

    fn folded(&self, state: &Item) -> Option<Difference> {
        let events: Vec<Item> = with(self.rows, EVENTS).cloned().collect();
        match (self.kind.compare)(state, &events) {
            Ok(both) if both.stored == both.folded => None,
            Ok(both) => {
                let what = format!("stored: {}, its events say: {}", both.stored, both.folded);
                Some(self.differs(&state.key, what))
            }
            Err(failure) => Some(self.differs(&state.key, format!("cannot be compared: {failure}"))),
        }
    }

    /// Events or verdicts without the state that they made.
    fn without_state(&self, state: Option<&Item>) -> Option<Difference> {
        let changed = |row: &Item| CHANGED.iter().any(|one| row.text("verdict") == Some(one.as_str()));
        let made = with(self.rows, EVENTS).next().is_some() || with(self.rows, INBOX).any(changed);
        let is_gone = made && state.is_none();
        let what = "is missing: there are events or verdicts that made it";
        is_gone.then(|| self.differs(&Key::state(self.pk), what))
    }

    /// A state that nothing made.
    fn invented(&self, state: &Item, now: DateTime<Utc>) -> Option<Difference> {
        let is_made = with(self.rows, EVENTS).next().is_some() || !remembered(self.rows).is_empty();
        let is_remembered = time(state, "updated_at").is_none_or(|at| at > remembered_since(now));
        let is_invented = self.kind.by_events && is_remembered && !self.is_explained && !is_made;
        is_invented.then(|| self.differs(&state.key, "was invented: no event made it"))
    }
}
