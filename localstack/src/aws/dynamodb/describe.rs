//! What describes: DescribeTable, ListTables, DescribeTimeToLive and DescribeContinuousBackups.

use super::error::Error;
use super::request::{ListTables, Named};
use super::schema::{Schema, place};
use super::tables::Tables;
use crate::aws::protocol::without_nulls;
use crate::support::storage::{Range, Space, Storage};
use crate::template::names;
use bytes::Bytes;
use serde_json::{Value, json};
use std::ops::ControlFlow;

/// The most tables of one answer.
const MAX_TABLES: usize = 100;

fn schema<'t>(tables: &'t Tables, named: &Named) -> Result<&'t Schema, Error> {
    let missing = |_| Error::NoNamedTable(named.table_name.clone());
    tables.schema(&named.table_name).map(AsRef::as_ref).map_err(missing)
}

/// DescribeTable.
///
/// # Errors
/// Those of DynamoDB.
pub fn table(tables: &Tables, named: &Named, counted: Counted) -> Result<Bytes, Error> {
    let schema = schema(tables, named)?;
    let (declared, arn) = (&schema.declared, names::table_arn(&schema.name));
    let stream = declared.stream_specification.as_ref();
    let stream =
        stream.map(|stream| json!({"StreamEnabled": true, "StreamViewType": stream.stream_view_type}));
    let index = |index: &Value| {
        let mut index = index.clone();
        index["IndexStatus"] = "ACTIVE".into();
        index["IndexArn"] = format!("{arn}/index/{}", index["IndexName"].as_str().unwrap_or_default()).into();
        index
    };
    let indexes = declared.global_secondary_indexes.as_ref().and_then(Value::as_array);
    let indexes = indexes.map(|indexes| indexes.iter().map(index).collect::<Vec<_>>());
    let table = json!({
        "TableName": schema.name,
        "TableArn": arn,
        "TableStatus": "ACTIVE",
        "AttributeDefinitions": declared.attribute_definitions,
        "KeySchema": declared.key_schema,
        "GlobalSecondaryIndexes": indexes,
        "BillingModeSummary": {"BillingMode": declared.billing_mode},
        "ItemCount": counted.rows,
        "TableSizeBytes": counted.bytes,
        "StreamSpecification": stream,
        "LatestStreamArn": schema.has_stream.then(|| names::stream_arn(&schema.name)),
        "DeletionProtectionEnabled": declared.deletion_protection_enabled.unwrap_or(false),
    });
    Ok(json!({"Table": without_nulls(table)}).to_string().into())
}

/// How many rows a table has, and how many bytes. AWS counts every six hours.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counted {
    rows: u64,
    bytes: u64,
}

/// So many rows are read at a time: a store that is to be closed does not wait for the last one.
const CHUNK: u64 = 1000;

/// Counts a table's rows, of all of which it reads all: not for whom others wait for.
pub fn counted(storage: &Storage, named: &Named) -> Counted {
    let mut counted = Counted::default();
    let mut range = Range::prefix(&place(&[&named.table_name]));
    loop {
        let (mut last, before) = (None, counted.rows);
        storage.visit(Space::Rows, &range, |place, row| {
            counted.rows += 1;
            counted.bytes += row.len() as u64;
            if counted.rows - before < CHUNK {
                return ControlFlow::Continue(());
            }
            last = Some(place.to_vec());
            ControlFlow::Break(())
        });
        let Some(last) = last else { return counted };
        range = range.after(&last);
    }
}

/// ListTables.
///
/// # Errors
/// Those of DynamoDB.
pub fn list(tables: &Tables, request: &ListTables) -> Result<Bytes, Error> {
    let limit = request.limit.unwrap_or(MAX_TABLES);
    if !(1..=MAX_TABLES).contains(&limit) {
        return Err(Error::constraint(&format!(
            "Value '{limit}' at 'limit' failed to satisfy constraint: Member must have value between 1 and 100"
        )));
    }
    let after = &request.exclusive_start_table_name;
    let mut names = tables.names().filter(|name| after.as_ref().is_none_or(|after| *name > after));
    let page: Vec<&String> = names.by_ref().take(limit).collect();
    let last = names.next().and(page.last());
    Ok(without_nulls(json!({"TableNames": page, "LastEvaluatedTableName": last})).to_string().into())
}

/// DescribeTimeToLive.
///
/// # Errors
/// Those of DynamoDB.
pub fn time_to_live(tables: &Tables, named: &Named) -> Result<Bytes, Error> {
    let description = match &schema(tables, named)?.expires {
        Some(name) => json!({"TimeToLiveStatus": "ENABLED", "AttributeName": name}),
        None => json!({"TimeToLiveStatus": "DISABLED"}),
    };
    Ok(json!({"TimeToLiveDescription": description}).to_string().into())
}

/// DescribeContinuousBackups: what the template declares; there are no backups here.
///
/// # Errors
/// Those of DynamoDB.
pub fn backups(tables: &Tables, named: &Named) -> Result<Bytes, Error> {
    let as_backups_say = |error| match error {
        Error::NoNamedTable(name) => Error::TableNotFound(name),
        other => other,
    };
    let schema = schema(tables, named).map_err(as_backups_say)?;
    let declared = schema.declared.point_in_time_recovery_specification.as_ref();
    let status = |is_on: bool| if is_on { "ENABLED" } else { "DISABLED" };
    let recovery = status(declared.is_some_and(|declared| declared.point_in_time_recovery_enabled));
    let description = json!({"ContinuousBackupsStatus": "ENABLED",
        "PointInTimeRecoveryDescription": {"PointInTimeRecoveryStatus": recovery}});
    Ok(json!({"ContinuousBackupsDescription": description}).to_string().into())
}
