//! The system: what each move does, by the services' own code. Deciders, the reaction loop, the derivation of event ids, the
//! compensator, the client of the provider and the interpreter of the state machine are the real ones; each step runs on a
//! table in memory. Because they are pure but for that table, a step that was made once is remembered.

use super::interner::Interner;
use super::outside::{ANSWERED, Again, Line, Plan, Vans, at, ports};
use super::state::{FLOW, FULFILLMENT, INVENTORY, ORDERS, PAYMENTS, SERVICES, State};
use chassis::aggregate::read_state;
use chassis::outbox::{Cause, EntryKind, envelope_of};
use chassis::reaction::{Stand, begin, execute, resume};
use chassis::store::{EVENTS, INBOX, Item as Row, Key, MemoryStore};
use chassis::task::Task;
use chassis::{Aggregate, AggregateId, Attempt, Consumer, Effects, EventHandler, Failure, Loaded, Ports};
use chrono::{DateTime, TimeDelta, Utc};
use events::orders::{OrderCreated, OrderLine};
use events::payments::PaymentCompensationRequested;
use events::{Currency, Envelope, Money, OrderId, catalogue};
use fulfillment::reactor::Shipping;
use futures_util::FutureExt;
use inventory::product::{self, Listing, Product, Seen};
use localstack::aws::stepfunctions::definition::Definition;
use localstack::aws::stepfunctions::interpreter::{Next, TaskFailure};
use localstack::aws::stepfunctions::{Execution, Status as FlowStatus};
use localstack::outside::payment_provider::account::Account;
use orders::reactor::Tracker;
use orders::saga::{self, Saga, Status};
use orders::sweeper::{Input as Sweeping, Sweeper};
use payments::breaker::Breaker;
use payments::compensation::{Compensator, Input};
use payments::payment::{Message, Payment};
use payments::provider::circuit_breaker::CircuitBreaker;
use payments::provider::stripe::Stripe;
use payments::reactor::Charges;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::future::Future;
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
enum Step {
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
    definition: Definition,
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
}

