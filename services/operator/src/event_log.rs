//! The event log of a stage: the event rows that its services have published, read from their tables. No row is ever changed
//! or deleted, so two readings of what is past are the same.

use chassis::outbox::{EntryKind, envelope_of};
use chassis::store::{EVENTS, Item, Key, Scan, every_row};
use chassis::{Failure, Store};
use chrono::{DateTime, Utc};
use events::Envelope;
use futures_util::future::try_join_all;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, VecDeque};

/// How many rows of a table one page reads.
const PAGE: u32 = 500;
/// How many subjects are read at a time.
const AT_A_TIME: usize = 16;

/// Which events are meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// Committed at this time or later.
    pub from: DateTime<Utc>,
    /// Committed before this time.
    pub to: DateTime<Utc>,
    /// Of these types; empty: of every type.
    pub kinds: BTreeSet<String>,
}

impl Selection {
    /// Every event of these types, whatever its time.
    #[must_use]
    pub fn all<'a>(kinds: impl IntoIterator<Item = &'a str>) -> Self {
        let kinds = kinds.into_iter().map(str::to_owned).collect();
        Self { from: DateTime::UNIX_EPOCH, to: DateTime::<Utc>::MAX_UTC, kinds }
    }

    fn has(&self, event: &Envelope) -> bool {
        let metadata = &event.metadata;
        (self.from..self.to).contains(&metadata.time)
            && (self.kinds.is_empty() || self.kinds.contains(&metadata.kind))
    }
}

/// How far the log was read: a table, by its place among them, and the last row that was read of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The table's place.
    pub table: usize,
    /// None: nothing of it was read.
    pub after: Option<Key>,
}

/// The tables of every service, in an order that stays the same.
pub struct EventLog<S> {
    tables: Vec<S>,
    /// How many rows of a table one page reads.
    page: u32,
}

impl<S: Scan> EventLog<S> {
    /// The log in these tables.
    pub const fn new(tables: Vec<S>) -> Self {
        Self { tables, page: PAGE }
    }

    /// The same log in pages of so many rows.
    #[must_use]
    pub const fn in_pages_of(mut self, page: u32) -> Self {
        self.page = page;
        self
    }

    /// The events about one subject, such as `order#018f…`, as [`merged`].
    ///
    /// # Errors
    /// A [`Failure`] when a table does not answer, or holds a row that is no event.
    pub async fn of(&self, pk: &str, selection: &Selection) -> Result<Vec<Envelope>, Failure> {
        let histories = self.tables.iter().map(|table| published(table, pk, selection));
        Ok(merged(try_join_all(histories).await?))
    }

    /// The next page of the log: the events of some subjects, those of one together and in their order; and where the page
    /// after it begins, none at the end. Each subject is on one page.
    ///
    /// # Errors
    /// As [`EventLog::of`].
    pub async fn page(
        &self,
        selection: &Selection,
        position: &Position,
    ) -> Result<(Vec<Envelope>, Option<Position>), Failure> {
        let Some(table) = self.tables.get(position.table) else { return Ok((Vec::new(), None)) };
        let scanned = table.scan(EVENTS, position.after.as_ref(), self.page).await?;
        let subjects: BTreeSet<&str> = scanned.rows.iter().map(|row| row.key.pk.as_str()).collect();
        let read = subjects.into_iter().map(|pk| self.subject_of_page(position, pk, selection));
        let read: Vec<Vec<Envelope>> = stream::iter(read).buffered(AT_A_TIME).try_collect().await?;
        let next = match scanned.last {
            Some(last) => Some(Position { table: position.table, after: Some(last) }),
            None => Some(position.table + 1)
                .filter(|table| *table < self.tables.len())
                .map(|table| Position { table, after: None }),
        };
        Ok((read.into_iter().flatten().collect(), next))
    }

