//! What reads: GetItem, BatchGetItem, TransactGetItems, Query and Scan.

use super::capacity::Consumed;
use super::error::{Error, Reason};
use super::expression::Scope;
use super::expression::condition::Condition;
use super::expression::key_condition::{Clauses, KeyCondition, Wanted};
use super::expression::projection::Projection;
use super::lag::Past;
use super::request::{BatchGet, Get, Keys, Names, Read, TransactGet, check_number, wants_capacity};
use super::schema::{Index, MAX_HASH_BYTES, MAX_RANGE_BYTES, Projected, Schema, begin, check_length, place};
use super::tables::Tables;
use super::value::{Item, Value, json, read, size};
use crate::support::storage::{Range, end};
use bytes::Bytes;
use serde_json::{Map, Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html>
const MAX_BATCH: usize = 100;
const MAX_BATCH_BYTES: usize = 16 * 1024 * 1024;
/// A query or scan ends its page here.
const MAX_PAGE_BYTES: usize = 1024 * 1024;

fn projection(text: Option<&str>, names: Option<&Names>) -> Result<Option<Projection>, Error> {
    let scope = Scope::new(names, None);
    if text.is_none() && names.is_some() {
        return Err(Error::validation(
            "ExpressionAttributeNames can only be specified when using expressions",
        ));
    }
    let projection = text.map(|text| Projection::parse(text, &scope)).transpose();
    let projection = projection.map_err(Error::expression("Projection"))?;
    scope.check_used().map_err(Error::unused)?;
    Ok(projection)
}

/// GetItem.
///
/// # Errors
/// Those of DynamoDB.
pub fn get(tables: &Tables, request: &Get) -> Result<Bytes, Error> {
    let asks = wants_capacity(request.return_consumed_capacity.as_deref())?;
    let projection =
        projection(request.projection_expression.as_deref(), request.expression_attribute_names.as_ref())?;
    let key = tables.schema(&request.table_name)?.key(&request.key)?;
    let row = tables.past(&request.table_name, request.consistent_read).row(&tables.storage, &key);
    if projection.is_none() && !asks && !tables.meter.is_on() {
        // The row goes out as it lies there.
        return Ok(row.map_or_else(|| Bytes::from_static(b"{}"), |row| around(b"{\"Item\":", &row, b"}")));
    }
    let item = row.as_deref().map(read);
    let mut consumed = Consumed::by_reads(false);
    consumed.read(&request.table_name, item.as_ref().map_or(0, size), request.consistent_read == Some(true));
    tables.count(&consumed);
    let mut answer = Map::new();
    if let Some(item) = item {
        answer.insert("Item".into(), json!(seen(item, projection.as_ref())));
    }
    if asks {
        answer.insert("ConsumedCapacity".into(), consumed.shown_alone());
    }
    Ok(Json::from(answer).to_string().into())
}

fn around(before: &[u8], row: &[u8], after: &[u8]) -> Bytes {
    [before, row, after].concat().into()
}

fn seen(item: Item, projection: Option<&Projection>) -> Item {
    match projection {
        Some(projection) => projection.of(item),
        None => item,
    }
}

/// BatchGetItem.
///
/// # Errors
/// Those of DynamoDB.
pub fn batch(tables: &Tables, request: &BatchGet) -> Result<Bytes, Error> {
    let asks = wants_capacity(request.return_consumed_capacity.as_deref())?;
    check_batch(request)?;
    let (mut found, mut left, mut consumed) = (Vec::new(), BTreeMap::new(), Consumed::by_reads(false));
    let mut bytes = 0_usize;
    for (table, keys) in &request.request_items {
        let projection =
            projection(keys.projection_expression.as_deref(), keys.expression_attribute_names.as_ref())?;
        let is_read = projection.is_some() || asks || tables.meter.is_on();
        let schema = tables.schema(table)?;
        let past = tables.past(table, keys.consistent_read);
        let (mut rows, mut rest) = (Vec::new(), Vec::new());
        for key in &keys.keys {
            let row = past.row(&tables.storage, &schema.key(key)?);
            let item = row.as_deref().filter(|_| is_read).map(read);
            // A row that goes out as it lies there is longer as JSON than as what AWS counts.
            let length = item.as_ref().map_or_else(|| row.as_ref().map_or(0, Bytes::len), size);
            if bytes + length > MAX_BATCH_BYTES || !rest.is_empty() {
                rest.push(key.clone());
                continue;
            }
            bytes += length;
            consumed.read(table, length, keys.consistent_read == Some(true));
            rows.extend(match (item, &projection) {
                (Some(item), Some(projection)) => Some(json(&projection.of(item))),
                _ => row,
            });
        }
        found.push((table, rows));
        if !rest.is_empty() {
            left.insert(table, Keys { keys: rest, ..keys.clone() });
        }
    }
    tables.count(&consumed);
    let mut answer = responses(&found);
    answer.extend_from_slice(b",\"UnprocessedKeys\":");
    answer.extend_from_slice(json!(left).to_string().as_bytes());
    if asks {
        answer.extend_from_slice(b",\"ConsumedCapacity\":");
        answer.extend_from_slice(json!(consumed.shown()).to_string().as_bytes());
    }
    answer.push(b'}');
    Ok(answer.into())
}

/// The beginning of a batch's answer: the rows of each table, as they lie there.
fn responses(found: &[(&String, Vec<Bytes>)]) -> Vec<u8> {
    let mut answer = b"{\"Responses\":{".to_vec();
    for (n, (table, rows)) in found.iter().enumerate() {
        answer.extend_from_slice(if n > 0 { b"," } else { b"" });
        answer.extend_from_slice(json!(table).to_string().as_bytes());
        answer.extend_from_slice(b":[");
        answer.extend_from_slice(&rows.join(&b","[..]));
        answer.push(b']');
    }
    answer.push(b'}');
    answer
}

fn check_batch(request: &BatchGet) -> Result<(), Error> {
    let number: usize = request.request_items.values().map(|keys| keys.keys.len()).sum();
    if request.request_items.is_empty() || request.request_items.values().any(|keys| keys.keys.is_empty()) {
        return Err(Error::constraint(
            "Value at 'requestItems' failed to satisfy constraint: Member must have length greater than or equal to 1",
        ));
    }
    if number > MAX_BATCH {
        return Err(Error::validation("Too many items requested for the BatchGetItem call"));
    }
    let is_twice = |keys: &Vec<Item>| keys.iter().enumerate().any(|(n, key)| keys[..n].contains(key));
    if request.request_items.values().any(|keys| is_twice(&keys.keys)) {
        return Err(Error::validation("Provided list of item keys contains duplicates"));
    }
    Ok(())
}

/// TransactGetItems.
///
/// # Errors
/// Those of DynamoDB.
pub fn transact(tables: &Tables, request: &TransactGet) -> Result<Bytes, Error> {
    let asks = wants_capacity(request.return_consumed_capacity.as_deref())?;
    check_number(request.transact_items.len())?;
    let (mut keys, mut responses, mut reasons) = (BTreeSet::new(), Vec::new(), Vec::new());
    let mut consumed = Consumed::by_reads(true);
    for part in &request.transact_items {
        let get = &part.get;
        let projection =
            projection(get.projection_expression.as_deref(), get.expression_attribute_names.as_ref())?;
        match tables.schema(&get.table_name)?.key(&get.key) {
            Ok(key) if !keys.insert(key.clone()) => {
                return Err(Error::validation(
                    "Transaction request cannot include multiple operations on one item",
                ));
            }
            Ok(key) => {
                let item = tables.item(&key);
                consumed.read(&get.table_name, item.as_ref().map_or(0, size), true);
                let item = item.map(|item| json!({"Item": seen(item, projection.as_ref())}));
                responses.push(item.unwrap_or_else(|| json!({})));
                reasons.push(Reason::none());
            }
            Err(Error::Validation(why) | Error::EmptyKey(why)) => {
                reasons.push(Reason { code: "ValidationError", message: Some(why), item: None });
            }
            Err(other) => return Err(other),
        }
    }
    if responses.len() < reasons.len() {
        return Err(Error::Cancelled(reasons));
    }
    tables.count(&consumed);
    let mut answer = json!({"Responses": responses});
    if asks {
        answer["ConsumedCapacity"] = consumed.shown().into();
    }
    Ok(answer.to_string().into())
}

/// What a query or scan looks at, and what it shows of it.
struct Plan<'a> {
    schema: Arc<Schema>,
    index: Option<&'a Index>,
    range: Range,
    limit: usize,
    filter: Option<Condition<'a>>,
    projection: Option<Projection>,
    /// Which of how many parts of a scan.
    segment: Option<(u64, u64)>,
    is_count: bool,
}

