//! Where sums are kept: rows of counters that only grow, by generation, day, and what is counted.
//!
//! A day's rows lie in one partition. Each is there once for each shard: a row in which every order of a day counts would
//! cancel many transactions of a busy hour (TransactionConflict). Reading adds the shards up.

use crate::sale::{Booking, Confirmed};
use chassis::Failure;
use chassis::store::{Item, Key, Write};
use chrono::NaiveDate;
use events::{Currency, OrderId, ProductId};
use std::collections::BTreeMap;

/// Over how many rows each sum is spread.
pub const SHARDS: u128 = 8;
/// How the sort keys of counters begin.
pub const PREFIX: &str = "count#";
/// How the partition keys of a generation's days begin.
const DAY: &str = "day#";

/// Orders or units that were sold, or cancellations.
pub const SOLD: &str = "sold";
/// What they brought, in minor units.
pub const CENTS: &str = "cents";
/// The orders or units of them that were taken back.
pub const BACK: &str = "back";
/// What these had brought.
pub const CENTS_BACK: &str = "cents_back";
/// Every counter that a row may have.
pub const ALL: [&str; 4] = [SOLD, CENTS, BACK, CENTS_BACK];

/// What a row counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Orders, and what they brought.
    Orders(Currency),
    /// Units of a product, and what they brought.
    Product(Currency, ProductId),
    /// Cancellations for a reason.
    Reason(String),
}

/// The partition of a generation's day.
#[must_use]
pub fn partition(generation: u32, day: NaiveDate) -> String {
    format!("{DAY}{generation}#{day}")
}

/// The generation of a counter's partition; none: it is no partition of counters.
#[must_use]
pub fn generation_of(pk: &str) -> Option<u32> {
    pk.strip_prefix(DAY)?.split_once('#')?.0.parse().ok()
}

/// What a row counts.
///
/// # Errors
/// [`Failure::Poison`] when it is no row of counters.
pub fn subject_of(row: &Item) -> Result<Subject, Failure> {
    let subject = || {
        let (_shard, subject) = row.key.sk.strip_prefix(PREFIX)?.split_once('#')?;
        Some(match subject.split_once('#')? {
            ("orders", currency) => Subject::Orders(currency.parse().ok()?),
            ("product", of) => {
                let (currency, product) = of.split_once('#')?;
                Subject::Product(currency.parse().ok()?, product.parse().ok()?)
            }
            ("reason", code) => Subject::Reason(code.to_owned()),
            _ => return None,
        })
    };
    subject().ok_or_else(|| Failure::Poison(format!("{} is no row of counters", row.key)))
}

/// The writes of a booking in one generation.
#[must_use]
pub fn writes(order: OrderId, generation: u32, booking: &Booking) -> Vec<Write> {
    let shard = order.0.as_u128() % SHARDS;
    let mut writes = Writes { generation, shard, rows: BTreeMap::new() };
    match booking {
        Booking::Sold(sale) => writes.sold(sale),
        Booking::SoldAndTakenBack(sale, day) => {
            writes.sold(sale);
            writes.taken_back(sale, *day);
        }
        Booking::Cancelled(cancelled) => writes.cancelled(cancelled.day, &cancelled.reason),
        Booking::CancelledAndTakenBack(cancelled, sale) => {
            writes.cancelled(cancelled.day, &cancelled.reason);
            writes.taken_back(sale, cancelled.day);
        }
    }
    writes.rows.into_iter().map(|(key, by)| Write::Count { key, by }).collect()
}

/// One row for each key: a transaction writes no row twice, and both halves of a sale may fall on one day.
struct Writes {
    generation: u32,
    shard: u128,
    rows: BTreeMap<Key, Vec<(&'static str, u64)>>,
}

impl Writes {
    fn add(&mut self, day: NaiveDate, subject: &str, by: [(&'static str, u64); 2]) {
        let Self { generation, shard, rows } = self;
        let key = Key::new(partition(*generation, day), format!("{PREFIX}{shard}#{subject}"));
        rows.entry(key).or_default().extend(by.into_iter().filter(|(_, more)| *more > 0));
    }

    fn add_all(&mut self, sale: &Confirmed, day: NaiveDate, [number, cents]: [&'static str; 2]) {
        let currency = sale.currency;
        self.add(day, &format!("orders#{currency}"), [(number, 1), (cents, sale.cents())]);
        for (product, sold) in &sale.sold {
            let subject = format!("product#{currency}#{product}");
            self.add(day, &subject, [(number, sold.units), (cents, sold.cents)]);
        }
    }

    fn sold(&mut self, sale: &Confirmed) {
        self.add_all(sale, sale.day, [SOLD, CENTS]);
    }

    fn taken_back(&mut self, sale: &Confirmed, day: NaiveDate) {
        self.add_all(sale, day, [BACK, CENTS_BACK]);
    }

    fn cancelled(&mut self, day: NaiveDate, reason: &str) {
        self.add(day, &format!("reason#{reason}"), [(SOLD, 1), (CENTS, 0)]);
    }
}

#[cfg(test)]
mod specs {
    use super::*;
    use crate::sale::samples::{cancelled, confirmed, day};
    use chassis::store::{MemoryStore, Store};
    use uuid::Uuid;

    fn written(booking: &Booking) -> Vec<String> {
        let writes = writes(OrderId(Uuid::from_u128(11)), 3, booking);
        let line = |write: &Write| match write {
            Write::Count { key, by } => format!("{key} {by:?}"),
            other => panic!("{other:?}"),
        };
        writes.iter().map(line).collect()
    }

    /// Guards: what an order costs to count: a row, and one for each product.
    #[test]
    fn an_order_counts_in_a_row_and_in_one_of_each_product() {
        assert_eq!(
            written(&Booking::Sold(confirmed(1))),
            [
                "day#3#2026-11-01/count#3#orders#USD [(\"sold\", 1), (\"cents\", 1150)]",
                "day#3#2026-11-01/count#3#product#USD#beans [(\"sold\", 2), (\"cents\", 1000)]",
                "day#3#2026-11-01/count#3#product#USD#filters [(\"sold\", 1), (\"cents\", 150)]",
            ]
        );
        let reason = "day#3#2026-11-02/count#3#reason#FULFILLMENT_FAILED [(\"sold\", 1)]";
        assert_eq!(written(&Booking::Cancelled(cancelled(2))), [reason]);
    }

    /// Guards: both halves of a sale on one day are one write to each row; a transaction may not hold two.
    #[tokio::test]
    async fn both_halves_on_one_day_are_one_write_to_each_row() {
        let booking = Booking::SoldAndTakenBack(confirmed(2), day(2));
        let store = MemoryStore::default();
        store.commit(writes(OrderId(Uuid::from_u128(11)), 3, &booking)).await.unwrap();
        let row = store.load(&Key::new("day#3#2026-11-02", "count#3#orders#USD")).await.unwrap().unwrap();
        let counted = ALL.map(|name| row.count(name));
        assert_eq!(counted, [Some(1), Some(1150), Some(1), Some(1150)]);
    }

    #[test]
    fn a_key_is_read_as_it_was_written() {
        for write in writes(OrderId(Uuid::from_u128(1)), 7, &Booking::Sold(confirmed(1))) {
            let row = Item::new(write.key().clone());
            assert_eq!(generation_of(&row.key.pk), Some(7));
            assert!(matches!(subject_of(&row), Ok(Subject::Orders(_) | Subject::Product(..))));
        }
        let odd = Item::new(Key::new("day#7#2026-11-01", "count#1#else#x"));
        assert!(subject_of(&odd).is_err());
        assert_eq!(generation_of("order#7"), None);
    }
}
