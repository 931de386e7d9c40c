//! What is known of one order's sale: the pure core.
//!
//! It is a set of two: that the order was confirmed, and that it was cancelled. So neither the order of arrival nor a repeat
//! changes what is booked in the end, however late it comes.

use chassis::Refusal;
use chrono::NaiveDate;
use events::orders::OrderLine;
use events::{Currency, Money, ProductId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What an order's events have said of its sale.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sale {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed: Option<Confirmed>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancelled: Option<Cancelled>,
}

/// The order was confirmed: its revenue counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmed {
    /// The UTC day of the event.
    pub day: NaiveDate,
    pub currency: Currency,
    pub sold: BTreeMap<ProductId, Sold>,
}

/// How much of one product.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sold {
    pub units: u64,
    /// Minor units.
    pub cents: u64,
}

/// The order was cancelled: what it brought is taken back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancelled {
    /// The UTC day of the event.
    pub day: NaiveDate,
    /// `CUSTOMER_REQUEST`
    pub reason: String,
}

/// One of the two events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SaleEvent {
    Confirmed(Confirmed),
    Cancelled(Cancelled),
}

/// What is to be booked for an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Booking {
    /// It was sold.
    Sold(Confirmed),
    /// It was sold, and taken back on the day of the cancellation that came first.
    SoldAndTakenBack(Confirmed, NaiveDate),
    /// It was cancelled before it brought anything.
    Cancelled(Cancelled),
    /// It was cancelled, and what it had brought is taken back.
    CancelledAndTakenBack(Cancelled, Confirmed),
}

/// Why an order's lines cannot be booked: the sum is beyond what money can be.
pub const TOO_LARGE: &str = "the lines are more than an amount can be";
/// Why an order's lines cannot be booked: orders sells in one currency.
pub const MIXED: &str = "the lines have several currencies";

impl Confirmed {
    /// The sale of these lines; the same product on two lines is one product.
    ///
    /// # Errors
    /// [`TOO_LARGE`], [`MIXED`], or that there are none.
    pub fn of(day: NaiveDate, lines: &[OrderLine]) -> Result<Self, &'static str> {
        let currency = lines.first().ok_or("there are no lines")?.unit_price.currency;
        let (mut sold, mut sum) = (BTreeMap::<ProductId, Sold>::new(), Money::new(0, currency));
        for line in lines.iter().filter(|line| line.quantity > 0) {
            let amount = line.unit_price.times(line.quantity).map_err(|_| TOO_LARGE)?;
            if amount.currency != currency {
                return Err(MIXED);
            }
            // No part can be larger than the sum, which is checked.
            sum = sum.plus(amount).map_err(|_| TOO_LARGE)?;
            let product = sold.entry(line.product_id.clone()).or_default();
            product.units = product.units.checked_add(line.quantity.into()).ok_or(TOO_LARGE)?;
            product.cents = product.cents.checked_add(amount.amount).ok_or(TOO_LARGE)?;
        }
        Ok(Self { day, currency, sold })
    }

    /// What all of its products brought.
    #[must_use]
    pub fn cents(&self) -> u64 {
        self.sold.values().fold(0, |sum, product| sum.saturating_add(product.cents))
    }
}

impl Sale {
    /// What follows from an event.
    ///
    /// # Errors
    /// [`Refusal::Stale`] for what is booked already.
    pub fn book(&self, event: &SaleEvent) -> Result<Booking, Refusal> {
        match (event, &self.confirmed, &self.cancelled) {
            (SaleEvent::Confirmed(_), Some(_), _) => Err(Refusal::Stale("already booked as sold")),
            (SaleEvent::Cancelled(_), _, Some(_)) => Err(Refusal::Stale("already booked as cancelled")),
            (SaleEvent::Confirmed(sale), None, None) => Ok(Booking::Sold(sale.clone())),
            (SaleEvent::Confirmed(sale), None, Some(cancelled)) => {
                Ok(Booking::SoldAndTakenBack(sale.clone(), cancelled.day))
            }
            (SaleEvent::Cancelled(cancelled), None, None) => Ok(Booking::Cancelled(cancelled.clone())),
            (SaleEvent::Cancelled(cancelled), Some(sale), None) => {
                Ok(Booking::CancelledAndTakenBack(cancelled.clone(), sale.clone()))
            }
        }
    }