/// What a query or scan has found.
#[derive(Default)]
struct Page {
    items: Vec<Item>,
    count: usize,
    scanned: usize,
    bytes: usize,
    last: Option<Item>,
    has_more: bool,
}

/// Query.
///
/// # Errors
/// Those of DynamoDB.
pub fn query(tables: &Tables, request: &Read) -> Result<Bytes, Error> {
    if request.segment.is_some() || request.total_segments.is_some() {
        return Err(Error::Serialization("unknown field `Segment`".into()));
    }
    let Some(text) = request.key_condition_expression.as_deref() else {
        return Err(Error::validation(
            "Either the KeyConditions or KeyConditionExpression parameter must be specified in the request.",
        ));
    };
    let scope = scope(request);
    let clauses = Clauses::parse(text, &scope).map_err(Error::expression("KeyCondition"))?;
    run(tables, request, &scope, Some(clauses))
}

/// Scan.
///
/// # Errors
/// Those of DynamoDB.
pub fn scan(tables: &Tables, request: &Read) -> Result<Bytes, Error> {
    if request.key_condition_expression.is_some() || request.scan_index_forward.is_some() {
        return Err(Error::Serialization(
            "unknown field `KeyConditionExpression` or `ScanIndexForward`".into(),
        ));
    }
    run(tables, request, &scope(request), None)
}

