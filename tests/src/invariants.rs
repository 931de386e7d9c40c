//! I1, I2 and I3, checked from outside: over the API and the payment provider's own book.

use crate::client::Client;
use anyhow::{Context, Result};
use futures_util::{StreamExt, stream};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, HashMap};

/// How many orders are read side by side.
const CONCURRENCY: usize = 16;

/// What should be true of the orders given and is not.
#[derive(Debug, Default)]
pub struct Report {
    /// Orders by status.
    pub statuses: BTreeMap<String, u64>,
    /// One line per violation.
    pub violations: Vec<String>,
}

/// What the provider's book says of one order. Amounts are in minor units.
#[derive(Clone, Copy, Debug, Default)]
pub struct Money {
    /// How often the provider took money.
    pub captures: usize,
    /// How much it took.
    pub captured: u64,
    /// How much it gave back.
    pub refunded: u64,
}

/// Orders, and the units that they were promised: first every order is entered, then each product is compared.
#[derive(Debug, Default)]
pub struct Ledger {
    promised: HashMap<String, u64>,
    /// What was found.
    pub report: Report,
}

impl Ledger {
    /// Enters an order as the API shows it, and checks I2 and I3.
    pub fn order(&mut self, id: &str, order: &Value, money: Money) {
        let status = order["status"].as_str().unwrap_or_default().to_owned();
        if matches!(status.as_str(), "CONFIRMED" | "FULFILLED") {
            for item in order["items"].as_array().into_iter().flatten() {
                let product = item["product_id"].as_str().unwrap_or_default().to_owned();
                *self.promised.entry(product).or_default() += item["quantity"].as_u64().unwrap_or(0);
            }
        }
        self.report.violations.extend(money_violation(id, &status, order, money));
        *self.report.statuses.entry(status).or_default() += 1;
    }

    /// Checks I1 for a product that started with `stock`; `units` are available, held and shipped.
    pub fn product(&mut self, product: &str, stock: u64, units: (u64, u64, u64)) {
        let (available, held, shipped) = units;
        let promised = self.promised.get(product).copied().unwrap_or(0);
        let sum = available.saturating_add(held).saturating_add(shipped);
        if sum != stock || held.saturating_add(shipped) != promised {
            self.report.violations.push(format!(
                "I1: {product} started with {stock}; available {available}, held {held}, shipped {shipped}, \
                 confirmed orders have {promised}"
            ));
        }
    }
}

/// Checks I1 for each product (with the stock it started with) and I2 for each order.
///
/// # Errors
/// When the API or the book cannot be read.
pub async fn check(
    api: &Client,
    provider: &Client,
    products: &[(String, u64)],
    orders: &[String],
) -> Result<Report> {
    let mut ledger = Ledger::default();
    let book = book(provider).await?;
    let book = by_order(&book);
    let mut read = stream::iter(orders).map(async |id| (id, api.order(id).await)).buffered(CONCURRENCY);
    while let Some((id, order)) = read.next().await {
        ledger.order(id, &order?, book.get(id.as_str()).copied().unwrap_or_default());
    }
    for (product, stock) in products {
        let row = api.product(product).await?;
        let count = |name: &str| row[name].as_u64().unwrap_or(u64::MAX);
        ledger.product(product, *stock, (count("available"), count("held"), count("shipped")));
    }
    Ok(ledger.report)
}

/// The whole book, page by page.
///
/// # Errors
/// When it cannot be read.
pub async fn book(provider: &Client) -> Result<Map<String, Value>> {
    let (mut book, mut path) = (Map::new(), "/book".to_owned());
    loop {
        let page = provider.get(&path).await?.body;
        let page = page.as_object().context("the book is not an object")?;
        let Some(last) = page.keys().max() else { return Ok(book) };
        path = format!("/book?after={last}");
        book.extend(page.clone());
    }
}

fn by_order(book: &Map<String, Value>) -> HashMap<&str, Money> {
    let mut orders: HashMap<&str, Money> = HashMap::new();
    for record in book.values() {
        let amount = |name: &str| record[name].as_u64().unwrap_or(0);
        let money = orders.entry(record["order_id"].as_str().unwrap_or_default()).or_default();
        money.captures += usize::from(amount("captured") > 0);
        money.captured += amount("captured");
        money.refunded += amount("refunded");
    }
    orders
}

fn money_violation(id: &str, status: &str, order: &Value, money: Money) -> Option<String> {
    let Money { captures, captured, refunded } = money;
    let expected = match status {
        "CONFIRMED" | "FULFILLED" => order["total_cents"].as_u64().unwrap_or(0),
        "CANCELLED" | "COMPENSATED" => 0,
        _ => return Some(format!("I3: order {id} is {status}")),
    };
    let wrong = captures > 1 || captured.checked_sub(refunded) != Some(expected);
    wrong.then(|| {
        format!("I2: order {id} is {status}: {captures} captures, {captured} - {refunded}, not {expected}")
    })
}
