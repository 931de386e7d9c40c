//! From the first row of every table to the last: each subject is checked where its owner has it. A subject that its owner does
//! not have is checked where it is met.

use super::rows::{state_of, time};
use super::{Audit, Counts, Suspects, Table, kind_of, owner};
use chassis::Failure;
use chassis::store::{Item, Key, Scan, load_all};
use chrono::{DateTime, Utc};
use futures_util::{StreamExt, TryStreamExt, stream};

/// How many rows one page reads.
const PAGE: u32 = 500;
/// How many subjects are read at a time.
const AT_A_TIME: usize = 16;

/// A partition with its rows.
pub type Rows = (String, Vec<Item>);

/// Reads a table as whole partitions.
pub struct Partitions<'a, S> {
    store: &'a S,
    after: Option<Key>,
    /// The partition at which the page before was cut.
    cut: Vec<Item>,
    is_done: bool,
}

impl<'a, S: Scan> Partitions<'a, S> {
    /// From the first one.
    pub const fn of(store: &'a S) -> Self {
        Self { store, after: None, cut: Vec::new(), is_done: false }
    }

    /// The next ones; none at the end.
    ///
    /// # Errors
    /// A [`Failure`] when the table does not answer.
    pub async fn next(&mut self) -> Result<Option<Vec<Rows>>, Failure> {
        if self.is_done {
            return Ok(None);
        }
        let page = self.store.scan("", self.after.as_ref(), PAGE).await?;
        let mut rows = std::mem::take(&mut self.cut);
        rows.extend(page.rows);
        self.is_done = page.last.is_none();
        self.after = page.last;
        if !self.is_done {
            let last = rows.last().map(|row| row.key.pk.clone()).unwrap_or_default();
            let whole = rows.iter().position(|row| row.key.pk == last).unwrap_or_default();
            self.cut = rows.split_off(whole);
        }
        Ok(Some(grouped(rows)))
    }
}

fn grouped(rows: Vec<Item>) -> Vec<Rows> {
    let mut partitions: Vec<Rows> = Vec::new();
    for row in rows {
        match partitions.last_mut() {
            Some((pk, rows)) if *pk == row.key.pk => rows.push(row),
            _ => partitions.push((row.key.pk.clone(), vec![row])),
        }
    }
    partitions
}

impl<S: Scan> Audit<S> {
    pub(super) async fn walk(
        &self,
        since: Option<DateTime<Utc>>,
        counts: &mut Counts,
        progress: impl Fn(&Counts),
    ) -> Result<Suspects, Failure> {
        let mut suspects = Suspects::new();
        for (place, table) in self.tables.iter().enumerate() {
            let mut partitions = Partitions::of(&table.store);
            while let Some(mut page) = partitions.next().await? {
                page.retain(|(pk, rows)| table.knows(kind_of(pk)) && is_since(rows, since));
                let (alone, shared): (Vec<_>, Vec<_>) =
                    page.into_iter().partition(|(pk, _)| owner(pk).is_none());
                let found = self.alone(table, &alone, counts).await?;
                suspects.extend(found.into_iter().map(|(pk, found)| ((place, pk), found)));
                let pks = shared.into_iter().map(|(pk, _)| pk).collect();
                self.shared(table, pks, counts, &mut suspects).await?;
                progress(counts);
            }
        }
        suspects.retain(|_, found| !found.is_empty());
        Ok(suspects)
    }

    /// Checks the subjects that this table owns, and those that their owner does not have.
    async fn shared(
        &self,
        table: &Table<S>,
        pks: Vec<String>,
        counts: &mut Counts,
        suspects: &mut Suspects,
    ) -> Result<(), Failure> {
        let pks = self.to_check(table, pks).await?;
        let checks = pks.iter().map(async |pk| {
            let mut counts = Counts::default();
            let found = self.subject(pk, &mut counts).await?;
            Ok::<_, Failure>((pk.clone(), found, counts))
        });
        let mut checks = stream::iter(checks).buffered(AT_A_TIME);
        while let Some((pk, found, more)) = checks.try_next().await? {
            counts.add(more);
            if !found.is_empty() {
                suspects.insert((self.place_of(&pk), pk), found);
            }
        }
        Ok(())
    }

    async fn to_check(&self, table: &Table<S>, pks: Vec<String>) -> Result<Vec<String>, Failure> {
        let (mut own, others): (Vec<_>, Vec<_>) =
            pks.into_iter().partition(|pk| owner(pk) == Some(table.service));
        for owning in self.tables.iter().filter(|other| other.service != table.service) {
            let owned: Vec<&String> = others.iter().filter(|pk| owner(pk) == Some(owning.service)).collect();
            let keys: Vec<Key> = owned.iter().map(|pk| Key::state(pk.as_str())).collect();
            let known = load_all(&owning.store, &keys).await?;
            let orphans = owned.into_iter().zip(known).filter(|(_, row)| row.is_none());
            own.extend(orphans.map(|(pk, _)| pk.clone()));
        }
        Ok(own)
    }
}

/// Whether a state changed since; what has no state is always looked at.
fn is_since(rows: &[Item], since: Option<DateTime<Utc>>) -> bool {
    let changed = state_of(rows).and_then(|state| time(state, "updated_at"));
    changed.zip(since).is_none_or(|(changed, since)| changed >= since)
}

impl Counts {
    fn add(&mut self, more: Self) {
        self.subjects += more.subjects;
        self.events += more.events;
        self.without_digest += more.without_digest;
        self.being_tried += more.being_tried;
    }
}
