//! `report`: places orders of every outcome on a metered platform in memory, and says what AWS would bill for each.

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use clap::Args;
use futures_util::{StreamExt, TryStreamExt, stream};
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use localstack::bill::{self, Line, Prices};
use localstack::outside::token_issuer;
use localstack::stack::{Options, Stack};
use localstack::support::meter::{Counts, Unit};
use serde_json::{Value, json};
use std::cmp::Reverse;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long the platform may take to come to rest.
const TIMEOUT: Duration = Duration::from_secs(120);
/// How many of the dearest lines are shown.
const DEAREST: usize = 5;
/// Whose orders they are.
const CUSTOMER: &str = "report";

/// Say what AWS would bill for an order, by how it ends, and which permissions it needs.
///
/// Starts a platform of its own, in memory. Fixed costs are not in it: storage, alarms, schedules, and the polls of idle
/// queues and streams.
#[derive(Args)]
pub struct Arguments {
    /// How many orders of each kind
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    orders: u32,
    /// How many are placed at a time; the more, the fuller the batches. With 1 each order comes to its end before the next, and
    /// the report shows the least that one was counted as
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=256))]
    concurrency: u32,
    /// Prices of another region or day; without it those of localstack/prices.json
    #[arg(long)]
    prices: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// A kind of order.
struct Kind {
    title: &'static str,
    product: &'static str,
    quantity: u32,
    method: &'static str,
    end: &'static str,
}

const FULFILLED: Kind = Kind {
    title: "fulfilled",
    product: "report-beans",
    quantity: 2,
    method: "pm_card_visa",
    end: "FULFILLED",
};

const KINDS: [Kind; 4] = [
    FULFILLED,
    Kind { title: "declined", method: "pm_card_visa_chargeDeclined", end: "COMPENSATED", ..FULFILLED },
    Kind { title: "out of stock", product: "report-rarity", end: "CANCELLED", ..FULFILLED },
    Kind { title: "not shipped", product: "unshippable-report", end: "COMPENSATED", ..FULFILLED },
];

/// What the orders of one kind were counted as.
struct Column {
    title: &'static str,
    lines: Vec<Line>,
}

/// The platform, as its customers see it.
struct Shop {
    stack: Stack,
    token: String,
    client: Client<HttpConnector, Full<Bytes>>,
}

/// Does what the arguments say, on a platform with these options.
///
/// # Errors
/// When the platform does not start, an order ends in another way than its kind, or a price is missing.
pub async fn run(arguments: &Arguments, options: Options) -> Result<()> {
    let text = match &arguments.prices {
        Some(path) => {
            std::fs::read_to_string(path).with_context(|| format!("--prices {}", path.display()))?
        }
        None => include_str!("../prices.json").to_owned(),
    };
    let prices = Prices::read(&text).context("the price file")?;
    let logs = options.data.join("logs");
    let options = Options {
        in_memory: true,
        seed: false,
        meter: true,
        api_port: 0,
        aws_port: 0,
        provider_port: 0,
        ..options
    };
    let stack = Stack::start(&options).await?;
    let token = stack.issuer.token(CUSTOMER, token_issuer::SCOPES)?;
    let shop = Shop { stack, token, client: Client::builder(TokioExecutor::new()).build_http() };
    shop.list("report-beans", 1_000_000).await?;
    shop.list("report-rarity", 1).await?;
    shop.list("unshippable-report", 1_000_000).await?;
    let mut columns = Vec::new();
    for kind in &KINDS {
        // The first order starts the functions.
        let first = shop.orders(kind, 1, 1).await?;
        shop.has_ended(&first, kind).await?;
        let (last, counts) = match arguments.concurrency {
            1 => shop.one_by_one(kind, arguments.orders, &logs).await?,
            at_a_time => shop.together(kind, arguments.orders, at_a_time, &logs).await?,
        };
        shop.has_ended(&last, kind).await?;
        columns.push(Column { title: kind.title, lines: prices.lines(&counts, arguments.orders.into())? });
    }
    let usage = shop.ask(Method::GET, &format!("{}/report", shop.stack.endpoint), None).await?;
    let text = if arguments.json {
        document(arguments, &prices, &columns, &usage["permissions"]).to_string()
    } else {
        table(arguments, &prices, &columns, &usage["permissions"])
    };
    Ok(writeln!(std::io::stdout().lock(), "{}", text.trim_end())?)
}

impl Shop {
    async fn ask(&self, method: Method, url: &str, body: Option<Value>) -> Result<Value> {
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let request = Request::builder()
            .method(method)
            .uri(url)
            .header("content-type", "application/json")
            .header("authorization", format!("Bearer {}", self.token))
            .body(Full::from(body))?;
        let answer = self.client.request(request).await?;
        let status = answer.status();
        let answer = answer.into_body().collect().await?.to_bytes();
        ensure!(status.is_success(), "{url}: {status} {}", String::from_utf8_lossy(&answer));
        Ok(serde_json::from_slice(&answer)?)
    }

    async fn list(&self, product: &str, stock: u32) -> Result<()> {
        let url = format!("{}/products/{product}", self.stack.api);
        let body = json!({"name": product, "unit_price_cents": 1450, "stock": stock});
        self.ask(Method::PUT, &url, Some(body)).await?;
        self.stack.settle(TIMEOUT).await
    }

    /// Places so many orders at a time: the id of one of them, and what all were counted as.
    async fn together(
        &self,
        kind: &Kind,
        orders: u32,
        at_a_time: u32,
        logs: &Path,
    ) -> Result<(String, Counts)> {
        let before = self.counted(logs)?;
        let last = self.orders(kind, orders, at_a_time).await?;
        Ok((last, difference(&self.counted(logs)?, &before)))
    }

