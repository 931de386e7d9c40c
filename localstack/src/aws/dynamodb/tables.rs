//! The tables: rows, the entries of indexes, and the records of streams in one storage.

use super::capacity::Consumed;
use super::error::Error;
use super::lag::{Lag, Past};
use super::schema::{RowKey, Schema, place};
use super::tokens::Tokens;
use super::value::{Item, json, read};
use crate::support::meter::Meter;
use crate::support::storage::{Batch, Range, Space, Storage, Written};
use crate::template::resources::Table;
use anyhow::{Context, Result, ensure};
use bytes::{BufMut, Bytes, BytesMut};
use chrono::Utc;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;
use std::time::Duration;

/// How long a stream keeps its records: 24 hours, as in AWS.
const STREAM_SECONDS: i64 = 24 * 3600;
/// A row that expired longer ago is not deleted: five years, in seconds.
const OLDEST_EXPIRY: i64 = 5 * 365 * 24 * 3600;
/// The most rows or records that one step of a sweep deletes: others wait for the tables meanwhile.
const SWEPT: usize = 500;
/// What the records of a stream begin with before the keys: kind, time, length of the keys.
const HEAD: usize = 1 + 8 + 4;

/// A record of a table's stream, as a pipe reads it.
#[derive(Clone, Debug)]
pub struct StreamRecord {
    /// The record's place in the stream, from 1.
    pub sequence: i64,
    /// `INSERT`, `MODIFY` or `REMOVE`.
    pub event_name: &'static str,
    /// The keys, in DynamoDB's JSON.
    pub keys: String,
    /// The row after the write, in DynamoDB's JSON; none for a removal.
    pub new_image: Option<String>,
    /// Epoch seconds.
    pub created_at: i64,
}

/// A row that changes.
#[derive(Debug)]
pub struct Change {
    pub schema: Arc<Schema>,
    pub key: RowKey,
    pub before: Option<Item>,
    pub after: Option<Item>,
}

pub struct Tables {
    pub storage: Storage,
    schemas: BTreeMap<String, Arc<Schema>>,
    /// By table: the number of the newest record of its stream.
    newest: BTreeMap<String, u64>,
    /// By table: how far its eventually consistent reads are behind.
    lags: BTreeMap<String, Lag>,
    pub tokens: Tokens,
    pub meter: Meter,
    /// The last batch that changed a row. An answer shows what it and those before it wrote.
    pub last: Written,
}

const KINDS: [&str; 3] = ["INSERT", "MODIFY", "REMOVE"];

impl Tables {
    /// # Errors
    /// For a table that DynamoDB would refuse, or one that an earlier run had with other indexes.
    pub fn new(storage: Storage, declared: &[Table]) -> Result<Self> {
        let (mut schemas, mut newest) = (BTreeMap::new(), BTreeMap::new());
        for table in declared {
            let schema = Schema::new(table).with_context(|| format!("table {}", table.table_name))?;
            check_places(&storage, &schema)?;
            newest.insert(schema.name.clone(), newest_record(&storage, &schema.name));
            schemas.insert(schema.name.clone(), Arc::new(schema));
        }
        let (lags, tokens, meter) = (BTreeMap::new(), Tokens::default(), Meter::default());
        Ok(Self { storage, schemas, newest, lags, tokens, meter, last: 0 })
    }

    #[must_use]
    pub const fn schemas(&self) -> &BTreeMap<String, Arc<Schema>> {
        &self.schemas
    }

    pub fn names(&self) -> impl Iterator<Item = &String> {
        self.schemas.keys()
    }

    /// # Errors
    /// When no template declares the table.
    pub fn schema(&self, table: &str) -> Result<&Arc<Schema>, Error> {
        self.schemas.get(table).ok_or(Error::NoTable)
    }

    /// A row's JSON.
    #[must_use]
    pub fn row(&self, key: &RowKey) -> Option<Bytes> {
        self.storage.get(Space::Rows, key.as_bytes())
    }

    /// How far behind the eventually consistent reads of a table are from now on.
    pub fn lag(&mut self, table: &str, by: Duration) {
        if by.is_zero() {
            self.lags.remove(table);
        } else {
            self.lags.entry(table.to_owned()).or_default().set(by);
        }
    }

    /// What a read of a table shows instead of what is there now: nothing, if it is consistent.
    #[must_use]
    pub fn past(&self, table: &str, is_consistent: Option<bool>) -> Past {
        let lag = self.lags.get(table).filter(|_| is_consistent != Some(true));
        lag.map(Lag::past).unwrap_or_default()
    }

    /// A row.
    #[must_use]
    pub fn item(&self, key: &RowKey) -> Option<Item> {
        self.row(key).map(|row| read(&row))
    }

