//! An order's story: what every service's table says about it, as one.

use crate::mask;
use chassis::inbox::{Delivered, deliveries, failure_key};
use chassis::outbox::{EntryKind, envelope_of};
use chassis::store::{EVENTS, Item, Key, every_row, load_all};
use chassis::{AggregateId, Failure, Store};
use chrono::{DateTime, Utc};
use events::envelope::millis;
use events::payments::{PaymentCharged, PaymentRefundFailed, PaymentRefunded};
use events::{Envelope, Event, EventId, OrderId};
use futures_util::future::try_join_all;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// What one service's table has about an order.
#[derive(Debug, Default)]
pub struct Chapter {
    /// The service.
    pub service: String,
    /// Its event rows, oldest first.
    pub events: Vec<Item>,
    /// What was delivered to it. What changed nothing is remembered for seven days.
    pub inbox: Vec<Delivered>,
    /// The notes of deliveries that failed, and of which nothing was remembered since.
    pub failed: Vec<Item>,
}

/// Something that happened to an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Happened {
    /// When.
    pub at: String,
    /// Since the order's first entry, in milliseconds.
    pub elapsed_ms: i64,
    /// Where.
    pub service: String,
    /// `published`, the verdict on an event that was delivered, or `failed`.
    pub what: String,
    /// The event's type.
    #[serde(rename = "type")]
    pub kind: String,
    /// The event.
    pub event_id: String,
    /// Since the event that led here was committed, in milliseconds; none where that is not known.
    pub hop_ms: Option<i64>,
    /// How often the event was delivered again.
    pub duplicates: u64,
}

/// Reads what each of these services' tables has about an order.
///
/// # Errors
/// A [`Failure`] when a table does not answer.
pub async fn read<S: Store>(tables: &[(String, S)], order: OrderId) -> Result<Vec<Chapter>, Failure> {
    let pk = AggregateId::order(order).pk;
    let read = tables.iter().map(|(service, table)| chapter(service, table, &pk));
    let mut chapters = try_join_all(read).await?;
    let rows = chapters.iter().flat_map(|chapter| &chapter.events);
    let ids = rows.filter_map(|row| row.text("id")?.parse().ok().map(EventId)).collect::<Vec<_>>();
    let read = tables.iter().map(|(_, table)| of_events(table, &ids));
    for (chapter, rows) in chapters.iter_mut().zip(try_join_all(read).await?) {
        let (notes, notices): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.key.sk == "failure");
        let notices = notices.chunk_by(|a, b| a.key.pk == b.key.pk).map(deliveries);
        for of_one in notices.collect::<Result<Vec<_>, _>>()? {
            chapter.inbox.extend(of_one.into_values());
        }
        let is_open = |note: &Item| !chapter.inbox.iter().any(|one| failure_key(one.event_id) == note.key);
        chapter.failed = notes.into_iter().filter(is_open).collect();
    }
    Ok(chapters)
}

async fn chapter<S: Store>(service: &str, table: &S, pk: &str) -> Result<Chapter, Failure> {
    let rows = every_row(table, pk, "").await?;
    let inbox = deliveries(&rows)?.into_values().collect();
    let events = rows.into_iter().filter(|row| row.key.sk.starts_with(EVENTS)).collect();
    Ok(Chapter { service: service.to_owned(), events, inbox, failed: Vec::new() })
}

/// What lies in partitions of the events' own: the notes of failures, and what was delivered to a service that keeps a partition for
/// each event, as notifications does.
async fn of_events<S: Store>(table: &S, ids: &[EventId]) -> Result<Vec<Item>, Failure> {
    let partition = |id: &EventId| format!("notice#{id}");
    let places =
        |id: &EventId| [Key::state(partition(id)), Key::inbox(&partition(id), *id), failure_key(*id)];
    let keys: BTreeSet<Key> = ids.iter().flat_map(places).collect();
    let keys: Vec<Key> = keys.into_iter().collect();
    Ok(load_all(table, &keys).await?.into_iter().flatten().collect())
}

/// The event rows of every service, by time: published ones, and those that a service recorded. Personal data is masked.
///
/// # Errors
/// [`Failure::Poison`] when a row is no event.
pub fn events(chapters: &[Chapter]) -> Result<Vec<Value>, Failure> {
    let rows = chapters.iter().flat_map(|chapter| chapter.events.iter().map(|row| (&chapter.service, row)));
    let mut events = rows.map(|(service, row)| event(service, row)).collect::<Result<Vec<_>, _>>()?;
    events.sort_by(|a, b| a["time"].as_str().cmp(&b["time"].as_str()));
    Ok(events)
}

