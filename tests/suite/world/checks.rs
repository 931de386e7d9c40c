//! What can be seen of the world as a whole.

use super::World;
use crate::bench::Bench;
use chassis::outbox::EntryKind;
use chassis::ports::Clock;
use chassis::store::Item;
use registry::SERVICES;
use std::collections::BTreeSet;
use std::sync::Arc;

impl World {
    /// The types and versions of everything that the services have published: `order.created v1`.
    pub fn all_published(&self) -> BTreeSet<String> {
        let rows = self.tables().into_iter().flat_map(|(_, rows)| rows);
        let published = rows.filter(|row| EntryKind::Published.is_of(row));
        published
            .filter_map(|row| Some(format!("{} v{}", row.text("type")?, row.count("version")?)))
            .collect()
    }

    /// Every row of every service, by key.
    pub fn tables(&self) -> Vec<(&'static str, Vec<Item>)> {
        SERVICES.iter().map(|service| (*service, self.store(service).inner.rows())).collect()
    }

    /// The time there.
    pub fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.of("orders").clock)
    }

    /// I9: everything that a run leaves behind, as text: rows with their keys and attributes, money, parcels, messages,
    /// and what was delivered with which verdict.
    pub fn dump(&self) -> String {
        let rows = self.tables();
        let outside = (self.provider.account(), &self.carrier.0, &self.topic.0, &self.flows);
        format!("{rows:#?}\n{outside:#?}\n{:#?}\n{:#?}", self.log, self.pending)
    }

    /// How often the provider was called for an order's charge.
    pub fn charges(&self, order: &str) -> u32 {
        self.account(order).calls
    }
}