/// Nothing in the model waits: every step ends at its first poll.
fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("a step of the model waited")
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

    fn execution(&self, number: u32) -> Execution {
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
        now(execute::<Product, _>(&ports(stock.clone(), 0, 1), &id, listing.clone(), &cause)).unwrap();
        let line = OrderLine { product_id: listing.product_id, quantity: 2, unit_price: price };
        let order = OrderCreated {
            order_id: self.order,
            customer_id: "ada".parse().unwrap(),
            total: Money::new(1000, Currency::USD),
            lines: vec![line],
            payment_method: Some(method.to_owned()),
        };
        let place = saga::Message::Place { order, address: None };
        let made = self.on_table(Vec::new(), |store| {
            let cause = Cause::request(Uuid::from_u128(8), Uuid::from_u128(8), None);
            let id = AggregateId::order(self.order);
            now(execute::<Saga, _>(&ports(store.clone(), 0, 2), &id, place.clone(), &cause)).unwrap();
        });
        let empty = self.tables.number(Vec::new());
        let stock = self.tables.number(stock.rows());
        let (orders, published) = self.keep(made);
        ([orders, stock, empty, empty], published)
    }

    /// Runs a step on a table; gives the rows after it, and what it inserted.
    fn on_table(&self, table: Table, step: impl FnOnce(&MemoryStore)) -> (Table, Vec<Envelope>) {
        let store = MemoryStore::of(table);
        step(&store);
        let inserted = store.take_inserted();
        let published = inserted.iter().filter(|row| EntryKind::Published.is_of(row));
        let published = published.map(|row| envelope_of(row).unwrap()).collect();
        (store.rows().into_iter().map(without_counts).collect(), published)
    }

    fn keep(&mut self, (table, published): (Table, Vec<Envelope>)) -> (u32, Vec<u32>) {
        (self.tables.number(table), self.keep_events(&published))
    }

    fn keep_events(&mut self, events: &[Envelope]) -> Vec<u32> {
        events.iter().map(|event| self.events.number(serde_json::to_string(event).unwrap())).collect()
    }

    fn keep_held(&mut self, held: Held) -> u32 {
        let next = u32::try_from(self.held.len()).unwrap();
        let number = *self.held_numbers.entry(format!("{held:?}")).or_insert(next);
        if number == next {
            self.held.push(held);
        }
        number
    }

    fn keep_execution(&mut self, mut execution: Execution) -> u32 {
        // Two executions that stand at the same place are the same to the model.
        execution.history.clear();
        self.executions.number(serde_json::to_string(&execution).unwrap())
    }

    fn remembered(&mut self, step: Step, make: impl FnOnce(&mut Self) -> Made) -> Rc<Made> {
        if let Some(made) = self.made.get(&step) {
            return Rc::clone(made);
        }
        let made = Rc::new(make(self));
        self.made.insert(step, Rc::clone(&made));
        made
    }

    /// A service handles an event in one go.
    pub fn handle(&mut self, state: &State, service: usize, event: u32, refuses: bool) -> Rc<Made> {
        let (table, hour) = (state.tables[service], state.hour);
        let step = Step::Handle { service: u8::try_from(service).unwrap(), table, event, hour, refuses };
        self.remembered(step, |system| {
            let (envelope, again) = (system.event(event), Again::default());
            let mut outcome = Err(Failure::Poison(String::new()));
            let rows = system.tables.value(table).to_vec();
            let made = system.on_table(rows, |store| {
                let ports = ports(store.clone(), hour.into(), 3);
                outcome = now(handle(service, ports, again.clone(), &envelope, refuses));
            });
            let (table, mut published) = system.keep(made);
            published.extend(system.keep_events(&again.0.lock().unwrap()));
            let words = match &outcome {
                Ok(verdict) => format!("{} ({})", envelope.metadata.kind, verdict.as_str()),
                Err(failure) => format!("{}, which fails: {failure}", envelope.metadata.kind),
            };
            Made { table, published, failed: outcome.is_err(), words, ..Made::default() }
        })
    }

    fn charges(&self, line: &Line, hour: u16, is_open: bool) -> Charges<Stripe<Line>, MemoryStore> {
        Charges { circuit: circuit(line, hour, is_open), fallback: None }
    }

    /// Payments reacts to an event, up to its call.
    pub fn begin(&mut self, state: &State, event: u32) -> Rc<Made> {
        let (table, hour) = (state.tables[PAYMENTS], state.hour);
        self.remembered(Step::Begin { table, event, hour }, |system| {
            let envelope = system.event(event);
            system.react(table, &envelope, hour, |ports| {
                now(begin::<Charges<Stripe<Line>, MemoryStore>, _>(ports, &envelope))
            })
        })
    }

    /// A worker commits what its call came to.
    pub fn resume(&mut self, state: &State, event: u32, held: u32) -> Rc<Made> {
        let (table, hour) = (state.tables[PAYMENTS], state.hour);
        self.remembered(Step::Resume { table, event, held, hour }, |system| {
            let Held::Outcome { state, message } = system.held(held).clone() else { panic!("no outcome") };
            let envelope = system.event(event);
            let said = format!("{message:?}");
            let mut made = system.react(table, &envelope, hour, |ports| {
                now(resume::<Charges<Stripe<Line>, MemoryStore>, _>(ports, &envelope, state, message))
            });
            made.words = format!("{said}: {}", made.words);
            made
        })
    }

    fn react(
        &mut self,
        table: u32,
        envelope: &Envelope,
        hour: u16,
        step: impl FnOnce(&Ports<MemoryStore>) -> Result<Stand<Charges<Stripe<Line>, MemoryStore>>, Failure>,
    ) -> Made {
        let mut stand = None;
        let rows = self.tables.value(table).to_vec();
        let made = self.on_table(rows, |store| stand = Some(step(&ports(store.clone(), hour.into(), 3))));
        let (table, published) = self.keep(made);
        let kind = &envelope.metadata.kind;
        let (held, failed, words) = match stand.unwrap() {
            Ok(Stand::Ended(verdict)) => (None, false, format!("{kind} ({})", verdict.as_str())),
            Ok(Stand::Pending { state, attempt, .. }) => {
                let held = self.keep_held(Held::Call { state, attempt });
                (Some(held), false, format!("{kind}, and is about to call the provider"))
            }
            Err(failure) => (None, true, format!("{kind}, which fails: {failure}")),
        };
        let words = match self.stage(table) {
            Some(stage) => format!("{words}; the payment is {stage}"),
            None => words,
        };
        Made { table, published, held, failed, words, ..Made::default() }
    }

    /// A worker makes its call.
    pub fn call(&mut self, state: &State, held: u32, plan: Plan, is_open: bool) -> Rc<Made> {
        let (account, hour, is_down) = (state.account, state.hour, state.is_down);
        let step = Step::Call { held, account, hour, plan, is_down, is_open };
        self.remembered(step, |system| {
            let Held::Call { state, attempt } = system.held(held).clone() else { panic!("no call") };
            let line = system.line(account, hour, plan, is_down);
            let charges = system.charges(&line, hour, is_open);
            let call = Charges::<Stripe<Line>, MemoryStore>::pending_call(&state.state).unwrap();
            let outcome = now(charges.perform(call, attempt));
            let account = system.accounts.number(line.account());
            let calls = line.calls().iter().map(|call| call.starts_with("POST")).collect();
            let named = if is_open { "nothing, the circuit is open".into() } else { line.calls().join(", ") };
            let words = match &outcome {
                Ok(message) => format!("{named}: {message:?}"),
                Err(failure) => format!("{named}: {failure}"),
            };
            let failed = outcome.is_err();
            let held = outcome.ok().map(|message| system.keep_held(Held::Outcome { state, message }));
            Made { account, calls, held, failed, words, ..Made::default() }
        })
    }

    fn line(&self, account: u32, hour: u16, plan: Plan, is_down: bool) -> Line {
        Line::new(&self.accounts.value(account), at(hour.into()).timestamp(), plan, is_down)
    }

    /// The execution that an event starts.
    pub fn started(&mut self, event: u32) -> u32 {
        let input = json!(self.event(event));
        let first = self.definition.start_at.clone();
        self.keep_execution(Execution::new("flow".into(), "payment-compensation", &first, input))
    }

    /// A flow goes on until one more task is answered. `gives_up`: until the task has failed as often as it may.
    pub fn flow(&mut self, state: &State, execution: u32, plan: Plan) -> Rc<Made> {
        let (table, account, hour) = (state.tables[PAYMENTS], state.account, state.hour);
        let step = Step::Task { table, account, execution, hour, plan, is_down: state.is_down };
        let is_down = state.is_down;
        self.remembered(step, |system| {
            let mut execution = system.execution(execution);
            let Some(payload) = system.next_task(&mut execution) else {
                return Made { table, account, ..Made::default() };
            };
            let line = system.line(account, hour, plan, is_down);
            let mut answer = None;
            let again = Again::default();
            let rows = system.tables.value(table).to_vec();
            let made = system.on_table(rows, |store| {
                let compensator = compensator(store, &line, hour, again.clone());
                let input: Input = serde_json::from_value(payload.clone()).unwrap();
                answer = Some(now(compensator.run(input)));
            });
            let (table, mut published) = system.keep(made);
            published.extend(system.keep_events(&again.0.lock().unwrap()));
            let answer = answer.unwrap().map_err(|error| {
                let text = json!({"errorType": error.name, "errorMessage": error.message}).to_string();
                TaskFailure::reported(&text)
            });
            let task = execution.state.clone();
            let words = format!("{task}: {}", described(&answer));
            let failed = answer.is_err();
            let mut words = words;
            system.definition.answer(&mut execution, answer, at(0)).unwrap();
            if failed && is_down {
                words = format!("{task} fails until its tries are used up");
                // Nothing but the count of its tries changes until they are used up.
                while execution.status == FlowStatus::Running && execution.state == task {
                    let failure = TaskFailure { name: "Transient".into(), cause: String::new() };
                    system.definition.answer(&mut execution, Err(failure), at(0)).unwrap();
                }
            }
            let running = execution.status == FlowStatus::Running;
            if execution.status == FlowStatus::Failed {
                words.push_str("; the execution has FAILED");
            }
            if let Some(stage) = system.stage(table) {
                words = format!("{words}; the payment is {stage}");
            }
            let execution = running.then(|| system.keep_execution(execution));
            let account = system.accounts.number(line.account());
            let calls = line.calls().iter().map(|call| call.starts_with("POST")).collect();
            Made { table, account, published, execution, calls, failed, words, held: None }
        })
    }

    /// Lets an execution run up to its next task; none when it ends before.
    fn next_task(&self, execution: &mut Execution) -> Option<Value> {
        while execution.status == FlowStatus::Running {
            if let Next::Invoke { payload, .. } = self.definition.next(execution, at(0)).unwrap() {
                return Some(payload);
            }
        }
        None
    }

    /// A flow whose next task was done and whose answer is lost: as far as the flow knows, the function timed out.
    pub fn flow_lost(&mut self, execution: u32) -> Option<u32> {
        let mut execution = self.execution(execution);
        self.next_task(&mut execution)?;
        let failure = TaskFailure { name: "Sandbox.Timedout".into(), cause: "{}".into() };
        self.definition.answer(&mut execution, Err(failure), at(0)).unwrap();
        let running = execution.status == FlowStatus::Running;
        running.then(|| self.keep_execution(execution))
    }

    /// The customer cancels.
    pub fn cancel(&mut self, state: &State) -> Rc<Made> {
        let (table, hour, order) = (state.tables[ORDERS], state.hour, self.order);
        self.remembered(Step::Cancel { table, hour }, |system| {
            let rows = system.tables.value(table).to_vec();
            let made = system.on_table(rows, |store| {
                let cause = Cause::request(Uuid::from_u128(9), Uuid::from_u128(9), None);
                let ports = ports(store.clone(), hour.into(), 4);
                let id = AggregateId::order(order);
                now(execute::<Saga, _>(&ports, &id, saga::Message::Cancel, &cause)).unwrap();
            });
            let (table, published) = system.keep(made);
            Made { table, published, ..Made::default() }
        })
    }

    /// The sweeper runs an hour later.
    pub fn sweep(&mut self, state: &State) -> Rc<Made> {
        let (table, hour) = (state.tables[ORDERS], state.hour + 1);
        self.remembered(Step::Sweep { table, hour }, |system| {
            let again = Again::default();
            let mut swept = Value::Null;
            let rows = system.tables.value(table).to_vec();
            let made = system.on_table(rows, |store| {
                let sweeper = Sweeper {
                    ports: ports(store.clone(), hour.into(), 100 + u128::from(hour)),
                    bus: again.clone(),
                };
                swept = now(sweeper.run(Sweeping::default())).unwrap();
            });
            let (table, mut published) = system.keep(made);
            published.extend(system.keep_events(&again.0.lock().unwrap()));
            Made { table, published, words: swept.to_string(), ..Made::default() }
        })
    }

    /// An operator asks for the compensation again.
    pub fn retry(&mut self, state: &State) -> Rc<Made> {
        let (table, hour, order) = (state.tables[PAYMENTS], state.hour, self.order);
        let account = state.account;
        self.remembered(Step::Retry { table, hour }, |system| {
            let line = system.line(account, hour, ANSWERED, false);
            let again = Again::default();
            let mut answer = Value::Null;
            let rows = system.tables.value(table).to_vec();
            let made = system.on_table(rows, |store| {
                let compensator = compensator(store, &line, hour, again.clone());
                answer = now(compensator.run(Input::Retry { order_id: order })).unwrap();
            });
            let (table, mut published) = system.keep(made);
            published.extend(system.keep_events(&again.0.lock().unwrap()));
            Made { table, published, words: answer.to_string(), ..Made::default() }
        })
    }

    /// The account a day later.
    pub fn forgotten(&mut self, account: u32, hour: u16) -> u32 {
        let mut account = (*self.accounts.value(account)).clone();
        account.forget(at(hour.into()).timestamp());
        account.settle_refunds(at(hour.into()).timestamp());
        self.accounts.number(account)
    }

    /// A table without its inbox rows.
    pub fn expired(&mut self, table: u32) -> u32 {
        let rows = self.tables.value(table);
        let kept = rows.iter().filter(|row| !row.key.sk.starts_with(INBOX)).cloned().collect();
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
        let stood = Stood { status: saga.status(), waits: saga.waits_for().is_some(), total };
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

    fn stage(&self, payments: u32) -> Option<String> {
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
fn without_counts(mut row: Row) -> Row {
    if let Some(count) = row.attrs.get_mut("duplicates") {
        *count = 0.into();
    }
    row
}

fn described(answer: &Result<Value, TaskFailure>) -> String {
    match answer {
        Ok(value) => value["status"].as_str().map_or_else(|| value.to_string(), str::to_owned),
        Err(failure) => failure.cause.clone(),
    }
}

async fn handle(
    service: usize,
    ports: Ports<MemoryStore>,
    bus: Again,
    envelope: &Envelope,
    refuses: bool,
) -> Result<chassis::Verdict, Failure> {
    match service {
        ORDERS => Tracker { ports }.handle(envelope).await,
        INVENTORY => {
            Consumer::new(ports, inventory::reactor::Reactions::default())
                .answering(bus)
                .handle(envelope)
                .await
        }
        FULFILLMENT => {
            let shipping = Shipping { carrier: Vans { refuses } };
            Consumer::new(ports, shipping).answering(bus).handle(envelope).await
        }
        _ => panic!("payments reacts in steps"),
    }
}

fn circuit(line: &Line, hour: u16, is_open: bool) -> CircuitBreaker<Stripe<Line>, MemoryStore> {
    let mut rows = Vec::new();
    if is_open {
        let until: DateTime<Utc> = at(hour.into()) + TimeDelta::minutes(1);
        let row = Row::new(Key::state("breaker#stripe")).with("version", 1).with("seq", 1);
        rows.push(row.with("data", json!(Breaker::Open { until }).to_string()));
    }
    let ports = ports(MemoryStore::of(rows), hour.into(), 5);
    CircuitBreaker::new(Stripe(line.clone()), ports, TimeDelta::minutes(1))
}

fn compensator(
    store: &MemoryStore,
    line: &Line,
    hour: u16,
    bus: Again,
) -> Compensator<MemoryStore, Stripe<Line>, Again> {
    let circuit = circuit(line, hour, false);
    // Its ids are those of an operator's request.
    Compensator { ports: ports(store.clone(), hour.into(), 200 + u128::from(hour)), bus, circuit }
}
