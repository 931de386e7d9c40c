//! The capacity that operations consume, in halves of a unit.
//!
//! <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/on-demand-capacity-mode.html>

use super::schema::Schema;
use super::value::{Item, size};
use crate::support::meter::{Meter, Unit};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const WRITE_BYTES: usize = 1024;
const READ_BYTES: usize = 4096;

/// What a call consumed, by table.
#[derive(Debug)]
pub struct Consumed {
    unit: Unit,
    is_transaction: bool,
    halves: BTreeMap<String, u64>,
}

/// How many started pieces there are; at least one.
fn pieces(bytes: usize, piece: usize) -> u64 {
    u64::try_from(bytes.div_ceil(piece).max(1)).unwrap_or(u64::MAX)
}

impl Consumed {
    #[must_use]
    pub const fn by_reads(is_transaction: bool) -> Self {
        Self { unit: Unit::ReadHalves, is_transaction, halves: BTreeMap::new() }
    }

    #[must_use]
    pub const fn by_writes(is_transaction: bool) -> Self {
        Self { unit: Unit::WriteHalves, is_transaction, halves: BTreeMap::new() }
    }

    fn add(&mut self, table: &str, halves: u64) {
        let sum = self.halves.entry(table.to_owned()).or_default();
        *sum = sum.saturating_add(halves);
    }

    /// Counts a read of so many bytes: a consistent one costs twice as much, one in a transaction four times.
    pub fn read(&mut self, table: &str, bytes: usize, is_consistent: bool) {
        let factor = if self.is_transaction { 4 } else { 1 + u64::from(is_consistent) };
        self.add(table, pieces(bytes, READ_BYTES) * factor);
    }

    /// Counts a write, and those of the indexes' entries, which no transaction makes dearer.
    pub fn write(&mut self, schema: &Schema, before: Option<&Item>, after: Option<&Item>) {
        let bytes = before.map_or(0, size).max(after.map_or(0, size));
        let factor = if self.is_transaction { 4 } else { 2 };
        let mut halves = pieces(bytes, WRITE_BYTES) * factor;
        for index in &schema.indexes {
            let entry = |item: Option<&Item>| {
                let item = item?;
                let place = schema.entry(index, item)?;
                Some((place, schema.projected(index, item)))
            };
            let units = |item: &Item| pieces(size(item), WRITE_BYTES);
            let consumed = match (entry(before), entry(after)) {
                (None, None) => 0,
                (Some((_, one)), None) | (None, Some((_, one))) => units(&one),
                (Some((old, one)), Some((new, two))) if old != new => units(&one) + units(&two),
                (Some((_, one)), Some((_, two))) if one == two => 0,
                (Some((_, one)), Some((_, two))) => units(&one).max(units(&two)),
            };
            halves += consumed * 2;
        }
        self.add(&schema.name, halves);
    }

    /// Counts a write that was refused as the least that it can have been: AWS bills one whose condition does not hold by the
    /// size of the row that was there.
    pub fn refused(&mut self, table: &str) {
        self.add(table, if self.is_transaction { 4 } else { 2 });
    }

    pub fn meter(&self, meter: &Meter) {
        for (table, halves) in &self.halves {
            meter.count(self.unit, table, *halves);
        }
    }

    /// As the answer of a call on one table says it.
    #[must_use]
    pub fn shown_alone(&self) -> Value {
        self.shown().into_iter().next().unwrap_or_default()
    }

    /// As an answer says it, table by table.
    #[must_use]
    pub fn shown(&self) -> Vec<Value> {
        let shown = |(table, halves): (&String, &u64)| {
            let units: Value = format!("{}.{}", halves / 2, if halves % 2 == 0 { 0 } else { 5 })
                .parse::<serde_json::Number>()
                .map_or(Value::Null, Value::Number);
            let mut shown = json!({"TableName": table, "CapacityUnits": units});
            if self.is_transaction {
                let kind = if self.unit == Unit::ReadHalves { "Read" } else { "Write" };
                shown[format!("{kind}CapacityUnits")] = units;
            }
            shown
        };
        self.halves.iter().map(shown).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::dynamodb::Database;
    use crate::support::storage::Storage;

    /// What writing a row of so many bytes counts as, alone, and as a part of a transaction; then both again, refused.
    fn halves_of(bytes: usize) -> [u64; 4] {
        let table = serde_json::from_value(json!({"TableName": "rows", "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
            "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}]}));
        let database = Database::start(&Storage::memory(), &[table.unwrap()]).unwrap();
        let meter = Meter::new(true);
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
    #[test]
    fn units_are_rounded_up_and_doubled_in_transactions() {
        assert_eq!(halves_of(100), [2, 4, 2, 4]);
        assert_eq!(halves_of(1024), [2, 4, 2, 4]);
        assert_eq!(halves_of(1100), [4, 8, 2, 4]);
        assert_eq!(halves_of(2100), [6, 12, 2, 4]);
    }
}
