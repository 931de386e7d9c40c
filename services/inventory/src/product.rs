//! One product: its price and its three counters. The pure core, and how the counters lie in its row, where reservations
//! adjust them without reading them.

use chassis::outbox::OutboxEntry;
use chassis::store::{AggregateId, Attr, Item, Key};
use chassis::{Aggregate, Decider, Failure, Refusal};
use chrono::{DateTime, Utc};
use events::inventory::{ProductCounted, ProductListed};
use events::{Currency, Envelope, Money, ProductId, Unreadable};
use serde::{Deserialize, Serialize};
use std::fmt::{self, Display};
use std::str::FromStr;

/// The largest stock of one product.
pub const MAX_STOCK: u64 = 1_000_000_000;

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
    /// How often the shelf was counted.
    #[serde(default)]
    pub counts: u64,
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
    /// What was counted on the shelf: available and held together; none: what is there stays there.
    pub stock: Option<u64>,
    /// What the shop knew of the product.
    pub seen: Seen,
}

/// The shelf that a count is of: since which count, and after how many units that left it. Counts and shipments move it,
/// and it never comes back; a hold and a release do not move it, or a busy shop could never count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shelf {
    /// How often it was counted.
    pub counts: u64,
    /// Units that left it.
    pub shipped: u64,
}

impl Display for Shelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.counts, self.shipped)
    }
}

/// What is no shelf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoShelf;

impl FromStr for Shelf {
    type Err = NoShelf;

    /// Each shelf has one name: no other spelling of its numbers is read.
    fn from_str(text: &str) -> Result<Self, NoShelf> {
        let (counts, shipped) = text.split_once('-').ok_or(NoShelf)?;
        let number = |text: &str| text.parse().map_err(|_| NoShelf);
        let shelf = Self { counts: number(counts)?, shipped: number(shipped)? };
        if shelf.to_string() == text { Ok(shelf) } else { Err(NoShelf) }
    }
}

/// What an operator counted, and nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Count {
    pub product_id: ProductId,
    /// What was counted on the shelf: available and held together.
    pub stock: u64,
    /// The shelf that was counted.
    pub seen: Shelf,
}

/// What inventory decides on about a product itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// The shop lists it, or changes what is listed.
    List(Listing),
    /// An operator counted it.
    Count(Count),
}

/// What a listing knew of the product: it changes nothing when the product is not like that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It says nothing of it.
    Nothing,
    /// That it is listed.
    Listed,
    /// That its shelf is one of these.
    Shelf(Vec<Shelf>),
}

/// What a listing changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    Listed(ProductListed),
    Counted(ProductCounted),
}

/// Why a count cannot be: it is below what customers have been promised.
pub const BELOW_HELD: Refusal = Refusal::Illegal("more units are held than were counted");
/// Why a product is not listed: how many of it there are has to be known from the start.
pub const UNCOUNTED: Refusal = Refusal::Illegal("a new product needs a count");
/// Why a count is not taken: what shipped since would be on the shelf again.
pub const UNSEEN: Refusal = Refusal::Illegal("the count does not say which shelf was counted");
/// Why nothing is changed: another count or a shipment came first.
pub const MOVED: Refusal = Refusal::Stale("the product is not what the listing has seen");

impl Product {
    /// Its shelf as it is now.
    #[must_use]
    pub const fn shelf(&self) -> Shelf {
        Shelf { counts: self.counts, shipped: self.shipped }
    }

    /// What a count comes to: what is held for orders stays held.
    fn counted(&self, product_id: ProductId, stock: u64) -> Result<Fact, Refusal> {
        let available = stock.checked_sub(self.held).ok_or(BELOW_HELD)?;
        Ok(Fact::Counted(ProductCounted { product_id, available, held: self.held }))
    }

