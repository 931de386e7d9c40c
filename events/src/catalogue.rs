//! Every event of the platform in one table: its producer, its consumers, and its schema.

use crate::{Event, fulfillment, inventory, orders, payments, rewards};
use schemars::{JsonSchema, Schema, generate::SchemaSettings};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// One row of the catalogue.
#[derive(Clone, Copy)]
pub struct Entry {
    /// `order.created`
    pub kind: &'static str,
    /// The version of the shape.
    pub version: u32,
    /// The service that publishes it.
    pub producer: &'static str,
    /// The services that consume it.
    pub consumers: &'static [&'static str],
    /// Who reads it outside the platform, when no service consumes it.
    pub audience: Option<&'static str>,
    /// Draft 2020-12 schema of `data`, generated from the Rust type.
    pub schema: fn() -> Value,
    /// Reads `data` as the Rust type and writes it again; the error says what the type refuses.
    pub reread: fn(&Value) -> Result<Value, String>,
}

/// What one service reads of one event: its own view of the data, which ignores the rest.
#[derive(Clone, Copy)]
pub struct Subscription {
    /// `order.created`
    pub kind: &'static str,
    /// The version of the shape that it understands.
    pub version: u32,
    /// The schema of the view.
    pub schema: fn() -> Value,
    /// Reads `data` as the view; the error says what it misses.
    pub read: fn(&Value) -> Result<(), String>,
}

/// A service's reading of `E` as the view `V`.
#[must_use]
pub const fn subscription<E: Event, V: DeserializeOwned + JsonSchema>() -> Subscription {
    Subscription { kind: E::TYPE, version: E::VERSION, schema: plain_schema::<V>, read: read::<V> }
}

fn read<V: DeserializeOwned>(data: &Value) -> Result<(), String> {
    V::deserialize(data).map(drop).map_err(|e| e.to_string())
}

const fn entry<E: Event>(consumers: &'static [&'static str]) -> Entry {
    Entry {
        kind: E::TYPE,
        version: E::VERSION,
        producer: E::PRODUCER,
        consumers,
        audience: None,
        schema: schema::<E>,
        reread: reread::<E>,
    }
}

/// An event that no service consumes, and who reads it outside the platform: free text for the contracts' pages. Without
/// an audience, an event that no service consumes is a breach of the contract gate.
const fn published_for<E: Event>(audience: &'static str) -> Entry {
    Entry { audience: Some(audience), ..entry::<E>(&[]) }
}

/// The catalogue, in the order of the dance.
#[must_use]
pub fn entries() -> Vec<Entry> {
    vec![
        entry::<inventory::ProductListed>(&["orders"]),
        published_for::<inventory::ProductCounted>("stock reports"),
        entry::<orders::OrderCreated>(&["inventory", "payments"]),
        entry::<inventory::InventoryReserved>(&["payments", "orders"]),
        entry::<inventory::InventoryReservationFailed>(&["orders"]),
        entry::<payments::PaymentCharged>(&["orders"]),
        entry::<payments::PaymentDeclined>(&["orders"]),
        entry::<payments::PaymentUnavailable>(&["orders"]),
        entry::<payments::PaymentCircuitOpened>(&["orders"]),
        entry::<payments::PaymentCircuitHalfOpened>(&["orders"]),
        entry::<payments::PaymentCircuitClosed>(&["orders"]),
        entry::<orders::OrderConfirmed>(&["fulfillment", "rewards", "notifications"]),
        entry::<fulfillment::FulfillmentShipped>(&["orders", "inventory"]),
        entry::<fulfillment::FulfillmentFailed>(&["orders"]),
        entry::<orders::OrderFulfilled>(&["notifications"]),
        entry::<orders::OrderCancelled>(&[
            "inventory",
            "payments",
            "fulfillment",
            "rewards",
            "notifications",
        ]),
        entry::<inventory::InventoryReleased>(&["orders"]),
        entry::<payments::PaymentVoided>(&["orders"]),
        published_for::<payments::PaymentCompensationRequested>("the payment-compensation flow"),
        entry::<payments::PaymentRefunded>(&["orders", "notifications"]),
        entry::<payments::PaymentRefundFailed>(&["orders"]),
        published_for::<orders::OrderCompensated>("reports"),
        entry::<orders::OrderFailed>(&["notifications"]),
        published_for::<rewards::RewardsGranted>("customers' balances"),
        published_for::<rewards::RewardsRevoked>("customers' balances"),
    ]
}

/// What `service` consumes.
#[must_use]
pub fn consumed_by(service: &str) -> Vec<Entry> {
    entries().into_iter().filter(|entry| entry.consumers.contains(&service)).collect()
}

fn reread<E: Event>(data: &Value) -> Result<Value, String> {
    let typed = E::deserialize(data).map_err(|e| e.to_string())?;
    serde_json::to_value(typed).map_err(|e| e.to_string())
}

fn generate<T: JsonSchema>() -> Schema {
    SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>()
}

/// The schema of `T` under a name of its own.
fn named<T: JsonSchema>(title: &str, version: u32) -> Value {
    let mut schema = generate::<T>();
    schema.insert("$id".into(), json!(format!("urn:quadrille:{title}:v{version}")));
    schema.insert("title".into(), json!(title));
    schema.to_value()
}

fn schema<E: Event>() -> Value {
    named::<E>(E::TYPE, E::VERSION)
}

fn plain_schema<V: JsonSchema>() -> Value {
    let mut schema = generate::<V>();
    schema.remove("$schema");
    schema.to_value()
}

/// The schema of [`crate::Metadata`], which is the same around every event.
#[must_use]
pub fn metadata_schema() -> Value {
    named::<crate::Metadata>("metadata", 1)
}
