//! Which rows the transactions that are going on hold. A call that needs one of these rows is refused, as in DynamoDB: an
//! engine with one writer would make every call wait its turn, and nobody's handling of a conflict would ever run.
//!
//! <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis.html#transaction-conflict-handling>

use super::error::body as error_body;
use crate::aws::protocol::Answer;
use crate::template::resources::Table;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The reason of each part of a cancelled transaction, in their order.
const CONFLICT: &str = "TransactionConflict";
const ONGOING: &str = "Transaction is ongoing for the item";

/// A row: its table, and its key as JSON.
type Row = (String, String);

/// The part of a call that names a row: its key, or the whole row.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Part {
    table_name: String,
    #[serde(alias = "Item")]
    key: HashMap<String, Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Transaction {
    client_request_token: Option<String>,
    transact_items: Vec<HashMap<String, Part>>,
}

/// The rows of a transaction, each held until this is dropped.
pub struct Held<'a> {
    conflicts: &'a Conflicts,
    rows: HashSet<Row>,
    token: Option<String>,
}

#[derive(Default)]
struct Ongoing {
    rows: HashSet<Row>,
    tokens: HashSet<String>,
}

impl Ongoing {
    /// Of each row, whether a transaction holds it.
    fn taken(&self, rows: &[Option<Row>]) -> Vec<bool> {
        rows.iter().map(|row| row.as_ref().is_some_and(|row| self.rows.contains(row))).collect()
    }
}

/// The transactions that are going on. Clones share them.
#[derive(Clone, Default)]
pub struct Conflicts {
    ongoing: Arc<Mutex<Ongoing>>,
    /// By table: the names of the attributes of its key.
    keys: Arc<HashMap<String, Vec<String>>>,
}

impl Conflicts {
    #[must_use]
    pub fn new(tables: &[Table]) -> Self {
        let keys = tables.iter().map(|table| (table.table_name.clone(), key_names(&table.key_schema)));
        Self { keys: Arc::new(keys.collect()), ..Self::default() }
    }

    fn ongoing(&self) -> MutexGuard<'_, Ongoing> {
        self.ongoing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The row that a part names; `None` for a part without a whole key, which the engine refuses.
    fn row(&self, part: &Part) -> Option<Row> {
        let names = self.keys.get(&part.table_name)?;
        let key: Option<Vec<&Value>> = names.iter().map(|name| part.key.get(name)).collect();
        Some((part.table_name.clone(), json!(key?).to_string()))
    }

    fn rows(&self, transaction: &Transaction) -> Vec<Option<Row>> {
        transaction.transact_items.iter().flat_map(HashMap::values).map(|part| self.row(part)).collect()
    }

    /// Holds the rows of a TransactWriteItems.
    ///
    /// # Errors
    /// DynamoDB's answer, when another transaction holds one of the rows, or has the same token and is still going on.
    pub fn hold(&self, body: &[u8]) -> Result<Held<'_>, Answer> {
        let free = Held { conflicts: self, rows: HashSet::new(), token: None };
        // The engine says what is wrong with a body that cannot be read.
        let Ok(transaction) = serde_json::from_slice::<Transaction>(body) else { return Ok(free) };
        let rows = self.rows(&transaction);
        let mut ongoing = self.ongoing();
        let token = transaction.client_request_token;
        if token.as_ref().is_some_and(|token| ongoing.tokens.contains(token)) {
            let message = "The transaction with the given request token is already in progress";
            return Err((400, error_body("TransactionInProgressException", message)));
        }
        let taken = ongoing.taken(&rows);
        if taken.contains(&true) {
            return Err(cancelled(&taken));
        }
        ongoing.rows.extend(rows.iter().flatten().cloned());
        ongoing.tokens.extend(token.clone());
        Ok(Held { rows: rows.into_iter().flatten().collect(), token, ..free })
    }

    /// Refuses a TransactGetItems of which a transaction holds a row.
    ///
    /// # Errors
    /// DynamoDB's answer.
    pub fn check_reads(&self, body: &[u8]) -> Result<(), Answer> {
        let Ok(transaction) = serde_json::from_slice::<Transaction>(body) else { return Ok(()) };
        let taken = self.ongoing().taken(&self.rows(&transaction));
        if taken.contains(&true) { Err(cancelled(&taken)) } else { Ok(()) }
    }

    /// Refuses a PutItem, UpdateItem or DeleteItem whose row a transaction holds.
    ///
    /// # Errors
    /// DynamoDB's answer.
    pub fn check_write(&self, body: &[u8]) -> Result<(), Answer> {
        let row = serde_json::from_slice::<Part>(body).ok().and_then(|part| self.row(&part));
        match row {
            Some(row) if self.ongoing().rows.contains(&row) => Err(alone()),
            _ => Ok(()),
        }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let mut ongoing = self.conflicts.ongoing();
        ongoing.rows.retain(|row| !self.rows.contains(row));
        ongoing.tokens.retain(|token| self.token.as_ref() != Some(token));
    }
}

/// The answer to a single write whose row a transaction holds.
///
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_PutItem.html>
fn alone() -> Answer {
    (400, error_body("TransactionConflictException", ONGOING))
}

fn key_names(schema: &Value) -> Vec<String> {
    let parts = schema.as_array().into_iter().flatten();
    parts.filter_map(|part| part["AttributeName"].as_str().map(str::to_owned)).collect()
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
pub fn conflict(operation: &str, body: &[u8]) -> Answer {
    if operation != "TransactWriteItems" {
        return alone();
    }
    let parts = serde_json::from_slice::<Transaction>(body).map_or(1, |all| all.transact_items.len());
    cancelled(&vec![true; parts])
}
