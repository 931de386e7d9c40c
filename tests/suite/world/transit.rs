//! What is on its way between the services, and what goes wrong with it.

use crate::bench::Trouble;
use events::{Envelope, EventId};
use std::collections::BTreeMap;

/// The consumer of an event, and the event.
pub type Delivery = (&'static str, Envelope);

/// What is on its way, and what goes wrong with it.
#[derive(Clone, Default)]
pub struct InTransit {
    pub troubles: Vec<Trouble>,
    /// How often each delivery has failed.
    pub failed: BTreeMap<(&'static str, EventId), u32>,
}

impl InTransit {
    pub fn has(&self, trouble: &Trouble) -> bool {
        self.troubles.contains(trouble)
    }

    /// How often an event arrives at a consumer.
    pub fn copies(&mut self, to: &'static str, kind: &str) -> usize {
        let is_lost =
            |trouble: &Trouble| matches!(trouble, Trouble::Lost(at, lost) if *at == to && *lost == kind);
        if let Some(at) = self.troubles.iter().position(is_lost) {
            self.troubles.remove(at);
            return 0;
        }
        let more = |trouble: &Trouble| match trouble {
            Trouble::Repeated(at, times) if at.is_none_or(|at| at == to) => *times,
            _ => 0,
        };
        1 + self.troubles.iter().map(more).sum::<usize>()
    }
}
