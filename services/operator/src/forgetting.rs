//! The command `forget`: shows what there is of a customer's addresses, asks, deletes their keys, and says what remains.

use crate::session::{Misuse, Session, say};
use anyhow::{Result, bail, ensure};
use chassis::keys::Keys;
use clap::Args;
use events::{CustomerId, OrderId};
use operator::forget::{Address, Records};
use serde_json::json;

#[derive(Args)]
pub struct ForgetArguments {
    /// The customer, as the identity provider names it: `auth0|5f7c`
    #[arg(long)]
    customer: CustomerId,
    /// Also the addresses of orders that have not left yet; they are then cancelled and paid back
    #[arg(long)]
    also_open: bool,
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

/// Does what the arguments say.
///
/// # Errors
/// [`Misuse`](crate::session::Misuse), or why nothing more was deleted.
pub async fn run(session: &Session, arguments: ForgetArguments) -> Result<()> {
    let ForgetArguments { customer, also_open } = arguments;
    let keys = Keys(session.table("keys"));
    let records = Records { orders: session.table("orders"), keys, payments: session.table("payments") };
    let found = Found::of(&records.addresses(&customer).await?);
    ensure!(found.orders > 0, Misuse(format!("--customer: {} has no order of {customer}", session.stage)));
    if !found.needed.is_empty() && !also_open {
        let (number, orders) = (found.needed.len(), listed(&found.needed));
        bail!(
            "nothing is forgotten: {number} of the orders have not left yet and would be cancelled; wait, or add --also-open: {orders}"
        );
    }
    let (orders, kept, before) = (found.orders, found.kept.len(), found.forgotten);
    let known =
        format!("{customer}: orders: {orders}, readable addresses: {kept}, forgotten before: {before}");
    let cancels = cancels(&found.needed);
    if kept > 0 {
        session.confirm(&format!("{known}.{cancels} Delete the keys of {kept}, which do not come back?"))?;
    }
    let forgotten = records.forget(&found.kept).await?;
    let provider_customer = records.provider_customer(&customer).await?;
    if session.json {
        let report = json!({"customer": customer, "orders": orders, "forgotten": forgotten,
            "forgotten_before": before, "open": found.needed, "in_the_clear": found.clear,
            "provider_customer": provider_customer});
        return say(&report.to_string());
    }
    say(format!("{known}.{cancels}").trim_end_matches('.'))?;
    remains(forgotten, &found, provider_customer.as_deref()).iter().try_for_each(|line| say(line))
}

/// What becomes of the orders that have not left yet.
fn cancels(needed: &[OrderId]) -> String {
    if needed.is_empty() {
        return String::new();
    }
    format!(" Not left yet, so cancelled and paid back unless the carrier has it: {}.", listed(needed))
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
    lines.push("an order of the last seconds may not be in the index yet: run this again if the customer still orders".into());
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
