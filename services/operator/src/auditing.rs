//! The command `audit`.

use crate::session::{Misuse, Session, bar, say};
use anyhow::{Context, Result, bail, ensure};
use chrono::{DateTime, TimeDelta, Utc};
use clap::Args;
use events::OrderId;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use operator::audit::{Audit, Book, Counts, Found, Money, Scope};
use serde::Deserialize;
use serde_json::json;
use std::collections::BTreeMap;

#[derive(Args)]
pub struct AuditArguments {
    /// Only this order
    #[arg(long, conflicts_with = "since")]
    order: Option<OrderId>,
    /// Only what changed at this time or later, and no sums of stock: 2026-11-22T09:30:00Z
    #[arg(long)]
    since: Option<DateTime<Utc>>,
    /// How many seconds an event may be underway
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(0..=604_800))]
    grace: u32,
    /// The payment simulator's book, http://127.0.0.1:4567/book: what was really captured and given back
    #[arg(long, value_name = "URL")]
    provider_book: Option<String>,
}

/// Audits, and says what differs.
///
/// # Errors
/// When something differs, or whatever went wrong.
pub async fn run(session: &Session, arguments: AuditArguments) -> Result<()> {
    ensure!(arguments.since.is_none_or(|since| since < Utc::now()), Misuse("--since: has to be past".into()));
    let table = |service: &str| session.table(service);
    let mut audit = Audit::new(table, TimeDelta::seconds(arguments.grace.into()));
    if let Some(url) = &arguments.provider_book {
        // Its time is taken first: what is captured meanwhile is in it or not.
        let read_at = Utc::now();
        audit = audit.with_book(Book { orders: book(url).await?, read_at });
    }
    let (scope, bar) = (arguments.order.map_or(Scope::All(arguments.since), Scope::Order), bar(None, ""));
    let mut found = audit.run(scope, |counts| bar.set_message(summary(counts))).await?;
    bar.finish_and_clear();
    if found.has_lost_events() {
        found = found.with_dead(&session.stage, &session.stage().dead_events().await?);
    }
    if arguments.order.is_some() && found.counts.events == 0 {
        bail!(Misuse(format!("no table of {} knows this order", session.stage)));
    }
    report(&found, session.json)?;
    ensure!(found.differences.is_empty(), "differences: {}", found.differences.len());
    Ok(())
}

fn summary(counts: &Counts) -> String {
    format!("{} subjects with {} events", counts.subjects, counts.events)
}

fn report(found: &Found, json: bool) -> Result<()> {
    for difference in &found.differences {
        if json {
            say(&json!(difference).to_string())?;
        } else {
            let (table, key) = (difference.table, &difference.key);
            say(&format!("{table} {key}: {}; {}", difference.what, difference.mend))?;
        }
    }
    let (counts, number) = (&found.counts, found.differences.len());
    if json {
        return say(&json!({"audited": counts, "differences": number}).to_string());
    }
    for (number, what) in [
        (counts.without_digest, "rows have no digest: they were written before rows had one"),
        (counts.being_tried, "deliveries failed a moment ago, and will be tried again"),
        (counts.moving_products, "products moved while they were added up: not compared"),
    ] {
        if number > 0 {
            say(&format!("{number} {what}"))?;
        }
    }
    say(&format!("{} audited, {number} differences", summary(counts)))
}

/// One record of the payment simulator's book.
#[derive(Deserialize)]
struct Record {
    order_id: String,
    captured: u64,
    refunded: u64,
}

/// What the provider has of each order, read page by page.
async fn book(url: &str) -> Result<BTreeMap<String, Money>> {
    let (mut book, mut page): (BTreeMap<String, Money>, _) = (BTreeMap::new(), url.to_owned());
    loop {
        let records = records(&page, url).await?;
        let Some(last) = records.keys().next_back() else { return Ok(book) };
        page = format!("{url}?after={last}");
        for Record { order_id, captured, refunded } in records.into_values() {
            let money = book.entry(order_id).or_default();
            money.captures += u32::from(captured > 0);
            money.captured = money.captured.saturating_add(captured);
            money.refunded = money.refunded.saturating_add(refunded);
        }
    }
}

async fn records(page: &str, url: &str) -> Result<BTreeMap<String, Record>> {
    let misuse = || Misuse(format!("--provider-book: {url} has no book of the payment simulator"));
    let uri = page.parse().with_context(misuse)?;
    let client: Client<_, Empty<bytes::Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let answer = client.get(uri).await.with_context(misuse)?;
    let body = answer.into_body().collect().await?.to_bytes();
    serde_json::from_slice(&body).with_context(misuse)
}
