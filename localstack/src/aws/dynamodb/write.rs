//! What writes: PutItem, UpdateItem, DeleteItem, BatchWriteItem and TransactWriteItems.

use super::capacity::Consumed;
use super::error::{Error, Reason};
use super::expression::Scope;
use super::expression::condition::Condition;
use super::expression::update::Update;
use super::request::{
    BatchPart, BatchWrite, Kind, TransactWrite, Write, check_number, no_metrics, wants_capacity,
};
use super::schema::{RowKey, Schema, is_too_large};
use super::tables::{Change, Tables};
use super::value::{Item, Value, size};
use bytes::Bytes;
use serde_json::{Map, json};
use std::collections::BTreeSet;
use std::sync::Arc;

/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html>
const MAX_TRANSACTION_BYTES: usize = 4 * 1024 * 1024;
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchWriteItem.html>
const MAX_BATCH: usize = 25;

/// What a call wrote, and where.
#[derive(Debug, Default)]
pub struct Done {
    pub answer: Bytes,
    pub tables: BTreeSet<String>,
}

/// A write whose expressions were read.
struct Planned<'a> {
    kind: Kind,
    write: &'a Write,
    condition: Option<Condition<'a>>,
    update: Option<Update<'a>>,
}

fn missing(name: &str) -> Error {
    Error::constraint(&format!(
        "Value null at '{name}' failed to satisfy constraint: Member must not be null"
    ))
}

impl<'a> Planned<'a> {
    fn new(kind: Kind, write: &'a Write, scope: &Scope<'a>) -> Result<Self, Error> {
        check_fields(kind, write)?;
        let update = write.update_expression.as_deref().map(|text| Update::parse(text, scope));
        let update = update.transpose().map_err(Error::expression("Update"))?;
        let condition = write.condition_expression.as_deref().map(|text| Condition::parse(text, scope));
        let condition = condition.transpose().map_err(Error::expression("Condition"))?;
        if kind == Kind::Put && write.item.as_ref().is_some_and(is_too_large) {
            return Err(Error::validation("Item size has exceeded the maximum allowed size"));
        }
        Ok(Self { kind, write, condition, update })
    }

    /// The bytes that the write counts for in the limit of a transaction.
    fn bytes(&self) -> usize {
        self.write.row().map_or(0, size)
    }

    /// What becomes of the row.
    fn change(&self, tables: &Tables) -> Result<Change, Error> {
        let schema = Arc::clone(tables.schema(&self.write.table_name)?);
        let key = match (&self.write.item, &self.write.key) {
            (Some(item), _) => schema.key_of_row(item)?,
            (None, key) => schema.key(key.as_ref().ok_or_else(|| missing("key"))?)?,
        };
        let before = tables.item(&key);
        let none = Item::new();
        if self.condition.as_ref().is_some_and(|condition| !condition.holds(before.as_ref().unwrap_or(&none)))
        {
            let wants = self.write.return_values_on_condition_check_failure.as_deref() == Some("ALL_OLD");
            return Err(Error::ConditionFailed(before.filter(|_| wants)));
        }
        let after = match self.kind {
            Kind::Put => self.write.item.clone(),
            Kind::Update => Some(self.updated(&schema, before.as_ref())?),
            Kind::Delete => None,
            Kind::Check => before.clone(),
        };
        Ok(Change { schema, key, before, after })
    }

    fn updated(&self, schema: &Schema, before: Option<&Item>) -> Result<Item, Error> {
        let key = self.write.key.clone().unwrap_or_default();
        let Some(update) = &self.update else { return Ok(before.cloned().unwrap_or(key)) };
        if let Some(name) = update.names().find(|name| schema.key.has(name)) {
            return Err(Error::invalid(&format!(
                "Cannot update attribute {name}. This attribute is part of the key"
            )));
        }
        let after = update.of(before.unwrap_or(&key)).map_err(Error::Validation)?;
        if is_too_large(&after) {
            return Err(Error::validation("Item size to update has exceeded the maximum allowed size"));
        }
        schema.key_of_row(&after)?;
        Ok(after)
    }
}