fn event(service: &str, row: &Item) -> Result<Value, Failure> {
    let mut envelope = envelope_of(row)?;
    mask::event(&mut envelope);
    let Envelope { metadata, data } = envelope;
    Ok(json!({
        "time": millis::text(&metadata.time),
        "service": service,
        "seq": metadata.seq,
        "kind": row.text("kind"),
        "type": metadata.kind,
        "version": metadata.version,
        "event_id": metadata.id,
        "source": metadata.source,
        "correlation_id": metadata.correlation_id,
        "causation_id": metadata.causation_id,
        "data": data,
    }))
}

/// An entry before it is placed among the others: of two at the same time, a delivery comes before what it led to.
struct Entry {
    at: DateTime<Utc>,
    is_event: bool,
    seq: u64,
    happened: Happened,
}

/// Everything that happened to an order, by time: what each service published, and its verdict on what was delivered to it.
/// Verdicts on what changed nothing are as old as inbox rows become.
///
/// # Errors
/// [`Failure::Poison`] when a row cannot be read.
pub fn timeline(chapters: &[Chapter]) -> Result<Vec<Happened>, Failure> {
    let published = |row: &&Item| EntryKind::Published.is_of(row);
    let mut committed = BTreeMap::new();
    for row in chapters.iter().flat_map(|chapter| &chapter.events).filter(published) {
        let metadata = envelope_of(row)?.metadata;
        committed.insert(metadata.id.to_string(), metadata.time);
    }
    let mut entries = Vec::new();
    for Chapter { service, events, inbox, failed } in chapters {
        for row in events.iter().filter(published) {
            entries.push(commit(service, row, &committed)?);
        }
        entries.extend(inbox.iter().map(|delivered| delivery(service, delivered)));
        entries.extend(failed.iter().filter_map(|note| failure(service, note)));
    }
    entries.sort_by_key(|entry| (entry.at, entry.is_event, entry.seq));
    let began = entries.first().map(|entry| entry.at);
    Ok(entries.into_iter().map(|entry| since(entry, began)).collect())
}

fn since(mut entry: Entry, began: Option<DateTime<Utc>>) -> Happened {
    entry.happened.elapsed_ms = began.map_or(0, |began| (entry.at - began).num_milliseconds());
    entry.happened
}

fn commit(service: &str, row: &Item, committed: &BTreeMap<String, DateTime<Utc>>) -> Result<Entry, Failure> {
    let metadata = envelope_of(row)?.metadata;
    let cause = committed.get(&metadata.causation_id.to_string());
    let happened = Happened {
        at: millis::text(&metadata.time),
        elapsed_ms: 0,
        service: service.to_owned(),
        what: EntryKind::Published.as_str().to_owned(),
        kind: metadata.kind,
        event_id: metadata.id.to_string(),
        hop_ms: cause.map(|cause| (metadata.time - *cause).num_milliseconds()),
        duplicates: 0,
    };
    Ok(Entry { at: metadata.time, is_event: true, seq: metadata.seq, happened })
}

fn delivery(service: &str, delivered: &Delivered) -> Entry {
    let Delivered { at, time, .. } = *delivered;
    let happened = Happened {
        at: millis::text(&at),
        elapsed_ms: 0,
        service: service.to_owned(),
        what: delivered.verdict.as_str().to_owned(),
        kind: delivered.kind.clone(),
        event_id: delivered.event_id.to_string(),
        hop_ms: Some((at - time).num_milliseconds()),
        duplicates: delivered.duplicates,
    };
    Entry { at, is_event: false, seq: 0, happened }
}

/// A delivery that failed when it was tried last; none for a note that cannot be read.
fn failure(service: &str, note: &Item) -> Option<Entry> {
    let at = DateTime::parse_from_rfc3339(note.text("at")?).ok()?.with_timezone(&Utc);
    let happened = Happened {
        at: millis::text(&at),
        elapsed_ms: 0,
        service: service.to_owned(),
        what: "failed".to_owned(),
        kind: note.text("type")?.to_owned(),
        event_id: note.key.pk.split_once('#')?.1.to_owned(),
        hop_ms: None,
        duplicates: 0,
    };
    Some(Entry { at, is_event: false, seq: 0, happened })
}

/// What payments has captured and given back, in minor units.
///
/// # Errors
/// [`Failure::Poison`] when a row is no event.
pub fn money(chapters: &[Chapter]) -> Result<(u64, u64), Failure> {
    let (mut captured, mut refunded) = (0_u64, 0_u64);
    for row in
        chapters.iter().flat_map(|chapter| &chapter.events).filter(|row| EntryKind::Published.is_of(row))
    {
        let envelope = envelope_of(row)?;
        match envelope.metadata.kind.as_str() {
            PaymentCharged::TYPE => captured += envelope.data::<PaymentCharged>()?.amount.amount,
            // The last refund counts: one that the bank returned is made again.
            PaymentRefunded::TYPE => refunded = envelope.data::<PaymentRefunded>()?.amount.amount,
            PaymentRefundFailed::TYPE => refunded = 0,
            _ => {}
        }
    }
    Ok((captured, refunded))
}

