//! The bus port over EventBridge.

use crate::sdk::in_a_line;
use aws_config::SdkConfig;
use aws_sdk_eventbridge::types::{PutEventsRequestEntry, PutEventsResultEntry};
use aws_sdk_eventbridge::{Client, primitives::DateTime};
use chassis::Failure;
use chassis::ports::Bus;
use events::Envelope;
use serde_json::{Value, json};

/// The most entries of one call: <https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEvents.html>
const MAX_ENTRIES: usize = 10;

/// Reads the body of a queue's message: an EventBridge event with our envelope as its detail. The rest of the event
/// changes with every publication.
///
/// # Errors
/// [`Failure::Poison`] when it is anything else.
pub fn read_body(body: &str) -> Result<Envelope, Failure> {
    let poison = |why: &str| Failure::Poison(format!("the body is not an EventBridge event: {why}"));
    let mut event: Value = serde_json::from_str(body).map_err(|_| poison("expected JSON"))?;
    let detail = event.get_mut("detail").ok_or_else(|| poison("detail: is missing"))?;
    Ok(Envelope::read(detail.take())?)
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
}

impl Bus for EventBus {
    async fn publish(&self, events: &[Envelope]) -> Result<(), Failure> {
        for some in events.chunks(MAX_ENTRIES) {
            let entries = some.iter().map(|event| self.entry(event)).collect();
            let sent = self.client.put_events().set_entries(Some(entries)).send().await;
            let answer = sent.map_err(|e| Failure::Transient(format!("bus: {}", in_a_line(&e))))?;
            // The call succeeds even when entries of it fail.
            if let Some(refused) = answer.entries().iter().find_map(PutEventsResultEntry::error_code) {
                return Err(Failure::Transient(format!("bus: an entry was not taken: {refused}")));
            }
        }
        Ok(())
    }
}
