//! Publishing events of the log again exactly as they were: live, under their own ids. Who knows them answers `duplicate`; who
//! never had them reacts, also outward: that is the point.

use crate::event_log::{EventLog, Selection};
use crate::replay::{CALL, Counts, Pace, add};
use chassis::Failure;
use chassis::ports::Bus;
use chassis::store::Scan;
use events::{Envelope, source_of};
use std::collections::BTreeSet;

/// Of what a selection has, that which is meant.
#[derive(Clone, Debug, Default)]
pub struct Which {
    /// Only what this service published.
    pub service: Option<String>,
    /// Only the event of this number in its service's history of the subject.
    pub seq: Option<u64>,
}

/// How much there is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// By type.
    pub events: Counts,
    /// Orders, products and so on.
    pub subjects: u64,
}

impl Which {
    /// Of these events the ones that are meant.
    #[must_use]
    pub fn of(&self, mut events: Vec<Envelope>) -> Vec<Envelope> {
        let source = self.service.as_deref().map(source_of);
        events.retain(|event| {
            source.as_ref().is_none_or(|source| event.metadata.source == *source)
                && self.seq.is_none_or(|seq| event.metadata.seq == seq)
        });
        events
    }
}

/// How many services published these events.
#[must_use]
pub fn services(events: &[Envelope]) -> usize {
    events.iter().map(|event| event.metadata.source.as_str()).collect::<BTreeSet<_>>().len()
}

/// Counts what a log has.
///
/// # Errors
/// As [`EventLog::walk`].
pub async fn count<S: Scan>(log: &EventLog<S>, selection: &Selection) -> Result<Counted, Failure> {
    let mut counted = Counted::default();
    let visit = |events: Vec<Envelope>| {
        add(&mut counted.events, &events);
        // Each subject is on one page.
        let subjects: BTreeSet<&str> = events.iter().map(|event| event.metadata.subject.as_str()).collect();
        counted.subjects += u64::try_from(subjects.len()).unwrap_or(u64::MAX);
        Ok::<_, Failure>(())
    };
    log.walk(selection, visit).await?;
    Ok(counted)
}

/// Publishes events as they were, in their order.
///
/// # Errors
/// A [`Failure`] when the bus refuses one. Those before it are published.
pub async fn publish<B: Bus>(events: &[Envelope], bus: &B, pace: &mut Pace) -> Result<(), Failure> {
    for some in events.chunks(CALL) {
        pace.wait(some.len()).await;
        bus.publish(some).await?;
    }
    Ok(())
}
