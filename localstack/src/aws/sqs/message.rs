//! A message of a queue, as a consumer gets it, and as the journal keeps it.

use super::fifo::Place;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Message {
    /// A queue has its messages in the order of their numbers.
    pub number: u64,
    pub id: String,
    #[serde(with = "shared")]
    pub body: Arc<str>,
    /// Epoch milliseconds.
    pub sent_at: i64,
    /// How often the message was received.
    pub receives: u32,
    /// Its place in a FIFO queue.
    pub place: Option<Place>,
}

/// A message as a consumer gets it.
#[derive(Clone, Debug)]
pub struct Received {
    pub message: Message,
    /// The handle that deletes the message; valid until the next receive.
    pub receipt: String,
}

impl Message {
    /// As the journal keeps it.
    #[must_use]
    pub fn kept(&self) -> String {
        // Texts and numbers can always be written.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// One that the journal kept. One that cannot be read is said, and passed over.
    pub fn read(queue: &str, kept: &[u8]) -> Option<Self> {
        let message = serde_json::from_slice(kept);
        message.inspect_err(|error| tracing::error!("a message of {queue} cannot be read: {error}")).ok()
    }
}

/// A text that is shared, as a text.
mod shared {
    use serde::{Deserialize, Deserializer, Serializer};
    use std::sync::Arc;

    pub fn serialize<S: Serializer>(text: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(text)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<str>, D::Error> {
        String::deserialize(deserializer).map(Arc::from)
    }
}
