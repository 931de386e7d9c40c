//! Random calls: few keys, so that they meet, and now and then something wrong.

use fastrand::Rng;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

pub struct Calls {
    random: Rng,
    token: u32,
    /// The last transaction that had a token.
    transaction: Option<Value>,
    /// Whether the call has its mistake: of two no document says which one is reported.
    is_wrong: bool,
}

/// Conditions, the values that they need, and whether they need the name `#c`.
const CONDITIONS: [(&str, &[&str], bool); 25] = [
    ("attribute_not_exists(pk)", &[], false),
    ("attribute_exists(pk)", &[], false),
    ("attribute_not_exists(pk) OR #c <= :n", &[":n"], true),
    ("attribute_not_exists(pk) OR version < :n", &[":n"], false),
    ("version = :n AND #c = :m", &[":n", ":m"], true),
    ("attribute_exists(pk) AND #c >= :n", &[":n"], true),
    ("NOT (#c = :n)", &[":n"], true),
    ("#c BETWEEN :n AND :m", &[":n", ":m"], true),
    ("kind IN (:s, :t)", &[":s", ":t"], false),
    ("begins_with(kind, :s)", &[":s"], false),
    ("contains(kind, :s) OR contains(tags, :s)", &[":s"], false),
    ("contains(things, :n)", &[":n"], false),
    ("size(kind) > :n", &[":n"], false),
    ("attribute_type(#c, :kind)", &[":kind"], true),
    ("tree.leaf = :n", &[":n"], false),
    ("things[0] = :n", &[":n"], false),
    ("kind <> :s", &[":s"], false),
    ("(#c = :n OR kind = :s) AND (attribute_exists(sk))", &[":n", ":s"], true),
    // Wrong ones.
    ("#c = ", &[], true),
    ("((#c = :n))", &[":n"], true),
    ("status = :s", &[":s"], false),
    ("unknown(#c, :n)", &[":n"], true),
    ("kind = :s)", &[":s"], false),
    ("#c = :missing", &[], true),
    ("#c BETWEEN :m AND :less", &[":m", ":less"], true),
];

const UPDATES: [(&str, &[&str], bool); 18] = [
    ("SET #c = #c + :n", &[":n"], true),
    ("SET #c = :n", &[":n"], true),
    ("SET #c = if_not_exists(#c, :n) + :m", &[":n", ":m"], true),
    ("SET kind = :s, version = :n", &[":s", ":n"], false),
    ("SET things = list_append(things, :list)", &[":list"], false),
    ("SET things = :list REMOVE kind", &[":list"], false),
    ("ADD #c :n", &[":n"], true),
    ("ADD tags :set", &[":set"], false),
    ("DELETE tags :set", &[":set"], false),
    ("REMOVE #c, kind", &[], true),
    ("SET #g = :s", &[":s"], false),
    ("SET version = version - :n ADD #c :m", &[":n", ":m"], true),
    ("SET #c = :n, #c = :m", &[":n", ":m"], true),
    ("SET kind = absent", &[], false),
    ("SET #c = kind + :n", &[":n"], true),
    ("SET #c", &[], true),
    ("ADD kind :s", &[":s"], false),
    ("SET sk = :s", &[":s"], false),
];

impl Calls {
    pub fn new(seed: u64) -> Self {
        Self { random: Rng::with_seed(seed), token: 0, transaction: None, is_wrong: false }
    }

    fn one_in(&mut self, n: u32) -> bool {
        self.random.u32(0..n) == 0
    }

    /// Whether to make a mistake: at most one in a call.
    fn errs(&mut self, n: u32) -> bool {
        let errs = !self.is_wrong && self.one_in(n);
        self.is_wrong |= errs;
        errs
    }

