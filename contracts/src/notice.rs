//! The message to a customer, described as the events are: its schema comes from notifications' type.

use events::catalogue::{self, Entry};
use registry::notifications::notification::Notice;
use serde_json::{Value, json};

/// The folder of the messages' schema and examples.
pub const KIND: &str = "messages";
const VERSION: u32 = 1;
/// The file of their Rust type.
pub const TYPE_FILE: &str = "services/notifications/src/notification.rs";

/// The message, described as an event is.
#[must_use]
pub fn entry() -> Entry {
    Entry {
        kind: KIND,
        version: VERSION,
        producer: "notifications",
        consumers: &[],
        audience: Some("a shop's own mailer"),
        schema: || catalogue::named::<Notice>(KIND, VERSION),
        reread,
    }
}

/// Reads a message and writes it again as notifications would, its text included.
fn reread(message: &Value) -> Result<Value, String> {
    let read: Notice = serde_json::from_value(message.clone()).map_err(|e| e.to_string())?;
    Ok(json!(Notice::new(read.event_id, read.order_id, read.customer_id, read.outcome)))
}
