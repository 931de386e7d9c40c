//! A subject as it was read: the rows of every service, and the events in them.

use super::rows::{remembered_since, time};
use chassis::store::{EVENTS, Item};
use chrono::{DateTime, Utc};
use events::Envelope;
use std::collections::BTreeMap;

/// What every service has about a subject.
pub struct Subject {
    /// Its partition, in every table.
    pub pk: String,
    /// The rows of each service.
    pub rows: BTreeMap<&'static str, Vec<Item>>,
    /// What each service published, oldest first.
    pub published: Vec<(&'static str, Envelope)>,
}

impl Subject {
    /// The rows of a service.
    pub fn of(&self, service: &str) -> &[Item] {
        self.rows.get(service).map_or(&[], Vec::as_slice)
    }

    /// Whether nothing has happened to it for this long: whatever follows from it has.
    pub fn is_quiet(&self, until: DateTime<Utc>) -> bool {
        let rows = self.rows.values().flatten();
        rows.filter(|row| row.key.sk.starts_with(EVENTS))
            .all(|row| time(row, "time").is_none_or(|at| at <= until))
    }
}

/// Whether inbox rows of this time are kept still.
pub fn is_remembered(event: &Envelope, now: DateTime<Utc>) -> bool {
    event.metadata.time > remembered_since(now)
}
