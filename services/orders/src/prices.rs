//! The price list: a projection of `product.listed` into orders' own table.

use chassis::reaction::{Verdict, count_duplicate, inbox_row};
use chassis::{CommitError, Condition, Failure, Item, Key, Ports, Store, Write};
use events::inventory::ProductListed;
use events::{Currency, Envelope, Money, ProductId};

/// The row of a product's price.
#[must_use]
pub fn key(id: &ProductId) -> Key {
    Key::new(format!("product#{id}"), "view")
}

/// Takes a product's name and price into the list. Moves only forward: an older listing that arrives late is
/// stale, whatever was delivered in between.
///
/// # Errors
/// A [`Failure`].
pub async fn project<S: Store>(ports: &Ports<S>, envelope: &Envelope) -> Result<Verdict, Failure> {
    let listed: ProductListed = envelope.data()?;
    let item = Item::new(key(&listed.product_id))
        .with("name", listed.name)
        .with("unit_price", i64::try_from(listed.unit_price.amount).unwrap_or(i64::MAX))
        .with("currency", listed.unit_price.currency.as_str());
    commit(ports, envelope, item).await
}

/// Takes a view into orders' table, if it is newer than the one there.
///
/// # Errors
/// A [`Failure`].
pub async fn commit<S: Store>(ports: &Ports<S>, envelope: &Envelope, view: Item) -> Result<Verdict, Failure> {
    let seq = i64::try_from(envelope.metadata.seq).unwrap_or(i64::MAX);
    let pk = view.key.pk.clone();
    let inbox = inbox_row(&envelope.metadata, &pk, Verdict::Applied, ports.clock.now());
    let view = Write::Put { item: view.with("seq", seq), when: Condition::Newer("seq", seq) };
    match ports.store.commit(vec![view, inbox]).await {
        Ok(()) => Ok(Verdict::Applied),
        Err(CommitError::Rejected(rejected)) => match rejected.get(1) {
            Some(Some(_)) => {
                count_duplicate(&ports.store, &pk, &envelope.metadata).await?;
                Ok(Verdict::Duplicate)
            }
            _ => stale(ports, envelope, &pk).await,
        },
        Err(CommitError::Busy(reason)) => Err(Failure::Transient(reason)),
        Err(CommitError::Failed(failure)) => Err(failure),
    }
}

/// Remembers an event that the view was past already.
async fn stale<S: Store>(ports: &Ports<S>, envelope: &Envelope, pk: &str) -> Result<Verdict, Failure> {
    let inbox = inbox_row(&envelope.metadata, pk, Verdict::Stale, ports.clock.now());
    match ports.store.commit(vec![inbox]).await {
        Ok(()) | Err(CommitError::Rejected(_)) => Ok(Verdict::Stale),
        Err(CommitError::Busy(reason)) => Err(Failure::Transient(reason)),
        Err(CommitError::Failed(failure)) => Err(failure),
    }
}

/// The price of one unit, as the list has it.
///
/// # Errors
/// [`Failure::Poison`] when the row holds no price.
pub fn price(row: &Item) -> Result<Money, Failure> {
    let amount = row.count("unit_price");
    let currency = row.text("currency").and_then(|code| code.parse::<Currency>().ok());
    match (amount, currency) {
        (Some(amount), Some(currency)) => Ok(Money::new(amount, currency)),
        _ => Err(Failure::Poison(format!("{}: no usable price", row.key))),
    }
}
