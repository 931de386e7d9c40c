//! The capacity that operations consume: the engine reckons it when a call asks for it, so a metered stack asks in each.
//!
//! <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/on-demand-capacity-mode.html>

use crate::support::meter::{Meter, Unit};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;

/// The body of a call that asks for its capacity; none if nothing is metered, or the call asks already.
pub fn asking(meter: &Meter, body: &[u8]) -> Option<Bytes> {
    const ASK: &[u8] = br#"{"ReturnConsumedCapacity":"TOTAL","#;
    let rest = body.strip_prefix(b"{").filter(|_| meter.is_on())?;
    let asks = body.windows(22).any(|window| window == b"ReturnConsumedCapacity");
    (!asks && rest.starts_with(b"\"")).then(|| [ASK, rest].concat().into())
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Consumed {
    table_name: String,
    capacity_units: serde_json::Number,
}

/// Counts what an operation consumed. One that was refused is counted as the least that it can have been: AWS bills a write
/// whose condition does not hold by the size of the row that was there.
pub fn count(meter: &Meter, operation: &str, body: &[u8], answer: Option<&Bytes>) {
    let writes = matches!(operation, "PutItem" | "UpdateItem" | "DeleteItem" | "TransactWriteItems");
    let unit = if writes { Unit::WriteHalves } else { Unit::ReadHalves };
    match answer {
        Some(answer) => {
            for Consumed { table_name, capacity_units } in consumed(answer) {
                meter.count(unit, &table_name, halves(&capacity_units));
            }
        }
        None if writes => refused(meter, body),
        None => {}
    }
}

/// One table's capacity, or several tables'.
fn consumed(answer: &[u8]) -> Vec<Consumed> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Answer {
        consumed_capacity: Option<Value>,
    }
    let answer: Option<Answer> = serde_json::from_slice(answer).ok();
    match answer.and_then(|answer| answer.consumed_capacity) {
        Some(Value::Array(all)) => {
            all.into_iter().filter_map(|one| Consumed::deserialize(one).ok()).collect()
        }
        Some(one) => Consumed::deserialize(one).ok().into_iter().collect(),
        None => Vec::new(),
    }
}

/// Twice a number of units, which are wholes and halves.
#[allow(
    clippy::float_arithmetic,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the number comes as a float, and is small"
)]
fn halves(units: &serde_json::Number) -> u64 {
    (units.as_f64().unwrap_or_default() * 2.0).round() as u64
}

/// A unit for each write of a refused call, two if it is a part of a transaction.
fn refused(meter: &Meter, body: &[u8]) {
    let Ok(request) = serde_json::from_slice::<Value>(body) else { return };
    let parts = request["TransactItems"].as_array();
    let tables = |parts: &[Value]| -> Vec<String> {
        let writes = parts.iter().filter_map(Value::as_object).flat_map(|part| part.values());
        writes.filter_map(|write| write["TableName"].as_str().map(str::to_owned)).collect()
    };
    match parts {
        Some(parts) => tables(parts).iter().for_each(|table| meter.count(Unit::WriteHalves, table, 4)),
        None => meter.count(Unit::WriteHalves, request["TableName"].as_str().unwrap_or_default(), 2),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::dynamodb::Database;
    use serde_json::json;

    /// What writing a row of so many bytes counts as, alone, and as a part of a transaction; then both again, refused.
    fn halves_of(bytes: usize) -> [u64; 4] {
        let table = serde_json::from_value(json!({"TableName": "rows", "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
            "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}]}));
        let (database, meter) = (Database::start(None, &[table.unwrap()]).unwrap(), Meter::new(true));
        database.metered_by(&meter);
        let count = || meter.counts().unwrap().get(&(Unit::WriteHalves, "rows".into())).copied().unwrap_or(0);
        let call = |operation: &str, key: &str, status: u16| {
            let before = count();
            // The names are six bytes of the row, the key is five.
            let row = json!({"pk": {"S": key}, "text": {"S": "x".repeat(bytes - 11)}});
            let put =
                json!({"TableName": "rows", "Item": row, "ConditionExpression": "attribute_not_exists(pk)"});
            let body = if operation == "PutItem" { put } else { json!({"TransactItems": [{"Put": put}]}) };
            assert_eq!(database.call(operation, body.to_string().as_bytes()).0, status);
            count() - before
        };
        [
            call("PutItem", "alone", 200),
            call("TransactWriteItems", "parts", 200),
            call("PutItem", "alone", 400),
            call("TransactWriteItems", "parts", 400),
        ]
    }

    /// Guards: a started KiB is a whole unit, a part of a transaction is two, and what is refused is counted.
    ///
    /// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/on-demand-capacity-mode.html>
    #[test]
    fn units_are_rounded_up_and_doubled_in_transactions() {
        assert_eq!(halves_of(100), [2, 4, 2, 4]);
        assert_eq!(halves_of(1024), [2, 4, 2, 4]);
        assert_eq!(halves_of(1100), [4, 8, 2, 4]);
        assert_eq!(halves_of(2100), [6, 12, 2, 4]);
    }
}
