//! DynamoDB's calls, each allowed by IAM for every item that it names.

use super::database::Database;
use super::error::Error;
use super::request::{BatchGet, Keys, Request};
use crate::aws::protocol::{Answer, ApiError, Call, Outcome, parse};
use crate::template::names;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// Reads a call's request.
///
/// # Errors
/// DynamoDB's answer.
pub fn read(call: &Call<'_>) -> Result<Request, Answer> {
    Request::read(call.operation, call.body).map_err(|error: Error| error.answer())
}

/// Carries out an [`allowed`] call, unless a transaction holds a row of it.
pub async fn answer(database: &Database, request: &Request) -> Answer {
    match database.conflicts().check(request) {
        Ok(()) => database.answer(request).await,
        Err(answer) => answer,
    }
}

/// Carries out what an [`allowed`] call writes. A transaction lasts for `pause` before it writes, and holds its rows until it has
/// written.
pub async fn write(database: &Database, request: &Request, pause: Duration) -> Answer {
    let Request::TransactWrite(transaction) = request else { return answer(database, request).await };
    let _held = match database.conflicts().hold(transaction) {
        Ok(held) => held,
        Err(answer) => return answer,
    };
    if !pause.is_zero() {
        tokio::time::sleep(pause).await;
    }
    database.answer(request).await
}

/// Carries out an [`allowed`] BatchGetItem. Where `is_partly` says so, all keys of each table but the first are left unprocessed; a
/// call that DynamoDB refuses does not come so far.
///
/// # Errors
/// When the engine's own answer cannot be read.
pub async fn batch_get(database: &Database, request: Request, is_partly: impl FnOnce() -> bool) -> Outcome {
    let (status, body) = database.answer(&request).await;
    match request {
        Request::BatchGet(request) if status == 200 && is_partly() => answer_partly(database, request).await,
        _ => Ok((status, body)),
    }
}

async fn answer_partly(database: &Database, mut request: BatchGet) -> Outcome {
    let mut left = BTreeMap::new();
    for (table, wanted) in &mut request.request_items {
        let rest = wanted.keys.split_off(1);
        if !rest.is_empty() {
            left.insert(table.clone(), Keys { keys: rest, ..wanted.clone() });
        }
    }
    let (status, body) = database.answer(&Request::BatchGet(request)).await;
    let mut answer: Value = parse(&body)?;
    if status == 200 {
        answer["UnprocessedKeys"] = json!(left);
    }
    Ok((status, answer.to_string().into()))
}

/// Checks that the caller may make a call; the tables that it names.
///
/// # Errors
/// When it may not.
pub fn allowed(call: &Call<'_>, request: &Request) -> Result<Vec<String>, ApiError> {
    let mut tables = Vec::new();
    for (action, table, index) in request.permissions(call.operation) {
        let table = index.map_or_else(|| table.to_owned(), |index| format!("{table}/index/{index}"));
        call.require(&format!("dynamodb:{action}"), &names::table_arn(&table))?;
        tables.push(table);
    }
    Ok(tables)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::storage::Storage;

    /// Guards: DynamoDB's limits of a BatchGetItem, whether a fault waits for it or not.
    #[tokio::test]
    async fn a_read_that_is_refused_uses_up_no_fault() {
        let table = serde_json::from_value(json!({"TableName": "rows", "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
            "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}]}));
        let database = Database::start(&Storage::memory(), &[table.unwrap()]).unwrap();
        let read = async |keys: &[usize]| {
            let keys: Vec<Value> = keys.iter().map(|key| json!({"pk": {"S": key.to_string()}})).collect();
            let body = json!({"RequestItems": {"rows": {"Keys": keys}}}).to_string().into_bytes();
            let request = Request::read("BatchGetItem", &body).unwrap();
            let mut asked = false;
            let is_partly = || {
                asked = true;
                true
            };
            let (status, answer) = batch_get(&database, request, is_partly).await.unwrap();
            let answer: Value = serde_json::from_slice(&answer).unwrap();
            (status, asked, answer["UnprocessedKeys"]["rows"]["Keys"].as_array().map(Vec::len))
        };
        assert_eq!(read(&(0..100).collect::<Vec<_>>()).await, (200, true, Some(99)));
        assert_eq!(read(&(0..101).collect::<Vec<_>>()).await, (400, false, None));
        assert_eq!(read(&[1, 1]).await, (400, false, None));
    }
}
