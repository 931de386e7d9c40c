//! The engine against another implementation of DynamoDB, `dynoxide`, whose answers were captured from AWS: both get the same
//! random calls and have to give the same answers, errors and their texts included.
//!
//! `DIFFERENTIAL_CASES=100000 cargo test --release -p localstack differential` looks further than CI does.

mod calls;
mod lagging;
mod reference;

use super::Database;
use super::value::Item;
use crate::support::storage::Storage;
use crate::template::resources::Table;
use calls::Calls;
use reference::Reference;
use serde_json::{Value, json};

/// How many cases CI plays, and the calls of each.
const CASES: u64 = 40;
const CALLS: usize = 250;

fn tables() -> Vec<Table> {
    let text = |name: &str| json!({"AttributeName": name, "AttributeType": "S"});
    let key = |name: &str, kind: &str| json!({"AttributeName": name, "KeyType": kind});
    let both = [key("pk", "HASH"), key("sk", "RANGE")];
    let index = |name: &str, schema: Value, projection: Value| json!({"IndexName": name, "KeySchema": schema, "Projection": projection});
    let rows = json!({
        "TableName": "rows", "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [text("pk"), text("sk"), text("group"), text("moment")],
        "KeySchema": both,
        "GlobalSecondaryIndexes": [
            index("by-group", json!([key("group", "HASH"), key("moment", "RANGE")]), json!({"ProjectionType": "ALL"})),
            index("at-only", json!([key("moment", "HASH")]), json!({"ProjectionType": "KEYS_ONLY"})),
            index("few", json!([key("group", "HASH"), key("sk", "RANGE")]),
                json!({"ProjectionType": "INCLUDE", "NonKeyAttributes": ["count"]})),
        ],
        "StreamSpecification": {"StreamViewType": "NEW_IMAGE"},
    });
    let single = json!({
        "TableName": "single", "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [text("pk")], "KeySchema": [key("pk", "HASH")],
    });
    [rows, single].map(|table| serde_json::from_value(table).unwrap()).into()
}

/// An answer without what may differ: the order of a scan, and where a page of it ended.
fn plain(operation: &str, (status, mut body): (u16, Value)) -> (u16, Value) {
    if let Some(kind) = body["__type"].as_str() {
        body["__type"] = kind.rsplit('#').next().unwrap_or_default().into();
    }
    if let Some(text) = body["Message"].as_str().map(str::to_owned) {
        // Either spelling is AWS's.
        body["message"] = text.into();
        body.as_object_mut().unwrap().remove("Message");
    }
    if operation == "UpdateItem"
        && body["Attributes"]
            .as_object()
            .is_some_and(|row| row.keys().all(|name| ["pk", "sk"].contains(&name.as_str())))
    {
        // Of a row that was not there the other side shows the key; AWS's document says: as it appeared before.
        body.as_object_mut().unwrap().remove("Attributes");
    }
    if let Some(consumed) = body.get_mut("ConsumedCapacity") {
        sort(consumed);
    }
    if operation == "BatchGetItem" {
        for rows in body["Responses"].as_object_mut().into_iter().flat_map(|tables| tables.values_mut()) {
            sort(rows);
        }
    }
    (status, body)
}

/// A key that does not fit its table: we say so, and the other side that two of them are one row. No document of AWS says which
/// comes first. And the text about a token that is used for another request: the documents have none.
fn is_known(ours: &Value, theirs: &Value) -> bool {
    const TWICE: &str = "Transaction request cannot include multiple operations on one item";
    const MISUSED: &str = "IdempotentParameterMismatchException";
    if ours["__type"] == MISUSED && theirs["__type"] == MISUSED {
        return true;
    }
    let reasons = ours["CancellationReasons"].as_array().into_iter().flatten();
    theirs["message"] == TWICE && reasons.into_iter().any(|reason| reason["Code"] == "ValidationError")
}

/// Puts a list in some order.
fn sort(rows: &mut Value) {
    if let Some(rows) = rows.as_array_mut() {
        rows.sort_by_key(ToString::to_string);
    }
}

/// Both sides, and what they were asked.
struct Case {
    ours: Database,
    theirs: Reference,
}

impl Case {
    fn start() -> Self {
        let ours = Database::start(&Storage::memory(), &tables()).unwrap();
        Self { ours, theirs: Reference::start(&tables()) }
    }

    fn ours(&self, operation: &str, body: &Value) -> (u16, Value) {
        let (status, answer) = self.ours.call(operation, body.to_string().as_bytes());
        (status, serde_json::from_slice(&answer).unwrap())
    }

    /// Has both sides carry out a call; the status, and how they differ.
    fn compare(&self, operation: &str, body: &Value) -> (u16, Option<String>) {
        let ask = |side: &dyn Fn(&Value) -> (u16, Value)| match operation {
            "Scan" => all(body, side),
            "Query" => pages(body, side),
            _ => plain(operation, side(body)),
        };
        let ours = ask(&|body| self.ours(operation, body));
        let theirs = ask(&|body| self.theirs.call(operation, body));
        let differs = ours != theirs && !is_known(&ours.1, &theirs.1);
        let shown = || {
            format!("{operation} {body}\n  ours   {} {}\n  theirs {} {}", ours.0, ours.1, theirs.0, theirs.1)
        };
        (ours.0, differs.then(shown))
    }

