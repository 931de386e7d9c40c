//! Requests, each read once. A field that is not here is refused by name, be it unknown or not implemented.

use super::error::Error;
use super::value::Item;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

/// A call's operation and what it asks for.
#[derive(Debug)]
pub enum Request {
    Write(Kind, Write),
    BatchWrite(BatchWrite),
    TransactWrite(TransactWrite),
    Get(Get),
    BatchGet(BatchGet),
    TransactGet(TransactGet),
    Query(Read),
    Scan(Read),
    Describe(Described, Named),
    List(ListTables),
}

/// An action, a table, and perhaps an index of it.
pub type Permission<'a> = (&'a str, &'a str, Option<&'a str>);

/// What is asked for of a table itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Described {
    Table,
    TimeToLive,
    ContinuousBackups,
}

impl Request {
    /// Reads the body of an operation such as `PutItem`.
    ///
    /// # Errors
    /// For an operation that is not implemented, or a body that is no such request.
    pub fn read(operation: &str, body: &[u8]) -> Result<Self, Error> {
        Ok(match operation {
            "PutItem" => Self::Write(Kind::Put, parse(body)?),
            "UpdateItem" => Self::Write(Kind::Update, parse(body)?),
            "DeleteItem" => Self::Write(Kind::Delete, parse(body)?),
            "BatchWriteItem" => Self::BatchWrite(parse(body)?),
            "TransactWriteItems" => Self::TransactWrite(TransactWrite::read(body)?),
            "GetItem" => Self::Get(parse(body)?),
            "BatchGetItem" => Self::BatchGet(parse(body)?),
            "TransactGetItems" => Self::TransactGet(parse(body)?),
            "Query" => Self::Query(parse(body)?),
            "Scan" => Self::Scan(parse(body)?),
            "DescribeTable" => Self::Describe(Described::Table, parse(body)?),
            "DescribeTimeToLive" => Self::Describe(Described::TimeToLive, parse(body)?),
            "DescribeContinuousBackups" => Self::Describe(Described::ContinuousBackups, parse(body)?),
            "ListTables" => Self::List(parse(body)?),
            _ => return Err(Error::UnknownOperation(operation.to_owned())),
        })
    }

    /// The actions for which a caller of an operation needs permission, each with its table, and the index behind it. Only a
    /// transaction needs others than the operation itself: those of each of its parts.
    ///
    /// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis-iam.html>
    #[must_use]
    pub fn permissions<'a>(&'a self, operation: &'a str) -> BTreeSet<Permission<'a>> {
        let on = |table: &'a str| BTreeSet::from([(operation, table, None)]);
        match self {
            Self::TransactWrite(request) => {
                let parts = request.transact_items.iter().flat_map(WritePart::all);
                parts.map(|(kind, write)| (kind.action(), &*write.table_name, None)).collect()
            }
            Self::TransactGet(request) => {
                let parts = request.transact_items.iter();
                parts.map(|part| ("GetItem", &*part.get.table_name, None)).collect()
            }
            Self::BatchWrite(request) => {
                request.request_items.keys().map(|table| (operation, &**table, None)).collect()
            }
            Self::BatchGet(request) => {
                request.request_items.keys().map(|table| (operation, &**table, None)).collect()
            }
            Self::Query(read) | Self::Scan(read) => {
                BTreeSet::from([(operation, &*read.table_name, read.index_name.as_deref())])
            }
            Self::Write(_, write) => on(&write.table_name),
            Self::Get(get) => on(&get.table_name),
            Self::Describe(_, named) => on(&named.table_name),
            Self::List(_) => on("*"),
        }
    }

    /// The tables with the number of rows that the request asks to write.
    #[must_use]
    pub fn rows(&self) -> BTreeMap<&str, u64> {
        let mut rows = BTreeMap::new();
        let mut add = |table, number: usize| {
            *rows.entry(table).or_default() += u64::try_from(number).unwrap_or(u64::MAX);
        };
        match self {
            Self::Write(_, write) => add(write.table_name.as_str(), 1),
            Self::TransactWrite(request) => {
                let parts = request.transact_items.iter().flat_map(WritePart::all);
                parts.for_each(|(_, write)| add(&write.table_name, 1));
            }
            Self::BatchWrite(request) => {
                request.request_items.iter().for_each(|(table, parts)| add(table, parts.len()));
            }
            _ => {}
        }
        rows
    }
}

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
    /// By which a repetition under the same token is known.
    #[serde(skip)]
    pub hash: u64,
}

impl TransactWrite {
    fn read(body: &[u8]) -> Result<Self, Error> {
        let mut hasher = DefaultHasher::new();
        body.hash(&mut hasher);
        Ok(Self { hash: hasher.finish(), ..parse(body)? })
    }
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

impl Kind {
    /// The action for which a caller needs permission.
    const fn action(self) -> &'static str {
        match self {
            Self::Put => "PutItem",
            Self::Update => "UpdateItem",
            Self::Delete => "DeleteItem",
            Self::Check => "ConditionCheckItem",
        }
    }
}

impl WritePart {
    /// Of the four, those that are there.
    pub fn all(&self) -> impl Iterator<Item = (Kind, &Write)> {
        let all = [
            (Kind::Put, &self.put),
            (Kind::Update, &self.update),
            (Kind::Delete, &self.delete),
            (Kind::Check, &self.condition_check),
        ];
        all.into_iter().filter_map(|(kind, write)| Some((kind, write.as_ref()?)))
    }

    /// # Errors
    /// When it has none of the four, or several.
    pub fn part(&self) -> Result<(Kind, &Write), Error> {
        let mut parts = self.all();
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

#[derive(Clone, Debug, Deserialize)]
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

impl Write {
    /// The row that is written, or its key.
    #[must_use]
    pub fn row(&self) -> Option<&Item> {
        self.item.as_ref().or(self.key.as_ref())
    }
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Error> {
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
