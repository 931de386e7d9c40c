//! Tables as the templates declare them, created where they are missing.

use super::operations::ready;
use crate::aws::protocol::without_nulls;
use crate::template::resources::Table;
use anyhow::Result;
use dynoxide::actions::{self, vector_lifecycle::VectorIndexLifecycle};
use dynoxide::storage::Storage;
use serde_json::{Value, json};

/// Creates a table, or checks the one of an earlier run.
///
/// # Errors
/// For a declaration that DynamoDB would refuse, and for a table with other indexes than declared.
pub fn create(storage: &Storage, table: &Table) -> Result<()> {
    if storage.table_exists(&table.table_name)? {
        return check_indexes(storage, table);
    }
    let stream = table.stream_specification.as_ref();
    let request = json!({
        "TableName": table.table_name,
        "BillingMode": table.billing_mode,
        "AttributeDefinitions": table.attribute_definitions,
        "KeySchema": table.key_schema,
        "GlobalSecondaryIndexes": table.global_secondary_indexes,
        "StreamSpecification": stream.map(|s| json!({"StreamEnabled": true, "StreamViewType": s.stream_view_type})),
    });
    let request = serde_json::from_value(without_nulls(request))?;
    ready(actions::create_table::execute(storage, request))??;
    if let Some(ttl) = &table.time_to_live_specification {
        let request = json!({"TableName": table.table_name, "TimeToLiveSpecification":
                {"AttributeName": ttl.attribute_name, "Enabled": ttl.enabled}});
        ready(actions::update_time_to_live::execute(storage, serde_json::from_value(request)?))??;
    }
    Ok(())
}

/// A table of an earlier run must have the indexes that the template declares now.
fn check_indexes(storage: &Storage, table: &Table) -> Result<()> {
    let request = serde_json::from_value(json!({"TableName": table.table_name}))?;
    let vectors = VectorIndexLifecycle::new();
    let known = serde_json::to_value(ready(actions::describe_table::execute(storage, request, &vectors))??)?;
    let names = |indexes: &Value| -> Vec<String> {
        let indexes = indexes.as_array().into_iter().flatten();
        let mut names: Vec<_> = indexes.filter_map(|i| Some(i["IndexName"].as_str()?.to_owned())).collect();
        names.sort();
        names
    };
    let declared = names(table.global_secondary_indexes.as_ref().unwrap_or(&Value::Null));
    let same = names(&known["Table"]["GlobalSecondaryIndexes"]) == declared;
    anyhow::ensure!(
        same,
        "the data folder is of an older template; start with --fresh or another --data-dir"
    );
    Ok(())
}