    /// Places one order after the other: the id of the last, and as many times the least that one was counted as. What happens
    /// only once in a while is not in it, as the circuit breaker's look at the clock, nor that two events came the other way round.
    async fn one_by_one(&self, kind: &Kind, orders: u32, logs: &Path) -> Result<(String, Counts)> {
        let (mut last, mut least) = self.together(kind, 1, 1, logs).await?;
        for _ in 1..orders {
            let (next, counts) = self.together(kind, 1, 1, logs).await?;
            least.retain(|place, _| counts.contains_key(place));
            least
                .iter_mut()
                .for_each(|(place, count)| *count = counts.get(place).map_or(*count, |c| *c.min(count)));
            last = next;
        }
        least.values_mut().for_each(|count| *count *= u64::from(orders));
        Ok((last, least))
    }

    /// Places so many orders of a kind, and waits until the platform is at rest; the id of one of them.
    async fn orders(&self, kind: &Kind, orders: u32, at_a_time: u32) -> Result<String> {
        let Kind { product, quantity, method, .. } = kind;
        let url = format!("{}/orders", self.stack.api);
        let place = async |_| {
            let items = json!([{"product_id": product, "quantity": quantity}]);
            let order = json!({"customer_id": CUSTOMER, "items": items, "payment_method": method});
            let placed = self.ask(Method::POST, &url, Some(order)).await?;
            anyhow::Ok(placed["order_id"].as_str().unwrap_or_default().to_owned())
        };
        let at_a_time = usize::try_from(at_a_time)?;
        let placed: Vec<String> =
            stream::iter(0..orders).map(place).buffer_unordered(at_a_time).try_collect().await?;
        self.stack.settle(TIMEOUT).await?;
        placed.into_iter().last().context("no order was placed")
    }

    /// Checks how an order has ended. It is a request that is counted.
    async fn has_ended(&self, order: &str, kind: &Kind) -> Result<()> {
        let order = self.ask(Method::GET, &format!("{}/orders/{order}", self.stack.api), None).await?;
        let (title, status) = (kind.title, &order["status"]);
        ensure!(*status == kind.end, "an order that should be {title} ended as {status}");
        Ok(())
    }

    /// Everything counted so far, with the logs that lie in this folder.
    fn counted(&self, logs: &Path) -> Result<Counts> {
        let mut counts = self.stack.meter.counts().unwrap_or_default();
        for entry in std::fs::read_dir(logs)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            counts.insert((Unit::LogBytes, name), entry.metadata()?.len());
        }
        Ok(counts)
    }
}

fn difference(after: &Counts, before: &Counts) -> Counts {
    let since = |(key, count): (&(Unit, String), &u64)| {
        (key.clone(), count.saturating_sub(before.get(key).copied().unwrap_or_default()))
    };
    after.iter().map(since).filter(|(_, count)| *count > 0).collect()
}

fn table(arguments: &Arguments, prices: &Prices, columns: &[Column], usage: &Value) -> String {
    let orders = arguments.orders.into();
    let mut text = format!(
        "Units for an order, by how it ends: {} orders of each kind, {} at a time.\n\n{:<34}",
        arguments.orders, arguments.concurrency, ""
    );
    for column in columns {
        text.push_str(&format!("{:>14}", column.title));
    }
    let sums: Vec<_> = columns.iter().map(|column| bill::by_name(&column.lines)).collect();
    for price in &prices.lines {
        text.push_str(&format!("\n{:<34}", price.name));
        for sums in &sums {
            let count = sums.get(&price.name).map_or(0, |line| line.count);
            text.push_str(&format!("{:>14}", bill::each(count, price.shown_per, orders)));
        }
    }
    text.push_str(&format!("\n{:<34}", "USD for a million orders"));
    for column in columns {
        text.push_str(&format!("{:>14}", bill::total(&column.lines).dollars(1_000_000)));
    }
    for column in columns.iter().take(1) {
        text.push_str(&format!("\n\nThe dearest lines of a million orders that are {}:\n", column.title));
        for line in dearest(&column.lines) {
            text.push_str(&format!(
                "{:>10} USD  {}: {}\n",
                line.cost.dollars(1_000_000),
                line.name,
                line.place
            ));
        }
    }
    let unused = usage["unused"].as_array().map_or(0, Vec::len);
    text.push_str(&format!(
        "\nPrices of {} as of {}, without free tiers; Lambda's milliseconds are this machine's.\n\
         Of {} permissions, these orders needed all but {unused}; `cargo test` holds that something needs each.",
        prices.region, prices.as_of, usage["granted"]
    ));
    text
}

fn document(arguments: &Arguments, prices: &Prices, columns: &[Column], usage: &Value) -> Value {
    let column = |column: &Column| {
        let line = |line: &Line| {
            let each = bill::each(line.count, line.shown_per, arguments.orders.into());
            let usd = line.cost.dollars(1_000_000);
            json!({"name": line.name, "place": line.place, "each": each, "usd_for_a_million": usd})
        };
        let lines: Vec<Value> = column.lines.iter().map(line).collect();
        let total = bill::total(&column.lines).dollars(1_000_000);
        json!({"kind": column.title, "usd_for_a_million": total, "lines": lines})
    };
    json!({
        "orders": arguments.orders, "concurrency": arguments.concurrency,
        "region": prices.region, "prices_as_of": prices.as_of,
        "kinds": columns.iter().map(column).collect::<Vec<_>>(), "permissions": usage,
    })
}

fn dearest(lines: &[Line]) -> Vec<&Line> {
    let mut lines: Vec<&Line> = lines.iter().collect();
    lines.sort_by_key(|line| Reverse(line.cost));
    lines.truncate(DEAREST);
    lines
}
