//! The commands about stock: what is on the shelf, and a count of it, which inventory decides on.

use crate::session::{Misuse, Session, bar};
use anyhow::{Result, bail, ensure};
use aws::invoke::invoke;
use chassis::AggregateId;
use chassis::aggregate::{Loaded, load, read_state};
use chassis::store::{Item, scan_all};
use clap::Subcommand;
use events::ProductId;
use registry::inventory::product::{self, Product};
use serde_json::{Value, json};

/// How many rows of the table one page reads.
const PAGE: u32 = 500;

#[derive(Subcommand)]
pub enum StockCommand {
    /// What is available, held for orders and shipped, of one product or of all; `shelf` moves with every shipment and count
    Show { product: Option<ProductId> },
    /// Record what was counted on the shelf, with what is held for orders; changes nothing when something shipped since
    Count {
        product: ProductId,
        /// Units on the shelf
        units: u64,
        /// The shelf as `quadrille stock show` named it before the count: 1-0
        #[arg(long, value_name = "SHELF")]
        seen: String,
    },
}

/// Does what the command says.
pub async fn run(session: &Session, command: StockCommand) -> Result<()> {
    match command {
        StockCommand::Show { product: Some(product) } => {
            let row = one(session, &product).await?;
            print(session, &[row])
        }
        StockCommand::Show { product: None } => print(session, &all(session).await?),
        StockCommand::Count { product, units, seen } => count(session, &product, units, &seen).await,
    }
}

fn print(session: &Session, rows: &[Value]) -> Result<()> {
    let columns = [
        ("product", "product_id"),
        ("available", "available"),
        ("held", "held"),
        ("shipped", "shipped"),
        ("shelf", "shelf"),
        ("name", "name"),
    ];
    session.rows(&columns, rows, "no products")
}

fn row(id: &str, product: &Product) -> Value {
    json!({
        "product_id": id,
        "name": product.listed.as_ref().map(|listed| &listed.name),
        "available": product.available,
        "held": product.held,
        "shipped": product.shipped,
        "shelf": product.shelf().to_string(),
    })
}

async fn one(session: &Session, id: &ProductId) -> Result<Value> {
    let loaded: Loaded<Product> = load(&session.table("inventory"), &product::id(id)).await?;
    ensure!(loaded.version > 0, Misuse(format!("{} has no product {id}", session.stage)));
    Ok(row(id.as_str(), &loaded.state))
}

async fn all(session: &Session) -> Result<Vec<Value>> {
    let table = session.table("inventory");
    let (mut rows, bar) = (Vec::new(), bar(None, "rows"));
    let visit = async |page: Vec<Item>| {
        bar.inc(PAGE.into());
        for item in page.iter().filter(|item| item.key.pk.starts_with("product#")) {
            let loaded: Loaded<Product> = read_state(item)?;
            rows.push(row(&AggregateId::of_partition(&item.key.pk).subject, &loaded.state));
        }
        anyhow::Ok(())
    };
    scan_all(&table, "state", PAGE, visit).await?;
    bar.finish_and_clear();
    rows.sort_by(|a, b| a["product_id"].as_str().cmp(&b["product_id"].as_str()));
    Ok(rows)
}

async fn count(session: &Session, product: &ProductId, units: u64, seen: &str) -> Result<()> {
    let before = one(session, product).await?;
    let question = format!(
        "Count {units} units of {product}, where {} are available and {} held?",
        before["available"], before["held"]
    );
    session.confirm(&question)?;
    let input = json!({"product_id": product, "stock": units, "seen": seen});
    let answer = invoke(&session.sdk, &session.name("inventory-counter"), &input).await?;
    if let Some(why) = answer["refused"].as_str() {
        bail!("nothing is counted: {why}; look again with `quadrille stock show {product}`");
    }
    let after = one(session, product).await?;
    print(session, &[after])
}
