//! Forgetting where a customer lives: each order's address is sealed under a key of its own, and without the key it is
//! unreadable in every row, archive, dead letter and backup at once.

use chassis::keys::{self, Keys};
use chassis::store::{CommitError, Condition, EVENTS, Item, Key, Store, Write, every_row};
use chassis::{AggregateId, Failure};
use events::{CustomerId, Event, OrderId, orders as published};
use registry::orders::reactor::BY_CUSTOMER;
use serde_json::Value;

/// How many orders are looked up in the index at a time.
const PAGE: u32 = 100;
/// The type of the event row that keeps an order's address.
const ADDRESSED: &str = "order.addressed";

/// What stands between an order's address and its being forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Address {
    /// The order came without one.
    None,
    /// Sealed, and its key is there.
    Kept {
        /// Whether the carrier may still need it: the order is neither on its way nor cancelled.
        is_needed: bool,
    },
    /// Sealed, and its key is gone.
    Forgotten,
    /// In the clear, because the order was placed before addresses were sealed: no key can be deleted for it.
    Clear,
}

/// The tables that say where a customer's addresses are.
pub struct Records<S> {
    /// The table of orders.
    pub orders: S,
    /// The table of keys.
    pub keys: Keys<S>,
    /// The table of payments.
    pub payments: S,
}

impl<S: Store> Records<S> {
    /// The customer's orders, newest first, each with what became of its address. The index shows an order a moment after it was
    /// placed.
    ///
    /// # Errors
    /// A [`Failure`] when a table does not answer, or an order's row cannot be read.
    pub async fn addresses(&self, customer: &CustomerId) -> Result<Vec<(OrderId, Address)>, Failure> {
        let (mut found, mut before) = (Vec::new(), None::<String>);
        loop {
            let page = self.orders.newest(BY_CUSTOMER, customer.as_str(), before.as_deref(), PAGE).await?;
            let Some(last) = page.last() else { return Ok(found) };
            before = Some(last.at.clone());
            for row in page {
                let id = AggregateId::of_partition(&row.key.pk).subject.parse();
                let id = id.map_err(|_| Failure::Poison(format!("{} is not an order", row.key)))?;
                found.push((id, self.address(id).await?));
            }
        }
    }

    async fn address(&self, order: OrderId) -> Result<Address, Failure> {
        let rows = every_row(&self.orders, &AggregateId::order(order).pk, EVENTS).await?;
        let of = |kind: &str| rows.iter().find(|row| row.text("type") == Some(kind));
        let Some(addressed) = of(ADDRESSED) else { return Ok(Address::None) };
        if !is_sealed(addressed) {
            return Ok(Address::Clear);
        }
        let needless = [published::OrderFulfilled::TYPE, published::OrderCancelled::TYPE];
        let is_needed = needless.into_iter().all(|kind| of(kind).is_none());
        let key = self.keys.of(order).await?;
        Ok(key.map_or(Address::Forgotten, |_| Address::Kept { is_needed }))
    }

    /// The provider's customer for whom payments may have saved a payment method, by the provider's id.
    ///
    /// # Errors
    /// As [`Store::load`].
    pub async fn provider_customer(&self, customer: &CustomerId) -> Result<Option<String>, Failure> {
        let row = self.payments.load(&Key::state(AggregateId::new("customer", customer.key()).pk)).await?;
        Ok(row.and_then(|row| data(&row)?["id"].as_str().map(str::to_owned)))
    }

    /// Deletes the keys of these orders; how many there were.
    ///
    /// # Errors
    /// A [`Failure`] when the table does not answer; the keys before it are deleted.
    pub async fn forget(&self, orders: &[OrderId]) -> Result<usize, Failure> {
        let mut forgotten = 0;
        for order in orders {
            let there = Condition::Matches(Vec::new());
            let delete = Write::Delete { key: keys::row(*order), when: there };
            match self.keys.0.commit(vec![delete]).await {
                Ok(()) => forgotten += 1,
                // Another operator has just deleted it.
                Err(CommitError::Rejected(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(forgotten)
    }
}

fn data(row: &Item) -> Option<Value> {
    serde_json::from_str(row.text("data")?).ok()
}

fn is_sealed(addressed: &Item) -> bool {
    data(addressed).is_some_and(|data| data.get("sealed_address").is_some())
}
