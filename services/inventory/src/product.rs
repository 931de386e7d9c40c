//! One product: its price and its three counters. The pure core, and how the counters lie in its row, where reservations
//! adjust them without reading them.

use chassis::outbox::OutboxEntry;
use chassis::store::{AggregateId, Attr, Item, Key};
use chassis::{Aggregate, Decider, Failure, Refusal};
use chrono::{DateTime, Utc};
use events::inventory::{ProductCounted, ProductListed};
use events::{Currency, Money, ProductId};
use serde::{Deserialize, Serialize};

/// A product as its row holds it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Product {
    /// Name and price of one unit; none: it was never listed.
    pub listed: Option<Listed>,
    /// Units free to be sold.
    pub available: u64,
    /// Units held for orders that have not shipped.
    pub held: u64,
    /// Units that left.
    pub shipped: u64,
}

/// What customers see of a product.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    pub name: String,
    pub unit_price: Money,
}

/// What the shop wants a product to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    pub product_id: ProductId,
    pub name: String,
    pub unit_price: Money,
    /// What was counted on the shelf: available and held together.
    pub stock: u64,
}

/// What a listing changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    Listed(ProductListed),
    Counted(ProductCounted),
}

/// Why a count cannot be: it is below what customers have been promised.
pub const BELOW_HELD: Refusal = Refusal::Illegal("more units are held than were counted");

impl Decider for Product {
    type Message = Listing;
    type Fact = Fact;

    fn decide(&self, wanted: &Listing, _now: DateTime<Utc>) -> Result<Vec<Fact>, Refusal> {
        let Listing { product_id, name, unit_price, stock } = wanted.clone();
        let (held, mut facts) = (self.held, Vec::new());
        let available = stock.checked_sub(held).ok_or(BELOW_HELD)?;
        let unchanged = |listed: &Listed| listed.name == name && listed.unit_price == unit_price;
        if !self.listed.as_ref().is_some_and(unchanged) {
            facts.push(Fact::Listed(ProductListed { product_id: product_id.clone(), name, unit_price }));
        }
        if self.listed.is_none() || self.available != available {
            facts.push(Fact::Counted(ProductCounted { product_id, available, held }));
        }
        Ok(facts)
    }

    fn evolve(mut self, fact: &Fact) -> Self {
        match fact {
            Fact::Listed(ProductListed { name, unit_price, .. }) => {
                self.listed = Some(Listed { name: name.clone(), unit_price: *unit_price });
            }
            Fact::Counted(counted) => self.available = counted.available,
        }
        self
    }
}

impl Aggregate for Product {
    const SERVICE: &'static str = "inventory";

    fn event(fact: &Fact) -> Option<OutboxEntry> {
        Some(match fact {
            Fact::Listed(listed) => OutboxEntry::published(listed),
            Fact::Counted(counted) => OutboxEntry::published(counted),
        })
    }

    fn attributes(&self) -> Result<Vec<(&'static str, Attr)>, Failure> {
        let mut attributes = self.adjusted_elsewhere();
        if let Some(Listed { name, unit_price }) = &self.listed {
            attributes.push(("name", name.as_str().into()));
            attributes.push(("unit_price", number(unit_price.amount)));
            attributes.push(("currency", unit_price.currency.as_str().into()));
        }
        Ok(attributes)
    }

    fn read_row(row: &Item) -> Result<Self, Failure> {
        let missing = |name: &str| Failure::Poison(format!("{}: no usable {name:?}", row.key));
        let count = |name: &str| row.count(name).ok_or_else(|| missing(name));
        let currency = row.text("currency").and_then(|code| Currency::try_from(code.to_owned()).ok());
        let listed = Listed {
            name: row.text("name").ok_or_else(|| missing("name"))?.to_owned(),
            unit_price: Money::new(count("unit_price")?, currency.ok_or_else(|| missing("currency"))?),
        };
        Ok(Self {
            listed: Some(listed),
            available: count("available")?,
            held: count("held")?,
            shipped: count("shipped")?,
        })
    }

    fn adjusted_elsewhere(&self) -> Vec<(&'static str, Attr)> {
        vec![
            ("available", number(self.available)),
            ("held", number(self.held)),
            ("shipped", number(self.shipped)),
        ]
    }
}

/// Which product.
#[must_use]
pub fn id(product: &ProductId) -> AggregateId {
    AggregateId::new("product", product)
}

/// The row that holds a product's counters.
#[must_use]
pub fn key(product: &ProductId) -> Key {
    Key::state(id(product).pk)
}

fn number(count: u64) -> Attr {
    Attr::N(i64::try_from(count).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod specs {
    use super::*;

    type Spec = chassis::spec::Spec<Product>;

    fn listing(stock: u64, cents: u64) -> Listing {
        let unit_price = Money::new(cents, Currency::USD);
        Listing { product_id: "beans".parse().unwrap(), name: "Beans".into(), unit_price, stock }
    }

    fn listed() -> Fact {
        let Listing { product_id, name, unit_price, .. } = listing(10, 100);
        Fact::Listed(ProductListed { product_id, name, unit_price })
    }

    fn counted(available: u64, held: u64) -> Fact {
        Fact::Counted(ProductCounted { product_id: "beans".parse().unwrap(), available, held })
    }

    #[test]
    fn a_new_product_is_listed_and_counted() {
        Spec::given([]).when(listing(10, 100)).then([listed(), counted(10, 0)]);
        let product = Spec::given([listed(), counted(10, 0)]).state().clone();
        assert_eq!((product.available, product.held), (10, 0));
    }

    #[test]
    fn a_count_leaves_what_is_held() {
        let mut product = Spec::given([listed(), counted(10, 0)]).state().clone();
        (product.available, product.held) = (7, 3);
        let facts = product.decide(&listing(20, 100), DateTime::UNIX_EPOCH);
        assert_eq!(facts, Ok(vec![counted(17, 3)]));
        assert_eq!(product.decide(&listing(2, 100), DateTime::UNIX_EPOCH), Err(BELOW_HELD));
    }

    #[test]
    fn nothing_new_is_not_published() {
        Spec::given([listed(), counted(10, 0)]).when(listing(10, 100)).then([]);
    }
}
