//! DynamoDB's calls, each allowed by IAM for every item that it names.

use super::database::Database;
use crate::aws::iam::Caller;
use crate::aws::protocol::{Answer, ApiError, Call, Outcome, parse};
use crate::template::names;
use serde::Deserialize;
use serde_json::Value;
use std::collections::HashMap;
use std::time::Duration;

/// # Errors
/// When the caller may not make the call; DynamoDB's own errors are answers.
pub async fn answer(database: &Database, call: &Call<'_>) -> Outcome {
    if *call.caller != Caller::Administrator {
        allowed(call)?;
    }
    let refused = match call.operation {
        "TransactGetItems" => database.conflicts().check_reads(call.body),
        _ => Ok(()),
    };
    match refused {
        Ok(()) => Ok(database.answer(call.operation, call.body).await),
        Err(answer) => Ok(answer),
    }
}

/// Carries out an [`allowed`] PutItem, UpdateItem or DeleteItem, unless a transaction holds its row.
pub async fn write_one(database: &Database, call: &Call<'_>) -> Answer {
    match database.conflicts().check_write(call.body) {
        Ok(()) => database.answer(call.operation, call.body).await,
        Err(answer) => answer,
    }
}

/// Carries out an [`allowed`] TransactWriteItems that lasts for `pause` before it writes, and holds its rows until it has
/// written.
pub async fn transact(database: &Database, call: &Call<'_>, pause: Duration) -> Answer {
    let _held = match database.conflicts().hold(call.body) {
        Ok(held) => held,
        Err(answer) => return answer,
    };
    if !pause.is_zero() {
        tokio::time::sleep(pause).await;
    }
    database.answer(call.operation, call.body).await
}

/// Carries out a BatchGetItem. Where `is_partly` says so of its tables, all keys of each table but the first are left
/// unprocessed; a call that DynamoDB refuses does not come so far.
///
/// # Errors
/// As [`allowed`].
pub fn batch_get(database: &Database, call: &Call<'_>, is_partly: impl FnOnce(&[String]) -> bool) -> Outcome {
    let tables = allowed(call)?;
    let (status, body) = database.call(call.operation, call.body);
    if status == 200 && is_partly(&tables) { answer_partly(database, call) } else { Ok((status, body)) }
}

fn answer_partly(database: &Database, call: &Call<'_>) -> Outcome {
    let mut request: Value = call.parse()?;
    let mut left = serde_json::Map::new();
    for (table, wanted) in request["RequestItems"].as_object_mut().into_iter().flatten() {
        let keys = wanted["Keys"].as_array_mut().filter(|keys| keys.len() > 1);
        if let Some(rest) = keys.map(|keys| keys.split_off(1)) {
            let mut unprocessed = wanted.clone();
            unprocessed["Keys"] = rest.into();
            left.insert(table.clone(), unprocessed);
        }
    }
    let (status, body) = database.call(call.operation, request.to_string().as_bytes());
    let mut answer: Value = parse(&body)?;
    if status == 200 {
        answer["UnprocessedKeys"] = left.into();
    }
    Ok((status, answer.to_string().into()))
}

/// Checks that the caller may make a call; the tables that it names.
///
/// # Errors
/// When it may not, or for a body that names no table.
pub fn allowed(call: &Call<'_>) -> Result<Vec<String>, ApiError> {
    let mut tables = Vec::new();
    for (action, table) in permissions(call.operation, call.body)? {
        call.require(&format!("dynamodb:{action}"), &names::table_arn(&table))?;
        tables.push(table);
    }
    Ok(tables)
}

/// The actions and tables for which a call needs permission: a transaction needs it for each of its parts.
///
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis-iam.html>
fn permissions(operation: &str, body: &[u8]) -> Result<Vec<(String, String)>, ApiError> {
    let mut all = Vec::new();
    match operation {
        "TransactWriteItems" | "TransactGetItems" => {
            for (part, on) in parse::<Transact>(body)?.transact_items.iter().flatten() {
                all.push((format!("{part}Item"), on.table_name.clone()));
            }
        }
        "BatchGetItem" | "BatchWriteItem" => {
            let tables = parse::<Batch>(body)?.request_items.into_keys();
            all.extend(tables.map(|table| (operation.to_owned(), table)));
        }
        "ListTables" => all.push((operation.to_owned(), "*".into())),
        _ => {
            let on: OnTable = parse(body)?;
            let index = on.index_name.map(|index| format!("/index/{index}")).unwrap_or_default();
            all.push((operation.to_owned(), format!("{}{index}", on.table_name)));
        }
    }
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct OnTable {
    table_name: String,
    index_name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Transact {
    transact_items: Vec<HashMap<String, OnTable>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Batch {
    request_items: HashMap<String, Value>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::iam::Iam;
    use crate::support::storage::Storage;
    use serde_json::json;

    /// Guards: DynamoDB's limits of a BatchGetItem, whether a fault waits for it or not.
    #[test]
    fn a_read_that_is_refused_uses_up_no_fault() {
        let table = serde_json::from_value(json!({"TableName": "rows", "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
            "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}]}));
        let database = Database::start(&Storage::memory(), &[table.unwrap()]).unwrap();
        let read = |keys: &[usize]| {
            let keys: Vec<Value> = keys.iter().map(|key| json!({"pk": {"S": key.to_string()}})).collect();
            let body = json!({"RequestItems": {"rows": {"Keys": keys}}}).to_string().into_bytes();
            let (iam, caller) = (Iam::default(), &Caller::Administrator);
            let call = Call { caller, iam: &iam, operation: "BatchGetItem", body: &body };
            let mut asked = false;
            let is_partly = |tables: &[String]| {
                asked = tables == ["rows"];
                true
            };
            let (status, answer) = batch_get(&database, &call, is_partly).unwrap();
            let answer: Value = serde_json::from_slice(&answer).unwrap();
            (status, asked, answer["UnprocessedKeys"]["rows"]["Keys"].as_array().map(Vec::len))
        };
        assert_eq!(read(&(0..100).collect::<Vec<_>>()), (200, true, Some(99)));
        assert_eq!(read(&(0..101).collect::<Vec<_>>()), (400, false, None));
        assert_eq!(read(&[1, 1]), (400, false, None));
    }
}