    /// The records of the stream, but for their times.
    fn compare_streams(&self, seed: u64) {
        let ours = self.ours.stream("rows", 0, usize::MAX);
        let parse = |text: &str| serde_json::from_str::<Item>(text).unwrap();
        let mut ours: Vec<Value> = ours
            .iter()
            .map(|record| {
                let image = record.new_image.as_deref().map(parse);
                json!([record.event_name, parse(&record.keys), image])
            })
            .collect();
        let mut theirs = self.theirs.stream("rows");
        // A stream keeps the order of each row's records, and no other.
        ours.sort_by_key(|record| record[1].to_string());
        theirs.sort_by_key(|record| record[1].to_string());
        // The other side keeps a record of a write that changed nothing. AWS does not:
        // <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Streams.html>
        theirs.dedup_by(|record, before| {
            record[0] == "MODIFY" && (&record[1], &record[2]) == (&before[1], &before[2])
        });
        for (n, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
            assert_eq!(ours, theirs, "seed {seed}: record {n} of the stream");
        }
        assert_eq!(ours.len(), theirs.len(), "seed {seed}: the stream");
    }
}

/// The pages of a query, as they are.
fn pages(body: &Value, query: &dyn Fn(&Value) -> (u16, Value)) -> (u16, Value) {
    let (mut body, mut pages) = (body.clone(), Vec::new());
    loop {
        let (status, page) = plain("Query", query(&body));
        let last = page["LastEvaluatedKey"].clone();
        pages.push(page);
        if status != 200 || last.is_null() {
            return (status, pages.into());
        }
        body["ExclusiveStartKey"] = last;
    }
}

/// All pages of a scan.
fn all(body: &Value, scan: &dyn Fn(&Value) -> (u16, Value)) -> (u16, Value) {
    let (mut body, mut rows, mut scanned) = (body.clone(), Vec::new(), 0);
    loop {
        let (status, mut page) = plain("Scan", scan(&body));
        if status != 200 {
            return (status, page);
        }
        scanned += page["ScannedCount"].as_u64().unwrap();
        rows.append(page["Items"].as_array_mut().unwrap_or(&mut Vec::new()));
        match page["LastEvaluatedKey"].take() {
            Value::Null => {
                let mut rows = Value::from(rows);
                sort(&mut rows);
                return (200, json!({"rows": rows, "scanned": scanned}));
            }
            last => body["ExclusiveStartKey"] = last,
        }
    }
}

/// Guards: the engine does what DynamoDB does, as far as another implementation knows it.
#[test]
fn the_same_calls_have_the_same_answers() {
    let wanted = std::env::var("DIFFERENTIAL_CASES").ok().and_then(|cases| cases.parse().ok());
    let first = std::env::var("DIFFERENTIAL_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0);
    let (mut answered, mut refused) = (0, 0);
    for seed in first..first + wanted.unwrap_or(CASES) {
        let (case, mut calls) = (Case::start(), Calls::new(seed));
        for n in 0..CALLS {
            let (operation, body) = calls.next();
            let (status, differs) = case.compare(operation, &body);
            assert!(differs.is_none(), "seed {seed}, call {n}: {}", differs.unwrap_or_default());
            *(if status == 200 { &mut answered } else { &mut refused }) += 1;
        }
        case.compare_streams(seed);
    }
    // Calls that all fail would compare nothing.
    assert!(answered > refused && refused * 20 > answered, "{answered} answered, {refused} refused");
}

/// Guards: the lengths of keys, of indexes too, and of what they are compared with. The other side has them for the tables' own keys
/// only.
#[test]
fn keys_have_their_lengths() {
    let case = Case::start();
    let row = |name: &str, length: usize| {
        let mut item =
            json!({"pk": {"S": "one"}, "sk": {"S": "a"}, "group": {"S": "g"}, "moment": {"S": "m"}});
        item[name] = json!({"S": "x".repeat(length)});
        ("PutItem", json!({"TableName": "rows", "Item": item}))
    };
    let query = |index: Option<&str>, names: [&str; 2], condition: &str, lengths: [usize; 2]| {
        let [hash, range] = lengths.map(|length| json!({"S": "x".repeat(length)}));
        let condition = format!("#h = :h AND {}", condition.replace('R', "#r"));
        let mut body = json!({"TableName": "rows", "KeyConditionExpression": condition,
            "ExpressionAttributeNames": {"#h": names[0], "#r": names[1]},
            "ExpressionAttributeValues": {":h": hash, ":r": range}});
        index.into_iter().for_each(|index| body["IndexName"] = index.into());
        ("Query", body)
    };
    let mut calls = Vec::new();
    for (name, most) in [("pk", 2048), ("sk", 1024), ("group", 2048), ("moment", 1024)] {
        calls.extend([(200, row(name, most)), (400, row(name, most + 1))]);
    }
    for condition in ["R = :r", "R < :r", "R >= :r", "begins_with(R, :r)"] {
        for (index, names) in [(None, ["pk", "sk"]), (Some("by-group"), ["group", "moment"])] {
            calls.push((200, query(index, names, condition, [2048, 1024])));
            calls.push((400, query(index, names, condition, [2049, 1024])));
            calls.push((400, query(index, names, condition, [2048, 1025])));
        }
    }
    for (expected, (operation, body)) in calls {
        let (status, answer) = case.ours(operation, &body);
        assert_eq!(status, expected, "{answer} {operation} {}", body.to_string().replace("xx", ""));
    }
}
