//! The store on DynamoDB: strongly consistent reads and TransactWriteItems.

use crate::attempts::{Counter, counted};
use crate::sdk::in_a_line;
use aws_config::SdkConfig;
use aws_sdk_dynamodb::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    operation::{
        put_item::PutItemError, query::builders::QueryFluentBuilder,
        transact_write_items::TransactWriteItemsError,
    },
    types::{
        AttributeValue, CancellationReason, Delete, KeysAndAttributes, Put,
        ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update, builders::UpdateBuilder,
    },
};
use chassis::Failure;
use chassis::store::{
    Attr, CommitError, Condition, Indexed, Item, Key, MAX_PAGE, Rejected, Scan, Scanned, Store, Write,
    check_shape,
};
use std::collections::HashMap;
use std::time::Duration;

type Attributes = HashMap<String, AttributeValue>;

/// One DynamoDB table.
#[derive(Clone)]
pub struct DynamoStore {
    client: Client,
    table: String,
    keys: Option<String>,
}

impl DynamoStore {
    /// The table named `table`.
    pub fn new(config: &SdkConfig, table: impl Into<String>) -> Self {
        let config = aws_sdk_dynamodb::config::Builder::from(config).interceptor(Counter).build();
        Self { client: Client::from_conf(config), table: table.into(), keys: None }
    }

    /// With the table of keys, named `keys`, which a commit then may write to as well.
    #[must_use]
    pub fn with_keys(self, keys: impl Into<String>) -> Self {
        Self { keys: Some(keys.into()), ..self }
    }
}

fn key_of(key: &Key) -> Attributes {
    let text = |text: &str| AttributeValue::S(text.to_owned());
    HashMap::from([("pk".to_owned(), text(&key.pk)), ("sk".to_owned(), text(&key.sk))])
}

fn to_value(attr: Attr) -> AttributeValue {
    match attr {
        Attr::S(text) => AttributeValue::S(text),
        Attr::N(number) => AttributeValue::N(number.to_string()),
    }
}

fn to_attributes(item: Item) -> Attributes {
    let mut attributes = key_of(&item.key);
    attributes.extend(item.attrs.into_iter().map(|(name, attr)| (name, to_value(attr))));
    attributes
}

fn to_item(attributes: Attributes) -> Result<Item, Failure> {
    let mut item = Item::new(Key::new("", ""));
    for (name, value) in attributes {
        match (name.as_str(), value) {
            ("pk", AttributeValue::S(pk)) => item.key.pk = pk,
            ("sk", AttributeValue::S(sk)) => item.key.sk = sk,
            (_, AttributeValue::S(text)) => {
                item.attrs.insert(name, Attr::S(text));
            }
            (_, AttributeValue::N(digits)) => {
                let number = digits.parse().map_err(|_| unusable(&name))?;
                item.attrs.insert(name, Attr::N(number));
            }
            _ => return Err(unusable(&name)),
        }
    }
    Ok(item)
}

fn unusable(name: &str) -> Failure {
    Failure::Poison(format!("attribute {name:?} is neither text nor a whole number"))
}

/// Any error is worth another delivery, except a request that DynamoDB itself calls invalid.
fn failure_of<E, R>(error: &SdkError<E, R>) -> Failure
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    R: std::fmt::Debug,
{
    let text = in_a_line(error);
    match error.code() {
        Some("ValidationException" | "AccessDeniedException" | "ResourceNotFoundException") => {
            Failure::Poison(text)
        }
        _ => Failure::Transient(text),
    }
}

/// An expression being put together: its text, names and values.
#[derive(Default)]
struct Expression {
    names: HashMap<String, String>,
    values: Attributes,
}

impl Expression {
    fn name(&mut self, name: &str) -> String {
        let placeholder = format!("#{name}");
        self.names.insert(placeholder.clone(), name.to_owned());
        placeholder
    }

    fn value(&mut self, value: Attr) -> String {
        let placeholder = format!(":v{}", self.values.len());
        self.values.insert(placeholder.clone(), to_value(value));
        placeholder
    }

