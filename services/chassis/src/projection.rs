//! A projection: a row that events of another service fill, and that only moves forward.

use crate::failure::Failure;
use crate::inbox::{Verdict, duplicate, inbox_row, settle};
use crate::ports::Ports;
use crate::store::{AggregateId, CommitError, Condition, Item, Store, Write};
use events::Envelope;

/// Writes the view that an event makes, if the row holds an older one. An older event that arrives late is stale.
///
/// # Errors
/// A [`Failure`] when the store does not answer.
pub async fn project<S: Store>(ports: &Ports<S>, event: &Envelope, view: Item) -> Result<Verdict, Failure> {
    let seq = i64::try_from(event.metadata.seq).unwrap_or(i64::MAX);
    let id = AggregateId::of_partition(&view.key.pk);
    let inbox = inbox_row(&event.metadata, &id.pk, Verdict::Applied, ports.clock.now());
    let view = Write::Put { item: view.with("seq", seq), when: Condition::Newer("seq", seq) };
    match ports.store.commit(vec![view, inbox]).await {
        Ok(()) => Ok(Verdict::Applied),
        Err(CommitError::Rejected(rejected)) => match rejected.get(1) {
            Some(Some(_)) => duplicate(ports, &event.metadata, &id).await,
            _ => settle(ports, &event.metadata, &id, Verdict::Stale).await,
        },
        Err(error) => Err(error.into()),
    }
}