    fn pick<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.random.usize(0..all.len())]
    }

    fn number(&mut self) -> Value {
        let numbers = ["0", "1", "2", "10", "-3", "1.5", "2.50", "1e2", "0.001", "12345678901234567890"];
        json!({"N": self.pick(&numbers)})
    }

    fn text(&mut self) -> Value {
        json!({"S": self.pick(&["a", "ab", "b", "abc", "é", "z\u{1F600}"])})
    }

    fn key(&mut self, table: &str) -> Map<String, Value> {
        let mut key = Map::new();
        key.insert("pk".into(), json!({"S": self.pick(&["one", "two", "t\u{0}o", "ünf"])}));
        if table == "rows" {
            key.insert("sk".into(), json!({"S": self.pick(&["a", "ab", "b", "a\u{0}", "c#1", "c#2"])}));
        }
        if self.errs(40) {
            let wrong = match self.random.u8(0..4) {
                0 => json!({"S": ""}),
                1 => json!({"N": "1"}),
                2 => json!({"S": "x".repeat(2100)}),
                _ => {
                    key.insert("more".into(), json!({"S": "x"}));
                    return key;
                }
            };
            key.insert(self.pick(&["pk", "sk"]).into(), wrong);
        }
        key
    }

    fn table(&mut self) -> &'static str {
        match self.random.u8(0..4) {
            _ if self.errs(40) => "nothing",
            0 => "single",
            _ => "rows",
        }
    }

    fn item(&mut self, table: &str) -> Map<String, Value> {
        let mut item = self.key(table);
        item.remove("more");
        for name in ["count", "version", "kind", "group", "moment", "tags", "things", "tree", "flag", "large"]
        {
            if self.one_in(2) {
                let value = self.attribute(name);
                item.insert(name.into(), value);
            }
        }
        if self.errs(60) {
            item.insert(self.pick(&["group", "moment"]).into(), json!({"S": ""}));
        }
        item
    }

    fn attribute(&mut self, name: &str) -> Value {
        match name {
            "count" | "version" => self.number(),
            "kind" => self.text(),
            "group" => json!({"S": self.pick(&["g1", "g2"])}),
            "moment" => json!({"S": self.pick(&["2026-01", "2026-02", "2026-03"])}),
            "tags" => self.value(":set"),
            "things" => self.value(":list"),
            "tree" => json!({"M": {"leaf": self.number(), "other": {"NULL": true}}}),
            "flag" => json!({"BOOL": self.random.bool()}),
            _ => json!({"B": "AAEC"}),
        }
    }

    fn value(&mut self, name: &str) -> Value {
        match name {
            // Errors show a number as it was written; here it has only one spelling.
            ":n" => json!({"N": self.pick(&["0", "1", "2", "-3", "1.5"])}),
            ":m" => json!({"N": self.pick(&["2", "10", "100"])}),
            ":less" => json!({"N": "-5"}),
            ":list" => json!({"L": [self.number(), self.text()]}),
            ":set" => {
                let members = [vec!["a"], vec!["b", "a"], vec!["c"]];
                json!({"SS": members[self.random.usize(0..3)]})
            }
            ":kind" => json!({"S": self.pick(&["N", "S", "SS"])}),
            _ => self.text(),
        }
    }

    /// Adds names and values for what expressions use, and now and then one too many.
    fn scope(&mut self, body: &mut Value, values: &[&str], texts: &[&str]) {
        let mut given = Map::new();
        for name in values {
            let value = self.value(name);
            given.insert((*name).into(), value);
        }
        let mut names = Map::new();
        for (placeholder, name) in [("#c", "count"), ("#g", "group")] {
            if texts.iter().any(|text| text.contains(placeholder)) {
                names.insert(placeholder.into(), name.into());
            }
        }
        if self.errs(60) {
            given.insert(":unused".into(), json!({"N": "1"}));
        }
        if self.errs(60) {
            names.insert("#unused".into(), "x".into());
        }
        if !given.is_empty() {
            body["ExpressionAttributeValues"] = given.into();
        }
        if !names.is_empty() {
            body["ExpressionAttributeNames"] = names.into();
        }
    }

    fn expression<'a>(
        &mut self,
        all: &'a [(&'a str, &'a [&'a str], bool)],
        valid: usize,
    ) -> (&'a str, &'a [&'a str]) {
        let place = if valid < all.len() && self.errs(15) {
            self.random.usize(valid..all.len())
        } else {
            self.random.usize(0..valid)
        };
        (all[place].0, all[place].1)
    }

    /// A write of a row, as it stands in a transaction too; there the other side does not look at the types and bounds of values
    /// before it looks at rows, and lets a key be changed, so that a transaction gets no such expression: `wrong` is 0.
    fn write(&mut self, kind: &str, wrong: usize) -> Value {
        let table = self.table();
        let mut body = json!({"TableName": table});
        let (mut values, mut texts) = (Vec::new(), Vec::new());
        if kind == "Put" {
            body["Item"] = self.item(table).into();
        } else {
            body["Key"] = self.key(table).into();
        }
        if kind == "Update" {
            let (text, needed) = self.expression(&UPDATES[..16 + 2 * wrong], 12);
            body["UpdateExpression"] = text.into();
            values.extend(needed);
            texts.push(text);
        }
        if kind == "ConditionCheck" || self.one_in(2) {
            let (text, needed) = self.expression(&CONDITIONS[..24 + wrong], 18);
            body["ConditionExpression"] = text.into();
            values.extend(needed);
            texts.push(text);
            if self.one_in(2) {
                body["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD".into();
            }
        }
        values.sort_unstable();
        values.dedup();
        if !texts.is_empty() {
            self.scope(&mut body, &values, &texts);
        }
        body
    }

    fn alone(&mut self, kind: &str) -> Value {
        let mut body = self.write(kind, 1);
        if self.one_in(3) {
            let all = ["NONE", "ALL_OLD", "ALL_NEW", "UPDATED_OLD", "UPDATED_NEW"];
            let valid = if kind == "Update" || self.errs(10) { &all[..] } else { &all[..2] };
            body["ReturnValues"] = self.pick(valid).into();
        }
        self.asks(&mut body);
        body
    }

    fn asks(&mut self, body: &mut Value) {
        if self.one_in(4) {
            body["ReturnConsumedCapacity"] = "TOTAL".into();
        }
    }

    /// A transaction; now and then one comes again under its token, or another one under the same.
    fn transaction(&mut self) -> Value {
        let before = self.transaction.clone().filter(|_| self.one_in(8));
        if let Some(before) = before {
            let mut again = if self.one_in(3) { self.new_transaction() } else { before.clone() };
            again["ClientRequestToken"] = before["ClientRequestToken"].clone();
            return again;
        }
        let mut body = self.new_transaction();
        if self.one_in(3) {
            self.token += 1;
            body["ClientRequestToken"] = format!("token-{}", self.token).into();
            self.transaction = Some(body.clone());
        }
        body
    }

    fn new_transaction(&mut self) -> Value {
        let number = if self.one_in(50) { 0 } else { self.random.usize(1..5) };
        let mut items = Vec::new();
        let mut keys = BTreeSet::new();
        for _ in 0..number {
            let kind = self.pick(&["Put", "Put", "Update", "Delete", "ConditionCheck"]);
            let write = self.write(kind, 0);
            let row = if kind == "Put" { &write["Item"] } else { &write["Key"] };
            let key = json!([write["TableName"], row["pk"], row["sk"]]).to_string();
            // Two writes of one row are a mistake as well.
            if keys.insert(key) || !std::mem::replace(&mut self.is_wrong, true) {
                items.push(json!({kind: write}));
            }
        }
        let mut body = json!({"TransactItems": items});
        self.asks(&mut body);
        body
    }

    /// Without a projection: the other side adds the keys to those of a transaction, and no document says that AWS does.
    fn plain_get(&mut self) -> Value {
        let table = self.table();
        json!({"TableName": table, "Key": self.key(table)})
    }

    fn get(&mut self) -> Value {
        let mut body = self.plain_get();
        self.project(&mut body);
        body
    }

    fn project(&mut self, body: &mut Value) {
        if self.one_in(3) {
            let all = ["kind", "kind, #c", "#c", "pk, sk", "kind, kind"];
            let valid = if self.errs(5) { 4..5 } else { 0..4 };
            let projection = self.pick(&all[valid]);
            body["ProjectionExpression"] = projection.into();
            if projection.contains("#c") {
                body["ExpressionAttributeNames"] = json!({"#c": "count"});
            }
        }
    }

    fn transact_get(&mut self) -> Value {
        let (mut gets, mut keys) = (Vec::new(), BTreeSet::new());
        for _ in 0..self.random.usize(1..4) {
            let get = self.plain_get();
            if keys.insert(get.to_string()) || !std::mem::replace(&mut self.is_wrong, true) {
                gets.push(json!({"Get": get}));
            }
        }
        json!({"TransactItems": gets})
    }

    fn batch_get(&mut self) -> Value {
        let mut tables = Map::new();
        for table in ["rows", "single"] {
            let number = self.random.usize(1..4);
            let keys: Vec<_> = (0..number).map(|_| self.key(table)).collect();
            tables.insert(table.into(), json!({"Keys": keys, "ConsistentRead": self.random.bool()}));
            if self.one_in(2) {
                break;
            }
        }
        let mut body = json!({"RequestItems": tables});
        self.asks(&mut body);
        body
    }

    fn query(&mut self) -> Value {
        let (index, hash, range) = match self.random.u8(0..8) {
            0 => (Some("by-group"), "#h", "moment"),
            1 => (Some("at-only"), "#h", ""),
            2 => (Some("few"), "#h", "sk"),
            3 if self.errs(5) => (Some("nothing"), "#h", "sk"),
            _ => (None, "#h", "sk"),
        };
        let name = match index {
            Some("by-group" | "few" | "nothing") => "group",
            Some(_) => "moment",
            None => "pk",
        };
        let wanted = match self.random.u8(0..12) {
            0 => " AND R = :r",
            1 => " AND R < :r",
            2 => " AND R <= :r",
            3 => " AND R > :r",
            4 => " AND R >= :r",
            5 => " AND R BETWEEN :r AND :u",
            6 => " AND begins_with(R, :r)",
            7 if self.errs(4) => " AND kind = :r",
            _ => "",
        };
        let wanted = if range.is_empty() { String::new() } else { wanted.replace('R', range) };
        let hashes: &[&str] = match name {
            "pk" => &["one", "two", "t\u{0}o", "ünf"],
            "group" => &["g1", "g2"],
            _ => &["2026-01", "2026-02"],
        };
        let mut values = json!({":h": {"S": self.pick(hashes)}});
        if wanted.contains(":r") {
            values[":r"] =
                json!({"S": if range == "moment" { "2026-02" } else { self.pick(&["a", "b", "c", "c#"]) }});
        }
        if wanted.contains(":u") {
            let high = if range == "moment" { "2026-03" } else { "c#1" };
            // Below every lower bound.
            let high = if self.errs(4) { "1" } else { high };
            values[":u"] = json!({"S": high});
        }
        let mut condition = format!("{hash} = :h{wanted}");
        // As boto3 writes it.
        if self.one_in(4) {
            condition = format!("({condition})");
        }
        let mut body = json!({"TableName": "rows", "KeyConditionExpression": condition,
            "ExpressionAttributeNames": {"#h": name}});
        if let Some(index) = index {
            body["IndexName"] = index.into();
        }
        if self.one_in(3) {
            body["FilterExpression"] = "kind = :f OR attribute_exists(tags)".into();
            values[":f"] = self.text();
        }
        body["ExpressionAttributeValues"] = values;
        self.page(&mut body);
        body
    }

    fn page(&mut self, body: &mut Value) {
        if self.one_in(3) {
            body["Limit"] = self.random.u32(1..4).into();
        }
        if self.one_in(3) && body.get("KeyConditionExpression").is_some() {
            body["ScanIndexForward"] = false.into();
        }
        if self.one_in(6) {
            let is_whole = matches!(body["IndexName"].as_str(), None | Some("by-group"));
            let all = is_whole || self.errs(3);
            body["Select"] = if all { "ALL_ATTRIBUTES" } else { "COUNT" }.into();
        }
        if self.one_in(8) && (body["IndexName"].is_null() || self.errs(3)) {
            body["ConsistentRead"] = true.into();
        }
        self.asks(body);
    }

    fn scan(&mut self) -> Value {
        let mut body = json!({"TableName": self.table()});
        if body["TableName"] == "rows" && self.one_in(3) {
            body["IndexName"] = self.pick(&["by-group", "at-only", "few"]).into();
        }
        if self.one_in(3) {
            // The other side looks at bounds and undefined values only when there are rows.
            let (text, needed) = self.expression(&CONDITIONS[..23], 18);
            body["FilterExpression"] = text.into();
            self.scope(&mut body, needed, &[text]);
        }
        self.page(&mut body);
        if let Some(body) = body.as_object_mut() {
            body.remove("ReturnConsumedCapacity");
        }
        body
    }

    fn batch_write(&mut self) -> Value {
        let number = self.random.usize(1..5);
        let mut parts = Vec::new();
        for _ in 0..number {
            parts.push(if self.one_in(3) {
                json!({"DeleteRequest": {"Key": self.key("rows")}})
            } else {
                json!({"PutRequest": {"Item": self.item("rows")}})
            });
        }
        let mut body = json!({"RequestItems": {"rows": parts}});
        self.asks(&mut body);
        body
    }

    pub fn next(&mut self) -> (&'static str, Value) {
        self.is_wrong = false;
        match self.random.u8(0..24) {
            0..3 => ("PutItem", self.alone("Put")),
            3..6 => ("UpdateItem", self.alone("Update")),
            6 => ("DeleteItem", self.alone("Delete")),
            7..13 => ("TransactWriteItems", self.transaction()),
            13 => ("BatchWriteItem", self.batch_write()),
            14..16 => ("GetItem", self.get()),
            16 => ("BatchGetItem", self.batch_get()),
            17 => ("TransactGetItems", self.transact_get()),
            18..22 => ("Query", self.query()),
            _ => ("Scan", self.scan()),
        }
    }
}
