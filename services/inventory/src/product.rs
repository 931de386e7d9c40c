//! One product: its price and its three counters. Pure but for the mapping to its row.

use chassis::{Attr, Condition, Failure, Item, Key, Write, telling::Entry};
use events::inventory::{ProductCounted, ProductListed};
use events::{Currency, Money, ProductId};
use serde_json::{Value, json};

/// A product as its row holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Product {
    /// Its id.
    pub id: ProductId,
    /// What people call it.
    pub name: String,
    /// The price of one unit.
    pub unit_price: Money,
    /// Units free to be sold.
    pub available: u64,
    /// Units held for orders that have not shipped.
    pub held: u64,
    /// Units that left.
    pub shipped: u64,
    /// Changes with every listing or count, not with holds.
    pub version: u64,
    /// The number of its last event row.
    pub seq: u64,
}

/// What somebody wants a product to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// Its name.
    pub name: String,
    /// The price of one unit.
    pub unit_price: Money,
    /// What was counted on the shelf: available and held together.
    pub stock: u64,
}

/// Why a listing cannot be: more is held than was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldExceedsStock {
    /// Units held.
    pub held: u64,
}

/// The partition of a product.
#[must_use]
pub fn partition(id: &ProductId) -> String {
    format!("product#{id}")
}

/// The row of a product.
#[must_use]
pub fn key(id: &ProductId) -> Key {
    Key::state(partition(id))
}

/// The product after a listing, and what there is to tell. Unchanged: nothing to tell.
///
/// # Errors
/// [`HeldExceedsStock`] when the count is below what is promised to customers.
pub fn list(
    current: Option<&Product>,
    id: &ProductId,
    wanted: Listing,
) -> Result<(Product, Vec<Entry>), HeldExceedsStock> {
    let held = current.map_or(0, |product| product.held);
    let available = wanted.stock.checked_sub(held).ok_or(HeldExceedsStock { held })?;
    let Listing { name, unit_price, .. } = wanted;
    let mut told = Vec::new();
    if current.is_none_or(|product| product.name != name || product.unit_price != unit_price) {
        told.push(Entry::told(&ProductListed { product_id: id.clone(), name: name.clone(), unit_price }));
    }
    if current.is_none_or(|product| product.available != available) {
        told.push(Entry::told(&ProductCounted { product_id: id.clone(), available, held }));
    }
    let product = Product {
        id: id.clone(),
        name,
        unit_price,
        available,
        held,
        shipped: current.map_or(0, |product| product.shipped),
        version: current.map_or(0, |product| product.version) + 1,
        seq: current.map_or(0, |product| product.seq) + u64::try_from(told.len()).unwrap_or(0),
    };
    Ok((product, told))
}

fn number(count: u64) -> Attr {
    Attr::N(i64::try_from(count).unwrap_or(i64::MAX))
}

impl Product {
    /// Reads a product's row.
    ///
    /// # Errors
    /// [`Failure::Poison`] when it is not one.
    pub fn read(id: &ProductId, row: &Item) -> Result<Self, Failure> {
        let missing = |name: &str| Failure::Poison(format!("{}: no usable {name:?}", row.key));
        let count = |name: &str| row.count(name).ok_or_else(|| missing(name));
        let currency = row.text("currency").and_then(|code| Currency::try_from(code.to_owned()).ok());
        Ok(Self {
            id: id.clone(),
            name: row.text("name").ok_or_else(|| missing("name"))?.to_owned(),
            unit_price: Money::new(count("unit_price")?, currency.ok_or_else(|| missing("currency"))?),
            available: count("available")?,
            held: count("held")?,
            shipped: count("shipped")?,
            version: count("version")?,
            seq: count("seq")?,
        })
    }

    fn counters(&self) -> Vec<(&'static str, Attr)> {
        vec![
            ("available", number(self.available)),
            ("held", number(self.held)),
            ("shipped", number(self.shipped)),
            ("version", number(self.version)),
        ]
    }

    /// Replaces `before` by this product, if not one of its counters has moved in between.
    #[must_use]
    pub fn replacing(&self, before: Option<&Self>) -> Write {
        let mut item = Item::new(key(&self.id))
            .with("name", self.name.as_str())
            .with("unit_price", number(self.unit_price.amount))
            .with("currency", self.unit_price.currency.as_str())
            .with("seq", number(self.seq));
        for (name, value) in self.counters() {
            item = item.with(name, value);
        }
        let when = before.map_or(Condition::Absent, |product| Condition::Matches(product.counters()));
        Write::Put { item, when }
    }

    /// As the HTTP API shows it.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "product_id": self.id,
            "name": self.name,
            "unit_price_cents": self.unit_price.amount,
            "currency": self.unit_price.currency,
            "available": self.available,
            "held": self.held,
            "shipped": self.shipped,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> ProductId {
        "beans".parse().unwrap()
    }

    fn listing(stock: u64, cents: u64) -> Listing {
        Listing { name: "Beans".into(), unit_price: Money::new(cents, Currency::USD), stock }
    }

    fn told(entries: &[Entry]) -> Vec<&str> {
        entries.iter().map(|entry| entry.event.as_str()).collect()
    }

    #[test]
    fn a_new_product_is_listed_and_counted() {
        let (product, entries) = list(None, &id(), listing(10, 100)).unwrap();
        assert_eq!((product.available, product.held, product.version, product.seq), (10, 0, 1, 2));
        assert_eq!(told(&entries), ["product.listed", "product.counted"]);
    }

    #[test]
    fn a_count_leaves_what_is_held() {
        let (mut product, _) = list(None, &id(), listing(10, 100)).unwrap();
        (product.available, product.held) = (7, 3);
        let (counted, entries) = list(Some(&product), &id(), listing(20, 100)).unwrap();
        assert_eq!((counted.available, counted.held), (17, 3));
        assert_eq!(told(&entries), ["product.counted"]);
        assert_eq!(list(Some(&product), &id(), listing(2, 100)), Err(HeldExceedsStock { held: 3 }));
    }

    #[test]
    fn nothing_new_is_not_told() {
        let (product, _) = list(None, &id(), listing(10, 100)).unwrap();
        let (_, entries) = list(Some(&product), &id(), listing(10, 100)).unwrap();
        assert!(entries.is_empty());
    }
}