fn scope(request: &Read) -> Scope<'_> {
    Scope::new(request.expression_attribute_names.as_ref(), request.expression_attribute_values.as_ref())
}

fn run<'a>(
    tables: &Tables,
    request: &'a Read,
    scope: &Scope<'a>,
    clauses: Option<Clauses<'a>>,
) -> Result<Bytes, Error> {
    let asks = wants_capacity(request.return_consumed_capacity.as_deref())?;
    let filter = request.filter_expression.as_deref().map(|text| Condition::parse(text, scope)).transpose();
    let filter = filter.map_err(Error::expression("Filter"))?;
    let projection =
        request.projection_expression.as_deref().map(|text| Projection::parse(text, scope)).transpose();
    let projection = projection.map_err(Error::expression("Projection"))?;
    let is_count = check_select(request, projection.is_some())?;
    let limit = match request.limit {
        Some(limit) if limit < 1 => {
            return Err(Error::constraint(
                "Value at 'Limit' failed to satisfy constraint: Member must have value greater than or equal to 1",
            ));
        }
        limit => limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX),
    };
    let schema = Arc::clone(tables.schema(&request.table_name)?);
    if request.index_name.is_some() && request.consistent_read == Some(true) {
        return Err(Error::validation("Consistent reads are not supported on global secondary indexes"));
    }
    let index = request.index_name.as_deref().map(|name| schema.index(name)).transpose()?;
    let segment = segment(request)?;
    check_index(request, index)?;
    let range = range(request, &schema, index, clauses)?;
    check_filter(filter.as_ref(), request, &schema, index)?;
    scope.check_used().map_err(Error::unused)?;
    let plan =
        Plan { schema: Arc::clone(&schema), index, range, limit, filter, projection, segment, is_count };
    let page = plan.page(tables, &tables.past(&request.table_name, request.consistent_read));
    let mut consumed = Consumed::by_reads(false);
    consumed.read(&request.table_name, page.bytes, request.consistent_read == Some(true));
    tables.count(&consumed);
    Ok(plan.answer(page, asks.then_some(&consumed)))
}

