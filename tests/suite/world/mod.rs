//! The services on memory stores under a bus that delivers in any order, more than once, and over stores that fail
//! before or after a commit. Everything follows from a seed.

mod bench;
mod bus;
mod checks;
mod clients;
mod flow;
mod machine;
mod services;
mod transit;

use crate::bench::Flow;
use crate::outside::{Line, MemoryBus, MemoryCarrier, MemoryTopic, Mishap};
use crate::seeded::Counter;
use crate::stores::{Crash, Faulty};
use chassis::Ports;
use chassis::ports::{Clock, Ids};
use chassis::store::{Grouped, Limits};
use localstack::aws::stepfunctions::definition::Definition;
use registry::SERVICES;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use transit::{Delivery, InTransit};

/// Where requests to undo a charge go: the state machine.
pub const FLOW: &str = "payment-compensation";

/// A service's table: as in the functions, what is asked for at the same time goes out together.
pub type Table = Grouped<Faulty>;

/// The executions of the state machine by order: the id of each, and what is seen of it.
type Flows = BTreeMap<String, Vec<(String, Flow)>>;

/// The services, the bus between them, and a log of what happened.
pub struct World {
    ports: BTreeMap<&'static str, Ports<Table>>,
    clock: Arc<Counter>,
    provider: Line,
    carrier: MemoryCarrier,
    topic: MemoryTopic,
    bus: MemoryBus,
    machine: Arc<Definition>,
    flows: Arc<Mutex<Flows>>,
    sleeping: Arc<Mutex<Vec<machine::Sleeping>>>,
    transit: InTransit,
    /// How many products the stories sell.
    sold: u32,
    /// What is on its way: to whom, and what.
    pub pending: Vec<Delivery>,
    /// One line per delivery.
    pub log: Vec<String>,
}

impl World {
    pub fn new() -> Self {
        let counter = Arc::new(Counter::default());
        let ports = || Ports {
            store: Table::new(Faulty::default(), Limits::default()),
            clock: Arc::clone(&counter) as Arc<dyn Clock>,
            ids: Arc::clone(&counter) as Arc<dyn Ids>,
        };
        Self {
            ports: SERVICES.iter().map(|service| (*service, ports())).collect(),
            clock: Arc::clone(&counter),
            provider: Line::new(Arc::clone(&counter)),
            carrier: MemoryCarrier::default(),
            topic: MemoryTopic::default(),
            bus: MemoryBus::default(),
            machine: Arc::new(machine::definition()),
            flows: Arc::default(),
            sleeping: Arc::default(),
            transit: InTransit::default(),
            sold: 0,
            pending: Vec::new(),
            log: Vec::new(),
        }
    }

    fn of(&self, service: &str) -> &Ports<Table> {
        let unknown = || panic!("{service} is not in services/registry: run `just bless`");
        self.ports.get(service).unwrap_or_else(unknown)
    }

    fn store(&self, service: &str) -> &Faulty {
        &self.of(service).store.inner
    }

    /// Lets time pass.
    pub fn advance(&self, seconds: i64) {
        self.clock.advance(seconds);
    }

    /// Lets the line to the provider go wrong from now on.
    pub fn mishap(&self, mishap: Mishap) {
        self.provider.mishaps.lock().unwrap().push(mishap);
    }

    /// Lets the `n`-th commit of a service from now on crash.
    pub fn crash(&self, service: &str, n: u64, how: Crash) {
        self.store(service).crash(n, how);
    }

    pub fn commits(&self, service: &str) -> u64 {
        self.store(service).commits()
    }

    /// Deletes every inbox row, as TTL does after a week.
    pub fn expire_inboxes(&self) {
        SERVICES.iter().for_each(|service| self.store(service).expire_inbox());
    }

    /// The same world again, going its own way from here.
    pub fn fork(&self) -> Self {
        let ports = |from: &Ports<Table>| Ports {
            store: Table::new(from.store.inner.fork(), Limits::default()),
            ..from.clone()
        };
        Self {
            ports: self.ports.iter().map(|(service, from)| (*service, ports(from))).collect(),
            clock: Arc::clone(&self.clock),
            provider: self.provider.fork(),
            carrier: self.carrier.fork(),
            topic: self.topic.fork(),
            bus: MemoryBus::default(),
            machine: Arc::clone(&self.machine),
            flows: Arc::new(Mutex::new(self.flows.lock().unwrap().clone())),
            sleeping: Arc::new(Mutex::new(self.sleeping.lock().unwrap().clone())),
            transit: self.transit.clone(),
            sold: self.sold,
            pending: self.pending.clone(),
            log: self.log.clone(),
        }
    }
}
