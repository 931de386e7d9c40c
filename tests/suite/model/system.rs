//! The system around one order, in numbers: tables, events, executions and what workers hold. Every step runs the services'
//! own code on a table in memory. Because that code is pure but for its table, a step that was made once is remembered.

use super::interner::Interner;
use super::outside::{Again, Plan, at, ports};
use super::state::{FLOW, INVENTORY, ORDERS, PAYMENTS, SERVICES, State};
use crate::stores::without_inbox;
use chassis::aggregate::read_state;
use chassis::outbox::{Cause, EntryKind, envelope_of};
use chassis::reaction::execute;
use chassis::store::{EVENTS, Item as Row, Key, MemoryStore};
use chassis::{Aggregate, AggregateId, Attempt, Loaded, Verdict};
use events::orders::{OrderConfirmed, OrderCreated, OrderLine};
use events::payments::PaymentCompensationRequested;
use events::{Currency, Envelope, Money, OrderId, catalogue};
use futures_util::FutureExt;
use inventory::product::{self, Listing, Product, Seen};
use localstack::aws::stepfunctions::Execution;
use localstack::aws::stepfunctions::definition::Definition;
use localstack::outside::payment_provider::account::Account;
use orders::saga::{self, Saga, Status};
use payments::payment::{Message, Payment};
use serde_json::json;
use std::collections::HashMap;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use uuid::Uuid;

pub type Table = Vec<Row>;

/// What a worker of payments holds in memory.
#[derive(Clone, Debug)]
pub enum Held {
    /// It is about to call the provider.
    Call { state: Loaded<Payment>, attempt: Attempt },
    /// It knows what the call came to.
    Outcome { state: Loaded<Payment>, message: Message },
}

/// A step on one table, with everything that its result depends on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    Handle { service: u8, table: u32, event: u32, hour: u16, refuses: bool },
    Begin { table: u32, event: u32, hour: u16 },
    Call { held: u32, account: u32, hour: u16, plan: Plan, is_down: bool, is_open: bool },
    Resume { table: u32, event: u32, held: u32, hour: u16 },
    Task { table: u32, account: u32, execution: u32, hour: u16, plan: Plan, is_down: bool },
    Cancel { table: u32, hour: u16 },
    Sweep { table: u32, hour: u16 },
    Retry { table: u32, hour: u16 },
}

/// What a step came to.
#[derive(Clone, Debug, Default)]
pub struct Made {
    /// The table after it.
    pub table: u32,
    /// The provider's account after it.
    pub account: u32,
    /// What was published: new event rows, and events published once more.
    pub published: Vec<u32>,
    /// What a worker holds; none when it has ended.
    pub held: Option<u32>,
    /// The flow after it.
    pub execution: Option<u32>,
    /// The calls that the provider got: whether each changes something.
    pub calls: Vec<bool>,
    /// Whether the delivery or the task failed.
    pub failed: bool,
    /// In the words of the domain.
    pub words: String,
}

/// The system around one order.
pub struct System {
    pub order: OrderId,
    pub definition: Definition,
    pub tables: Interner<Table>,
    pub accounts: Interner<Account>,
    /// As JSON.
    events: Interner<String>,
    executions: Interner<String>,
    held: Vec<Held>,
    held_numbers: HashMap<String, u32>,
    made: HashMap<Step, Rc<Made>>,
    /// By orders' table.
    sagas: HashMap<u32, Stood>,
    /// By payments' table.
    payments: HashMap<u32, bool>,
}

/// How an order stands.
#[derive(Clone, Copy, Debug)]
pub struct Stood {
    pub status: Status,
    /// Whether the sweeper will look at it.
    pub waits: bool,
    /// Minor units.
    pub total: u64,
    pub is_confirmed: bool,
}

/// How often a step may give way to others, of which there are none: whatever it asks the store for waits so once.
const TURNS: usize = 1_000;

/// Nothing in the model waits: every step ends by itself.
pub fn now<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut ended = (0..TURNS).filter_map(|_| future.as_mut().now_or_never());
    ended.next().expect("a step of the model waited")
}

