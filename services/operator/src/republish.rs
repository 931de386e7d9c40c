//! Publishing events of the log again exactly as they were: live, under their own ids. Who knows them answers `duplicate`; who
//! never had them reacts, also outward: that is the point.

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
