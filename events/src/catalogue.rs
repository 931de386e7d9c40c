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
        entry::<orders::OrderConfirmed>(&["fulfillment", "rewards", "notifications", "sales"]),
        entry::<fulfillment::FulfillmentShipped>(&["orders", "inventory"]),
        entry::<fulfillment::FulfillmentFailed>(&["orders"]),
        entry::<orders::OrderFulfilled>(&["notifications"]),
        entry::<orders::OrderCancelled>(&[
            "inventory",
            "payments",
            "fulfillment",
            "rewards",
            "notifications",
            "sales",
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

/// What a service has to do with an event of some version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// To read it, or to say why it cannot.
    ToBeRead,
    /// To let it pass: it is newer than what the service consumes, and that is published beside it.
    Newer,
    /// To refuse it: it is newer than every version known here, and the service consumes none that is published.
    NewerAlone,
}

/// How an event of this type and version stands to what `service` consumes. A version in the catalogue is published: the
/// gate of the contracts holds the producers to that.
#[must_use]
pub fn standing(entries: &[Entry], service: &str, kind: &str, version: u32) -> Standing {
    let known: Vec<&Entry> = entries.iter().filter(|entry| entry.kind == kind).collect();
    let consumed: Vec<&&Entry> = known.iter().filter(|entry| entry.consumers.contains(&service)).collect();
    if known.is_empty() || consumed.iter().any(|entry| entry.version >= version) {
        Standing::ToBeRead
    } else if !consumed.is_empty() {
        Standing::Newer
    } else if known.iter().all(|entry| entry.version < version) {
        Standing::NewerAlone
    } else {
        Standing::ToBeRead
    }
}

fn reread<E: Event>(data: &Value) -> Result<Value, String> {
    let typed = E::deserialize(data).map_err(|e| e.to_string())?;
    serde_json::to_value(typed).map_err(|e| e.to_string())
}

fn generate<T: JsonSchema>() -> Schema {
    SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>()
}

/// The schema of `T` under a name of its own.
#[must_use]
pub fn named<T: JsonSchema>(title: &str, version: u32) -> Value {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn confirmed(version: u32, consumers: &'static [&'static str]) -> Entry {
        Entry { version, ..entry::<orders::OrderConfirmed>(consumers) }
    }

    /// Guards: what is acknowledged. A newer version is let pass only where the service gets an older one too.
    #[test]
    fn a_newer_version_passes_only_beside_one_that_is_consumed() {
        let of =
            |entries: &[Entry], version| standing(entries, "rewards", orders::OrderConfirmed::TYPE, version);
        let alone = [confirmed(1, &["rewards"])];
        assert_eq!((of(&alone, 1), of(&alone, 2)), (Standing::ToBeRead, Standing::Newer));
        let beside = [confirmed(1, &["rewards"]), confirmed(2, &["fulfillment"])];
        assert_eq!((of(&beside, 2), of(&beside, 3)), (Standing::Newer, Standing::Newer));
        let followed = [confirmed(1, &["fulfillment"]), confirmed(2, &["rewards"])];
        assert_eq!(of(&followed, 1), Standing::ToBeRead, "an older one is not let pass");
        assert_eq!((of(&followed, 2), of(&followed, 3)), (Standing::ToBeRead, Standing::Newer));
        let gone = [confirmed(2, &["fulfillment"])];
        assert_eq!((of(&gone, 2), of(&gone, 3)), (Standing::ToBeRead, Standing::NewerAlone));
        assert_eq!(of(&[], 1), Standing::ToBeRead);
    }
}
