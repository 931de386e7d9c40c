//! DynamoDB's calls, each allowed by IAM for every item that it names.

use super::database::Database;
use crate::aws::iam::Caller;
use crate::aws::protocol::{ApiError, Call, Outcome, parse};
use crate::template::names;
use serde::Deserialize;
use serde_json::Value;
use std::collections::HashMap;

/// # Errors
/// When the caller may not make the call; DynamoDB's own errors are answers.
pub fn answer(database: &Database, call: &Call<'_>) -> Outcome {
    if *call.caller != Caller::Administrator {
        for (action, table) in permissions(call.operation, call.body)? {
            call.require(&format!("dynamodb:{action}"), &names::table_arn(&table))?;
        }
    }
    Ok(database.call(call.operation, call.body))
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
        "BatchGetItem" => {
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