    /// Hands the whole log to `visit`, page after page.
    ///
    /// # Errors
    /// As [`EventLog::of`], and those of `visit`.
    pub async fn walk<E: From<Failure>>(
        &self,
        selection: &Selection,
        mut visit: impl AsyncFnMut(Vec<Envelope>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut position = Some(Position::default());
        while let Some(here) = position {
            let (events, next) = self.page(selection, &here).await?;
            visit(events).await?;
            position = next;
        }
        Ok(())
    }

    /// What a page says of a subject: everything, if this page is the first that has a row of it, else nothing. A subject has
    /// rows in several tables, and may stand on several pages of one.
    async fn subject_of_page(
        &self,
        position: &Position,
        pk: &str,
        selection: &Selection,
    ) -> Result<Vec<Envelope>, Failure> {
        for earlier in self.tables.iter().take(position.table) {
            if first_event(earlier, pk).await?.is_some() {
                return Ok(Vec::new());
            }
        }
        // Only the subject at which the page before ended may stand there too.
        if let (Some(cut), Some(table)) = (&position.after, self.tables.get(position.table))
            && cut.pk == pk
            && first_event(table, pk).await?.is_some_and(|first| first <= *cut)
        {
            return Ok(Vec::new());
        }
        self.of(pk, selection).await
    }
}

/// The key of the first event row of a subject.
async fn first_event<S: Store>(table: &S, pk: &str) -> Result<Option<Key>, Failure> {
    Ok(table.page(pk, EVENTS, None, 1).await?.pop().map(|row| row.key))
}

/// What one service has published about a subject, oldest first.
async fn published<S: Store>(table: &S, pk: &str, selection: &Selection) -> Result<Vec<Envelope>, Failure> {
    let rows = every_row(table, pk, EVENTS).await?;
    let published = rows.iter().filter(|row: &&Item| EntryKind::Published.is_of(row)).map(envelope_of);
    published.filter(|event| event.as_ref().map_or(true, |event| selection.has(event))).collect()
}

/// Several services' histories of one subject as one: by time, and each service's events in the order of their numbers, also
/// where two clocks disagree.
#[must_use]
pub fn merged(histories: Vec<Vec<Envelope>>) -> Vec<Envelope> {
    let mut histories: Vec<VecDeque<Envelope>> = histories.into_iter().map(VecDeque::from).collect();
    let mut merged = Vec::new();
    loop {
        let heads = histories.iter_mut().filter(|history| !history.is_empty());
        let first = heads.min_by_key(|history| history.front().map(|event| event.metadata.time));
        match first.and_then(VecDeque::pop_front) {
            Some(event) => merged.push(event),
            None => return merged,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chassis::outbox::{Cause, Context, OutboxEntry, event_rows};
    use chassis::store::{AggregateId, MemoryStore};
    use chrono::TimeDelta;
    use serde_json::json;
    use uuid::Uuid;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    /// The event row `seq` of a service about a subject, committed at this second.
    fn row(service: &str, subject: u32, seq: u64, second: i64) -> Item {
        let entry = OutboxEntry {
            kind: EntryKind::Published,
            event: format!("{service}.happened"),
            version: 1,
            data: json!({}),
            producer: service.into(),
            learned_from: None,
        };
        let cause = Cause::request(Uuid::from_u128(u128::from(subject)), Uuid::nil(), None);
        let context = Context { cause: &cause, now: at(second) };
        event_rows(service, &[entry], &AggregateId::new("order", subject), seq, &context).unwrap().remove(0)
    }

    /// Two tables: each of nine subjects has three events in one and two in the other, in turns.
    fn log(page: u32) -> EventLog<MemoryStore> {
        let subjects = 1..=9;
        let orders = subjects
            .clone()
            .flat_map(|n| (1..=3).map(move |seq| row("orders", n, seq, 10 * i64::try_from(seq).unwrap())));
        let payments = subjects.flat_map(|n| [row("payments", n, 1, 15), row("payments", n, 2, 25)]);
        EventLog { tables: vec![MemoryStore::of(orders), MemoryStore::of(payments)], page }
    }

    async fn everything(log: &EventLog<MemoryStore>, selection: &Selection) -> Vec<(String, String, u64)> {
        let mut all = Vec::new();
        let visit = async |events: Vec<Envelope>| {
            all.extend(events.into_iter().map(|event| event.metadata));
            Ok::<_, Failure>(())
        };
        log.walk(selection, visit).await.unwrap();
        all.into_iter().map(|metadata| (metadata.subject, metadata.source, metadata.seq)).collect()
    }

    /// Guards: whatever the size of a page, each subject is read once, with what every service has published about it, in order.
    #[tokio::test]
    async fn each_subject_is_read_once_and_in_order() {
        let selection = Selection { from: at(0), to: at(100), kinds: BTreeSet::new() };
        for page in [1, 2, 3, 4, 7, 500] {
            let mut read = everything(&log(page), &selection).await;
            let first: Vec<_> = read.iter().take(5).map(|(_, source, seq)| (source.as_str(), *seq)).collect();
            let (orders, payments) = ("quadrille.orders", "quadrille.payments");
            assert_eq!(
                first,
                [(orders, 1), (payments, 1), (orders, 2), (payments, 2), (orders, 3)],
                "{page}"
            );
            read.sort();
            let number = read.len();
            read.dedup();
            assert_eq!((read.len(), number), (45, 45), "{page}");
        }
    }

    /// Guards: the window is closed at its beginning and open at its end, and a subject that only a later table has in it is
    /// found there.
    #[tokio::test]
    async fn only_what_is_selected_is_read() {
        for (from, to, kinds, number) in
            [(15, 20, &[][..], 9), (10, 11, &[], 9), (0, 100, &["payments.happened"], 18), (40, 50, &[], 0)]
        {
            let kinds = kinds.iter().map(|kind| (*kind).to_owned()).collect();
            let selection = Selection { from: at(from), to: at(to), kinds };
            for page in [1, 4, 500] {
                assert_eq!(everything(&log(page), &selection).await.len(), number, "{selection:?}");
            }
        }
    }

    /// Guards: a clock that is behind changes nothing in the order of one service's events.
    #[test]
    fn a_service_keeps_its_own_order() {
        let of = |rows: Vec<Item>| rows.iter().map(|row| envelope_of(row).unwrap()).collect::<Vec<_>>();
        let merged = merged(vec![
            of(vec![row("orders", 1, 1, 30), row("orders", 1, 2, 10)]),
            of(vec![row("payments", 1, 1, 20)]),
        ]);
        let order: Vec<_> =
            merged.iter().map(|event| (event.metadata.source.as_str(), event.metadata.seq)).collect();
        assert_eq!(order, [("quadrille.payments", 1), ("quadrille.orders", 1), ("quadrille.orders", 2)]);
    }
}