    /// Makes changes, together; the tables that they wrote to.
    pub fn save(&mut self, changes: Vec<Change>) -> BTreeSet<String> {
        let (mut batch, mut written) = (Batch::default(), BTreeSet::new());
        let now = Utc::now().timestamp();
        for change in changes {
            // As in DynamoDB, a write that changes nothing leaves no record.
            if change.before != change.after {
                written.insert(change.schema.name.clone());
                self.stage(&mut batch, change, now);
            }
        }
        if !batch.is_empty() {
            self.last = self.storage.write(batch);
        }
        written
    }

    fn stage(&mut self, batch: &mut Batch, change: Change, now: i64) {
        let Change { schema, key, before, after } = change;
        stage_places(batch, &schema, &key, before.as_ref(), after.as_ref());
        if let Some(lag) = self.lags.get_mut(&schema.name) {
            lag.keep(&key, before.as_ref().map(json));
        }
        let image = after.as_ref().map(json);
        let image = if schema.has_stream {
            let kind = match (&before, &after) {
                (None, _) => 0,
                (Some(_), Some(_)) => 1,
                (Some(_), None) => 2,
            };
            let keys =
                json(&schema.position(None, before.as_ref().or(after.as_ref()).unwrap_or(&Item::new())));
            let (record, image) = record(kind, now, &keys, image);
            let newest = self.newest.entry(schema.name.clone()).or_default();
            *newest += 1;
            batch.put(Space::Streams, record_place(&schema.name, *newest), record);
            image
        } else {
            image
        };
        match image {
            Some(image) => batch.put(Space::Rows, key.as_bytes(), image),
            None => batch.delete(Space::Rows, key.as_bytes()),
        }
    }