/// The ids by which everything that belongs to an order is logged: that of the request that placed it, and of any that
/// followed.
#[must_use]
pub fn correlations(chapters: &[Chapter]) -> Vec<String> {
    let rows = chapters.iter().flat_map(|chapter| &chapter.events);
    let mut ids: Vec<String> = Vec::new();
    for id in rows.filter_map(|row| row.text("correlation_id")) {
        if !ids.iter().any(|known| known == id) {
            ids.push(id.to_owned());
        }
    }
    ids
}

#[cfg(test)]
mod tests {
    use super::*;
    use chassis::Verdict;
    use chassis::store::{MemoryStore, Write};
    use uuid::Uuid;

    fn event_row(id: u128, cause: u128, seq: u64, time: &str, data: &str) -> Item {
        let uuid = |n: u128| Uuid::from_u128(n).to_string();
        Item::new(Key::event("order#1", seq))
            .with("kind", "published")
            .with("id", uuid(id))
            .with("source", "quadrille.orders")
            .with("type", "order.confirmed")
            .with("version", 1)
            .with("subject", "1")
            .with("seq", i64::try_from(seq).unwrap())
            .with("time", time)
            .with("correlation_id", uuid(9))
            .with("causation_id", uuid(cause))
            .with("traceparent", "")
            .with("data", data)
    }

    fn delivered(id: u128, committed: &str, at: &str) -> Delivered {
        Delivered {
            event_id: EventId(Uuid::from_u128(id)),
            kind: "order.confirmed".into(),
            verdict: Verdict::Applied,
            time: committed.parse().unwrap(),
            at: at.parse().unwrap(),
            about: None,
            duplicates: 0,
        }
    }

    fn chapters() -> Vec<Chapter> {
        let (start, later) = ("2026-01-01T00:00:00.000Z", "2026-01-01T00:00:00.250Z");
        let address = r#"{"shipping_address": {"city": "London"}, "order_id": "x"}"#;
        let orders = Chapter {
            service: "orders".into(),
            events: vec![event_row(1, 0, 1, start, address)],
            ..Chapter::default()
        };
        let payments = Chapter {
            service: "payments".into(),
            events: vec![event_row(2, 1, 1, later, "{}")],
            inbox: vec![delivered(1, start, later)],
            ..Chapter::default()
        };
        vec![payments, orders]
    }

    /// Guards: the order of the timeline, a delivery before the event that it led to; and the durations between hops.
    #[test]
    fn a_timeline_has_every_hop_with_its_duration() {
        let timeline = timeline(&chapters()).unwrap();
        let shown: Vec<_> = timeline
            .iter()
            .map(|one| (one.service.as_str(), one.what.as_str(), one.elapsed_ms, one.hop_ms))
            .collect();
        let expected = [
            ("orders", "published", 0, None),
            ("payments", "applied", 250, Some(250)),
            ("payments", "published", 250, Some(250)),
        ];
        assert_eq!(shown, expected);
    }

    /// Guards: what lies in a dead-letter queue, or is tried again and again, is seen; once it came through, only that is.
    #[tokio::test]
    async fn a_delivery_that_fails_is_in_the_timeline() {
        let order = OrderId(Uuid::nil());
        let pk = AggregateId::order(order).pk;
        let event = event_row(1, 0, 1, "2026-01-01T00:00:00.000Z", "{}");
        let event = Item { key: Key::event(&pk, 1), ..event };
        let note = Item::new(failure_key(EventId(Uuid::from_u128(1))))
            .with("type", "order.confirmed")
            .with("at", "2026-01-01T00:00:09.000Z");
        let came = delivered(1, "2026-01-01T00:00:00.000Z", "2026-01-01T00:00:20.000Z");
        let Write::Put { item: came, .. } = came.row(&pk) else { panic!("no row") };
        for (rows, expected) in
            [(vec![note.clone()], ("failed", 9_000)), (vec![note, came], ("applied", 20_000))]
        {
            let tables = [
                ("orders".to_owned(), MemoryStore::of([event.clone()])),
                ("rewards".to_owned(), MemoryStore::of(rows)),
            ];
            let timeline = timeline(&read(&tables, order).await.unwrap()).unwrap();
            let [_, last] = &timeline[..] else { panic!("{timeline:?}") };
            assert_eq!((last.what.as_str(), last.elapsed_ms), expected);
            assert_eq!((last.service.as_str(), last.kind.as_str()), ("rewards", "order.confirmed"));
        }
    }

    /// Guards: an address is not shown.
    #[test]
    fn events_come_by_time_and_masked() {
        let events = events(&chapters()).unwrap();
        assert_eq!(events[0]["service"], "orders");
        assert_eq!(events[0]["data"], json!({"shipping_address": mask::MASK, "order_id": "x"}));
        assert_eq!(correlations(&chapters()).len(), 1);
    }
}