/// Whether the rows are only counted.
fn check_select(request: &Read, is_projected: bool) -> Result<bool, Error> {
    match request.select.as_deref() {
        None => Ok(false),
        Some("COUNT") if !is_projected => Ok(true),
        Some("ALL_ATTRIBUTES") if !is_projected => Ok(false),
        Some("ALL_PROJECTED_ATTRIBUTES") if !is_projected && request.index_name.is_some() => Ok(false),
        Some("SPECIFIC_ATTRIBUTES") if is_projected => Ok(false),
        Some(select) => Err(Error::constraint(&format!(
            "Select {select} does not fit the ProjectionExpression or the IndexName"
        ))),
    }
}

fn segment(request: &Read) -> Result<Option<(u64, u64)>, Error> {
    match (request.segment, request.total_segments) {
        (None, None) => Ok(None),
        (Some(segment), Some(total)) if segment < total => Ok(Some((segment, total))),
        (Some(segment), Some(total)) => Err(Error::Validation(format!(
            "The Segment parameter is zero-based and must be less than parameter TotalSegments: Segment: {segment} is not less than TotalSegments: {total}"
        ))),
        (Some(_), None) => Err(Error::validation(
            "The TotalSegments parameter is required but was not present in the request when Segment parameter is present",
        )),
        (None, Some(_)) => Err(Error::validation(
            "The Segment parameter is required but was not present in the request when parameter TotalSegments is present",
        )),
    }
}

fn check_index(request: &Read, index: Option<&Index>) -> Result<(), Error> {
    let Some(index) = index else { return Ok(()) };
    if request.select.as_deref() == Some("ALL_ATTRIBUTES") && index.projected != Projected::All {
        return Err(Error::invalid(&format!(
            "Select type ALL_ATTRIBUTES is not supported for global secondary index {} because its projection type is not ALL",
            index.name
        )));
    }
    Ok(())
}

fn check_filter(
    filter: Option<&Condition<'_>>,
    request: &Read,
    schema: &Schema,
    index: Option<&Index>,
) -> Result<(), Error> {
    let key = index.map_or(&schema.key, |index| &index.key);
    let is_query = request.key_condition_expression.is_some();
    let names = filter.filter(|_| is_query).map(Condition::names).unwrap_or_default();
    match names.into_iter().find(|name| key.has(name)) {
        Some(name) => Err(Error::Validation(format!(
            "Filter Expression can only contain non-primary key attributes: Primary key attribute: {name}"
        ))),
        None => Ok(()),
    }
}

/// The places that a query or scan goes through.
fn range(
    request: &Read,
    schema: &Schema,
    index: Option<&Index>,
    clauses: Option<Clauses<'_>>,
) -> Result<Range, Error> {
    let key = index.map_or(&schema.key, |index| &index.key);
    let first = index.map_or_else(|| schema.rows(), |index| schema.entries(index));
    let range = match clauses {
        None => Range::prefix(&first),
        Some(clauses) => {
            let condition = clauses.bind(&key.hash, key.range.as_deref()).map_err(Error::Validation)?;
            wanted(first, &condition)?.backward(request.scan_index_forward == Some(false))
        }
    };
    let Some(start) = &request.exclusive_start_key else { return Ok(range) };
    let invalid = || Error::validation("The provided starting key is invalid");
    let place = match index {
        None => schema.key(start).map_err(|_| invalid())?.as_bytes().to_vec(),
        Some(index) if schema.position(Some(index), start).len() == start.len() => {
            schema.entry(index, start).ok_or_else(invalid)?
        }
        Some(_) => return Err(invalid()),
    };
    if !range.holds(&place) {
        return Err(invalid());
    }
    Ok(range.after(&place))
}