    /// The sale once a booking is made.
    #[must_use]
    pub fn after(mut self, booking: &Booking) -> Self {
        match booking {
            Booking::Sold(sale) | Booking::SoldAndTakenBack(sale, _) => self.confirmed = Some(sale.clone()),
            Booking::Cancelled(cancelled) | Booking::CancelledAndTakenBack(cancelled, _) => {
                self.cancelled = Some(cancelled.clone());
            }
        }
        self
    }
}

#[cfg(test)]
pub mod samples {
    use super::*;

    pub fn day(day: u32) -> NaiveDate {
        NaiveDate::from_ymd_opt(2026, 11, day).unwrap()
    }

    pub fn line(product: &str, quantity: u32, cents: u64) -> OrderLine {
        let unit_price = Money::new(cents, Currency::USD);
        OrderLine { product_id: product.parse().unwrap(), quantity, unit_price }
    }

    pub fn confirmed(on: u32) -> Confirmed {
        Confirmed::of(day(on), &[line("beans", 2, 500), line("filters", 1, 150)]).unwrap()
    }

    pub fn cancelled(on: u32) -> Cancelled {
        Cancelled { day: day(on), reason: "FULFILLMENT_FAILED".into() }
    }
}

#[cfg(test)]
mod specs {
    use super::samples::{cancelled, confirmed, day, line};
    use super::*;

    #[test]
    fn a_sale_is_the_sum_of_its_lines() {
        let sale = Confirmed::of(day(1), &[line("beans", 2, 500), line("beans", 1, 400)]).unwrap();
        assert_eq!(sale.sold.values().collect::<Vec<_>>(), [&Sold { units: 3, cents: 1400 }]);
        assert_eq!(confirmed(1).cents(), 1150);
    }

    /// Guards: sums that would wrap, and sums over currencies, are refused.
    #[test]
    fn money_is_checked() {
        let most = events::money::MAX_AMOUNT;
        assert_eq!(Confirmed::of(day(1), &[line("beans", 2, most)]), Err(TOO_LARGE));
        assert_eq!(Confirmed::of(day(1), &[line("beans", 1, most), line("filters", 1, 1)]), Err(TOO_LARGE));
        let mut euro = line("filters", 1, 1);
        euro.unit_price.currency = "EUR".parse().unwrap();
        assert_eq!(Confirmed::of(day(1), &[line("beans", 1, 1), euro]), Err(MIXED));
        assert!(Confirmed::of(day(1), &[]).is_err());
    }

    /// Guards: what comes again changes nothing, with or without an inbox row.
    #[test]
    fn each_event_is_booked_once() {
        let sold = Sale { confirmed: Some(confirmed(1)), cancelled: None };
        let closed = Sale { confirmed: Some(confirmed(1)), cancelled: Some(cancelled(2)) };
        for sale in [&sold, &closed] {
            let again = sale.book(&SaleEvent::Confirmed(confirmed(1)));
            assert_eq!(again, Err(Refusal::Stale("already booked as sold")));
        }
        let again = closed.book(&SaleEvent::Cancelled(cancelled(2)));
        assert_eq!(again, Err(Refusal::Stale("already booked as cancelled")));
    }

    /// Guards: a cancellation is booked on its own day, whichever event came first.
    #[test]
    fn a_cancellation_is_taken_back_on_its_own_day() {
        let sold = Sale::default().after(&Booking::Sold(confirmed(1)));
        let taken_back = Booking::CancelledAndTakenBack(cancelled(2), confirmed(1));
        assert_eq!(sold.book(&SaleEvent::Cancelled(cancelled(2))), Ok(taken_back.clone()));
        let first = Sale::default().after(&Booking::Cancelled(cancelled(2)));
        let late = Booking::SoldAndTakenBack(confirmed(1), day(2));
        assert_eq!(first.book(&SaleEvent::Confirmed(confirmed(1))), Ok(late.clone()));
        assert_eq!(sold.after(&taken_back), first.after(&late));
    }
}
