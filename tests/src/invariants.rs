//! I1 and I2, checked from outside: over the API and the payment provider's own book.

use crate::client::Client;
use anyhow::{Context, Result};
use futures_util::{StreamExt, stream};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};

/// How many orders are looked at side by side.
const LOOKS: usize = 16;

/// What should be true of the orders given and is not.
#[derive(Debug, Default)]
pub struct Report {
    /// Orders by status.
    pub statuses: BTreeMap<String, u64>,
    /// One line per violation.
    pub violations: Vec<String>,
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
    let mut report = Report::default();
    let book = provider.get("/book").await?.body;
    let book = by_order(book.as_object().context("the book is not an object")?);
    let mut held: HashMap<String, u64> = HashMap::new();
    let mut looked = stream::iter(orders).map(async |id| (id, api.order(id).await)).buffered(LOOKS);
    while let Some((id, order)) = looked.next().await {
        let order = order?;
        let status = order["status"].as_str().unwrap_or_default().to_owned();
        for item in order["items"].as_array().into_iter().flatten() {
            if matches!(status.as_str(), "CONFIRMED" | "FULFILLED") {
                let product = item["product_id"].as_str().unwrap_or_default().to_owned();
                *held.entry(product).or_default() += item["quantity"].as_u64().unwrap_or(0);
            }
        }
        let money = book.get(id.as_str()).map_or(&[][..], Vec::as_slice);
        report.violations.extend(money_violation(id, &status, &order, money));
        *report.statuses.entry(status).or_default() += 1;
    }
    for (product, stock) in products {
        let row = api.product(product).await?;
        let count = |name: &str| row[name].as_u64().unwrap_or(u64::MAX);
        let (available, in_hand, shipped) = (count("available"), count("held"), count("shipped"));
        let promised = held.get(product).copied().unwrap_or(0);
        if available.saturating_add(in_hand).saturating_add(shipped) != *stock
            || in_hand + shipped != promised
        {
            report.violations.push(format!(
                "I1: {product} started with {stock}; available {available}, held {in_hand}, shipped {shipped}, \
                 confirmed orders have {promised}"
            ));
        }
    }
    Ok(report)
}

fn by_order(book: &serde_json::Map<String, Value>) -> HashMap<&str, Vec<&Value>> {
    let mut orders: HashMap<&str, Vec<&Value>> = HashMap::new();
    for record in book.values() {
        orders.entry(record["order_id"].as_str().unwrap_or_default()).or_default().push(record);
    }
    orders
}

fn money_violation(id: &str, status: &str, order: &Value, records: &[&Value]) -> Option<String> {
    let sum = |name: &str| records.iter().map(|r| r[name].as_u64().unwrap_or(0)).sum::<u64>();
    let captures = records.iter().filter(|r| r["captured"].as_u64() > Some(0)).count();
    let (captured, refunded) = (sum("captured"), sum("refunded"));
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
