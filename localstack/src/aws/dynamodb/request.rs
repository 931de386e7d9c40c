//! The bodies of requests. A field that is not here is refused by name, be it unknown or not implemented.

use super::error::Error;
use super::value::Item;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The names that a request gives its expressions.
pub type Names = BTreeMap<String, String>;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Get {
    pub table_name: String,
    pub key: Item,
    #[serde(default)]
    pub consistent_read: Option<bool>,
    pub projection_expression: Option<String>,
    pub expression_attribute_names: Option<Names>,
    pub return_consumed_capacity: Option<String>,
}

/// What one table is asked for in a BatchGetItem.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Keys {
    pub keys: Vec<Item>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consistent_read: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub projection_expression: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expression_attribute_names: Option<Names>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct BatchGet {
    pub request_items: BTreeMap<String, Keys>,
    pub return_consumed_capacity: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct TransactGet {
    pub transact_items: Vec<GetPart>,
    pub return_consumed_capacity: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct GetPart {
    pub get: Get,
}

/// A query, or a scan, which has neither a key condition nor a direction.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Read {
    pub table_name: String,
    pub index_name: Option<String>,
    pub key_condition_expression: Option<String>,
    pub filter_expression: Option<String>,
    pub projection_expression: Option<String>,
    pub expression_attribute_names: Option<Names>,
    pub expression_attribute_values: Option<Item>,
    pub scan_index_forward: Option<bool>,
    pub limit: Option<i64>,
    pub exclusive_start_key: Option<Item>,
    pub select: Option<String>,
    pub consistent_read: Option<bool>,
    pub segment: Option<u64>,
    pub total_segments: Option<u64>,
    pub return_consumed_capacity: Option<String>,
}

/// A write of one row, by itself or as a part of a transaction.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Write {
    pub table_name: String,
    pub item: Option<Item>,
    pub key: Option<Item>,
    pub update_expression: Option<String>,
    pub condition_expression: Option<String>,
    pub expression_attribute_names: Option<Names>,
    pub expression_attribute_values: Option<Item>,
    pub return_values: Option<String>,
    pub return_values_on_condition_check_failure: Option<String>,
    pub return_consumed_capacity: Option<String>,
    pub return_item_collection_metrics: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct TransactWrite {
    pub transact_items: Vec<WritePart>,
    pub client_request_token: Option<String>,
    pub return_consumed_capacity: Option<String>,
    pub return_item_collection_metrics: Option<String>,
}

/// One of the four is there.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct WritePart {
    pub put: Option<Write>,
    pub update: Option<Write>,
    pub delete: Option<Write>,
    pub condition_check: Option<Write>,
}

/// What a write does with its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Put,
    Update,
    Delete,
    Check,
}

impl WritePart {
    /// # Errors
    /// When it has none of the four, or several.
    pub fn part(&self) -> Result<(Kind, &Write), Error> {
        let all = [
            (Kind::Put, &self.put),
            (Kind::Update, &self.update),
            (Kind::Delete, &self.delete),
            (Kind::Check, &self.condition_check),
        ];
        let mut parts = all.into_iter().filter_map(|(kind, write)| Some((kind, write.as_ref()?)));
        match (parts.next(), parts.next()) {
            (Some(part), None) => Ok(part),
            (None, _) => Err(Error::validation(
                "Invalid Request: TransactWriteRequest should contain Delete or Put or Update request",
            )),
            _ => Err(Error::validation("TransactItems can only contain one of Check, Put, Update or Delete")),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct BatchWrite {
    pub request_items: BTreeMap<String, Vec<BatchPart>>,
    pub return_consumed_capacity: Option<String>,
    pub return_item_collection_metrics: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct BatchPart {
    pub put_request: Option<PutRequest>,
    pub delete_request: Option<DeleteRequest>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct PutRequest {
    pub item: Item,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DeleteRequest {
    pub key: Item,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Named {
    pub table_name: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ListTables {
    pub exclusive_start_table_name: Option<String>,
    pub limit: Option<usize>,
}

/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html>
const MAX_PARTS: usize = 100;

/// # Errors
/// When a transaction has no part, or too many.
pub fn check_number(parts: usize) -> Result<(), Error> {
    match parts {
        0 => Err(Error::constraint(
            "Value '[]' at 'transactItems' failed to satisfy constraint: Member must have length greater than or equal to 1",
        )),
        1..=MAX_PARTS => Ok(()),
        _ => Err(Error::constraint(
            "Value at 'transactItems' failed to satisfy constraint: Member must have length less than or equal to 100",
        )),
    }
}

/// # Errors
/// When a body is no such request.
pub fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Error> {
    Ok(serde_json::from_slice(body)?)
}

/// Whether an answer is to say what the call consumed. By index is not implemented.
///
/// # Errors
/// For what AWS does not know, or the local stack does not implement.
pub fn wants_capacity(asked: Option<&str>) -> Result<bool, Error> {
    match asked {
        None | Some("NONE") => Ok(false),
        Some("TOTAL") => Ok(true),
        Some("INDEXES") => {
            Err(Error::validation("ReturnConsumedCapacity INDEXES is not implemented by the local stack"))
        }
        Some(other) => Err(Error::constraint(&format!(
            "Value '{other}' at 'returnConsumedCapacity' failed to satisfy constraint: Member must satisfy enum value set: [INDEXES, TOTAL, NONE]"
        ))),
    }
}

/// # Errors
/// When metrics of item collections are asked for: tables with local indexes have them, and there is none here.
pub fn no_metrics(asked: Option<&str>) -> Result<(), Error> {
    match asked {
        None | Some("NONE") => Ok(()),
        Some(other) => Err(Error::Validation(format!(
            "ReturnItemCollectionMetrics {other} is not implemented by the local stack"
        ))),
    }
}
