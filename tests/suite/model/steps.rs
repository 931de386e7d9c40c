//! The steps: what each move does, by the services' own code.

use super::outside::{ANSWERED, Again, Line, Plan, Table, Vans, at, ports, table};
use super::state::{FULFILLMENT, INVENTORY, ORDERS, PAYMENTS, State};
use super::system::{Held, Made, Step, System, now};
use chassis::keys::Keys;
use chassis::outbox::Cause;
use chassis::reaction::{Stand, begin, execute, resume};
use chassis::store::{Item as Row, Key, MemoryStore};
use chassis::task::Task;
use chassis::{AggregateId, Consumer, Effects, EventHandler, Failure, Live, Ports};
use chrono::{DateTime, TimeDelta, Utc};
use events::Envelope;
use fulfillment::reactor::Shipping;
use localstack::aws::stepfunctions::interpreter::{Next, TaskFailure};
use localstack::aws::stepfunctions::{Execution, Status as FlowStatus};
use localstack::outside::payment_provider::account::Account;
use orders::reactor::Tracker;
use orders::saga::{self, Saga};
use orders::sweeper::{Input as Sweeping, Sweeper};
use payments::breaker::Breaker;
use payments::compensation::{Compensator, Input};
use payments::provider::circuit_breaker::CircuitBreaker;
use payments::provider::stripe::Stripe;
use payments::reactor::Charges;
use serde_json::{Value, json};
use std::rc::Rc;
use uuid::Uuid;

/// Payments' calls, on the model's line.
type Charging = Charges<Stripe<Line>, Table>;

impl System {
    /// A service handles an event in one go.
    pub fn handle(&mut self, state: &State, service: usize, event: u32, refuses: bool) -> Rc<Made> {
        let (table, hour) = (state.tables[service], state.hour);
        let step = Step::Handle { service: u8::try_from(service).unwrap(), table, event, hour, refuses };
        self.remembered(step, |system| {
            let envelope = system.event(event);
            let (made, outcome) = system.run(table, |store, again| {
                let ports = ports(store.clone(), hour.into(), 3);
                now(handle(service, ports, again.clone(), &envelope, refuses))
            });
            let words = match &outcome {
                Ok(verdict) => format!("{} ({})", envelope.metadata.kind, verdict.as_str()),
                Err(failure) => format!("{}, which fails: {failure}", envelope.metadata.kind),
            };
            Made { failed: outcome.is_err(), words, ..made }
        })
    }

    fn charges(&self, line: &Line, hour: u16, is_open: bool) -> Charging {
        Charges {
            circuit: circuit(line, hour, is_open),
            store: table(MemoryStore::default()),
            fallback: None,
        }
    }

    /// Payments reacts to an event, up to its call.
    pub fn begin(&mut self, state: &State, event: u32) -> Rc<Made> {
        let (table, hour) = (state.tables[PAYMENTS], state.hour);
        self.remembered(Step::Begin { table, event, hour }, |system| {
            let envelope = system.event(event);
            system.react(table, &envelope, hour, |ports, effects| now(begin(ports, effects, &envelope)))
        })
    }

