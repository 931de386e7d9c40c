//! One subject across the tables: what each service keeps of it, and what they published about it.

use super::delivery::consumers;
use super::gathered::Subject;
use super::orders;
use super::rows::{Partition, with};
use super::{Audit, Counts, Difference, Table, kind_of};
use chassis::Failure;
use chassis::inbox::{About, Delivered, remembered_by};
use chassis::outbox::{EntryKind, envelope_of};
use chassis::store::{EVENTS, Item, Key, MAX_WRITES, Scan, every_row};
use chrono::{DateTime, Utc};
use events::catalogue;
use events::inventory::ProductListed;
use events::{Envelope, EventId};
use futures_util::future::try_join_all;
use std::collections::{BTreeMap, BTreeSet};

impl<S: Scan> Audit<S> {
    /// What differs in a subject.
    pub(super) async fn subject(
        &self,
        pk: &str,
        counts: &mut Counts,
    ) -> Result<BTreeSet<Difference>, Failure> {
        let now = self.clock.now();
        let mut found = BTreeSet::new();
        let subject = self.gather(pk, &mut found).await?;
        counts.subjects += 1;
        counts.events += u64::try_from(subject.published.len()).unwrap_or(u64::MAX);
        for table in &self.tables {
            if let Some(kind) = table.kind(pk) {
                let service = table.service;
                // Before a service calls outside it commits its intent, which does not enter the inbox.
                let may_have_made = |event| consumers(event).any(|consumer| consumer == service);
                let is_explained = subject.published.iter().any(|(_, event)| may_have_made(event));
                let partition = Partition { service, kind, pk, rows: subject.of(service), is_explained };
                found.extend(partition.check(now, counts));
            }
        }
        let missing = self.undelivered(&subject, now, counts).await?;
        found.extend(self.unpublished(&subject));
        found.extend(self.views(&subject, &missing, now));
        if kind_of(pk) == "order" && subject.is_quiet(now - self.grace) {
            let missed: BTreeSet<&str> = missing.iter().map(|missing| missing.table).collect();
            found.extend(orders::check(&subject, &missed, self.book.as_ref()));
        }
        found.extend(missing);
        Ok(found)
    }

    async fn gather(&self, pk: &str, found: &mut BTreeSet<Difference>) -> Result<Subject, Failure> {
        let knowing = self.tables.iter().filter(|table| table.knows(kind_of(pk)));
        let read = knowing.map(async |table: &Table<S>| {
            every_row(&table.store, pk, "").await.map(|rows| (table.service, rows))
        });
        let rows: BTreeMap<_, _> = try_join_all(read).await?.into_iter().collect();
        let mut published = Vec::new();
        for (service, rows) in &rows {
            for row in with(rows, EVENTS).filter(|row| EntryKind::Published.is_of(row)) {
                match envelope_of(row) {
                    Ok(event) => published.push((*service, event)),
                    Err(failure) => {
                        let what = format!("cannot be read as an event: {failure}");
                        found.insert(Difference::new(service, &row.key, what));
                    }
                }
            }
        }
        Ok(Subject { pk: pk.to_owned(), rows, published })
    }

    /// Verdicts on events that no service has published.
    fn unpublished(&self, subject: &Subject) -> Vec<Difference> {
        let ids: BTreeSet<EventId> = subject.published.iter().map(|(_, event)| event.metadata.id).collect();
        let mut found = Vec::new();
        for (service, rows) in &subject.rows {
            for row in rows {
                match remembered_by(row) {
                    Ok(all) => found.extend(
                        all.iter()
                            .filter(|one| !ids.contains(&one.event_id))
                            .map(|one| invented(service, row, one)),
                    ),
                    Err(failure) => found.push(Difference::new(service, &row.key, failure.to_string())),
                }
            }
        }
        found
    }

    /// Projections that do not show the newest event.
    fn views(
        &self,
        subject: &Subject,
        missing: &BTreeSet<Difference>,
        now: DateTime<Utc>,
    ) -> Vec<Difference> {
        let mut found = Vec::new();
        for table in &self.tables {
            for view in table.audited.views.iter().filter(|view| view.name == kind_of(&subject.pk)) {
                let newest = subject.published.iter().rev().find_map(|(_, event)| {
                    let row = (view.row)(event).ok().flatten()?;
                    Some((row.with("seq", i64::try_from(event.metadata.seq).unwrap_or(i64::MAX)), event))
                });
                let stored = subject.of(table.service).iter().find(|row| row.key.sk == "view");
                let is_lost = missing.iter().any(|missing| missing.table == table.service);
                found.extend(match (newest, stored) {
                    (Some((row, event)), stored) if stored != Some(&row) => {
                        let is_late = event.metadata.time <= now - self.grace && !is_lost;
                        is_late.then(|| outdated(table.service, &row, stored, event))
                    }
                    (None, Some(stored)) => Some(Difference::new(
                        table.service,
                        &stored.key,
                        "was invented: no event made this view",
                    )),
                    _ => None,
                });
            }
        }
        found
    }