    fn condition(&mut self, when: Condition) -> String {
        match when {
            Condition::Absent => "attribute_not_exists(pk)".to_owned(),
            Condition::AbsentOrExpired(now) => {
                let (at, now) = (self.name("expires_at"), self.value(now.into()));
                format!("attribute_not_exists(pk) OR {at} <= {now}")
            }
            Condition::Newer(name, value) => {
                let (name, value) = (self.name(name), self.value(value.into()));
                format!("attribute_not_exists(pk) OR {name} < {value}")
            }
            Condition::Matches(wanted) if wanted.is_empty() => "attribute_exists(pk)".to_owned(),
            Condition::Matches(wanted) => {
                let equals = wanted.into_iter().map(|(name, value)| {
                    let (name, value) = (self.name(name), self.value(value));
                    format!("{name} = {value}")
                });
                equals.collect::<Vec<_>>().join(" AND ")
            }
        }
    }

    /// `SET available = available + :v0`, and the condition that nothing falls below zero.
    fn adjustment(&mut self, by: Vec<(&'static str, i64)>) -> (String, String) {
        let (mut set, mut require) = (Vec::new(), vec!["attribute_exists(pk)".to_owned()]);
        for (name, difference) in by {
            let name = self.name(name);
            let value = self.value(difference.into());
            set.push(format!("{name} = {name} + {value}"));
            if difference < 0 {
                let least = self.value(difference.saturating_neg().into());
                require.push(format!("{name} >= {least}"));
            }
        }
        (format!("SET {}", set.join(", ")), require.join(" AND "))
    }

    /// `ADD units :v0`: to DynamoDB a row or number that is not there is zero.
    ///
    /// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.UpdateExpressions.html>
    fn count(&mut self, by: Vec<(&'static str, u64)>) -> Result<String, Failure> {
        let mut add = Vec::new();
        for (name, more) in by {
            let more = i64::try_from(more).map_err(|_| unusable(name))?;
            add.push(format!("{} {}", self.name(name), self.value(more.into())));
        }
        Ok(format!("ADD {}", add.join(", ")))
    }

    fn values(self) -> (Option<HashMap<String, String>>, Option<Attributes>) {
        (Some(self.names).filter(|n| !n.is_empty()), Some(self.values).filter(|v| !v.is_empty()))
    }
}

/// The errors of a whole call that pass by themselves.
const BUSY: [&str; 5] = [
    "TransactionConflictException",
    "TransactionInProgressException",
    "ThrottlingException",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
];

/// Before each call for the keys that are left: DynamoDB processes fewer than asked for when it is throttled, or has 16 MB.
///
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html>
const PAUSES_MILLIS: [u64; 6] = [0, 10, 20, 40, 80, 160];

const ALL_OLD: ReturnValuesOnConditionCheckFailure = ReturnValuesOnConditionCheckFailure::AllOld;

impl DynamoStore {
    fn action(&self, write: Write) -> Result<TransactWriteItem, Failure> {
        let poison = |e: aws_sdk_dynamodb::error::BuildError| Failure::Poison(e.to_string());
        let mut expression = Expression::default();
        match write {
            Write::Put { item, when } => {
                let condition = expression.condition(when);
                let (names, values) = expression.values();
                let put = Put::builder()
                    .table_name(&self.table)
                    .set_item(Some(to_attributes(item)))
                    .condition_expression(condition)
                    .set_expression_attribute_names(names)
                    .set_expression_attribute_values(values)
                    .return_values_on_condition_check_failure(ALL_OLD);
                Ok(TransactWriteItem::builder().put(put.build().map_err(poison)?).build())
            }
            Write::Adjust { key, by } => {
                let (update, condition) = expression.adjustment(by);
                let update = self.update(&key, update, expression).condition_expression(condition);
                let update = update.return_values_on_condition_check_failure(ALL_OLD);
                Ok(TransactWriteItem::builder().update(update.build().map_err(poison)?).build())
            }
            Write::Count { key, by } => {
                let update = expression.count(by)?;
                let update = self.update(&key, update, expression);
                Ok(TransactWriteItem::builder().update(update.build().map_err(poison)?).build())
            }
            Write::Delete { key, when } => {
                let condition = expression.condition(when);
                let (names, values) = expression.values();
                let delete = Delete::builder()
                    .table_name(&self.table)
                    .set_key(Some(key_of(&key)))
                    .condition_expression(condition)
                    .set_expression_attribute_names(names)
                    .set_expression_attribute_values(values)
                    .return_values_on_condition_check_failure(ALL_OLD);
                Ok(TransactWriteItem::builder().delete(delete.build().map_err(poison)?).build())
            }
            Write::NewKey(item) => {
                let keys =
                    self.keys.as_ref().ok_or_else(|| Failure::Poison("no table of keys is named".into()))?;
                // Without the row that is there: a key is never shown to its writer.
                let put = Put::builder()
                    .table_name(keys)
                    .set_item(Some(to_attributes(item)))
                    .condition_expression(expression.condition(Condition::Absent));
                Ok(TransactWriteItem::builder().put(put.build().map_err(poison)?).build())
            }
        }
    }

    /// An update of one row, without a condition.
    fn update(&self, key: &Key, update: String, expression: Expression) -> UpdateBuilder {
        let (names, values) = expression.values();
        Update::builder()
            .table_name(&self.table)
            .set_key(Some(key_of(key)))
            .update_expression(update)
            .set_expression_attribute_names(names)
            .set_expression_attribute_values(values)
    }

    /// Puts one row, outside of a transaction, which would cost twice as much and do no more. What a transaction has in
    /// addition is a token: where the answer is lost and the SDK calls again, the condition refuses the row that the first
    /// attempt has put. That one is this very row, so it is known.
    ///
    /// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis.html>
    async fn put(&self, item: Item, when: Condition) -> Result<(), CommitError> {
        let mut expression = Expression::default();
        let condition = expression.condition(when);
        let (names, values) = expression.values();
        let attributes = to_attributes(item.clone());
        let put = self.client.put_item().table_name(&self.table).set_item(Some(attributes));
        let put = put.condition_expression(condition).return_values_on_condition_check_failure(ALL_OLD);
        let put = put.set_expression_attribute_names(names).set_expression_attribute_values(values);
        let (outcome, attempts) = counted(put.send()).await;
        let Err(error) = outcome else { return Ok(()) };
        match error.as_service_error() {
            Some(PutItemError::ConditionalCheckFailedException(refused)) => {
                let current = refused.item.clone().map(to_item).transpose()?;
                if attempts > 1 && current.as_ref() == Some(&item) {
                    return Ok(());
                }
                Err(CommitError::Rejected(vec![Some(Rejected { current })]))
            }
            _ => Err(busy_or_failed(&error)),
        }
    }

    /// Adds rows to `found`, and returns the keys that DynamoDB left unprocessed.
    async fn load_some(
        &self,
        keys: Vec<Attributes>,
        found: &mut HashMap<Key, Item>,
    ) -> Result<Vec<Attributes>, Failure> {
        let wanted = KeysAndAttributes::builder().set_keys(Some(keys)).consistent_read(true).build();
        let wanted = wanted.map_err(|e| Failure::Poison(e.to_string()))?;
        let answer = self.client.batch_get_item().request_items(&self.table, wanted).send().await;
        let answer = answer.map_err(|e| failure_of(&e))?;
        for attributes in answer.responses.into_iter().flat_map(HashMap::into_values).flatten() {
            let item = to_item(attributes)?;
            found.insert(item.key.clone(), item);
        }
        let left = answer.unprocessed_keys.into_iter().flat_map(HashMap::into_values);
        Ok(left.flat_map(|left| left.keys).collect())
    }
}

impl DynamoStore {
    /// Answer after answer, until there are `limit` rows or no more: DynamoDB ends an answer at 1 MB.
    async fn rows(&self, mut query: QueryFluentBuilder, limit: u32) -> Result<Vec<Item>, Failure> {
        let mut rows = Vec::new();
        let mut left = i32::try_from(limit.min(MAX_PAGE)).unwrap_or(i32::MAX);
        loop {
            let answer = query.clone().limit(left).send().await.map_err(|e| failure_of(&e))?;
            for attributes in answer.items.unwrap_or_default() {
                rows.push(to_item(attributes)?);
                left -= 1;
            }
            if answer.last_evaluated_key.is_none() || left <= 0 {
                return Ok(rows);
            }
            query = query.set_exclusive_start_key(answer.last_evaluated_key);
        }
    }

    /// A query of an index; `#of = :of` is its partition.
    fn index(&self, index: &str, partition: &str) -> QueryFluentBuilder {
        let query = self.client.query().table_name(&self.table).index_name(index);
        let partition = AttributeValue::S(partition.to_owned());
        query.expression_attribute_names("#of", index).expression_attribute_values(":of", partition)
    }

    /// The rows of a query of an index, as the index knows them.
    async fn indexed(
        &self,
        query: QueryFluentBuilder,
        index: &str,
        limit: u32,
    ) -> Result<Vec<Indexed>, Failure> {
        let (rows, at) = (self.rows(query, limit).await?, format!("{index}_at"));
        let indexed = |row: Item| {
            let place = row.text(&at).map(str::to_owned);
            place.map(|at| Indexed { key: row.key, at }).ok_or_else(|| unusable(index))
        };
        rows.into_iter().map(indexed).collect()
    }
}

impl Scan for DynamoStore {
    async fn scan(&self, prefix: &str, after: Option<&Key>, limit: u32) -> Result<Scanned, Failure> {
        let scan = self.client.scan().table_name(&self.table).consistent_read(true);
        let scan = match prefix {
            "" => scan,
            prefix => scan
                .filter_expression("begins_with(sk, :prefix)")
                .expression_attribute_values(":prefix", AttributeValue::S(prefix.to_owned())),
        };
        let scan =
            scan.set_exclusive_start_key(after.map(key_of)).limit(i32::try_from(limit).unwrap_or(i32::MAX));
        let answer = scan.send().await.map_err(|e| failure_of(&e))?;
        let rows = answer.items.unwrap_or_default().into_iter().map(to_item).collect::<Result<_, _>>()?;
        let last = answer.last_evaluated_key.map(to_item).transpose()?.map(|row| row.key);
        Ok(Scanned { rows, last })
    }
}

impl Store for DynamoStore {
    async fn load(&self, key: &Key) -> Result<Option<Item>, Failure> {
        let get = self.client.get_item().table_name(&self.table).set_key(Some(key_of(key)));
        let answer = get.consistent_read(true).send().await.map_err(|e| failure_of(&e))?;
        answer.item.map(to_item).transpose()
    }

    // A transaction that writes one of the rows would cancel a TransactGetItems; BatchGetItem reads beside it. It answers in
    // any order, and perhaps not for every key at once.
    async fn load_many(&self, keys: &[Key]) -> Result<Vec<Option<Item>>, Failure> {
        if let [key] = keys {
            return Ok(vec![self.load(key).await?]);
        }
        let mut found: HashMap<Key, Item> = HashMap::new();
        let mut left: Vec<Attributes> = keys.iter().map(key_of).collect();
        for pause in PAUSES_MILLIS {
            if left.is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(pause)).await;
            left = self.load_some(left, &mut found).await?;
        }
        if !left.is_empty() {
            return Err(Failure::Transient(format!("{} rows were not read in time", left.len())));
        }
        Ok(keys.iter().map(|key| found.remove(key)).collect())
    }

    async fn page(
        &self,
        pk: &str,
        prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Item>, Failure> {
        let query = self.client.query().table_name(&self.table).consistent_read(true);
        let start = after.map(|sk| key_of(&Key::new(pk, sk)));
        // A key is never empty, and DynamoDB refuses a condition that compares it with an empty text.
        let query = match prefix {
            "" => query.key_condition_expression("pk = :pk"),
            prefix => query
                .key_condition_expression("pk = :pk AND begins_with(sk, :prefix)")
                .expression_attribute_values(":prefix", AttributeValue::S(prefix.to_owned())),
        };
        let query = query
            .expression_attribute_values(":pk", AttributeValue::S(pk.to_owned()))
            .set_exclusive_start_key(start);
        self.rows(query, limit).await
    }

    async fn newest(
        &self,
        index: &'static str,
        partition: &str,
        before: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Indexed>, Failure> {
        let query = self.index(index, partition).scan_index_forward(false);
        let query = match before {
            None => query.key_condition_expression("#of = :of"),
            Some(before) => query
                .key_condition_expression("#of = :of AND #at < :before")
                .expression_attribute_names("#at", format!("{index}_at"))
                .expression_attribute_values(":before", AttributeValue::S(before.to_owned())),
        };
        self.indexed(query, index, limit).await
    }

    async fn oldest(
        &self,
        index: &'static str,
        partition: &str,
        until: &str,
        after: Option<&Indexed>,
        limit: u32,
    ) -> Result<Vec<Indexed>, Failure> {
        let at = format!("{index}_at");
        // A position in an index is the row's key in the table and its key in the index.
        let start = after.map(|after| {
            let place = [(index, partition), (&at, &after.at)];
            let place = place.map(|(name, text)| (name.to_owned(), AttributeValue::S(text.to_owned())));
            key_of(&after.key).into_iter().chain(place).collect()
        });
        let query = self
            .index(index, partition)
            .key_condition_expression("#of = :of AND #at <= :until")
            .expression_attribute_names("#at", &at)
            .expression_attribute_values(":until", AttributeValue::S(until.to_owned()))
            .set_exclusive_start_key(start);
        self.indexed(query, index, limit).await
    }

    async fn commit(&self, writes: Vec<Write>) -> Result<(), CommitError> {
        check_shape(&writes)?;
        let writes = match <[Write; 1]>::try_from(writes) {
            Ok([Write::Put { item, when }]) => return self.put(item, when).await,
            Ok(other) => other.into(),
            Err(several) => several,
        };
        let actions = writes.into_iter().map(|write| self.action(write)).collect::<Result<Vec<_>, _>>()?;
        let sent = self.client.transact_write_items().set_transact_items(Some(actions)).send().await;
        sent.map(|_| ()).map_err(|error| match error.as_service_error() {
            Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
                commit_error(cancelled.cancellation_reasons())
            }
            _ => busy_or_failed(&error),
        })
    }
}

/// The error of a commit that no condition refused.
fn busy_or_failed<E, R>(error: &SdkError<E, R>) -> CommitError
where
    E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + 'static,
{
    match error.as_service_error().and_then(|service| Some((service, service.code()?))) {
        Some((service, code)) if BUSY.contains(&code) => CommitError::Busy(service.to_string()),
        _ => CommitError::Failed(failure_of(error)),
    }
}

/// Sorts the reasons of a cancelled transaction; they stand in the order of its writes.
///
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html>
fn commit_error(reasons: &[CancellationReason]) -> CommitError {
    let codes: Vec<&str> = reasons.iter().map(|reason| reason.code().unwrap_or("None")).collect();
    if codes.contains(&"ConditionalCheckFailed") {
        let rejected = |reason: &CancellationReason| match reason.code() {
            Some("ConditionalCheckFailed") => {
                let current = reason.item.clone().map(to_item).transpose()?;
                Ok(Some(Rejected { current }))
            }
            _ => Ok(None),
        };
        let rejected: Result<Vec<_>, Failure> = reasons.iter().map(rejected).collect();
        return rejected.map_or_else(CommitError::Failed, CommitError::Rejected);
    }
    let passing = ["TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"];
    match codes.iter().find(|code| passing.contains(code)) {
        Some(code) => CommitError::Busy((*code).to_owned()),
        None => CommitError::Failed(Failure::Poison(format!("transaction cancelled: {codes:?}"))),
    }
}