/// What each kind of write must have, and may not.
fn check_fields(kind: Kind, write: &Write) -> Result<(), Error> {
    let wrong = |name: &str| Error::Serialization(format!("unknown field `{name}`"));
    let is_put = kind == Kind::Put;
    match (is_put, &write.item, &write.key) {
        (true, None, _) => return Err(missing("item")),
        (true, _, Some(_)) => return Err(wrong("Key")),
        (false, Some(_), _) => return Err(wrong("Item")),
        (false, _, None) => return Err(missing("key")),
        _ => {}
    }
    if kind != Kind::Update && write.update_expression.is_some() {
        return Err(wrong("UpdateExpression"));
    }
    if kind == Kind::Check && write.condition_expression.is_none() {
        return Err(missing("conditionExpression"));
    }
    if let Some(value) =
        write.item.iter().chain(&write.key).flat_map(Item::values).find(|value| value.is_too_deep())
    {
        let kind = value.kind();
        return Err(Error::Validation(format!(
            "Nesting Levels have exceeded supported limits: Attributes in the item have nested levels beyond supported limit ({kind})"
        )));
    }
    let is_plain = write.condition_expression.is_none() && write.update_expression.is_none();
    for (kind, is_given) in [
        ("Names", write.expression_attribute_names.is_some()),
        ("Values", write.expression_attribute_values.is_some()),
    ] {
        if is_plain && is_given {
            return Err(Error::Validation(format!(
                "ExpressionAttribute{kind} can only be specified when using expressions"
            )));
        }
    }
    match write.return_values_on_condition_check_failure.as_deref() {
        None | Some("NONE" | "ALL_OLD") => Ok(()),
        Some(other) => Err(Error::constraint(&format!(
            "Value '{other}' at 'returnValuesOnConditionCheckFailure' failed to satisfy constraint: Member must satisfy enum value set: [ALL_OLD, NONE]"
        ))),
    }
}

fn scope(write: &Write) -> Scope<'_> {
    Scope::new(write.expression_attribute_names.as_ref(), write.expression_attribute_values.as_ref())
}

/// PutItem, UpdateItem or DeleteItem.
///
/// # Errors
/// Those of DynamoDB.
pub fn one(tables: &mut Tables, kind: Kind, write: &Write) -> Result<Done, Error> {
    let asks = wants_capacity(write.return_consumed_capacity.as_deref())?;
    no_metrics(write.return_item_collection_metrics.as_deref())?;
    let scope = scope(write);
    let planned = Planned::new(kind, write, &scope).map_err(Error::enveloped)?;
    let returns = returns(kind, write.return_values.as_deref()).map_err(Error::enveloped)?;
    scope.check_used().map_err(|why| Error::unused(why).enveloped())?;
    let mut consumed = Consumed::by_writes(false);
    let change = match planned.change(tables) {
        Ok(change) => change,
        Err(error) => {
            if matches!(error, Error::ConditionFailed(_)) {
                consumed.refused(&write.table_name);
                tables.count(&consumed);
            }
            return Err(error);
        }
    };
    consumed.write(&change.schema, change.before.as_ref(), change.after.as_ref());
    tables.count(&consumed);
    let mut answer = Map::new();
    if let Some(attributes) = returned(returns, &planned, &change) {
        answer.insert("Attributes".into(), json!(attributes));
    }
    if asks {
        answer.insert("ConsumedCapacity".into(), consumed.shown_alone());
    }
    Ok(Done { answer: json!(answer).to_string().into(), tables: tables.save(vec![change]) })
}

/// What a call wants to know of its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Returns {
    Nothing,
    AllOld,
    AllNew,
    UpdatedOld,
    UpdatedNew,
}

fn returns(kind: Kind, asked: Option<&str>) -> Result<Returns, Error> {
    let is_update = kind == Kind::Update;
    match asked {
        None | Some("NONE") => Ok(Returns::Nothing),
        Some("ALL_OLD") => Ok(Returns::AllOld),
        Some("ALL_NEW") if is_update => Ok(Returns::AllNew),
        Some("UPDATED_OLD") if is_update => Ok(Returns::UpdatedOld),
        Some("UPDATED_NEW") if is_update => Ok(Returns::UpdatedNew),
        Some("ALL_NEW" | "UPDATED_OLD" | "UPDATED_NEW") => {
            Err(Error::validation("ReturnValues can only be ALL_OLD or NONE"))
        }
        Some(other) => Err(Error::constraint(&format!(
            "Value '{other}' at 'returnValues' failed to satisfy constraint: Member must satisfy enum value set: [ALL_NEW, UPDATED_OLD, ALL_OLD, NONE, UPDATED_NEW]"
        ))),
    }
}

