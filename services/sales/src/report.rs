//! The report: the counters of some days, added up. The pure core, and the shell that reads the rows.

use crate::counters::{self, BACK, CENTS, CENTS_BACK, PREFIX, SOLD, Subject};
use crate::generations::Generations;
use chassis::store::{Item, Store, every_row};
use chassis::{Failure, Ports};
use chrono::NaiveDate;
use events::{Currency, ProductId};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// How many days are read at a time.
const AT_A_TIME: usize = 8;
/// How often a report begins anew because a rebuild was swapped in while it was read.
const MAX_SWAPS: u32 = 3;

/// What was sold, and what of that was taken back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sums {
    sold: u64,
    cents: u64,
    back: u64,
    cents_back: u64,
}

/// The sums of a day, or of several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    orders: Sums,
    products: BTreeMap<ProductId, Sums>,
    reasons: BTreeMap<String, u64>,
}

/// No sum is beyond what a counter can be.
fn add(sum: &mut u64, more: u64) -> Result<(), Failure> {
    *sum = sum.checked_add(more).ok_or_else(|| Failure::Poison("a sum of the report is too large".into()))?;
    Ok(())
}

impl Sums {
    fn add(&mut self, more: Self) -> Result<(), Failure> {
        add(&mut self.sold, more.sold)?;
        add(&mut self.cents, more.cents)?;
        add(&mut self.back, more.back)?;
        add(&mut self.cents_back, more.cents_back)
    }

    fn of(row: &Item) -> Self {
        let count = |name| row.count(name).unwrap_or(0);
        Self { sold: count(SOLD), cents: count(CENTS), back: count(BACK), cents_back: count(CENTS_BACK) }
    }

    fn json(self, noun: &str) -> Value {
        json!({
            noun: self.sold,
            "revenue_cents": self.cents,
            format!("{noun}_taken_back"): self.back,
            "taken_back_cents": self.cents_back,
        })
    }
}

impl Figures {
    /// The figures of a day's rows, in one currency.
    ///
    /// # Errors
    /// [`Failure::Poison`] when a row is none of counters, or a sum is too large.
    pub fn of(rows: &[Item], currency: Currency) -> Result<Self, Failure> {
        let mut figures = Self::default();
        for row in rows {
            match counters::subject_of(row)? {
                Subject::Orders(of) if of == currency => figures.orders.add(Sums::of(row))?,
                Subject::Product(of, product) if of == currency => {
                    figures.products.entry(product).or_default().add(Sums::of(row))?;
                }
                Subject::Orders(_) | Subject::Product(..) => {}
                Subject::Reason(code) => {
                    add(figures.reasons.entry(code).or_default(), row.count(SOLD).unwrap_or(0))?;
                }
            }
        }
        Ok(figures)
    }

    /// Adds another day.
    ///
    /// # Errors
    /// [`Failure::Poison`] when a sum is too large.
    pub fn add(&mut self, more: &Self) -> Result<(), Failure> {
        self.orders.add(more.orders)?;
        for (product, sums) in &more.products {
            self.products.entry(product.clone()).or_default().add(*sums)?;
        }
        for (code, number) in &more.reasons {
            add(self.reasons.entry(code.clone()).or_default(), *number)?;
        }
        Ok(())
    }

    /// How many products they name.
    #[must_use]
    pub fn products(&self) -> usize {
        self.products.len()
    }

    /// As the API shows them: products by id, reasons by code.
    #[must_use]
    pub fn json(&self) -> Value {
        let product = |(product, sums): (&ProductId, &Sums)| {
            let mut shown = sums.json("units");
            shown["product_id"] = json!(product);
            shown
        };
        let mut shown = self.orders.json("orders");
        shown["cancellations"] = json!(self.reasons);
        shown["products"] = self.products.iter().map(product).collect();
        shown
    }
}

/// The days that a report shows, and in which currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    pub from: NaiveDate,
    pub to: NaiveDate,
    pub currency: Currency,
}

/// A report: its days, in their order.
pub struct Report {
    pub period: Period,
    pub days: Vec<(NaiveDate, Figures)>,
}

impl Report {
    /// The report as the counters stand now. A rebuild that is swapped in meanwhile deletes what is being read: then the
    /// report begins anew.
    ///
    /// # Errors
    /// A [`Failure`] when the store does not answer, or a row cannot be read.
    pub async fn read<S: Store>(ports: &Ports<S>, period: Period) -> Result<Self, Failure> {
        for _ in 0..MAX_SWAPS {
            let live = Generations::load(&ports.store).await?.live;
            let report = Self::of_generation(&ports.store, live, period).await?;
            if Generations::load(&ports.store).await?.live == live {
                return Ok(report);
            }
        }
        Err(Failure::Conflict { attempts: MAX_SWAPS })
    }

