//! Rows and writes, as small as the platform needs them: text and integer attributes, four conditions. A
//! store translates them; nothing else knows DynamoDB's attribute syntax.

use events::OrderId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::{self, Display};

/// How the sort keys of event rows begin.
pub const EVENTS: &str = "event#";
/// How the sort keys of inbox rows begin.
pub const INBOX: &str = "inbox#";

/// A row's address within a table.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Key {
    /// Partition key.
    pub pk: String,
    /// Sort key.
    pub sk: String,
}

impl Key {
    /// The row at `pk`, `sk`.
    pub fn new(pk: impl Into<String>, sk: impl Into<String>) -> Self {
        Self { pk: pk.into(), sk: sk.into() }
    }

    /// The state row of an aggregate.
    pub fn state(pk: impl Into<String>) -> Self {
        Self::new(pk, "state")
    }

    /// The event row number `seq` of an aggregate. Eight digits: texts sort as numbers do.
    #[must_use]
    pub fn event(pk: &str, seq: u64) -> Self {
        Self::new(pk, format!("{EVENTS}{seq:08}"))
    }

    /// The inbox row by which an aggregate remembers an event. It lies in the aggregate's own partition, so that
    /// one query lists every delivery.
    #[must_use]
    pub fn inbox(pk: &str, event: events::EventId) -> Self {
        Self::new(pk, format!("{INBOX}{event}"))
    }
}

impl Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.pk, self.sk)
    }
}

/// Which aggregate: its partition, and the subject of its events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AggregateId {
    /// The partition key, `order#018f…`.
    pub pk: String,
    /// The subject of its events, `018f…`.
    pub subject: String,
}

impl AggregateId {
    /// The aggregate of this kind about this subject: `order`, `018f…`.
    pub fn new(kind: &str, subject: impl Display) -> Self {
        let subject = subject.to_string();
        Self { pk: format!("{kind}#{subject}"), subject }
    }

    /// What a service keeps of an order.
    #[must_use]
    pub fn order(id: OrderId) -> Self {
        Self::new("order", id)
    }

    /// The aggregate whose partition this is.
    #[must_use]
    pub fn of_partition(pk: &str) -> Self {
        let subject = pk.split_once('#').map_or(pk, |(_, subject)| subject);
        Self { pk: pk.to_owned(), subject: subject.to_owned() }
    }
}

impl Display for AggregateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.pk)
    }
}

/// An attribute's value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Attr {
    /// Text.
    S(String),
    /// A whole number.
    N(i64),
}

impl From<&str> for Attr {
    fn from(text: &str) -> Self {
        Self::S(text.to_owned())
    }
}

impl From<String> for Attr {
    fn from(text: String) -> Self {
        Self::S(text)
    }
}

impl From<i64> for Attr {
    fn from(number: i64) -> Self {
        Self::N(number)
    }
}

/// One row: its key and its other attributes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Item {
    /// Where it lies.
    pub key: Key,
    /// Everything but `pk` and `sk`.
    pub attrs: BTreeMap<String, Attr>,
}

impl Item {
    /// An empty row.
    #[must_use]
    pub const fn new(key: Key) -> Self {
        Self { key, attrs: BTreeMap::new() }
    }

    /// The row with one attribute more.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Attr>) -> Self {
        self.attrs.insert(name.to_owned(), value.into());
        self
    }

    /// A text attribute.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.attrs.get(name) {
            Some(Attr::S(text)) => Some(text),
            _ => None,
        }
    }

    /// A whole-number attribute.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<i64> {
        match self.attrs.get(name) {
            Some(Attr::N(number)) => Some(*number),
            _ => None,
        }
    }

    /// A counter: a number that is never negative.
    #[must_use]
    pub fn count(&self, name: &str) -> Option<u64> {
        self.number(name).and_then(|n| u64::try_from(n).ok())
    }
}

/// What must hold for a write to happen. Conditions live in the database and nowhere else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// No row with this key.
    Absent,
    /// No row with this key, or one whose `expires_at` (epoch seconds) is not later than this. DynamoDB
    /// deletes expired rows only some time afterwards.
    AbsentOrExpired(i64),
    /// There is a row, and every named attribute has exactly this value.
    Matches(Vec<(&'static str, Attr)>),
    /// No row yet, or the named counter is lower than this: a projection that only moves forward.
    Newer(&'static str, i64),
}

/// One write of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// The whole row, if the condition holds.
    Put {
        /// The new row.
        item: Item,
        /// What must hold.
        when: Condition,
    },
    /// Adds to counters of an existing row, if none of them would fall below zero. Commutes with other
    /// adjustments, so it carries no version.
    Adjust {
        /// The row.
        key: Key,
        /// Counter and difference.
        by: Vec<(&'static str, i64)>,
    },
    /// Adds to counters that only grow; a row or counter that is not there begins at zero. Commutes with other counts, so
    /// it carries no version and no condition.
    Count {
        /// The row.
        key: Key,
        /// Counter and how much more.
        by: Vec<(&'static str, u64)>,
    },
    /// Deletes the row, if the condition holds. Only an operator's commands do: no role of a service may.
    Delete {
        /// The row.
        key: Key,
        /// What must hold.
        when: Condition,
    },
    /// Puts a row that is not there yet into the table of [`keys`](crate::keys), in the same transaction.
    NewKey(Item),
}

impl Write {
    /// The row it writes.
    #[must_use]
    pub const fn key(&self) -> &Key {
        match self {
            Self::Put { item, .. } | Self::NewKey(item) => &item.key,
            Self::Adjust { key, .. } | Self::Count { key, .. } | Self::Delete { key, .. } => key,
        }
    }
}
