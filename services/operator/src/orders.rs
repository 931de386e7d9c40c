//! The command `orders`: lists of orders, by the indexes where there is one, else by reading the whole table.

use crate::session::{Misuse, Session, bar};
use anyhow::Result;
use aws::dynamodb::DynamoStore;
use chassis::AggregateId;
use chassis::aggregate::{Loaded, read_state};
use chassis::store::{Indexed, Item, Key, MAX_PAGE, MAX_WRITES, Scan, Store, all_until, load_all, overdue};
use chrono::{DateTime, Utc};
use clap::Args;
use clap::builder::PossibleValuesParser;
use events::CustomerId;
use events::envelope::millis;
use registry::orders::http::view;
use registry::orders::reactor::BY_CUSTOMER;
use registry::orders::saga::Saga;
use serde_json::Value;
use std::io::Write;

/// How many rows of the table one page reads.
const PAGE: u32 = 500;
/// After every time of an index.
const EVER: &str = "9";
/// Every status.
const STATUSES: [&str; 7] =
    ["PENDING", "CONFIRMED", "FULFILLED", "CANCELLING", "CANCELLED", "COMPENSATED", "FAILED"];
/// Those of orders that an index holds, because they wait for a step.
const WAIT: [&str; 3] = ["PENDING", "CONFIRMED", "CANCELLING"];

/// A customer's orders come from an index, newest first; those that are PENDING, CONFIRMED, CANCELLING or FAILED from the index
/// of what waits. There is no index on the other statuses or on time alone, because it would be written with every change:
/// such a list reads the whole table, and ends at its limit.
#[derive(Args)]
#[group(id = "which", required = true, multiple = true)]
pub struct OrdersArguments {
    /// Orders of this status
    #[arg(long, group = "which", ignore_case = true, value_parser = PossibleValuesParser::new(STATUSES))]
    status: Option<String>,
    /// Orders of this customer
    #[arg(long, group = "which")]
    customer: Option<CustomerId>,
    /// Orders placed at this time or later: 2026-11-22T09:30:00Z
    #[arg(long, group = "which")]
    since: Option<DateTime<Utc>>,
    /// How many at most
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
}

/// Prints the list.
pub async fn run(session: &Session, arguments: &OrdersArguments) -> Result<()> {
    let search = Search::new(session.table("orders"), arguments);
    let found = match (&arguments.customer, search.status.as_deref()) {
        (Some(customer), _) => search.of_customer(customer).await?,
        // One for which inventory still owes its answer waits among the others.
        (None, Some("FAILED")) => {
            search.indexed(std::iter::once(overdue::FAILED.to_owned()).chain(overdue::shards())).await?
        }
        (None, Some(status)) if WAIT.contains(&status) => search.indexed(overdue::shards()).await?,
        _ => search.whole_table().await?,
    };
    let mut rows = found.iter().map(summary).collect::<Result<Vec<Value>>>()?;
    if rows.len() > search.limit {
        rows.truncate(search.limit);
        let _ = writeln!(std::io::stderr(), "there are more: --limit");
    }
    let columns = [
        ("order", "order_id"),
        ("status", "status"),
        ("customer", "customer_id"),
        ("placed", "created_at"),
        ("total", "total_cents"),
        ("currency", "currency"),
    ];
    session.rows(&columns, &rows, "no such orders")
}

/// An order as the API lists it.
fn summary(row: &Item) -> Result<Value> {
    let order: Loaded<Saga> = read_state(row)?;
    let id = AggregateId::of_partition(&row.key.pk).subject.parse();
    let id = id.map_err(|_| Misuse(format!("{} is not an order", row.key)))?;
    Ok(view::summary(id, &order.state)?)
}

struct Search {
    table: DynamoStore,
    status: Option<String>,
    since: Option<String>,
    limit: usize,
}

impl Search {
    fn new(table: DynamoStore, arguments: &OrdersArguments) -> Self {
        Self {
            table,
            status: arguments.status.as_ref().map(|status| status.to_uppercase()),
            since: arguments.since.as_ref().map(millis::text),
            limit: usize::try_from(arguments.limit).unwrap_or(usize::MAX),
        }
    }

    /// Whether a state row is meant: its index attributes say so. An order that was never placed, of which only other
    /// services' events are known, has none.
    fn has(&self, row: &Item) -> bool {
        let is_status = |wanted: &String| row.text("status") == Some(wanted);
        let is_since = |since: &String| row.text("customer_at") >= Some(since);
        row.text(BY_CUSTOMER).is_some()
            && self.status.as_ref().is_none_or(is_status)
            && self.since.as_ref().is_none_or(is_since)
    }

    /// One more than the limit is enough to see that there are more.
    const fn is_full(&self, found: &[Item]) -> bool {
        found.len() > self.limit
    }

    async fn of_customer(&self, customer: &CustomerId) -> Result<Vec<Item>> {
        let (mut found, mut before) = (Vec::new(), None::<String>);
        loop {
            let page = self.table.newest(BY_CUSTOMER, customer.as_str(), before.as_deref(), MAX_PAGE).await?;
            let Some(last) = page.last() else { return Ok(found) };
            let is_past = self.since.as_ref().is_some_and(|since| last.at < *since);
            before = Some(last.at.clone());
            self.add(&page, &mut found).await?;
            if is_past || self.is_full(&found) {
                return Ok(found);
            }
        }
    }

    async fn indexed(&self, partitions: impl IntoIterator<Item = String>) -> Result<Vec<Item>> {
        let mut found = Vec::new();
        for partition in partitions {
            let waiting = all_until(&self.table, overdue::INDEX, &partition, EVER).await?;
            for some in waiting.chunks(MAX_WRITES) {
                self.add(some, &mut found).await?;
                if self.is_full(&found) {
                    return Ok(found);
                }
            }
        }
        Ok(found)
    }

    /// Loads what an index found: the index is a moment late.
    async fn add(&self, indexed: &[Indexed], found: &mut Vec<Item>) -> Result<()> {
        let keys: Vec<Key> = indexed.iter().map(|row| row.key.clone()).collect();
        let rows = load_all(&self.table, &keys).await?;
        found.extend(rows.into_iter().flatten().filter(|row| self.has(row)));
        Ok(())
    }

    async fn whole_table(&self) -> Result<Vec<Item>> {
        let (mut found, mut after, bar) = (Vec::new(), None, bar(None, "rows"));
        loop {
            let scanned = self.table.scan("state", after.as_ref(), PAGE).await?;
            bar.inc(PAGE.into());
            found.extend(scanned.rows.into_iter().filter(|row| self.has(row)));
            after = scanned.last;
            if after.is_none() || self.is_full(&found) {
                bar.finish_and_clear();
                return Ok(found);
            }
        }
    }
}
