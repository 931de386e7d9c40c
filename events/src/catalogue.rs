//! Every event of the platform in one table: who tells it, who takes it, and its schema.

use crate::{Event, inventory, orders, payments};
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

/// One row of the catalogue.
#[derive(Clone, Copy)]
pub struct Entry {
    /// `order.created`
    pub kind: &'static str,
    /// The version of the shape.
    pub version: u32,
    /// The service that tells it.
    pub teller: &'static str,
    /// The services whose inbox takes it.
    pub takers: &'static [&'static str],
    /// Draft 2020-12 schema of `data`, generated from the Rust type.
    pub schema: fn() -> Value,
    /// Reads `data` as the Rust type and writes it again; the error says what the type refuses.
    pub reread: fn(&Value) -> Result<Value, String>,
}

const fn entry<E: Event>(takers: &'static [&'static str]) -> Entry {
    Entry {
        kind: E::TYPE,
        version: E::VERSION,
        teller: E::TELLER,
        takers,
        schema: schema::<E>,
        reread: reread::<E>,
    }
}

/// The catalogue, in the order of the dance.
#[must_use]
pub fn entries() -> Vec<Entry> {
    vec![
        entry::<inventory::ProductListed>(&["orders"]),
        entry::<inventory::ProductCounted>(&[]),
        entry::<orders::OrderCreated>(&["inventory", "payments"]),
        entry::<inventory::InventoryReserved>(&["payments", "orders"]),
        entry::<inventory::InventoryReservationFailed>(&["orders"]),
        entry::<payments::PaymentCharged>(&["orders"]),
        entry::<payments::PaymentDeclined>(&["orders"]),
        entry::<orders::OrderConfirmed>(&[]),
        entry::<orders::OrderCancelled>(&["inventory", "payments"]),
        entry::<inventory::InventoryReleased>(&["orders"]),
        entry::<payments::PaymentVoided>(&["orders"]),
        entry::<payments::PaymentCompensationRequested>(&[]),
        entry::<orders::OrderCompensated>(&[]),
    ]
}

/// What `service` takes from the bus.
#[must_use]
pub fn taken_by(service: &str) -> Vec<Entry> {
    entries().into_iter().filter(|entry| entry.takers.contains(&service)).collect()
}

fn reread<E: Event>(data: &Value) -> Result<Value, String> {
    let typed = E::deserialize(data).map_err(|e| e.to_string())?;
    serde_json::to_value(typed).map_err(|e| e.to_string())
}

fn schema<E: Event>() -> Value {
    let mut schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<E>();
    schema.insert("$id".into(), json!(format!("urn:quadrille:{}:v{}", E::TYPE, E::VERSION)));
    schema.insert("title".into(), json!(E::TYPE));
    schema.to_value()
}
