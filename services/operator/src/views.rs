//! Views made anew: of the price list and of admission, each row depends on one event alone, the newest about its subject. So
//! each is compared with the log and put right by itself, under the condition that it still is what was read. No row stands
//! for several events, so there is no moment at which half of a sum is new, and no second view is needed beside the first.

use crate::event_log::{EventLog, Selection};
use chassis::Failure;
use chassis::projection::numbered;
use chassis::store::{CommitError, Condition, Item, Key, Scan, Write, scan_all};
use events::inventory::ProductListed;
use events::payments::{PaymentCircuitClosed, PaymentCircuitHalfOpened, PaymentCircuitOpened};
use events::{Envelope, Event, Unreadable};
use registry::orders::projections::{admission, prices};
use std::collections::{BTreeMap, BTreeSet};

/// How many rows of a table one page reads.
const PAGE: u32 = 500;
/// How often a row is looked at again because it has changed meanwhile.
const MAX_ATTEMPTS: u32 = 8;

/// A view that orders keeps of another service's events.
pub struct View {
    /// `prices`
    pub name: &'static str,
    /// The service whose log it is made of.
    pub producer: &'static str,
    /// How the partition keys of its rows begin.
    prefix: &'static str,
    /// The events that it is made of.
    kinds: &'static [&'static str],
    /// What a row may have.
    attributes: &'static [&'static str],
    row: fn(&Envelope) -> Result<Option<Item>, Unreadable>,
}

/// The price list.
pub const PRICES: View = View {
    name: "prices",
    producer: ProductListed::PRODUCER,
    prefix: "product#",
    kinds: &[ProductListed::TYPE],
    attributes: &["name", "unit_price", "currency", "seq"],
    row: prices::view,
};

/// Whether payments can charge.
pub const ADMISSION: View = View {
    name: "admission",
    producer: PaymentCircuitOpened::PRODUCER,
    prefix: "breaker#",
    kinds: &[PaymentCircuitOpened::TYPE, PaymentCircuitHalfOpened::TYPE, PaymentCircuitClosed::TYPE],
    attributes: &["stage", "until", "seq"],
    row: admission::view,
};

/// What became of the rows of a view, or would.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Rows that were as the log says.
    pub unchanged: u64,
    /// The keys of rows that were not.
    pub changed: Vec<String>,
    /// The keys of rows that were not there.
    pub added: Vec<String>,
    /// The keys of rows that no event stands behind.
    pub removed: Vec<String>,
}

/// A view, the table that it lies in, and the log that it is made of.
pub struct Viewed<'a, S> {
    /// Which view.
    pub view: &'a View,
    /// Orders' table.
    pub table: &'a S,
    /// The producer's log.
    pub log: &'a EventLog<S>,
    /// Only look.
    pub dry_run: bool,
}

impl<S: Scan> Viewed<'_, S> {
    /// Puts every row right.
    ///
    /// # Errors
    /// A [`Failure`] when a table does not answer, or a row changes too often meanwhile. The rows so far are right.
    pub async fn rebuild(&self) -> Result<Outcome, Failure> {
        // The rows first: what the log says afterwards is at least as new as any of them.
        let rows = self.rows().await?;
        let newest = self.newest().await?;
        let keys: BTreeSet<&Key> = rows.keys().chain(newest.keys()).collect();
        let mut outcome = Outcome::default();
        for key in keys {
            self.settle(key, rows.get(key).cloned(), newest.get(key).cloned(), &mut outcome).await?;
        }
        Ok(outcome)
    }

    async fn rows(&self) -> Result<BTreeMap<Key, Item>, Failure> {
        let mut rows = BTreeMap::new();
        let visit = async |page: Vec<Item>| {
            let own = page.into_iter().filter(|row| row.key.pk.starts_with(self.view.prefix));
            rows.extend(own.map(|row| (row.key.clone(), row)));
            Ok::<_, Failure>(())
        };
        scan_all(self.table, "view", PAGE, visit).await?;
        Ok(rows)
    }

    /// Of every subject the row that its newest event makes.
    async fn newest(&self) -> Result<BTreeMap<Key, Item>, Failure> {
        let mut newest = BTreeMap::new();
        let visit = async |events: Vec<Envelope>| self.keep_newest(&mut newest, &events);
        self.log.walk(&self.selection(), visit).await?;
        Ok(newest)
    }

    fn selection(&self) -> Selection {
        Selection::all(self.view.kinds.iter().copied())
    }

    fn keep_newest(&self, newest: &mut BTreeMap<Key, Item>, events: &[Envelope]) -> Result<(), Failure> {
        for event in events {
            if let Some(row) = (self.view.row)(event)? {
                let row = numbered(event, row);
                let kept = newest.entry(row.key.clone()).or_insert_with(|| row.clone());
                if kept.number("seq") < row.number("seq") {
                    *kept = row;
                }
            }
        }
        Ok(())
    }

    /// Puts one row right. One that has changed since it was read is read again, and the log after it.
    async fn settle(
        &self,
        key: &Key,
        mut row: Option<Item>,
        mut wanted: Option<Item>,
        outcome: &mut Outcome,
    ) -> Result<(), Failure> {
        for _ in 0..MAX_ATTEMPTS {
            if row == wanted {
                outcome.unchanged += 1;
                return Ok(());
            }
            let written =
                if self.dry_run { Ok(()) } else { self.write(key, row.as_ref(), wanted.as_ref()).await };
            match written {
                Ok(()) => {
                    outcome.note(key, row.is_some(), wanted.is_some());
                    return Ok(());
                }
                Err(CommitError::Rejected(_) | CommitError::Busy(_)) => {
                    row = self.table.load(key).await?;
                    let events = self.log.of(&key.pk, &self.selection()).await?;
                    let mut newest = BTreeMap::new();
                    self.keep_newest(&mut newest, &events)?;
                    wanted = newest.remove(key);
                }
                Err(CommitError::Failed(failure)) => return Err(failure),
            }
        }
        Err(Failure::Conflict { attempts: MAX_ATTEMPTS })
    }

    async fn write(&self, key: &Key, row: Option<&Item>, wanted: Option<&Item>) -> Result<(), CommitError> {
        let when = row.map_or(Condition::Absent, |row| self.as_read(row));
        let write = match wanted {
            Some(item) => Write::Put { item: item.clone(), when },
            None => Write::Delete { key: key.clone(), when },
        };
        self.table.commit(vec![write]).await
    }

    /// That the row is still what was read.
    fn as_read(&self, row: &Item) -> Condition {
        let attributes = self.view.attributes.iter();
        Condition::Matches(
            attributes.filter_map(|name| Some((*name, row.attrs.get(*name)?.clone()))).collect(),
        )
    }
}

impl Outcome {
    fn note(&mut self, key: &Key, was_there: bool, is_there: bool) {
        let list = match (was_there, is_there) {
            (true, true) => &mut self.changed,
            (false, _) => &mut self.added,
            (true, false) => &mut self.removed,
        };
        list.push(key.pk.clone());
    }
}
