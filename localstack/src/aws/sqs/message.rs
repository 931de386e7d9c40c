//! A message of a queue, as a consumer gets it, and as the journal keeps it.

use super::fifo::Place;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::sync::Arc;

#[derive(Clone, Debug)]
pub struct Message {
    /// A queue has its messages in the order of their numbers.
    pub number: u64,
    pub id: String,
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

/// A message as the journal keeps it.
#[derive(Deserialize, Serialize)]
struct Kept<'a> {
    number: u64,
    id: Cow<'a, str>,
    body: Cow<'a, str>,
    sent_at: i64,
    receives: u32,
    place: Option<Cow<'a, Place>>,
}

impl Message {
    /// As the journal keeps it.
    #[must_use]
    pub fn kept(&self) -> String {
        let Self { number, id, body, sent_at, receives, place } = self;
        let kept = Kept {
            number: *number,
            id: id.into(),
            body: Cow::Borrowed(body),
            sent_at: *sent_at,
            receives: *receives,
            place: place.as_ref().map(Cow::Borrowed),
        };
        // Texts and numbers can always be written.
        serde_json::to_string(&kept).unwrap_or_default()
    }

    /// One that the journal kept. One that cannot be read is said, and passed over.
    pub fn read(queue: &str, kept: &[u8]) -> Option<Self> {
        let kept = serde_json::from_slice::<Kept<'_>>(kept);
        let kept = kept.inspect_err(|error| tracing::error!("a message of {queue} cannot be read: {error}"));
        let Kept { number, id, body, sent_at, receives, place } = kept.ok()?;
        let (id, place) = (id.into_owned(), place.map(Cow::into_owned));
        Some(Self { number, id, body: body.into(), sent_at, receives, place })
    }
}