    /// Whether a listing knew enough of this product. The commit holds on to the very counters that were compared here.
    fn check(&self, wanted: &Listing) -> Result<(), Refusal> {
        match (&wanted.seen, wanted.stock, self.listed.is_some()) {
            (Seen::Shelf(_) | Seen::Listed, _, false) => Err(MOVED),
            (Seen::Shelf(seen), _, true) if !seen.contains(&self.shelf()) => Err(MOVED),
            (Seen::Nothing | Seen::Listed, Some(_), true) => Err(UNSEEN),
            (Seen::Nothing, None, false) => Err(UNCOUNTED),
            _ => Ok(()),
        }
    }
}

impl Decider for Product {
    type Message = Message;
    type Fact = Fact;

    /// What is unchanged is published again: so the shop repeats an event that was lost.
    fn decide(&self, message: &Message, _now: DateTime<Utc>) -> Result<Vec<Fact>, Refusal> {
        match message {
            Message::List(wanted) => {
                self.check(wanted)?;
                let Listing { product_id, name, unit_price, stock, .. } = wanted.clone();
                let counted = stock.map(|stock| self.counted(product_id.clone(), stock)).transpose()?;
                let listed = Fact::Listed(ProductListed { product_id, name, unit_price });
                Ok(std::iter::once(listed).chain(counted).collect())
            }
            Message::Count(_) if self.listed.is_none() => Err(MOVED),
            Message::Count(Count { seen, .. }) if *seen != self.shelf() => Err(MOVED),
            Message::Count(Count { product_id, stock, .. }) => {
                Ok(vec![self.counted(product_id.clone(), *stock)?])
            }
        }
    }

