//! How each service is put together in the world.

use super::{FLOW, Table, World};
use crate::outside::{MemoryBus, MemoryProvider};
use chassis::keys::Keys;
use chassis::{Consumer, Effects, EventHandler, Failure, Verdict};
use chrono::TimeDelta;
use events::Envelope;
use fulfillment::reactor::Shipping;
use notifications::reactor::Publishing;
use orders::reactor::Tracker;
use payments::compensation::Compensator;
use payments::provider::circuit_breaker::CircuitBreaker;
use payments::provider::stripe::Stripe;
use payments::reactor::Charges;
use registry::sales::reactor::Bookkeeper;

impl World {
    pub(super) async fn react(&self, service: &str, envelope: &Envelope) -> Result<Verdict, Failure> {
        /// How a service reacts. One that needs nothing but its store has no line here: its `reactor::Reactions` call
        /// nothing outside. One that needs more, a carrier, gets a line.
        macro_rules! reaction {
            (orders) => {
                Tracker { ports: self.of(service).clone() }.handle(envelope).await
            };
            (inventory) => {
                self.answering(service, inventory::reactor::Reactions::default(), envelope).await
            };
            (fulfillment) => {{
                let (carrier, keys) = (self.carrier.clone(), Keys(self.store("orders").inner.keys()));
                self.answering(service, Shipping { carrier, keys }, envelope).await
            }};
            (payments) => {
                self.answering(service, self.charging(), envelope).await
            };
            (notifications) => {{
                let effects = Publishing { topic: self.topic.clone() };
                Consumer::new(self.of(service).clone(), effects).handle(envelope).await
            }};
            (sales) => {
                Bookkeeper { ports: self.of(service).clone() }.handle(envelope).await
            };
            ($service:ident) => {{
                let effects = registry::$service::reactor::Reactions::default();
                Consumer::new(self.of(service).clone(), effects).handle(envelope).await
            }};
        }
        macro_rules! by_name {
            ($($service:ident,)*) => {
                match service {
                    FLOW => self.flow(envelope).await,
                    $(stringify!($service) => reaction!($service),)*
                    unknown => panic!("{unknown} is not in services/registry: run `just bless`"),
                }
            };
        }
        registry::for_each_service!(by_name)
    }

    /// A service that answers reminders handles an event.
    async fn answering<E: Effects>(
        &self,
        service: &str,
        effects: E,
        envelope: &Envelope,
    ) -> Result<Verdict, Failure> {
        let consumer = Consumer::new(self.of(service).clone(), effects).answering(self.bus.clone());
        consumer.handle(envelope).await
    }

    fn charging(&self) -> Charges<MemoryProvider, Table> {
        let store = self.of("payments").store.clone();
        Charges { circuit: self.circuit(), store, fallback: Some("pm_card_visa".into()) }
    }

    pub(super) fn circuit(&self) -> CircuitBreaker<MemoryProvider, Table> {
        CircuitBreaker::new(Stripe(self.provider.clone()), self.of("payments").clone(), TimeDelta::minutes(1))
    }

    pub(super) fn compensator(&self) -> Compensator<Table, MemoryProvider, MemoryBus> {
        let ports = self.of("payments").clone();
        Compensator { ports, bus: self.bus.clone(), circuit: self.circuit() }
    }
}