    /// A worker commits what its call came to.
    pub fn resume(&mut self, state: &State, event: u32, held: u32) -> Rc<Made> {
        let (table, hour) = (state.tables[PAYMENTS], state.hour);
        self.remembered(Step::Resume { table, event, held, hour }, |system| {
            let Held::Outcome { state, message } = system.held(held).clone() else { panic!("no outcome") };
            let envelope = system.event(event);
            let said = format!("{message:?}");
            let mut made = system.react(table, &envelope, hour, |ports, effects| {
                now(resume(ports, effects, &envelope, state, message))
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
        step: impl FnOnce(&Ports<Table>, &Charging) -> Result<Stand<Charging>, Failure>,
    ) -> Made {
        // A step between two calls makes none.
        let charges = self.charges(&Line::new(&Account::default(), 0, ANSWERED, true), hour, false);
        let (made, stand) = self.run(table, |store, _| step(&ports(store.clone(), hour.into(), 3), &charges));
        let kind = &envelope.metadata.kind;
        let (held, failed, words) = match stand {
            Ok(Stand::Ended(verdict)) => (None, false, format!("{kind} ({})", verdict.as_str())),
            Ok(Stand::Pending { state, attempt, .. }) => {
                let held = self.keep_held(Held::Call { state, attempt });
                (Some(held), false, format!("{kind}, and is about to call the provider"))
            }
            Err(failure) => (None, true, format!("{kind}, which fails: {failure}")),
        };
        let words = match self.stage(made.table) {
            Some(stage) => format!("{words}; the payment is {stage}"),
            None => words,
        };
        Made { held, failed, words, ..made }
    }

    /// A worker makes its call.
    pub fn call(&mut self, state: &State, held: u32, plan: Plan, is_open: bool) -> Rc<Made> {
        let (account, hour, is_down) = (state.account, state.hour, state.is_down);
        let step = Step::Call { held, account, hour, plan, is_down, is_open };
        self.remembered(step, |system| {
            let Held::Call { state, attempt } = system.held(held).clone() else { panic!("no call") };
            let line = system.line(account, hour, plan, is_down);
            let charges = system.charges(&line, hour, is_open);
            let call = Charging::pending_call(&state.state).unwrap();
            let outcome = now(charges.perform(call, attempt, Live::command()));
            let account = system.accounts.number(line.account());
            let calls = posts(&line);
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

    /// A flow goes on until one more task is answered.
    pub fn flow(&mut self, state: &State, execution: u32, plan: Plan) -> Rc<Made> {
        let (table, account, hour) = (state.tables[PAYMENTS], state.account, state.hour);
        let is_down = state.is_down;
        let step = Step::Task { table, account, execution, hour, plan, is_down };
        self.remembered(step, |system| {
            let mut execution = system.execution(execution);
            let Some(payload) = system.next_task(&mut execution) else {
                return Made { table, account, ..Made::default() };
            };
            let line = system.line(account, hour, plan, is_down);
            let (mut made, answer) = system.task(table, &line, hour, payload);
            let task = execution.state.clone();
            made.words = format!("{task}: {}", described(&answer));
            made.failed = answer.is_err();
            system.definition.answer(&mut execution, answer.clone(), at(0)).unwrap();
            if made.failed && is_down {
                made.words = format!("{task} fails until its tries are used up");
                // Nothing but the count of its tries changes until then.
                while execution.status == FlowStatus::Running && execution.state == task {
                    let failure = TaskFailure { name: "Transient".into(), cause: String::new() };
                    system.definition.answer(&mut execution, Err(failure), at(0)).unwrap();
                }
            }
            let account = after_a_pause(line.account(), &answer);
            let stands = answer.is_err_and(|failure| failure.name == "StillStands");
            made.ends(system, execution, stands && account == line.account());
            made.account = system.accounts.number(account);
            made.calls = posts(&line);
            made
        })
    }

    /// One task of the compensator.
    fn task(
        &mut self,
        table: u32,
        line: &Line,
        hour: u16,
        payload: Value,
    ) -> (Made, Result<Value, TaskFailure>) {
        let (made, answer) = self.run(table, |store, again| {
            let input: Input = serde_json::from_value(payload).unwrap();
            now(compensator(store, line, hour, again.clone()).run(input))
        });
        let answer = answer.map_err(|error| {
            let text = json!({"errorType": error.name, "errorMessage": error.message}).to_string();
            TaskFailure::reported(&text)
        });
        (made, answer)
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
            let (made, cancelled) = system.run(table, |store, _| {
                let cause = Cause::request(Uuid::from_u128(9), Uuid::from_u128(9), None);
                let ports = ports(store.clone(), hour.into(), 4);
                now(execute::<Saga, _>(&ports, &AggregateId::order(order), saga::Message::Cancel, &cause))
            });
            cancelled.unwrap();
            made
        })
    }

    /// The sweeper runs an hour later.
    pub fn sweep(&mut self, state: &State) -> Rc<Made> {
        let (table, hour) = (state.tables[ORDERS], state.hour + 1);
        self.remembered(Step::Sweep { table, hour }, |system| {
            let (made, swept) = system.run(table, |store, again| {
                let ports = ports(store.clone(), hour.into(), 100 + u128::from(hour));
                now(Sweeper { ports, bus: again.clone() }.run(Sweeping::default()))
            });
            Made { words: swept.unwrap().to_string(), ..made }
        })
    }

    /// An operator asks for the compensation again.
    pub fn retry(&mut self, state: &State) -> Rc<Made> {
        let (table, hour, order) = (state.tables[PAYMENTS], state.hour, self.order);
        let account = state.account;
        self.remembered(Step::Retry { table, hour }, |system| {
            let line = system.line(account, hour, ANSWERED, false);
            let (made, answer) = system.run(table, |store, again| {
                let compensator = compensator(store, &line, hour, again.clone());
                now(compensator.run(Input::Retry { order_id: order }))
            });
            Made { words: answer.unwrap().to_string(), ..made }
        })
    }
}

impl Made {
    /// Where the flow stands after a task. A refund that stands, and will, is watched no further: the model has no days.
    fn ends(&mut self, system: &mut System, execution: Execution, is_over: bool) {
        if execution.status == FlowStatus::Failed {
            self.words.push_str("; the execution has FAILED");
        }
        if let Some(stage) = system.stage(self.table) {
            self.words.push_str(&format!("; the payment is {stage}"));
        }
        let is_running = execution.status == FlowStatus::Running && !is_over;
        self.execution = is_running.then(|| system.keep_execution(execution));
    }
}

/// The account after the pause that an answer asks for: what was pending has been decided.
fn after_a_pause(mut account: Account, answer: &Result<Value, TaskFailure>) -> Account {
    if answer.as_ref().is_err_and(|failure| failure.name.starts_with("Still")) {
        account.settle_refunds(at(u32::from(u16::MAX)).timestamp());
    }
    account
}

/// Of each call, whether it changes something.
fn posts(line: &Line) -> Vec<bool> {
    line.calls().iter().map(|call| call.starts_with("POST")).collect()
}

fn described(answer: &Result<Value, TaskFailure>) -> String {
    match answer {
        Ok(value) => value["status"].as_str().map_or_else(|| value.to_string(), str::to_owned),
        Err(failure) => failure.cause.clone(),
    }
}

async fn handle(
    service: usize,
    ports: Ports<Table>,
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
            let shipping = Shipping { carrier: Vans { refuses }, keys: Keys(table(MemoryStore::default())) };
            Consumer::new(ports, shipping).answering(bus).handle(envelope).await
        }
        _ => panic!("payments reacts in steps"),
    }
}

fn circuit(line: &Line, hour: u16, is_open: bool) -> CircuitBreaker<Stripe<Line>, Table> {
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
) -> Compensator<Table, Stripe<Line>, Again> {
    let circuit = circuit(line, hour, false);
    // Its ids are those of an operator's request.
    Compensator { ports: ports(store.clone(), hour.into(), 200 + u128::from(hour)), bus, circuit }
}
