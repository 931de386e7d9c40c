//! The tables behind one mutex: a call holds it for the microseconds that it needs, and waits for the disk without it.

use super::conflicts::Conflicts;
use super::describe::Counted;
use super::error::Error;
use super::request::{Described, Request};
use super::tables::{StreamRecord, Tables};
use super::write::Done;
use super::{describe, read, write};
use crate::aws::protocol::Answer;
use crate::faults;
use crate::support::meter::Meter;
use crate::support::storage::{Storage, Written};
use crate::template::resources::Table;
use anyhow::Result;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::Notify;

/// The database of every table. Clones share it.
#[derive(Clone)]
pub struct Database(Arc<Shared>);

struct Shared {
    tables: Mutex<Tables>,
    storage: Storage,
    conflicts: Conflicts,
    counting: tokio::sync::Mutex<()>,
    /// By table: notified by each commit to it.
    written: HashMap<String, Arc<Notify>>,
}

impl Database {
    /// The tables that the templates declare, in a storage.
    ///
    /// # Errors
    /// When DynamoDB would refuse the declaration of a table.
    pub fn start(storage: &Storage, declared: &[Table]) -> Result<Self> {
        let tables = Tables::new(storage.clone(), declared)?;
        let written = declared.iter().map(|table| (table.table_name.clone(), Arc::new(Notify::new())));
        let (written, conflicts) = (written.collect(), Conflicts::new(tables.schemas().clone()));
        let (tables, storage) = (Mutex::new(tables), storage.clone());
        let counting = tokio::sync::Mutex::default();
        Ok(Self(Arc::new(Shared { tables, storage, conflicts, counting, written })))
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.0.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the meter count the capacity that each operation consumes.
    pub fn metered_by(&self, meter: &Meter) {
        self.tables().meter = meter.clone();
    }

    /// Carries out a request, and answers when what it wrote is safe, and what it shows: a read, a condition that does not hold and a
    /// repeated token say what others have written.
    pub async fn answer(&self, request: &Request) -> Answer {
        let counted = self.counted(request).await;
        let (answer, last, tables) = self.execute(request, counted);
        // The readers of the streams are woken also when the caller goes away meanwhile: what it wrote stays written.
        let _wakes = Wakes { database: self, tables };
        self.0.storage.synced(last).await;
        answer
    }

    /// What a DescribeTable says of its table: counted where nobody has to wait for it.
    async fn counted(&self, request: &Request) -> Counted {
        let Request::Describe(Described::Table, named) = request else { return Counted::default() };
        let (storage, named) = (self.0.storage.clone(), named.clone());
        let _one_at_a_time = self.0.counting.lock().await;
        tokio::task::spawn_blocking(move || describe::counted(&storage, &named)).await.unwrap_or_default()
    }

    /// [`Database::answer`] for a caller who does not care what a crash leaves.
    #[must_use]
    pub fn carry_out(&self, request: &Request) -> Answer {
        let counted = match request {
            Request::Describe(Described::Table, named) => describe::counted(&self.0.storage, named),
            _ => Counted::default(),
        };
        let (answer, _, tables) = self.execute(request, counted);
        self.wake(&tables);
        answer
    }

    /// [`Database::carry_out`] for the JSON body of an operation such as `PutItem`: for tests, which look into the tables.
    #[must_use]
    pub fn call(&self, operation: &str, body: &[u8]) -> Answer {
        match Request::read(operation, body) {
            Ok(request) => self.carry_out(&request),
            Err(error) => error.answer(),
        }
    }

    fn execute(&self, request: &Request, counted: Counted) -> (Answer, Written, BTreeSet<String>) {
        let mut tables = self.tables();
        let (answer, changed) = match dispatch(&mut tables, request, counted) {
            Ok(Done { answer, tables }) => ((200, answer), tables),
            Err(error) => (error.answer(), BTreeSet::new()),
        };
        (answer, tables.last, changed)
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

    /// Lets the eventually consistent reads of a table be so far behind from now on.
    pub fn lag(&self, table: &str, by: Duration) {
        self.tables().lag(table, by);
    }

    /// The database for the fault dial, which is no reason to keep it open.
    #[must_use]
    pub fn to_fault(&self) -> impl faults::Database + use<> {
        Faulty(Arc::downgrade(&self.0))
    }

    /// Deletes rows past their TTL and stream records past their day, a few at a time.
    pub async fn sweep(&self) {
        loop {
            let (has_more, tables) = self.tables().sweep();
            self.wake(&tables);
            if !has_more {
                return;
            }
            // Callers take their turn.
            tokio::task::yield_now().await;
        }
    }
}

struct Faulty(Weak<Shared>);

impl faults::Database for Faulty {
    fn forget(&self, table: &str) {
        self.0.upgrade().into_iter().for_each(|shared| Database(shared).forget(table));
    }

    fn lag(&self, table: &str, by: Duration) {
        self.0.upgrade().into_iter().for_each(|shared| Database(shared).lag(table, by));
    }
}

/// Wakes the readers of some tables' streams in the end.
struct Wakes<'a> {
    database: &'a Database,
    tables: BTreeSet<String>,
}

impl Drop for Wakes<'_> {
    fn drop(&mut self) {
        self.database.wake(&self.tables);
    }
}

fn dispatch(tables: &mut Tables, request: &Request, counted: Counted) -> Result<Done, Error> {
    let answer = match request {
        Request::Write(kind, write) => return write::one(tables, *kind, write),
        Request::BatchWrite(request) => return write::batch(tables, request),
        Request::TransactWrite(request) => return write::transact(tables, request),
        Request::Get(request) => read::get(tables, request),
        Request::BatchGet(request) => read::batch(tables, request),
        Request::TransactGet(request) => read::transact(tables, request),
        Request::Query(request) => read::query(tables, request),
        Request::Scan(request) => read::scan(tables, request),
        Request::Describe(Described::Table, named) => describe::table(tables, named, counted),
        Request::Describe(Described::TimeToLive, named) => describe::time_to_live(tables, named),
        Request::Describe(Described::ContinuousBackups, named) => describe::backups(tables, named),
        Request::List(request) => describe::list(tables, request),
    }?;
    Ok(Done { answer, ..Done::default() })
}
