//! The command `forget`: shows what there is of a customer's addresses, asks, deletes their keys, and says what remains.

use crate::replaying::Misuse;
use anyhow::{Result, bail};
use aws::{dynamodb::DynamoStore, sdk::SdkConfig};
use chassis::keys::Keys;
use clap::Args;
use events::{CustomerId, OrderId};
use operator::forget::{Address, Records};
use serde_json::json;
use std::io::{IsTerminal, Write, stderr, stdin, stdout};

#[derive(Args)]
pub struct ForgetArguments {
    /// The customer, as the identity provider names it: `auth0|5f7c`
    #[arg(long)]
    customer: CustomerId,
    /// Also the addresses of orders that have not left yet; they are then cancelled and paid back
    #[arg(long)]
    also_open: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Print one JSON object, for programs
    #[arg(long)]
    json: bool,
}

/// A customer's orders, by what became of their addresses.
struct Found {
    orders: usize,
    kept: Vec<OrderId>,
    needed: Vec<OrderId>,
    forgotten: usize,
    clear: Vec<OrderId>,
}

impl Found {
    fn of(all: &[(OrderId, Address)]) -> Self {
        let those = |wanted: fn(&Address) -> bool| -> Vec<OrderId> {
            all.iter().filter(|(_, address)| wanted(address)).map(|(order, _)| *order).collect()
        };
        Self {
            orders: all.len(),
            kept: those(|address| matches!(address, Address::Kept { .. })),
            needed: those(|address| *address == Address::Kept { is_needed: true }),
            forgotten: those(|address| *address == Address::Forgotten).len(),
            clear: those(|address| *address == Address::Clear),
        }
    }
}

/// Does what the arguments say on a stage.
///
/// # Errors
/// [`Misuse`], or why nothing more was deleted.
pub async fn run(sdk: &SdkConfig, stage: &str, arguments: ForgetArguments) -> Result<()> {
    let table = |name: &str| DynamoStore::new(sdk, format!("{stage}-quadrille-{name}"));
    let records = Records { orders: table("orders"), keys: Keys(table("keys")), payments: table("payments") };
    let ForgetArguments { customer, also_open, yes, json } = arguments;
    let found = Found::of(&records.addresses(&customer).await?);
    if !found.needed.is_empty() && !also_open {
        let (number, orders) = (found.needed.len(), listed(&found.needed));
        bail!(
            "nothing is forgotten: {number} of the orders have not left yet and would be cancelled; wait, or add --also-open: {orders}"
        );
    }
    if !json {
        say(&[format!(
            "{customer}: orders: {}, readable addresses: {}, forgotten before: {}",
            found.orders,
            found.kept.len(),
            found.forgotten
        )])?;
    }
    if !yes && !found.kept.is_empty() {
        ask(&customer)?;
    }
    let forgotten = records.forget(&found.kept).await?;
    let provider_customer = records.provider_customer(&customer).await?;
    if json {
        let report = json!({"customer": customer, "orders": found.orders, "forgotten": forgotten,
            "forgotten_before": found.forgotten, "cancelled": found.needed, "in_the_clear": found.clear,
            "provider_customer": provider_customer});
        return say(&[report.to_string()]);
    }
    say(&remains(forgotten, &found, provider_customer.as_deref()))
}

/// Asks for the customer's id once more.
fn ask(customer: &CustomerId) -> Result<()> {
    if !stdin().is_terminal() {
        bail!(Misuse(
            "a key that is deleted does not come back: without a terminal to ask on, add --yes".into()
        ));
    }
    write!(stderr(), "Type the customer's id to delete the keys; they do not come back: ")?;
    stderr().flush()?;
    let mut typed = String::new();
    stdin().read_line(&mut typed)?;
    if typed.trim_end_matches(['\r', '\n']) != customer.as_str() {
        bail!("that is not {customer}: nothing is forgotten");
    }
    Ok(())
}

/// What was done, and what remains of the customer.
fn remains(forgotten: usize, found: &Found, provider_customer: Option<&str>) -> Vec<String> {
    let mut lines = vec![format!(
        "addresses forgotten: {forgotten}; no row, archive, dead letter or backup opens any more"
    )];
    if !found.clear.is_empty() {
        let orders = listed(&found.clear);
        lines.push(format!("placed before addresses were sealed, and still in the clear: {orders}"));
    }
    lines.push(
        "what remains here: ids, products, amounts and dates, which the books need; no log had an address"
            .into(),
    );
    lines.push("what remains elsewhere: the carrier's own records of its parcels, and the identity provider's of the customer".into());
    if let Some(id) = provider_customer {
        let how = format!("delete the provider's customer {id} there (DELETE /v1/customers/{id})");
        lines.push(format!("a saved payment method is at the payment provider: {how}"));
    }
    lines
}

fn listed(orders: &[OrderId]) -> String {
    orders.iter().map(OrderId::to_string).collect::<Vec<_>>().join(", ")
}

fn say(lines: &[String]) -> Result<()> {
    let mut out = stdout().lock();
    for line in lines {
        writeln!(out, "{line}")?;
    }
    Ok(())
}