fn returned(returns: Returns, planned: &Planned<'_>, change: &Change) -> Option<Item> {
    let is_changed = |name: &str| planned.update.iter().flat_map(Update::names).any(|other| other == name);
    let updated = |item: &Item| -> Item {
        let changed = item.iter().filter(|(name, _)| is_changed(name));
        changed.map(|(name, value): (&String, &Value)| (name.clone(), value.clone())).collect()
    };
    let attributes = match returns {
        Returns::Nothing => None,
        Returns::AllOld => change.before.clone(),
        Returns::AllNew => change.after.clone(),
        Returns::UpdatedOld => change.before.as_ref().map(updated),
        Returns::UpdatedNew => change.after.as_ref().map(updated),
    };
    attributes.filter(|attributes| !attributes.is_empty())
}

/// BatchWriteItem: each write by itself. Nothing is left unprocessed here.
///
/// # Errors
/// Those of DynamoDB, before anything is written.
pub fn batch(tables: &mut Tables, request: &BatchWrite) -> Result<Done, Error> {
    let asks = wants_capacity(request.return_consumed_capacity.as_deref())?;
    no_metrics(request.return_item_collection_metrics.as_deref())?;
    let number: usize = request.request_items.values().map(Vec::len).sum();
    if number == 0 || number > MAX_BATCH {
        return Err(Error::constraint(&format!(
            "Value at 'requestItems' failed to satisfy constraint: a batch has 1 to {MAX_BATCH} writes, not {number}"
        )));
    }
    let (mut changes, mut keys, mut consumed) = (Vec::new(), BTreeSet::new(), Consumed::by_writes(false));
    for (table, part) in
        request.request_items.iter().flat_map(|(table, parts)| parts.iter().map(move |part| (table, part)))
    {
        let change = batch_change(tables, table, part)?;
        if !keys.insert(change.key.clone()) {
            return Err(Error::validation("Provided list of item keys contains duplicates"));
        }
        consumed.write(&change.schema, change.before.as_ref(), change.after.as_ref());
        changes.push(change);
    }
    tables.count(&consumed);
    let changed = tables.save(changes);
    let mut answer = json!({"UnprocessedItems": {}});
    if asks {
        answer["ConsumedCapacity"] = consumed.shown().into();
    }
    Ok(Done { answer: answer.to_string().into(), tables: changed })
}

fn batch_change(tables: &Tables, table: &str, part: &BatchPart) -> Result<Change, Error> {
    let schema = Arc::clone(tables.schema(table)?);
    let (key, after) = match (&part.put_request, &part.delete_request) {
        (Some(put), None) => {
            // A batch says less of a wrong key than a single call.
            let is_key = |name: &String| matches!(put.item.get(name), None | Some(Value::S(_)));
            if !is_key(&schema.key.hash) || !schema.key.range.as_ref().is_none_or(is_key) {
                return Err(Error::validation("The provided key element does not match the schema"));
            }
            (schema.key_of_row(&put.item)?, Some(put.item.clone()))
        }
        (None, Some(delete)) => (schema.key(&delete.key)?, None),
        _ => {
            return Err(Error::validation(
                "Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported datatypes",
            ));
        }
    };
    if after.as_ref().is_some_and(is_too_large) {
        return Err(Error::validation("Item size has exceeded the maximum allowed size"));
    }
    let before = tables.item(&key);
    Ok(Change { schema, key, before, after })
}

