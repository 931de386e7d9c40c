//! The tables behind one mutex: a call holds it for the microseconds that it needs, and waits for the disk without it.

use super::conflicts::Conflicts;
use super::error::Error;
use super::request::Kind;
use super::tables::{StreamRecord, Tables};
use super::write::Done;
use super::{describe, read, write};
use crate::aws::protocol::Answer;
use crate::support::meter::Meter;
use crate::support::storage::{Storage, Written};
use crate::template::resources::Table;
use anyhow::Result;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// The database of every table. Clones share it.
#[derive(Clone)]
pub struct Database(Arc<Shared>);

struct Shared {
    tables: Mutex<Tables>,
    storage: Storage,
    conflicts: Conflicts,
    /// By table: notified by each commit to it.
    written: HashMap<String, Arc<Notify>>,
}

impl Database {
    /// The tables that the templates declare, in a storage.
    ///
    /// # Errors
    /// When DynamoDB would refuse the declaration of a table.
    pub fn start(storage: &Storage, declared: &[Table]) -> Result<Self> {
        let tables = Mutex::new(Tables::new(storage.clone(), declared)?);
        let written = declared.iter().map(|table| (table.table_name.clone(), Arc::new(Notify::new())));
        let (storage, conflicts) = (storage.clone(), Conflicts::new(declared));
        Ok(Self(Arc::new(Shared { tables, storage, conflicts, written: written.collect() })))
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.0.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the meter count the capacity that each operation consumes.
    pub fn metered_by(&self, meter: &Meter) {
        self.tables().meter = meter.clone();
    }

    /// Carries out one operation of the DynamoDB API, such as `PutItem`, on its JSON body, and answers when what it wrote is
    /// safe.
    pub async fn answer(&self, operation: &str, body: &[u8]) -> Answer {
        let (answer, written, tables) = self.execute(operation, body);
        if !tables.is_empty() {
            self.0.storage.synced(written).await;
            self.wake(&tables);
        }
        answer
    }

    /// [`Database::answer`] for a caller who does not care what a crash leaves.
    #[must_use]
    pub fn call(&self, operation: &str, body: &[u8]) -> Answer {
        let (answer, _, tables) = self.execute(operation, body);
        self.wake(&tables);
        answer
    }

    fn execute(&self, operation: &str, body: &[u8]) -> (Answer, Written, BTreeSet<String>) {
        match dispatch(&mut self.tables(), operation, body) {
            Ok(Done { answer, written, tables }) => ((200, answer), written, tables),
            Err(error) => (error.answer(), 0, BTreeSet::new()),
        }
    }

    fn wake(&self, tables: &BTreeSet<String>) {
        tables.iter().filter_map(|table| self.0.written.get(table)).for_each(|written| written.notify_one());
    }

    /// The rows that transactions hold.
    #[must_use]
    pub fn conflicts(&self) -> &Conflicts {
        &self.0.conflicts
    }

    /// At most `limit` records of a table's stream after the sequence number `after`, oldest first; none older than a day.
    #[must_use]
    pub fn stream(&self, table: &str, after: i64, limit: usize) -> Vec<StreamRecord> {
        self.tables().records(table, after, limit)
    }

    /// The number of the newest record of a table's stream; 0 for none.
    #[must_use]
    pub fn newest(&self, table: &str) -> i64 {
        self.tables().newest(table)
    }

    /// Notified each time something was written to a table; `None` for a table that no template declares.
    #[must_use]
    pub fn written(&self, table: &str) -> Option<Arc<Notify>> {
        self.0.written.get(table).cloned()
    }

    /// Makes a table's stream forget all its records, as if a day had passed.
    pub fn forget(&self, table: &str) {
        self.tables().forget(table);
    }

    /// [`Database::forget`] for the fault dial, which is no reason to keep the database open.
    pub fn forgetter(&self) -> impl Fn(&str) + Send + Sync + use<> {
        let shared = Arc::downgrade(&self.0);
        move |table| {
            if let Some(shared) = shared.upgrade() {
                Self(shared).forget(table);
            }
        }
    }

    /// Deletes rows past their TTL and stream records past their day, a few at a time.
    pub fn sweep(&self) {
        loop {
            let (has_more, tables) = self.tables().sweep();
            self.wake(&tables);
            if !has_more {
                return;
            }
        }
    }
}

fn dispatch(tables: &mut Tables, operation: &str, body: &[u8]) -> Result<Done, Error> {
    let answer = match operation {
        "PutItem" => return write::one(tables, Kind::Put, body),
        "UpdateItem" => return write::one(tables, Kind::Update, body),
        "DeleteItem" => return write::one(tables, Kind::Delete, body),
        "BatchWriteItem" => return write::batch(tables, body),
        "TransactWriteItems" => return write::transact(tables, body),
        "GetItem" => read::get(tables, body),
        "BatchGetItem" => read::batch(tables, body),
        "TransactGetItems" => read::transact(tables, body),
        "Query" => read::query(tables, body),
        "Scan" => read::scan(tables, body),
        "DescribeTable" => describe::table(tables, body),
        "ListTables" => describe::list(tables, body),
        "DescribeTimeToLive" => describe::time_to_live(tables, body),
        "DescribeContinuousBackups" => describe::backups(tables, body),
        _ => Err(Error::UnknownOperation(operation.to_owned())),
    }?;
    Ok(Done { answer, ..Done::default() })
}
