//! Whether each event reached each consumer: whether that one's inbox remembers it, in the state row or beside it.

use super::gathered::{Subject, is_remembered};
use super::rows::{Remembered, remembered};
use super::{Audit, Counts, Difference, Lost};
use chassis::Failure;
use chassis::inbox::failure_key;
use chassis::store::{Item, Key, Scan, load_all};
use chrono::{DateTime, Utc};
use events::Envelope;
use events::catalogue::Subscription;
use registry::CONSUMES;
use std::collections::{BTreeMap, BTreeSet};

/// An event that a consumer should have.
struct Expected<'a> {
    producer: &'static str,
    consumer: &'static str,
    event: &'a Envelope,
    /// The partition whose inbox remembers it.
    pk: String,
}

impl<S: Scan> Audit<S> {
    /// The events that consumers have not got.
    pub(super) async fn undelivered(
        &self,
        subject: &Subject,
        now: DateTime<Utc>,
        counts: &mut Counts,
    ) -> Result<BTreeSet<Difference>, Failure> {
        let mut missing = Vec::new();
        let mut elsewhere: BTreeMap<&str, Vec<Expected<'_>>> = BTreeMap::new();
        let here: BTreeMap<&str, Remembered<'_>> =
            subject.rows.iter().map(|(service, rows)| (*service, remembered(rows))).collect();
        for expected in self.expected(subject, now) {
            if expected.pk != subject.pk {
                elsewhere.entry(expected.consumer).or_default().push(expected);
            } else if !here.get(expected.consumer).is_some_and(|known| expected.is_in(known)) {
                missing.push(expected);
            }
        }
        for (consumer, expected) in elsewhere {
            let Some(table) = self.table(consumer) else { continue };
            let keys: BTreeSet<Key> = expected.iter().flat_map(Expected::places).collect();
            let keys: Vec<Key> = keys.into_iter().collect();
            let rows: Vec<Item> = load_all(&table.store, &keys).await?.into_iter().flatten().collect();
            let known = remembered(&rows);
            missing.extend(expected.into_iter().filter(|expected| !expected.is_in(&known)));
        }
        let mut found = BTreeSet::new();
        for expected in missing {
            let Some(table) = self.table(expected.consumer) else { continue };
            let noted = table.store.load(&failure_key(expected.event.metadata.id)).await?;
            let failed_at = noted.as_ref().and_then(|row| row.number("failed_at"));
            if failed_at.is_some_and(|at| at > (now - self.grace).timestamp_millis()) {
                counts.being_tried += 1;
            } else {
                found.insert(expected.missing(&subject.pk, noted.as_ref()));
            }
        }
        Ok(found)
    }

    fn expected<'a>(&self, subject: &'a Subject, now: DateTime<Utc>) -> Vec<Expected<'a>> {
        let due = |event: &Envelope| event.metadata.time <= now - self.grace && is_remembered(event, now);
        let mut all = Vec::new();
        for (producer, event) in subject.published.iter().filter(|(_, event)| due(event)) {
            for consumer in consumers(event) {
                let Some(table) = self.table(consumer) else { continue };
                let pk = (table.audited.inbox)(&event.metadata).pk;
                all.push(Expected { producer, consumer, event, pk });
            }
        }
        all
    }
}

/// The services that consume an event.
pub fn consumers(event: &Envelope) -> impl Iterator<Item = &'static str> {
    let consume = |(_, consumed): &&(&str, &[Subscription])| {
        consumed.iter().any(|subscription| subscription.kind == event.metadata.kind)
    };
    CONSUMES.iter().filter(consume).map(|(service, _)| *service)
}

impl Expected<'_> {
    /// Where the delivery can be remembered.
    fn places(&self) -> [Key; 2] {
        [Key::state(&*self.pk), Key::inbox(&self.pk, self.event.metadata.id)]
    }

    fn is_in(&self, known: &Remembered<'_>) -> bool {
        known.contains(&(self.pk.as_str(), self.event.metadata.id))
    }

    fn missing(&self, pk: &str, noted: Option<&Item>) -> Difference {
        let Self { producer, consumer, event, .. } = self;
        let metadata = &event.metadata;
        let mut what =
            format!("{} number {} of {producer} never reached {consumer}", metadata.kind, metadata.seq);
        if let Some(reason) = noted.and_then(|row| row.text("reason")) {
            what = format!("{what}: {reason}");
        }
        let seq = metadata.seq;
        let mend = format!("quadrille republish --subject {pk} --service {producer} --seq {seq}");
        let lost = Lost { consumer, event: metadata.id, subject: metadata.subject.clone() };
        let state = Key::state(&*self.pk);
        Difference { lost: Some(lost), ..Difference::new(consumer, &state, what).mended_by(mend) }
    }
}
