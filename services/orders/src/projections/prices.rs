//! The price list: a projection of `product.listed` into orders' own table.

use chassis::Failure;
use chassis::store::{Item, Key};
use events::inventory::ProductListed;
use events::{Currency, Envelope, Money, ProductId, Unreadable};

/// The row of a product's price.
#[must_use]
pub fn key(id: &ProductId) -> Key {
    Key::new(format!("product#{id}"), "view")
}

/// The view that an event makes, if it is a listing.
///
/// # Errors
/// [`Unreadable`] when its data is not of its shape.
pub fn view(envelope: &Envelope) -> Result<Option<Item>, Unreadable> {
    if !envelope.is::<ProductListed>() {
        return Ok(None);
    }
    let ProductListed { product_id, name, unit_price } = envelope.data()?;
    let amount = i64::try_from(unit_price.amount).unwrap_or(i64::MAX);
    let view = Item::new(key(&product_id)).with("name", name).with("unit_price", amount);
    Ok(Some(view.with("currency", unit_price.currency.as_str())))
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
