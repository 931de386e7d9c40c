//! How alarms are, and since when.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// AWS's own names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum State {
    Ok,
    Alarm,
    InsufficientData,
}

/// How an alarm was when it was last looked at, and since when. Clones share it.
#[derive(Clone, Default)]
pub struct States(Arc<Mutex<BTreeMap<String, (State, i64)>>>);

impl States {
    /// Notes how an alarm is; since when it is so.
    pub fn note(&self, alarm: &str, state: State, now: i64) -> i64 {
        let mut states = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let noted = states.entry(alarm.to_owned()).or_insert((state, now));
        if noted.0 != state {
            *noted = (state, now);
        }
        noted.1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: an alarm says since when it is as it is.
    #[test]
    fn a_state_lasts_until_it_changes() {
        let states = States::default();
        let noted = [(State::Ok, 1), (State::Ok, 2), (State::Alarm, 3), (State::Alarm, 4)];
        assert_eq!(noted.map(|(state, now)| states.note("a", state, now)), [1, 1, 3, 3]);
    }
}