    fn evolve(mut self, fact: &Fact) -> Self {
        match fact {
            Fact::Listed(ProductListed { name, unit_price, .. }) => {
                self.listed = Some(Listed { name: name.clone(), unit_price: *unit_price });
            }
            Fact::Counted(counted) => {
                self.available = counted.available;
                self.counts = self.counts.saturating_add(1);
            }
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

    fn facts(&self, event: &Envelope) -> Result<Vec<Fact>, Unreadable> {
        if event.is::<ProductListed>() {
            return Ok(vec![Fact::Listed(event.data()?)]);
        }
        if event.is::<ProductCounted>() {
            return Ok(vec![Fact::Counted(event.data()?)]);
        }
        Err(event.not_consumed_by(Self::SERVICE))
    }

    /// Reservations move the counters: an audit adds those up.
    fn visible(&self) -> String {
        let Some(Listed { name, unit_price }) = &self.listed else { return "not listed".into() };
        let Money { amount, currency } = unit_price;
        format!("{name:?} for {amount} {}, counts: {}", currency.as_str(), self.counts)
    }

    fn attributes(&self) -> Result<Vec<(&'static str, Attr)>, Failure> {
        let mut attributes = self.adjusted_elsewhere();
        attributes.push(("counts", number(self.counts)));
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
            counts: row.count("counts").unwrap_or(0),
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

    fn listing(stock: Option<u64>, seen: Seen) -> Listing {
        let unit_price = Money::new(100, Currency::USD);
        Listing { product_id: "beans".parse().unwrap(), name: "Beans".into(), unit_price, stock, seen }
    }

    fn listed() -> Fact {
        let Listing { product_id, name, unit_price, .. } = listing(None, Seen::Nothing);
        Fact::Listed(ProductListed { product_id, name, unit_price })
    }

    fn counted(available: u64, held: u64) -> Fact {
        Fact::Counted(ProductCounted { product_id: "beans".parse().unwrap(), available, held })
    }

    fn seen(counts: u64, shipped: u64) -> Seen {
        Seen::Shelf(vec![Shelf { counts, shipped }])
    }

    fn decide(product: &Product, stock: Option<u64>, seen: Seen) -> Result<Vec<Fact>, Refusal> {
        product.decide(&Message::List(listing(stock, seen)), DateTime::UNIX_EPOCH)
    }

    /// Counted once; ten on the shelf, three of them held; two have left.
    fn busy() -> Product {
        let listed = Spec::given([listed()]).state().listed.clone();
        Product { listed, available: 7, held: 3, shipped: 2, counts: 1 }
    }

    #[test]
    fn a_new_product_is_listed_and_counted() {
        Spec::given([])
            .when(Message::List(listing(Some(10), Seen::Nothing)))
            .then([listed(), counted(10, 0)]);
        let product = Spec::given([listed(), counted(10, 0)]).state().clone();
        assert_eq!((product.available, product.held), (10, 0));
        Spec::given([]).when(Message::List(listing(None, Seen::Nothing))).refused(UNCOUNTED);
        for unlike in [Seen::Listed, seen(0, 0)] {
            Spec::given([]).when(Message::List(listing(Some(10), unlike))).refused(MOVED);
        }
    }

    #[test]
    fn a_count_leaves_what_is_held() {
        assert_eq!(decide(&busy(), Some(20), seen(1, 2)), Ok(vec![listed(), counted(17, 3)]));
        assert_eq!(decide(&busy(), Some(3), seen(1, 2)), Ok(vec![listed(), counted(0, 3)]));
        assert_eq!(decide(&busy(), Some(2), seen(1, 2)), Err(BELOW_HELD));
    }

    /// Guards: I1. A count is of the shelf that is there now, and says so.
    #[test]
    fn a_count_of_another_shelf_changes_nothing() {
        for blind in [Seen::Nothing, Seen::Listed] {
            assert_eq!(decide(&busy(), Some(10), blind), Err(UNSEEN));
        }
        for older in [seen(1, 0), seen(1, 1), seen(0, 2), Seen::Shelf(Vec::new())] {
            assert_eq!(decide(&busy(), Some(10), older.clone()), Err(MOVED));
            assert_eq!(decide(&busy(), None, older), Err(MOVED));
        }
    }

    /// Guards: I1. An operator's count is of the shelf that is there now, of a product that is listed, and leaves what is held.
    #[test]
    fn an_operators_count_is_held_to_the_same_rules() {
        let count = |product: &Product, stock, shelf: &str| {
            let count = Count { product_id: "beans".parse().unwrap(), stock, seen: shelf.parse().unwrap() };
            product.decide(&Message::Count(count), DateTime::UNIX_EPOCH)
        };
        assert_eq!(count(&busy(), 20, "1-2"), Ok(vec![counted(17, 3)]));
        assert_eq!(count(&busy(), 2, "1-2"), Err(BELOW_HELD));
        for older in ["1-0", "1-1", "0-2"] {
            assert_eq!(count(&busy(), 20, older), Err(MOVED));
        }
        assert_eq!(count(&Product::default(), 20, "0-0"), Err(MOVED));
    }

    /// Guards: a shelf has one name.
    #[test]
    fn a_shelf_is_read_as_it_is_written() {
        assert_eq!("12-7".parse(), Ok(Shelf { counts: 12, shipped: 7 }));
        for other in ["", "1", "01-2", "+1-2", "1--2", "1-2-3", "\"1-2\""] {
            assert_eq!(other.parse::<Shelf>(), Err(NoShelf), "{other}");
        }
    }

    /// Guards: a hold and a release do not stand in the way of a count; a shipment and a count do.
    #[test]
    fn the_shelf_moves_with_shipments_and_counts_only() {
        let moved = |after: Product| after.shelf() != busy().shelf();
        assert_eq!(busy().shelf(), Shelf { counts: 1, shipped: 2 });
        assert!(!moved(Product { available: 5, held: 5, ..busy() }), "held");
        assert!(!moved(Product { available: 10, held: 0, ..busy() }), "released");
        assert!(moved(Product { held: 1, shipped: 4, ..busy() }), "shipped");
        // Also a count that finds what was there: an older one must not come after it.
        assert!(moved(busy().evolve(&counted(7, 3))), "counted");
    }

    /// Guards: a lost `product.listed` is repeated by the same request, and a new price leaves the stock alone.
    #[test]
    fn a_listing_is_published_again() {
        for known in [Seen::Nothing, Seen::Listed, seen(1, 2)] {
            assert_eq!(decide(&busy(), None, known), Ok(vec![listed()]));
        }
    }
}
