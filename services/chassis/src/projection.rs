//! A projection: a row that events of another service fill, and that only moves forward.

use crate::failure::Failure;
use crate::inbox::{Delivered, Verdict, duplicate, settle};
use crate::ports::Ports;
use crate::store::{AggregateId, CommitError, Condition, Item, Store, Write};
use events::Envelope;

fn seq(event: &Envelope) -> i64 {
    i64::try_from(event.metadata.seq).unwrap_or(i64::MAX)
}

/// The view with the number of the event that made it: the row as it is written.
#[must_use]
pub fn numbered(event: &Envelope, view: Item) -> Item {
    view.with("seq", seq(event))
}

/// Writes the view that an event makes, if the row holds an older one. An older event that arrives late is stale.
///
/// # Errors
/// A [`Failure`] when the store does not answer.
pub async fn project<S: Store>(ports: &Ports<S>, event: &Envelope, view: Item) -> Result<Verdict, Failure> {
    let id = AggregateId::of_partition(&view.key.pk);
    let inbox = Delivered::of(&event.metadata, &id.pk, Verdict::Applied, ports.clock.now()).row(&id.pk);
    let view = Write::Put { item: numbered(event, view), when: Condition::Newer("seq", seq(event)) };
    match ports.store.commit(vec![view, inbox]).await {
        Ok(()) => Ok(Verdict::Applied),
        Err(CommitError::Rejected(rejected)) => match rejected.get(1) {
            Some(Some(_)) => duplicate(ports, &event.metadata, &id).await,
            _ => settle(ports, &event.metadata, &id, Verdict::Stale).await,
        },
        Err(error) => Err(error.into()),
    }
}
