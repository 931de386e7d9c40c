//! I1: the counters of each product against the reservations, added up. A product that moves meanwhile is not compared.

use super::rows::{state_of, with};
use super::walk::Partitions;
use super::{Audit, Difference, kind_of};
use chassis::Failure;
use chassis::aggregate::read_state;
use chassis::outbox::envelope_of;
use chassis::store::{EVENTS, Item, Key, Scan, load_all};
use events::Envelope;
use events::inventory::{InventoryReserved, ProductCounted, StockLine};
use registry::inventory::product::{self, Product};
use registry::inventory::reservation::Reservation;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::sleep;

/// A product: its row, what its last count says, and what reservations say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Sums {
    stored: Option<Product>,
    /// Available and held together, at the last count.
    counted: u64,
    held: u64,
    shipped: u64,
}

impl Sums {
    /// What does not add up. What had shipped at the last count is in no event: only after the first count that was nothing.
    fn wrong(&self) -> Option<String> {
        let Some(Product { available, held, shipped, counts, .. }) = self.stored.clone() else {
            let units = self.held.saturating_add(self.shipped);
            return (units > 0).then(|| format!("is missing, and reservations have {units} units of it"));
        };
        if (held, shipped) != (self.held, self.shipped) {
            return Some(format!(
                "has {held} held and {shipped} shipped; the reservations have {} and {}",
                self.held, self.shipped
            ));
        }
        let on_shelf = available.saturating_add(held);
        let least = if counts <= 1 { on_shelf.saturating_add(shipped) } else { on_shelf };
        let is_right = (least..=on_shelf.saturating_add(shipped)).contains(&self.counted);
        (!is_right).then(|| {
            format!(
                "has {available} available, {held} held, {shipped} shipped, of {} that were counted",
                self.counted
            )
        })
    }
}

impl<S: Scan> Audit<S> {
    /// What differs in the stock, and how many products moved.
    pub(super) async fn stock(&self, pause: Duration) -> Result<(BTreeSet<Difference>, u64), Failure> {
        let Some(table) = self.table("inventory") else { return Ok(<_>::default()) };
        let (first, moving) = sums(&table.store).await?;
        if first.is_empty() {
            return Ok((BTreeSet::new(), moving));
        }
        sleep(pause).await;
        let (second, moving) = sums(&table.store).await?;
        let same = first.into_iter().filter(|(pk, wrong)| second.get(pk) == Some(wrong));
        let differences = same.map(|(pk, wrong)| Difference::new(table.service, &Key::state(pk), wrong));
        Ok((differences.collect(), moving))
    }
}

/// What does not add up, by product, and how many moved while they were added up.
async fn sums<S: Scan>(store: &S) -> Result<(BTreeMap<String, String>, u64), Failure> {
    let mut products: BTreeMap<String, Sums> = BTreeMap::new();
    let mut partitions = Partitions::of(store);
    while let Some(page) = partitions.next().await? {
        for (pk, rows) in page {
            match kind_of(&pk) {
                "product" => counted(products.entry(pk).or_default(), &rows),
                "order" => reserved(&mut products, &rows),
                _ => {}
            }
        }
    }
    let pks: Vec<String> = products.keys().cloned().collect();
    let (mut wrong, mut moving) = (BTreeMap::new(), 0);
    let keys: Vec<Key> = pks.iter().map(Key::state).collect();
    for (pk, row) in pks.iter().zip(load_all(store, &keys).await?) {
        let now = row.as_ref().and_then(|row| read_state::<Product>(row).ok()).map(|loaded| loaded.state);
        let Some(sums) = products.get(pk) else { continue };
        if now != sums.stored {
            moving += 1;
        } else if let Some(what) = sums.wrong() {
            wrong.insert(pk.clone(), what);
        }
    }
    Ok((wrong, moving))
}

/// Enters a product's own rows.
fn counted(sums: &mut Sums, rows: &[Item]) {
    sums.stored = state_of(rows).and_then(|row| read_state::<Product>(row).ok()).map(|loaded| loaded.state);
    let events = with(rows, EVENTS).filter_map(|row| envelope_of(row).ok());
    for counted in events.filter(Envelope::is::<ProductCounted>) {
        if let Ok(ProductCounted { available, held, .. }) = counted.data() {
            sums.counted = available.saturating_add(held);
        }
    }
}

/// Enters what an order has of each product: what it holds stands in its state, what has left in its event.
fn reserved(products: &mut BTreeMap<String, Sums>, rows: &[Item]) {
    let state = state_of(rows).and_then(|row| read_state::<Reservation>(row).ok()).map(|loaded| loaded.state);
    let lines = || {
        let events = with(rows, EVENTS).filter_map(|row| envelope_of(row).ok());
        let reserved = events.filter(Envelope::is::<InventoryReserved>);
        reserved.filter_map(|event| event.data::<InventoryReserved>().ok()).flat_map(|event| event.lines)
    };
    let mut enter = |line: StockLine, to: fn(&mut Sums) -> &mut u64| {
        let sum = to(products.entry(product::id(&line.product_id).pk).or_default());
        *sum = sum.saturating_add(line.quantity.into());
    };
    match state {
        Some(Reservation::Held { lines }) => {
            lines.into_iter().for_each(|line| enter(line, |sums| &mut sums.held));
        }
        Some(Reservation::Shipped) => lines().for_each(|line| enter(line, |sums| &mut sums.shipped)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(units: (u64, u64, u64), counts: u64, counted: u64, reserved: (u64, u64)) -> Option<String> {
        let (available, held, shipped) = units;
        let stored = Some(Product { listed: None, available, held, shipped, counts });
        Sums { stored, counted, held: reserved.0, shipped: reserved.1 }.wrong()
    }

    /// Guards: I1 in the audit. Held and shipped are those of the reservations, and all of it is what was counted.
    #[test]
    fn what_does_not_add_up_is_said() {
        assert_eq!(sums((7, 2, 1), 1, 10, (2, 1)), None);
        assert!(sums((7, 2, 1), 1, 10, (3, 1)).unwrap().contains("2 held"));
        assert!(sums((7, 2, 1), 1, 10, (2, 0)).is_some());
        assert!(sums((8, 2, 1), 1, 10, (2, 1)).unwrap().contains("10 that were counted"));
        // Counted again after one of ten had left: nine.
        assert_eq!(sums((7, 2, 1), 2, 9, (2, 1)), None);
        assert!(sums((7, 2, 1), 2, 8, (2, 1)).is_some());
        assert!(sums((7, 2, 1), 2, 11, (2, 1)).is_some());
    }
}
