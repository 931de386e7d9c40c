//! The other implementation, by name of the operation.

use crate::aws::protocol::without_nulls;
use crate::template::resources::Table;
use dynoxide::Database;
use dynoxide::errors::DynoxideError;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

pub struct Reference(Database);

/// One call: the request read from JSON, the answer written to it.
fn run<Q: DeserializeOwned, A: Serialize>(
    body: &Value,
    call: impl FnOnce(Q) -> Result<A, DynoxideError>,
) -> (u16, Value) {
    let request = match serde_json::from_str(&body.to_string()) {
        Ok(request) => request,
        Err(error) => {
            let text = error.to_string();
            let (kind, why) = match text.split_once("VALIDATION:") {
                Some((_, why)) => {
                    ("ValidationException", why.rsplit_once(" at line ").map_or(why, |(why, _)| why))
                }
                None => ("SerializationException", text.as_str()),
            };
            return (400, json!({"__type": kind, "message": why}));
        }
    };
    match call(request) {
        Ok(answer) => (200, serde_json::to_value(answer).unwrap()),
        Err(error) => (error.status_code(), serde_json::from_str(&error.to_json()).unwrap()),
    }
}

impl Reference {
    pub fn start(tables: &[Table]) -> Self {
        let reference = Self(Database::memory().unwrap());
        for table in tables {
            let stream = table.stream_specification.as_ref();
            let request = json!({
                "TableName": table.table_name,
                "BillingMode": table.billing_mode,
                "AttributeDefinitions": table.attribute_definitions,
                "KeySchema": table.key_schema,
                "GlobalSecondaryIndexes": table.global_secondary_indexes,
                "StreamSpecification": stream.map(|s| json!({"StreamEnabled": true, "StreamViewType": s.stream_view_type})),
            });
            let (status, answer) = run(&without_nulls(request), |request| reference.0.create_table(request));
            assert_eq!(status, 200, "{answer}");
        }
        reference
    }

    pub fn call(&self, operation: &str, body: &Value) -> (u16, Value) {
        match operation {
            "PutItem" => run(body, |request| self.0.put_item(request)),
            "UpdateItem" => run(body, |request| self.0.update_item(request)),
            "DeleteItem" => run(body, |request| self.0.delete_item(request)),
            "BatchWriteItem" => run(body, |request| self.0.batch_write_item(request)),
            "TransactWriteItems" => run(body, |request| self.0.transact_write_items(request)),
            "GetItem" => run(body, |request| self.0.get_item(request)),
            "BatchGetItem" => run(body, |request| self.0.batch_get_item(request)),
            "TransactGetItems" => run(body, |request| self.0.transact_get_items(request)),
            "Query" => run(body, |request| self.0.query(request)),
            "Scan" => run(body, |request| self.0.scan(request)),
            other => panic!("{other} is not compared"),
        }
    }

    /// Kind, keys and image of each record of a stream.
    pub fn stream(&self, table: &str) -> Vec<Value> {
        let call = |(status, answer): (u16, Value)| {
            assert_eq!(status, 200, "{answer}");
            answer
        };
        let arn = call(run(&json!({}), |request| self.0.list_streams(request)));
        let arn =
            arn["Streams"].as_array().unwrap().iter().find(|stream| stream["TableName"] == table).unwrap();
        let arn = &arn["StreamArn"];
        let shards = call(run(&json!({"StreamArn": arn}), |request| self.0.describe_stream(request)));
        let shard = &shards["StreamDescription"]["Shards"][0]["ShardId"];
        let request = json!({"StreamArn": arn, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON"});
        let mut iterator =
            call(run(&request, |request| self.0.get_shard_iterator(request)))["ShardIterator"].take();
        let mut records = Vec::new();
        loop {
            let request = json!({"ShardIterator": iterator});
            let mut page = call(run(&request, |request| self.0.get_records(request)));
            let found = page["Records"].as_array().unwrap();
            if found.is_empty() {
                return records;
            }
            records.extend(found.iter().map(|record| {
                json!([record["eventName"], record["dynamodb"]["Keys"], record["dynamodb"].get("NewImage")])
            }));
            iterator = page["NextShardIterator"].take();
        }
    }
}
