//! What counted units would cost: exact, in femtodollars, from a dated price file.

use crate::support::meter::{Counts, Unit};
use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Femtodollars in a dollar.
const DOLLAR: u128 = 1_000_000_000_000_000;

/// The prices of a region on a day, without free tiers and discounts.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Prices {
    pub region: String,
    pub as_of: String,
    pub lines: Vec<Price>,
}

/// The price of a unit.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// As the meter names it.
    pub unit: String,
    /// As a person reads it.
    pub name: String,
    /// How many of the meter's units are one of those that `name` says.
    pub shown_per: u64,
    /// Dollars, a decimal number.
    pub usd: String,
    /// For so many of the meter's units.
    pub per: u64,
    /// Where the price is published.
    pub source: String,
}

/// What something costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cost(u128);

impl Cost {
    /// In dollars and cents, of this many.
    #[must_use]
    pub fn dollars(self, times: u64) -> String {
        let cents = self.0.saturating_mul(times.into()).saturating_mul(100).div_ceil(DOLLAR);
        format!("{}.{:02}", cents / 100, cents % 100)
    }
}

impl Prices {
    /// Reads a price file.
    ///
    /// # Errors
    /// Which line cannot be read, and why.
    pub fn read(text: &str) -> Result<Self> {
        let prices: Self = serde_json::from_str(text)?;
        for line in &prices.lines {
            ensure!(line.per > 0 && line.shown_per > 0, "{}: per and shown_per begin at 1", line.unit);
            femtodollars(&line.usd).with_context(|| format!("{}: usd {:?}", line.unit, line.usd))?;
        }
        Ok(prices)
    }

    /// The price of a unit.
    ///
    /// # Errors
    /// When the file has none.
    pub fn of(&self, unit: &str) -> Result<&Price> {
        let price = self.lines.iter().find(|line| line.unit == unit);
        price.with_context(|| format!("the price file has no {unit}"))
    }

    /// What was counted, by unit and place, with what it costs for each of `orders`.
    ///
    /// # Errors
    /// As [`Prices::of`].
    pub fn lines(&self, counts: &Counts, orders: u64) -> Result<Vec<Line>> {
        let line = |((unit, place), count): (&(Unit, String), &u64)| {
            let price = self.of(unit.as_str())?;
            let count = *count;
            let usd = femtodollars(&price.usd)?;
            let cost =
                u128::from(count).saturating_mul(usd) / u128::from(price.per) / u128::from(orders.max(1));
            Ok(Line {
                name: price.name.clone(),
                place: place.clone(),
                count,
                shown_per: price.shown_per,
                cost: Cost(cost),
            })
        };
        counts.iter().map(line).collect()
    }
}

/// A line of a bill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub name: String,
    /// The table, queue or function.
    pub place: String,
    /// The meter's units, of all orders.
    pub count: u64,
    /// How many of the meter's units are one of those that `name` says.
    pub shown_per: u64,
    /// For one order.
    pub cost: Cost,
}

/// The lines of a bill, those of each name as one.
#[must_use]
pub fn by_name(lines: &[Line]) -> BTreeMap<String, Line> {
    let mut sums: BTreeMap<String, Line> = BTreeMap::new();
    for line in lines {
        let zero = || Line { place: String::new(), count: 0, cost: Cost(0), ..line.clone() };
        let sum = sums.entry(line.name.clone()).or_insert_with(zero);
        sum.count += line.count;
        sum.cost = Cost(sum.cost.0 + line.cost.0);
    }
    sums
}

/// The sum of a bill.
#[must_use]
pub fn total(lines: &[Line]) -> Cost {
    Cost(lines.iter().map(|line| line.cost.0).sum())
}

/// `12.5`: so many for each order, rounded to a tenth.
#[must_use]
pub fn each(count: u64, shown_per: u64, orders: u64) -> String {
    let orders = u128::from(shown_per) * u128::from(orders.max(1));
    let tenths = (u128::from(count) * 10 + orders / 2) / orders;
    format!("{}.{}", tenths / 10, tenths % 10)
}

fn femtodollars(usd: &str) -> Result<u128> {
    let (whole, fraction) = usd.split_once('.').unwrap_or((usd, ""));
    ensure!(fraction.len() <= 15, "at most fifteen places");
    Ok(whole.parse::<u128>()? * DOLLAR + format!("{fraction:0<15}").parse::<u128>()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRICES: &str = include_str!("../prices.json");

    /// Guards: a price is exact to the last published digit, and a bill is the sum of its lines.
    #[test]
    fn a_bill_is_reckoned_in_whole_numbers() {
        let prices = Prices::read(PRICES).unwrap();
        let counts = Counts::from([
            ((Unit::WriteHalves, "a".to_owned()), 388),
            ((Unit::WriteHalves, "b".to_owned()), 2),
            ((Unit::MebibyteMillis, "f".to_owned()), 2 * 1_024_000),
        ]);
        let lines = prices.lines(&counts, 2).unwrap();
        assert_eq!(lines[0].cost, Cost(194 * 312_500_000));
        assert_eq!(lines[2].cost, Cost(13_333_400_000));
        let sums = by_name(&lines);
        assert_eq!(sums["DynamoDB, write request units"].count, 390);
        assert_eq!(total(&lines), Cost(195 * 312_500_000 + 13_333_400_000));
        assert_eq!(total(&lines).dollars(1_000_000), "74.28");
        assert_eq!(each(390, 2, 2), "97.5");
    }

    /// Guards: whatever is counted has a price.
    #[test]
    fn a_unit_without_a_price_is_named() {
        let mut prices = Prices::read(PRICES).unwrap();
        prices.lines.retain(|line| line.unit != "events.put");
        let counts = Counts::from([((Unit::Events, "bus".to_owned()), 1)]);
        assert_eq!(prices.lines(&counts, 1).unwrap_err().to_string(), "the price file has no events.put");
        for wrong in ["1.0000000000000001", "one", "-1", ""] {
            assert!(femtodollars(wrong).is_err(), "{wrong}");
        }
    }
}
