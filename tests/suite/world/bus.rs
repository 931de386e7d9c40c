//! The bus between the services: who gets what is published, in which order, and how often.

use super::transit::Delivery;
use super::{FLOW, World};
use crate::bench::Trouble;
use crate::seeded::Dice;
use chassis::outbox::{EntryKind, envelope_of};
use chassis::{Failure, Verdict};
use events::payments::PaymentCompensationRequested;
use events::{Envelope, Metadata, catalogue};
use futures_util::future::{join, join_all};
use registry::SERVICES;

/// How often a delivery may fail before it is a dead letter: the highest `maxReceiveCount` of the templates.
const MAX_RECEIVES: u32 = 30;
/// More deliveries than any test needs. A world that makes more of them never comes to rest.
const MAX_DELIVERIES: usize = 10_000;
/// How many events a batch has at most, as in the templates.
const MAX_BATCH: usize = 10;
/// How many events [`World::play`] delivers once more.
const MAX_REPEATS: usize = 200;

impl World {
    /// What the pipes and the rules do: every published row goes to all of its consumers.
    pub fn publish(&mut self) {
        for service in SERVICES {
            if !self.transit.has(&Trouble::Stopped(service)) {
                let rows = self.store(service).inner.take_inserted();
                let published = rows.iter().filter(|row| EntryKind::Published.is_of(row));
                published.for_each(|row| self.fan_out(&envelope_of(row).unwrap()));
            }
        }
        let again: Vec<Envelope> = self.bus.0.lock().unwrap().drain(..).collect();
        again.iter().for_each(|envelope| self.fan_out(envelope));
    }

    fn fan_out(&mut self, envelope: &Envelope) {
        let kind = &envelope.metadata.kind;
        let entry = catalogue::entries().into_iter().find(|entry| entry.kind == kind).unwrap();
        let flow = envelope.is::<PaymentCompensationRequested>().then_some(&FLOW);
        for consumer in entry.consumers.iter().chain(flow) {
            let copies = self.transit.copies(consumer, kind);
            self.pending.extend(std::iter::repeat_n((*consumer, envelope.clone()), copies));
        }
    }

    /// Delivers an event to a service.
    ///
    /// # Panics
    /// When deliveries lead to ever more deliveries.
    pub async fn deliver(&mut self, service: &'static str, envelope: &Envelope) -> Result<Verdict, Failure> {
        self.deliver_batch(service, std::slice::from_ref(envelope)).await.remove(0)
    }

    /// Delivers the events of a batch to a service at the same time.
    async fn deliver_batch(
        &mut self,
        service: &'static str,
        batch: &[Envelope],
    ) -> Vec<Result<Verdict, Failure>> {
        let outcomes = join_all(batch.iter().map(|envelope| self.react(service, envelope))).await;
        for (envelope, outcome) in batch.iter().zip(&outcomes) {
            let Metadata { kind, subject, .. } = &envelope.metadata;
            self.log.push(format!("{service} {kind} {subject} {outcome:?}"));
        }
        assert!(self.log.len() < MAX_DELIVERIES, "no end: {:#?}", &self.log[MAX_DELIVERIES - 20..]);
        self.publish();
        outcomes
    }

    /// Two workers of a service get an event each at the same time; both load before either commits.
    pub async fn deliver_at_once(&mut self, service: &'static str, events: [&Envelope; 2]) -> [Verdict; 2] {
        let (a, b) = join(self.react(service, events[0]), self.react(service, events[1])).await;
        self.publish();
        [a.unwrap(), b.unwrap()]
    }

    /// Payments gets the second event while the first one's charge is at the provider and not answered yet.
    pub async fn deliver_during_a_call(&mut self, events: [&Envelope; 2], order: &str) {
        let second = async {
            while self.charges(order) == 0 {
                tokio::task::yield_now().await;
            }
            self.react("payments", events[1]).await
        };
        let (a, b) = join(self.react("payments", events[0]), second).await;
        self.publish();
        assert!(a.is_ok() && b.is_ok(), "{a:?} {b:?}");
    }

    /// Delivers a batch as a queue does: a delivery that fails comes again. One that fails too often is a dead letter, and
    /// fails the test.
    async fn receive(&mut self, service: &'static str, batch: Vec<Envelope>) {
        let outcomes = self.deliver_batch(service, &batch).await;
        batch
            .into_iter()
            .zip(outcomes)
            .for_each(|(envelope, outcome)| self.received(service, envelope, outcome));
    }

    fn received(&mut self, service: &'static str, envelope: Envelope, outcome: Result<Verdict, Failure>) {
        let id = envelope.metadata.id;
        let Err(failure) = outcome else {
            self.transit.failed.remove(&(service, id));
            return;
        };
        let receives = self.transit.failed.entry((service, id)).or_default();
        *receives += 1;
        let kind = &envelope.metadata.kind;
        match service {
            _ if *receives < MAX_RECEIVES => self.pending.push((service, envelope)),
            _ => panic!("{service} failed {MAX_RECEIVES} times on {kind} {id}, at last: {failure}"),
        }
    }

    /// Delivers what is pending, in the dice's order, about every other time with what else is pending for the same service; what
    /// fails comes again, and about every third event is delivered once more later.
    ///
    /// # Panics
    /// When a delivery always fails.
    pub async fn play(&mut self, dice: &mut Dice) {
        let mut repeats = 0;
        while !self.pending.is_empty() {
            let (service, envelope) = self.pending.swap_remove(dice.below(self.pending.len()));
            let mut batch = vec![envelope];
            while batch.len() < MAX_BATCH && dice.below(2) == 0 {
                let same = self.pending.iter().position(|(to, _)| *to == service);
                batch.extend(same.map(|at| self.pending.swap_remove(at).1));
            }
            for envelope in &batch {
                if repeats < MAX_REPEATS && dice.below(3) == 0 {
                    repeats += 1;
                    self.pending.push((service, envelope.clone()));
                }
            }
            self.receive(service, batch).await;
        }
    }

    /// Delivers everything that is pending and all that follows from it, once; what fails is lost.
    pub async fn play_once(&mut self) {
        while let Some((service, envelope)) = self.pending.pop() {
            let _ = self.deliver(service, &envelope).await;
        }
    }

    /// Takes the next delivery: the oldest one. A service with reversed deliveries waits for all others and gets the last
    /// one first; a service with late ones gets none.
    fn next(&mut self) -> Option<Delivery> {
        let transit = &self.transit;
        let mut on_time =
            self.pending.iter().enumerate().filter(|(_, (to, _))| !transit.has(&Trouble::Late(to)));
        let last = on_time.clone().next_back()?.0;
        let first = on_time.find(|(_, (to, _))| !transit.has(&Trouble::Reversed(to)));
        let at = first.map_or(last, |(at, _)| at);
        Some(self.pending.remove(at))
    }

    /// One delivery; false when none is pending.
    pub async fn deliver_next(&mut self) -> bool {
        match self.next() {
            Some((service, envelope)) => {
                self.receive(service, vec![envelope]).await;
                true
            }
            None => false,
        }
    }

    /// Delivers everything that is on time, in order, and all that follows from it.
    ///
    /// # Panics
    /// As [`World::play`].
    pub async fn deliver_all(&mut self) {
        while self.deliver_next().await {}
    }
}