/// TransactWriteItems: all writes or none.
///
/// # Errors
/// Those of DynamoDB.
pub fn transact(tables: &mut Tables, request: &TransactWrite) -> Result<Done, Error> {
    let asks = wants_capacity(request.return_consumed_capacity.as_deref())?;
    no_metrics(request.return_item_collection_metrics.as_deref())?;
    let parts = check_parts(request)?;
    if let Some(token) = &request.client_request_token
        && tables.tokens.is_known(token, request.hash).map_err(Error::TokenMisused)?
    {
        return Ok(repeated(tables, &parts, asks));
    }
    if parts.iter().any(|(_, write)| write.return_values.is_some()) {
        return Err(Error::Serialization("unknown field `ReturnValues`".into()));
    }
    let scopes: Vec<Scope<'_>> = parts.iter().map(|(_, write)| scope(write)).collect();
    let planned = parts.iter().zip(&scopes).map(|(part, scope)| plan(part, scope));
    let planned = planned.collect::<Result<Vec<_>, _>>()?;
    if planned.iter().map(Planned::bytes).sum::<usize>() > MAX_TRANSACTION_BYTES {
        return Err(Error::validation(
            "Collection size of items exceeded, which can also be caused by the aggregate size of the items in the transaction exceeding the 4MB limit",
        ));
    }
    check_distinct(tables, &parts)?;
    let mut consumed = Consumed::by_writes(true);
    let changes = changes(tables, &planned).inspect_err(|error| {
        if matches!(error, Error::Cancelled(_)) {
            parts.iter().for_each(|(_, write)| consumed.refused(&write.table_name));
            tables.count(&consumed);
        }
    })?;
    let mut consumed = Consumed::by_writes(true);
    for change in &changes {
        consumed.write(&change.schema, change.before.as_ref(), change.after.as_ref());
    }
    tables.count(&consumed);
    let answer = if asks { json!({"ConsumedCapacity": consumed.shown()}) } else { json!({}) };
    let changed = tables.save(changes);
    if let Some(token) = &request.client_request_token {
        tables.tokens.remember(token, request.hash);
    }
    Ok(Done { answer: answer.to_string().into(), tables: changed })
}

/// The answer to a transaction that was carried out before under its token: it costs what reading its rows costs.
///
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html>
fn repeated(tables: &Tables, parts: &[(Kind, &Write)], asks: bool) -> Done {
    let mut consumed = Consumed::by_reads(true);
    for (_, write) in parts {
        let key = tables.schema(&write.table_name).and_then(|schema| written_key(schema, write));
        let row = key.ok().and_then(|key| tables.item(&key));
        consumed.read(&write.table_name, row.as_ref().map_or(0, size), true);
    }
    tables.count(&consumed);
    let answer = if asks { json!({"ConsumedCapacity": consumed.shown()}) } else { json!({}) };
    Done { answer: answer.to_string().into(), ..Done::default() }
}

/// The key of the row that a part is about.
fn written_key(schema: &Schema, write: &Write) -> Result<RowKey, Error> {
    match (&write.item, &write.key) {
        (Some(item), _) => schema.key_in(item),
        (None, key) => schema.key(key.as_ref().unwrap_or(&Item::new())),
    }
}

fn plan<'a>((kind, write): &(Kind, &'a Write), scope: &Scope<'a>) -> Result<Planned<'a>, Error> {
    let planned = Planned::new(*kind, write, scope)?;
    scope.check_used().map_err(Error::unused)?;
    Ok(planned)
}

fn check_parts(request: &TransactWrite) -> Result<Vec<(Kind, &Write)>, Error> {
    check_number(request.transact_items.len())?;
    let token = request.client_request_token.as_ref().map_or(1, String::len);
    if !(1..=36).contains(&token) {
        return Err(Error::constraint(
            "Value at 'clientRequestToken' failed to satisfy constraint: Member must have length between 1 and 36",
        ));
    }
    request.transact_items.iter().map(super::request::WritePart::part).collect()
}

/// Two writes of one row are refused. A key that is none is some part's own reason.
fn check_distinct(tables: &Tables, parts: &[(Kind, &Write)]) -> Result<(), Error> {
    let mut keys = BTreeSet::new();
    for (_, write) in parts {
        let schema = tables.schema(&write.table_name)?;
        if written_key(schema, write).is_ok_and(|key| !keys.insert(key)) {
            return Err(Error::validation(
                "Transaction request cannot include multiple operations on one item",
            ));
        }
    }
    Ok(())
}

/// All changes, or each part's reason.
fn changes(tables: &Tables, planned: &[Planned<'_>]) -> Result<Vec<Change>, Error> {
    let (mut changes, mut reasons) = (Vec::new(), Vec::new());
    for planned in planned {
        reasons.push(match planned.change(tables) {
            Ok(change) => {
                changes.push(change);
                Reason::none()
            }
            Err(error) => {
                let message = Some(error.to_string());
                match error {
                    Error::ConditionFailed(item) => Reason { code: "ConditionalCheckFailed", message, item },
                    Error::Validation(_) => Reason { code: "ValidationError", message, item: None },
                    other => return Err(other),
                }
            }
        });
    }
    if changes.len() == planned.len() { Ok(changes) } else { Err(Error::Cancelled(reasons)) }
}