/// A value that a key is compared with.
fn text(value: &Value, most: usize) -> Result<&str, Error> {
    match value {
        Value::S(text) if !text.is_empty() => check_length(text, most).map(|()| text.as_str()),
        _ => Err(Error::invalid("Condition parameter type does not match schema type")),
    }
}

/// The places of one partition, as far as the sort key is wanted.
fn wanted(mut first: Vec<u8>, condition: &KeyCondition<'_>) -> Result<Range, Error> {
    first.extend(place(&[text(condition.hash, MAX_HASH_BYTES)?]));
    let partition = Range::prefix(&first);
    let Some(wanted) = condition.range else { return Ok(partition) };
    let whole =
        |value: &Value| Ok::<_, Error>([first.as_slice(), &place(&[text(value, MAX_RANGE_BYTES)?])].concat());
    let behind = |place: Vec<u8>| end(&place).map_or(Bound::Unbounded, Bound::Included);
    let up_to = |place: Vec<u8>| end(&place).map_or(Bound::Unbounded, Bound::Excluded);
    Ok(match wanted {
        Wanted::Equal(value) => Range::prefix(&whole(value)?),
        Wanted::Less(value) => Range { to: Bound::Excluded(whole(value)?), ..partition },
        Wanted::AtMost(value) => Range { to: up_to(whole(value)?), ..partition },
        Wanted::Greater(value) => Range { from: behind(whole(value)?), ..partition },
        Wanted::AtLeast(value) => Range { from: Bound::Included(whole(value)?), ..partition },
        Wanted::Between(low, high) => {
            Range { from: Bound::Included(whole(low)?), to: up_to(whole(high)?), ..partition }
        }
        Wanted::BeginsWith(value) => {
            let mut prefix = first.clone();
            begin(&mut prefix, text(value, MAX_RANGE_BYTES)?);
            Range::prefix(&prefix)
        }
    })
}

/// Which part of a scan a row belongs to.
fn is_of(segment: (u64, u64), hash: &str) -> bool {
    let sum = hash.bytes().fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)));
    sum % segment.1 == segment.0
}

impl Plan<'_> {
    fn page(&self, tables: &Tables, past: &Past) -> Page {
        let mut page = Page::default();
        let places = (&*self.schema, self.index, &self.range);
        past.visit(&tables.storage, places, |row| self.look_at(read(row), &mut page));
        page
    }

    fn look_at(&self, row: Item, page: &mut Page) -> ControlFlow<()> {
        if let (Some(segment), Some(Value::S(hash))) = (self.segment, row.get(&self.schema.key.hash))
            && !is_of(segment, hash)
        {
            return ControlFlow::Continue(());
        }
        let last = self.schema.position(self.index, &row);
        let item = match self.index {
            Some(index) => self.schema.projected(index, &row),
            None => row,
        };
        let length = size(&item);
        if page.bytes + length > MAX_PAGE_BYTES && page.scanned > 0 {
            page.has_more = true;
            return ControlFlow::Break(());
        }
        page.scanned += 1;
        page.bytes += length;
        page.last = Some(last);
        if self.filter.as_ref().is_none_or(|filter| filter.holds(&item)) {
            page.count += 1;
            if !self.is_count {
                page.items.push(seen(item, self.projection.as_ref()));
            }
        }
        page.has_more = page.scanned >= self.limit;
        if page.has_more { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn answer(&self, page: Page, consumed: Option<&Consumed>) -> Bytes {
        let mut answer = json!({"Count": page.count, "ScannedCount": page.scanned});
        if !self.is_count {
            answer["Items"] = json!(page.items);
        }
        if let Some(last) = page.last.filter(|_| page.has_more) {
            answer["LastEvaluatedKey"] = json!(last);
        }
        if let Some(consumed) = consumed {
            answer["ConsumedCapacity"] = consumed.shown_alone();
        }
        answer.to_string().into()
    }
}
