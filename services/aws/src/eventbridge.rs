//! The bus port over EventBridge.

use crate::sdk::in_a_line;
use aws_config::SdkConfig;
use aws_sdk_eventbridge::types::PutEventsRequestEntry;
use aws_sdk_eventbridge::{Client, primitives::DateTime};
use chassis::Failure;
use chassis::ports::Bus;
use events::{Envelope, envelope::Replay};
use serde_json::{Value, json};
use uuid::Uuid;

/// The most entries of one call: <https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEvents.html>
const MAX_ENTRIES: usize = 10;
/// The most bytes of one call. EventBridge allows more since 2026; this was its limit before, and holds everywhere.
///
/// <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-putevent-size.html>
const MAX_BYTES: usize = 256 * 1024;

/// How the names of our replays of an archive begin; their id follows.
pub const REPLAY: &str = "quadrille-";

/// Why events were not published: those before the place `first` were.
#[derive(Debug)]
pub struct Refused {
    /// The place of the first event that was not.
    pub first: usize,
    /// Why.
    pub failure: Failure,
}

/// Reads the body of a queue's message: an EventBridge event with our envelope as its detail. The rest of the event
/// changes with every publication.
///
/// # Errors
/// [`Failure::Poison`] when it is anything else.
pub fn read_body(body: &str) -> Result<Envelope, Failure> {
    let poison = |why: &str| Failure::Poison(format!("the body is not an EventBridge event: {why}"));
    let mut event: Value = serde_json::from_str(body).map_err(|_| poison("expected JSON"))?;
    let detail = event.get_mut("detail").ok_or_else(|| poison("detail: is missing"))?;
    let mut envelope = Envelope::read(detail.take())?;
    // EventBridge marks what it replays from an archive beside the detail, which is as it was when it was archived.
    if let Some(name) = event.get("replay-name").and_then(Value::as_str) {
        envelope.metadata.replay = Some(Replay { id: replay_id(name), consumer: None });
    }
    Ok(envelope)
}

/// The id of an archive's replay: the one at the end of its name, or, for a replay that someone started under another name,
/// one that derives from that.
fn replay_id(name: &str) -> Uuid {
    let id = name.strip_prefix(REPLAY).and_then(|id| id.parse().ok());
    id.unwrap_or_else(|| Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes()))
}

/// A bus by name.
#[derive(Clone)]
pub struct EventBus {
    client: Client,
    name: String,
}

impl EventBus {
    /// The bus called `name`.
    #[must_use]
    pub fn new(config: &SdkConfig, name: String) -> Self {
        Self { client: Client::new(config), name }
    }

    /// The entry that the pipe would make of the event's row.
    fn entry(&self, event: &Envelope) -> PutEventsRequestEntry {
        let metadata = &event.metadata;
        PutEventsRequestEntry::builder()
            .event_bus_name(&self.name)
            .source(&metadata.source)
            .detail_type(&metadata.kind)
            .resources(&metadata.subject)
            .time(DateTime::from_millis(metadata.time.timestamp_millis()))
            .detail(json!(event).to_string())
            .build()
    }

    /// Publishes events in their order, as many in one call as it may hold.
    ///
    /// # Errors
    /// [`Refused`], at the first call of which an entry is not published.
    pub async fn put(&self, events: &[Envelope]) -> Result<(), Refused> {
        let entries: Vec<PutEventsRequestEntry> = events.iter().map(|event| self.entry(event)).collect();
        let (mut first, mut rest) = (0, entries.as_slice());
        while !rest.is_empty() {
            let (now, later) = rest.split_at(fitting(rest));
            self.call(now).await.map_err(|refused| Refused { first: first + refused.first, ..refused })?;
            (first, rest) = (first + now.len(), later);
        }
        Ok(())
    }

    async fn call(&self, entries: &[PutEventsRequestEntry]) -> Result<(), Refused> {
        let sent = self.client.put_events().set_entries(Some(entries.to_vec())).send().await;
        let answer = sent.map_err(|e| {
            let failure = Failure::Transient(format!("bus: {}", in_a_line(&e)));
            Refused { first: 0, failure }
        })?;
        // The call succeeds even when entries of it fail.
        let refused = answer.entries().iter().enumerate();
        let mut refused = refused.filter_map(|(place, entry)| Some((place, entry.error_code()?)));
        refused.next().map_or(Ok(()), |(first, code)| {
            let failure = Failure::Transient(format!("bus: an entry was refused: {code}"));
            Err(Refused { first, failure })
        })
    }
}

/// How many of the entries fit into one call; at least one.
fn fitting(entries: &[PutEventsRequestEntry]) -> usize {
    let sizes = entries.iter().take(MAX_ENTRIES).scan(0, |sum, entry| {
        *sum += size(entry);
        Some(*sum)
    });
    sizes.take_while(|sum| *sum <= MAX_BYTES).count().max(1)
}

/// An entry's bytes as EventBridge counts them: 14 for the time, and its texts.
fn size(entry: &PutEventsRequestEntry) -> usize {
    let texts = [entry.source(), entry.detail_type(), entry.detail()].into_iter().flatten();
    let resources = entry.resources().iter().map(String::as_str);
    texts.chain(resources).map(str::len).sum::<usize>() + 14
}

impl Bus for EventBus {
    async fn publish(&self, events: &[Envelope]) -> Result<(), Failure> {
        self.put(events).await.map_err(|refused| refused.failure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(bytes: usize, number: usize) -> Vec<PutEventsRequestEntry> {
        vec![PutEventsRequestEntry::builder().detail("x".repeat(bytes)).build(); number]
    }

    /// Guards: what an archive replays is no live event, under whatever name.
    #[test]
    fn what_an_archive_replays_is_marked() {
        let id = Uuid::from_u128(7);
        let body = |name: &str| {
            let metadata = json!({
                "id": Uuid::from_u128(1), "source": "quadrille.orders", "type": "order.created", "version": 1,
                "subject": "s", "seq": 1, "time": "2026-11-20T09:30:00.120Z", "correlation_id": Uuid::from_u128(2),
                "causation_id": Uuid::from_u128(3), "traceparent": "00"
            });
            json!({"replay-name": name, "detail": {"metadata": metadata, "data": {}}}).to_string()
        };
        let replay = |name: &str| read_body(&body(name)).unwrap().metadata.replay.unwrap();
        assert_eq!(replay(&format!("{REPLAY}{id}")), Replay { id, consumer: None });
        assert_ne!(replay("by-hand").id, replay("by-another-hand").id);
    }

    /// Guards: a call holds ten entries and 256 KiB at most, and one entry at least.
    #[test]
    fn a_call_holds_what_it_may() {
        assert_eq!(fitting(&entries(100, 3)), 3);
        assert_eq!(fitting(&entries(100, 11)), 10);
        assert_eq!(fitting(&entries(64 * 1024, 10)), 3);
        assert_eq!(fitting(&entries(MAX_BYTES, 2)), 1);
    }
}