impl System {
    pub fn new() -> Self {
        let text = include_str!("../../../infra/statemachines/payment-compensation.asl.json");
        let substitutions = [("CompensatorArn".to_owned(), "compensator".to_owned())];
        let substitutions = substitutions.iter().map(|(name, value)| (name, value));
        Self {
            order: OrderId(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001)),
            definition: Definition::parse(text, substitutions).unwrap(),
            tables: Interner::default(),
            accounts: Interner::default(),
            events: Interner::default(),
            executions: Interner::default(),
            held: Vec::new(),
            held_numbers: HashMap::new(),
            made: HashMap::new(),
            sagas: HashMap::new(),
            payments: HashMap::new(),
        }
    }

    pub fn event(&self, number: u32) -> Envelope {
        serde_json::from_str(&self.events.value(number)).unwrap()
    }

    pub(super) fn execution(&self, number: u32) -> Execution {
        serde_json::from_str(&self.executions.value(number)).unwrap()
    }

    pub fn held(&self, number: u32) -> &Held {
        &self.held[number as usize]
    }

    /// The tables before anything happened, with the order just placed, and its events.
    pub fn placed(&mut self, method: &str) -> ([u32; 4], Vec<u32>) {
        let beans = "beans".parse().unwrap();
        let stock = MemoryStore::default();
        let price = Money::new(500, Currency::USD);
        let listing = Listing {
            product_id: beans,
            name: "Beans".into(),
            unit_price: price,
            stock: Some(10),
            seen: Seen::Nothing,
        };
        let cause = Cause::request(Uuid::from_u128(7), Uuid::from_u128(7), None);
        let id = product::id(&listing.product_id);
        now(execute::<Product, _>(
            &ports(stock.clone(), 0, 1),
            &id,
            product::Message::List(listing.clone()),
            &cause,
        ))
        .unwrap();
        let line = OrderLine { product_id: listing.product_id, quantity: 2, unit_price: price };
        let order = OrderCreated {
            order_id: self.order,
            customer_id: "ada".parse().unwrap(),
            total: Money::new(1000, Currency::USD),
            lines: vec![line],
            payment_method: Some(method.to_owned()),
        };
        let place = saga::Message::Place { order, address: None };
        let empty = self.tables.number(Vec::new());
        let stock = self.tables.number(stock.rows());
        let id = AggregateId::order(self.order);
        let (made, placed) = self.run(empty, |store, _| {
            let cause = Cause::request(Uuid::from_u128(8), Uuid::from_u128(8), None);
            now(execute::<Saga, _>(&ports(store.clone(), 0, 2), &id, place, &cause))
        });
        placed.unwrap();
        ([made.table, stock, empty, empty], made.published)
    }

    /// Runs a step on a table: the table after it and what it published, and what it came to.
    pub(super) fn run<T>(&mut self, table: u32, step: impl FnOnce(&MemoryStore, &Again) -> T) -> (Made, T) {
        let store = MemoryStore::of(self.tables.value(table).to_vec());
        let again = Again::default();
        let outcome = step(&store, &again);
        let inserted = store.take_inserted();
        let published = inserted.iter().filter(|row| EntryKind::Published.is_of(row));
        let mut events: Vec<Envelope> = published.map(|row| envelope_of(row).unwrap()).collect();
        events.append(&mut again.0.lock().unwrap());
        let table = self.tables.number(store.rows().into_iter().filter_map(without_counts).collect());
        let number = |event: &Envelope| self.events.number(serde_json::to_string(event).unwrap());
        let published = events.iter().map(number).collect();
        (Made { table, published, ..Made::default() }, outcome)
    }

    pub(super) fn keep_held(&mut self, held: Held) -> u32 {
        let next = u32::try_from(self.held.len()).unwrap();
        let number = *self.held_numbers.entry(format!("{held:?}")).or_insert(next);
        if number == next {
            self.held.push(held);
        }
        number
    }

    pub(super) fn keep_execution(&mut self, mut execution: Execution) -> u32 {
        // Two executions that stand at the same place are the same to the model.
        execution.history.clear();
        self.executions.number(serde_json::to_string(&execution).unwrap())
    }

    pub(super) fn remembered(&mut self, step: Step, make: impl FnOnce(&mut Self) -> Made) -> Rc<Made> {
        if let Some(made) = self.made.get(&step) {
            return Rc::clone(made);
        }
        let made = Rc::new(make(self));
        self.made.insert(step, Rc::clone(&made));
        made
    }

    /// The account a day later.
    pub fn forgotten(&mut self, account: u32, hour: u16) -> u32 {
        let mut account = (*self.accounts.value(account)).clone();
        account.forget(at(hour.into()).timestamp());
        account.settle_refunds(at(hour.into()).timestamp());
        self.accounts.number(account)
    }

    /// A table whose inboxes are empty.
    pub fn expired(&mut self, table: u32) -> u32 {
        let rows = self.tables.value(table);
        let kept = rows.iter().filter_map(without_inbox).collect();
        self.tables.number(kept)
    }

    /// Who gets an event.
    pub fn consumers(&self, event: u32) -> Vec<usize> {
        let envelope = self.event(event);
        let entry =
            catalogue::entries().into_iter().find(|entry| entry.kind == envelope.metadata.kind).unwrap();
        let place = |name: &&str| SERVICES.iter().position(|service| service == name);
        let mut consumers: Vec<usize> = entry.consumers.iter().filter_map(place).collect();
        if envelope.is::<PaymentCompensationRequested>() {
            consumers.push(FLOW);
        }
        consumers
    }

    fn aggregate<A: Aggregate>(&self, table: u32) -> Option<A> {
        let rows = self.tables.value(table);
        let key = Key::state(AggregateId::order(self.order).pk);
        let row = rows.iter().find(|row| row.key == key)?;
        Some(read_state::<A>(row).unwrap().state)
    }

    /// How the order stands.
    pub fn order(&mut self, state: &State) -> Stood {
        let table = state.tables[ORDERS];
        if let Some(known) = self.sagas.get(&table) {
            return *known;
        }
        let saga: Saga = self.aggregate(table).unwrap();
        let total = saga.event::<OrderCreated>().map_or(0, |created| created.total.amount);
        let is_confirmed = saga.knows::<OrderConfirmed>();
        let stood = Stood { status: saga.status(), waits: saga.waits_for().is_some(), total, is_confirmed };
        self.sagas.insert(table, stood);
        stood
    }

    /// Whether payments has the last word, and it is that nothing was charged.
    pub fn said_no(&mut self, state: &State) -> bool {
        let table = state.tables[PAYMENTS];
        if let Some(known) = self.payments.get(&table) {
            return *known;
        }
        let payment: Option<Payment> = self.aggregate(table);
        let is_no = matches!(
            payment,
            Some(Payment::Declined { .. } | Payment::Voided { .. } | Payment::Unavailable { .. })
        );
        self.payments.insert(table, is_no);
        is_no
    }

    pub(super) fn stage(&self, payments: u32) -> Option<String> {
        let payment: Payment = self.aggregate(payments)?;
        Some(json!(payment)["stage"].as_str()?.to_uppercase())
    }

    /// What happens when a fact's event rows share an id: the id, and the types.
    pub fn shared_id(&self, table: u32) -> Option<String> {
        let rows = self.tables.value(table);
        let mut seen: HashMap<&str, &str> = HashMap::new();
        let published =
            rows.iter().filter(|row| row.key.sk.starts_with(EVENTS) && EntryKind::Published.is_of(row));
        for row in published {
            let (id, kind) = (row.text("id").unwrap(), row.text("type").unwrap());
            if let Some(other) = seen.insert(id, kind) {
                return Some(format!("{other} and {kind} have one event id"));
            }
        }
        None
    }

    /// Available, held and shipped units.
    pub fn units(&self, state: &State) -> (u64, u64, u64) {
        let rows = self.tables.value(state.tables[INVENTORY]);
        let row = rows.iter().find(|row| row.count("available").is_some()).unwrap();
        let count = |name| row.count(name).unwrap_or(0);
        (count("available"), count("held"), count("shipped"))
    }
}

/// How often an event was delivered again decides nothing.
fn without_counts(mut row: Row) -> Option<Row> {
    if let Some(count) = row.attrs.get_mut("duplicates") {
        *count = 0.into();
    }
    (row.text("verdict") != Some(Verdict::Duplicate.as_str())).then_some(row)
}