    async fn of_generation<S: Store>(store: &S, generation: u32, period: Period) -> Result<Self, Failure> {
        let days = period.from.iter_days().take_while(|day| *day <= period.to);
        let read = days.map(async |day| {
            let rows = every_row(store, &counters::partition(generation, day), PREFIX).await?;
            Ok::<_, Failure>((day, Figures::of(&rows, period.currency)?))
        });
        let days = stream::iter(read).buffered(AT_A_TIME).try_collect().await?;
        Ok(Self { period, days })
    }

    /// How many products its days name.
    #[must_use]
    pub fn products(&self) -> usize {
        self.days.iter().map(|(_, figures)| figures.products()).sum()
    }

    /// As the API shows it.
    ///
    /// # Errors
    /// [`Failure::Poison`] when a sum is too large.
    pub fn json(&self) -> Result<Value, Failure> {
        let Period { from, to, currency } = self.period;
        let mut totals = Figures::default();
        for (_, figures) in &self.days {
            totals.add(figures)?;
        }
        let day = |(day, figures): &(NaiveDate, Figures)| {
            let mut shown = figures.json();
            shown["day"] = json!(day);
            shown
        };
        let days: Vec<Value> = self.days.iter().map(day).collect();
        Ok(json!({
            "from": from,
            "to": to,
            "currency": currency,
            "totals": totals.json(),
            "days": days,
        }))
    }
}

#[cfg(test)]
mod specs {
    use super::*;
    use crate::sale::Booking;
    use crate::sale::samples::{cancelled, confirmed, day};
    use chassis::store::{Key, MemoryStore};
    use events::OrderId;
    use uuid::Uuid;

    async fn booked(bookings: &[Booking]) -> Ports<MemoryStore> {
        let ports = Ports::system(MemoryStore::default());
        for (n, booking) in bookings.iter().enumerate() {
            let order = OrderId(Uuid::from_u128(u128::try_from(n).unwrap()));
            ports.store.commit(counters::writes(order, 1, booking)).await.unwrap();
        }
        ports
    }

    fn period(from: u32, to: u32) -> Period {
        Period { from: day(from), to: day(to), currency: Currency::USD }
    }

    /// Guards: the shards of a sum are added up, every day of the period is there, and days outside it are not.
    #[tokio::test]
    async fn a_report_adds_up_its_days() {
        let sold = || Booking::Sold(confirmed(1));
        let taken_back = Booking::CancelledAndTakenBack(cancelled(2), confirmed(1));
        let ports = booked(&[sold(), sold(), taken_back, Booking::Sold(confirmed(4))]).await;
        let report = Report::read(&ports, period(1, 3)).await.unwrap().json().unwrap();
        let days: Vec<&str> =
            report["days"].as_array().unwrap().iter().filter_map(|day| day["day"].as_str()).collect();
        assert_eq!(days, ["2026-11-01", "2026-11-02", "2026-11-03"]);
        let beans = json!({"product_id": "beans", "units": 4, "revenue_cents": 2000,
            "units_taken_back": 2, "taken_back_cents": 1000});
        let filters = json!({"product_id": "filters", "units": 2, "revenue_cents": 300,
            "units_taken_back": 1, "taken_back_cents": 150});
        assert_eq!(
            report["totals"],
            json!({"orders": 2, "revenue_cents": 2300, "orders_taken_back": 1, "taken_back_cents": 1150,
                "cancellations": {"FULFILLMENT_FAILED": 1}, "products": [beans, filters]})
        );
        assert_eq!(report["days"][0]["orders_taken_back"], 0);
        assert_eq!(report["days"][1]["revenue_cents"], 0);
    }

    /// Guards: amounts of another currency are not added to these.
    #[tokio::test]
    async fn currencies_do_not_mix() {
        let mut euro = confirmed(1);
        euro.currency = "EUR".parse().unwrap();
        let ports = booked(&[Booking::Sold(confirmed(1)), Booking::Sold(euro)]).await;
        for code in ["USD", "EUR"] {
            let period = Period { currency: code.parse().unwrap(), ..period(1, 1) };
            let report = Report::read(&ports, period).await.unwrap().json().unwrap();
            assert_eq!(
                (&report["totals"]["revenue_cents"], &report["currency"]),
                (&json!(1150), &json!(code))
            );
        }
    }

    /// Guards: sums that would wrap are an error, never a smaller number.
    #[test]
    fn sums_are_checked() {
        let row = |shard: u32| {
            let key = Key::new("day#1#2026-11-01", format!("count#{shard}#orders#USD"));
            Item::new(key).with(CENTS, i64::MAX)
        };
        assert!(Figures::of(&[row(0), row(1)], Currency::USD).is_ok());
        assert!(Figures::of(&[row(0), row(1), row(2)], Currency::USD).is_err());
    }
}