    /// What differs in aggregates that no other service knows, here whole pages of them. The events that they remember have to be
    /// in their producers' tables.
    pub(super) async fn alone(
        &self,
        table: &Table<S>,
        partitions: &[(String, Vec<Item>)],
        counts: &mut Counts,
    ) -> Result<BTreeMap<String, BTreeSet<Difference>>, Failure> {
        let (now, mut found) = (self.clock.now(), BTreeMap::<String, BTreeSet<Difference>>::new());
        let mut named: BTreeMap<&'static str, Vec<Named<'_>>> = BTreeMap::new();
        for (pk, rows) in partitions {
            let Some(kind) = table.kind(pk) else { continue };
            counts.subjects += 1;
            // No event about it is known here: only rows of its own explain its state.
            let partition = Partition { service: table.service, kind, pk, rows, is_explained: false };
            found.entry(pk.clone()).or_default().extend(partition.check(now, counts));
            for row in rows {
                let (placed, differs) = verdicts(table.service, row);
                found.entry(pk.clone()).or_default().extend(differs);
                for (producer, verdict) in placed {
                    named.entry(producer).or_default().push(verdict);
                }
            }
        }
        for (producer, named) in named {
            for Named { row, delivered, .. } in self.unknown(producer, &named).await? {
                let differs = invented(table.service, row, delivered);
                found.entry(row.key.pk.clone()).or_default().insert(differs);
            }
        }
        Ok(found)
    }

    /// The verdicts whose event is not where it should be.
    async fn unknown<'a>(
        &self,
        producer: &str,
        named: &'a [Named<'a>],
    ) -> Result<Vec<&'a Named<'a>>, Failure> {
        let Some(table) = self.table(producer) else { return Ok(Vec::new()) };
        let mut unknown = Vec::new();
        for some in named.chunks(MAX_WRITES) {
            let distinct: BTreeSet<Key> = some.iter().map(|named| named.event.clone()).collect();
            let keys: Vec<Key> = distinct.into_iter().collect();
            let rows = table.store.load_many(&keys).await?;
            let ids: BTreeSet<&str> = rows.iter().flatten().filter_map(|row| row.text("id")).collect();
            let is_unknown =
                |named: &&Named<'_>| !ids.contains(named.delivered.event_id.to_string().as_str());
            unknown.extend(some.iter().filter(is_unknown));
        }
        Ok(unknown)
    }
}

/// A verdict that a row remembers, and where the event has to be.
struct Named<'a> {
    row: &'a Item,
    delivered: Delivered,
    event: Key,
}

/// The verdicts that a row remembers, by the service that has to have published their events; and what is wrong with them already.
fn verdicts<'a>(service: &'static str, row: &'a Item) -> (Vec<(&'static str, Named<'a>)>, Vec<Difference>) {
    let all = match remembered_by(row) {
        Ok(all) => all,
        Err(failure) => return (Vec::new(), vec![Difference::new(service, &row.key, failure.to_string())]),
    };
    let (mut placed, mut differs) = (Vec::new(), Vec::new());
    for delivered in all {
        match producer_row(&delivered) {
            Some((producer, event)) => placed.push((producer, Named { row, delivered, event })),
            None if delivered.about.is_some() => differs.push(invented(service, row, &delivered)),
            // Written before the inbox said what its events are about.
            None => {}
        }
    }
    (placed, differs)
}

/// Where the event of a verdict lies that says what that event is about.
fn producer_row(delivered: &Delivered) -> Option<(&'static str, Key)> {
    let entry = catalogue::entries().into_iter().find(|entry| entry.kind == delivered.kind)?;
    let About { subject, seq } = delivered.about.as_ref()?;
    Some((entry.producer, Key::event(&format!("order#{subject}"), *seq)))
}

fn invented(service: &'static str, row: &Item, delivered: &Delivered) -> Difference {
    let what = format!("has a verdict on {}, which no service has published", delivered.kind);
    Difference::new(service, &row.key, what)
}

fn outdated(service: &'static str, wanted: &Item, stored: Option<&Item>, event: &Envelope) -> Difference {
    let seq = stored.map_or_else(
        || "nothing".to_owned(),
        |row| match row.count("seq") {
            Some(seq) if seq == event.metadata.seq => "other values".to_owned(),
            seq => format!("number {}", seq.unwrap_or_default()),
        },
    );
    let what =
        format!("shows {seq}, the newest event is {} number {}", event.metadata.kind, event.metadata.seq);
    let view = if event.is::<ProductListed>() { "prices" } else { "admission" };
    let mend = format!("quadrille rebuild --projection {view}");
    Difference::new(service, &wanted.key, what).mended_by(mend)
}
