//! The language the services share: the envelope, ids, money, and one module per producing service.
//!
//! Nothing here does I/O. A service depends on this crate and on `chassis`, never on another service.

pub mod catalogue;
pub mod envelope;
pub mod fulfillment;
pub mod ids;
pub mod inventory;
pub mod money;
pub mod orders;
pub mod payments;
pub mod reading;
pub mod rewards;

pub use envelope::{Envelope, Metadata, Unreadable};
pub use ids::{CustomerId, EventId, OrderId, PaymentId, ProductId};
pub use money::{Currency, Money};

use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};

/// The most bytes one event may take on the wire. EventBridge itself allows 256 KiB an entry (1 MiB since
/// 2026); staying far below keeps a batch of ten inside every limit on the way.
pub const MAX_EVENT_BYTES: usize = 64 * 1024;

/// A fact that one service publishes, as it stands in `detail.data`.
pub trait Event: Serialize + DeserializeOwned + JsonSchema + Clone + Send + Sync {
    /// The name on the wire, `order.created`: EventBridge's `detail-type`.
    const TYPE: &'static str;
    /// The version of the shape. Within one version only optional fields are added.
    const VERSION: u32;
    /// The service that publishes it: `orders`. On the bus the source is `quadrille.orders`.
    const PRODUCER: &'static str;
}

/// Names a type's event: `event!(OrderCreated, "order.created", 1, "orders")`.
macro_rules! event {
    ($data:ty, $kind:literal, $version:literal, $producer:literal) => {
        impl crate::Event for $data {
            const TYPE: &'static str = $kind;
            const VERSION: u32 = $version;
            const PRODUCER: &'static str = $producer;
        }
    };
}
pub(crate) use event;

/// The bus `source` of a service's events.
#[must_use]
pub fn source_of(service: &str) -> String {
    format!("quadrille.{service}")
}