    /// At most `limit` records of a table's stream after the sequence number `after`, oldest first; none older than a day.
    #[must_use]
    pub fn records(&self, table: &str, after: i64, limit: usize) -> Vec<StreamRecord> {
        let oldest = Utc::now().timestamp() - STREAM_SECONDS;
        let mut records = Vec::new();
        let range = Range::prefix(&place(&[table]));
        let range = range.after(&record_place(table, u64::try_from(after).unwrap_or(0)));
        self.storage.visit(Space::Streams, &range, |place, bytes| {
            let record = read_record(place, &bytes);
            records.extend(record.filter(|record| record.created_at >= oldest));
            if records.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        records
    }

    /// The number of the newest record of a table's stream; 0 for none.
    #[must_use]
    pub fn newest(&self, table: &str) -> i64 {
        self.newest.get(table).and_then(|newest| i64::try_from(*newest).ok()).unwrap_or(0)
    }

    /// Makes a table's stream forget all its records, as if a day had passed.
    pub fn forget(&self, table: &str) {
        while self.trim(table, i64::MAX) {}
    }

    /// Deletes the oldest records of a stream that are older than a time, and not the newest: the next record would get its number
    /// again. Whether there may be more.
    fn trim(&self, table: &str, time: i64) -> bool {
        let (mut batch, newest) = (Batch::default(), self.newest.get(table).copied().unwrap_or(0));
        self.storage.visit(Space::Streams, &Range::prefix(&place(&[table])), |place, bytes| {
            let record = read_record(place, &bytes).filter(|record| record.created_at < time);
            let Some(record) = record else { return ControlFlow::Break(()) };
            if u64::try_from(record.sequence) == Ok(newest) {
                // It stays, and no reader gets it: it is as old as can be.
                let aged = [&bytes[..1], &0_i64.to_be_bytes(), &bytes[9..]].concat();
                if record.created_at != 0 && time == i64::MAX {
                    batch.put(Space::Streams, place, aged);
                }
                return ControlFlow::Break(());
            }
            batch.delete(Space::Streams, place);
            if batch.len() < SWEPT { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        let is_full = batch.len() >= SWEPT;
        if !batch.is_empty() {
            self.storage.write(batch);
        }
        is_full
    }

    /// Deletes some rows past their time to live, and stream records past their day. Whether there may be more, and the tables
    /// that it wrote to.
    pub fn sweep(&mut self) -> (bool, BTreeSet<String>) {
        let now = Utc::now().timestamp();
        let (mut has_more, mut written) = (false, BTreeSet::new());
        let schemas: Vec<Arc<Schema>> = self.schemas.values().cloned().collect();
        for schema in schemas {
            has_more |= self.trim(&schema.name, now - STREAM_SECONDS);
            let expired = self.expired(&schema, now);
            has_more |= expired.len() >= SWEPT;
            written.extend(self.save(expired));
        }
        (has_more, written)
    }

    /// Some rows whose time has come. One whose time was more than five years ago stays, as on AWS: it is most likely no time in seconds.
    ///
    /// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/time-to-live-ttl-before-you-start.html>
    fn expired(&self, schema: &Arc<Schema>, now: i64) -> Vec<Change> {
        let mut expired = Vec::new();
        let at = |seconds: i64| {
            let seconds = u64::try_from(seconds).unwrap_or(0).to_be_bytes();
            [place(&[&schema.name]).as_slice(), &seconds].concat()
        };
        let range = Range {
            from: Bound::Included(at(now - OLDEST_EXPIRY)),
            to: Bound::Excluded(at(now.saturating_add(1))),
            is_backward: false,
        };
        self.storage.visit(Space::Expiries, &range, |_, row| {
            let key = RowKey::at(&row);
            let before = self.item(&key);
            expired.push(Change { schema: Arc::clone(schema), key, before, after: None });
            if expired.len() < SWEPT { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        expired
    }

    /// Counts what a call consumed.
    pub fn count(&self, consumed: &Consumed) {
        if self.meter.is_on() {
            consumed.meter(&self.meter);
        }
    }
}

/// The entries of indexes, and of the rows that expire.
fn stage_places(
    batch: &mut Batch,
    schema: &Schema,
    key: &RowKey,
    before: Option<&Item>,
    after: Option<&Item>,
) {
    let mut moves = |space: Space, old: Option<Vec<u8>>, new: Option<Vec<u8>>| {
        if old != new {
            old.into_iter().for_each(|old| batch.delete(space, old));
            new.into_iter().for_each(|new| batch.put(space, new, key.as_bytes().to_vec()));
        }
    };
    for index in &schema.indexes {
        let place = |item: &Item| schema.entry(index, item);
        moves(Space::Indexes, before.and_then(place), after.and_then(place));
    }
    let expiry = |item: &Item| schema.expiry(item, key);
    moves(Space::Expiries, before.and_then(expiry), after.and_then(expiry));
}

/// A stream's record, and the row's image in it: they share their bytes.
fn record(kind: u8, now: i64, keys: &[u8], image: Option<Bytes>) -> (Bytes, Option<Bytes>) {
    let image_length = image.as_ref().map_or(0, Bytes::len);
    let mut record = BytesMut::with_capacity(HEAD + keys.len() + image_length);
    record.put_u8(kind);
    record.put_i64(now);
    record.put_u32(u32::try_from(keys.len()).unwrap_or(u32::MAX));
    record.put_slice(keys);
    record.put_slice(image.as_deref().unwrap_or_default());
    let record = record.freeze();
    let shared = image.map(|_| record.slice(HEAD + keys.len()..));
    (record, shared)
}

fn record_place(table: &str, sequence: u64) -> Vec<u8> {
    [place(&[table]).as_slice(), &sequence.to_be_bytes()].concat()
}

fn read_record(place: &[u8], bytes: &[u8]) -> Option<StreamRecord> {
    let sequence = u64::from_be_bytes(*place.last_chunk()?);
    let (kind, rest) = bytes.split_first()?;
    let (created_at, rest) = rest.split_first_chunk::<8>()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (keys, image) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
    Some(StreamRecord {
        sequence: i64::try_from(sequence).ok()?,
        event_name: KINDS.get(usize::from(*kind))?,
        keys: text(keys)?,
        new_image: if image.is_empty() { None } else { Some(text(image)?) },
        created_at: i64::from_be_bytes(*created_at),
    })
}

/// The number of the newest record of a stream.
fn newest_record(storage: &Storage, table: &str) -> u64 {
    let mut newest = 0;
    storage.visit(Space::Streams, &Range::prefix(&place(&[table])).backward(true), |place, _| {
        newest = place.last_chunk().map_or(0, |sequence| u64::from_be_bytes(*sequence));
        ControlFlow::Break(())
    });
    newest
}

/// A table of an earlier run must have the indexes and the expiry that the template declares now: nothing makes the places of others.
fn check_places(storage: &Storage, schema: &Schema) -> Result<()> {
    let indexes = &schema.declared.global_secondary_indexes;
    check_mark(storage, format!("indexes/{}", schema.name), serde_json::to_vec(indexes)?)?;
    check_mark(storage, format!("expiry/{}", schema.name), serde_json::to_vec(&schema.expires)?)
}

fn check_mark(storage: &Storage, key: String, now: Vec<u8>) -> Result<()> {
    match storage.get(Space::Marks, key.as_bytes()) {
        None => {
            let mut batch = Batch::default();
            batch.put(Space::Marks, key, now);
            storage.write(batch);
        }
        Some(known) => ensure!(
            known == now,
            "the data folder is of an older template; start with --fresh or another --data-dir"
        ),
    }
    Ok(())
}
