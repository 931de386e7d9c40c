//! Which rows the transactions that are going on hold. A call that needs one of these rows is refused, as in DynamoDB: an
//! engine with one writer would make every call wait its turn, and nobody's handling of a conflict would ever run.
//!
//! <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis.html#transaction-conflict-handling>

use super::error::body as error_body;
use super::request::{Get, Request, TransactGet, TransactWrite, Write, WritePart};
use super::schema::{RowKey, Schema};
use super::value::Item;
use crate::aws::protocol::Answer;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The reason of each part of a cancelled transaction, in their order.
const CONFLICT: &str = "TransactionConflict";
const ONGOING: &str = "Transaction is ongoing for the item";

/// The rows of a transaction, each held until this is dropped.
pub struct Held<'a> {
    conflicts: &'a Conflicts,
    rows: Vec<RowKey>,
    token: Option<&'a str>,
}

#[derive(Default)]
struct Ongoing {
    rows: HashSet<RowKey>,
    tokens: HashSet<String>,
}

impl Ongoing {
    /// Of each row, whether a transaction holds it.
    fn taken(&self, rows: &[Option<RowKey>]) -> Vec<bool> {
        rows.iter().map(|row| row.as_ref().is_some_and(|row| self.rows.contains(row))).collect()
    }
}

/// The transactions that are going on.
pub struct Conflicts {
    ongoing: Mutex<Ongoing>,
    schemas: BTreeMap<String, Arc<Schema>>,
}

impl Conflicts {
    #[must_use]
    pub fn new(schemas: BTreeMap<String, Arc<Schema>>) -> Self {
        Self { ongoing: Mutex::default(), schemas }
    }

    fn ongoing(&self) -> MutexGuard<'_, Ongoing> {
        self.ongoing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The row with a key, which a whole row has too; `None` for what is no key of the table: the engine refuses it.
    fn row(&self, table: &str, key: Option<&Item>) -> Option<RowKey> {
        self.schemas.get(table)?.key_in(key?).ok()
    }

    fn written(&self, write: &Write) -> Option<RowKey> {
        self.row(&write.table_name, write.row())
    }

    /// Holds the rows of a TransactWriteItems.
    ///
    /// # Errors
    /// DynamoDB's answer, when another transaction holds one of the rows, or has the same token and is still going on.
    pub fn hold<'a>(&'a self, transaction: &'a TransactWrite) -> Result<Held<'a>, Answer> {
        let parts = transaction.transact_items.iter().flat_map(WritePart::all);
        let rows: Vec<Option<RowKey>> = parts.map(|(_, write)| self.written(write)).collect();
        let token = transaction.client_request_token.as_deref();
        let mut ongoing = self.ongoing();
        if token.is_some_and(|token| ongoing.tokens.contains(token)) {
            let message = "The transaction with the given request token is already in progress";
            return Err((400, error_body("TransactionInProgressException", message)));
        }
        let taken = ongoing.taken(&rows);
        if taken.contains(&true) {
            return Err(cancelled(&taken));
        }
        ongoing.rows.extend(rows.iter().flatten().cloned());
        ongoing.tokens.extend(token.map(str::to_owned));
        Ok(Held { conflicts: self, rows: rows.into_iter().flatten().collect(), token })
    }

    /// Refuses a TransactGetItems, PutItem, UpdateItem or DeleteItem of which a transaction holds a row.
    ///
    /// # Errors
    /// DynamoDB's answer.
    pub fn check(&self, request: &Request) -> Result<(), Answer> {
        match request {
            Request::TransactGet(reads) => self.check_reads(reads),
            Request::Write(_, write) => match self.written(write) {
                Some(row) if self.ongoing().rows.contains(&row) => Err(alone()),
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn check_reads(&self, reads: &TransactGet) -> Result<(), Answer> {
        let row = |get: &Get| self.row(&get.table_name, Some(&get.key));
        let rows: Vec<Option<RowKey>> = reads.transact_items.iter().map(|part| row(&part.get)).collect();
        let taken = self.ongoing().taken(&rows);
        if taken.contains(&true) { Err(cancelled(&taken)) } else { Ok(()) }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let mut ongoing = self.conflicts.ongoing();
        for row in &self.rows {
            ongoing.rows.remove(row);
        }
        self.token.map(|token| ongoing.tokens.remove(token));
    }
}

/// The answer to a single write whose row a transaction holds.
///
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_PutItem.html>
fn alone() -> Answer {
    (400, error_body("TransactionConflictException", ONGOING))
}

/// The answer to a transaction that was cancelled; `taken` says of each of its parts whether it conflicts.
///
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html>
fn cancelled(taken: &[bool]) -> Answer {
    let codes: Vec<&str> = taken.iter().map(|taken| if *taken { CONFLICT } else { "None" }).collect();
    let reason = |taken: &bool| {
        if *taken { json!({"Code": CONFLICT, "Message": ONGOING}) } else { json!({"Code": "None"}) }
    };
    let reasons: Vec<Value> = taken.iter().map(reason).collect();
    let message = format!(
        "Transaction cancelled, please refer cancellation reasons for specific reasons [{}]",
        codes.join(", ")
    );
    let kind = "com.amazonaws.dynamodb.v20120810#TransactionCanceledException";
    let body = json!({"__type": kind, "message": message, "CancellationReasons": reasons});
    (400, body.to_string().into())
}

/// The answer to a TransactWriteItems that conflicts in each of its parts, and to a single write whose row a transaction holds.
#[must_use]
pub fn conflict(request: &Request) -> Answer {
    match request {
        Request::TransactWrite(transaction) => cancelled(&vec![true; transaction.transact_items.len()]),
        _ => alone(),
    }
}
