//! The model of one order: which moves a state has, and where each leads.

use super::outside::{ANSWERED, CallFate, Plan, TROUBLES};
use super::search::Model;
use super::state::{
    Budget, FLOW, FULFILLMENT, Item, Move, ORDERS, PAYMENTS, Pending, SERVICES, State, Worker,
};
use super::system::{Held, Made, Stood, System};
use events::Event;
use events::orders::OrderCancelled;
use localstack::outside::payment_provider::account::Account;
use orders::saga::Status;
use std::collections::HashMap;

/// Hours in a day, and one more.
const DAY: u16 = 25;
const WEEK: u16 = 8 * 24;
/// The most steps of an undisturbed end that are shown.
const MAX_EPILOGUE: usize = 60;
/// An order that still waits after so many hours waits for ever.
const LAST_HOUR: u16 = 1000;

pub struct Order {
    pub system: System,
    budget: Budget,
    method: &'static str,
    /// What the undisturbed way from a state comes to.
    pub ends: HashMap<u64, Vec<String>>,
}

impl Order {
    pub fn new(method: &'static str, budget: Budget) -> Self {
        Self { system: System::new(), budget, method, ends: HashMap::new() }
    }

    /// Whether the order's bank takes no refund.
    pub fn refunds_fail(&self) -> bool {
        ["pm_card_refundFail", "pm_sim_refund_pending_then_failed"].contains(&self.method)
    }

    fn publish(&mut self, state: &mut State, events: &[u32]) {
        for event in events {
            for to in self.system.consumers(*event) {
                let to = u8::try_from(to).unwrap();
                let is_known = |pending: &&mut Pending| (pending.to, pending.event) == (to, *event);
                if let Some(pending) = state.pending.iter_mut().find(is_known) {
                    // Published once more: it comes once more.
                    pending.copies = pending.copies.max(1);
                } else if self.is_alone(state, to, *event) || self.is_prompt(state, to, *event) {
                    let service = usize::from(to);
                    let made = self.system.handle(state, service, *event, false);
                    self.made(state, service, &made);
                } else {
                    state.pending.push(Pending { to, event: *event, copies: 2, is_owed: true });
                }
            }
        }
        state.pending.sort_unstable();
    }

    /// Whether an event is the only one that fulfillment ever gets of the order: a cancellation before it was confirmed.
    /// When it arrives makes no difference to anything else, so it arrives at once.
    fn is_alone(&mut self, state: &State, to: u8, event: u32) -> bool {
        let is_cancelled = self.system.event(event).metadata.kind == OrderCancelled::TYPE;
        usize::from(to) == FULFILLMENT && is_cancelled && !self.system.order(state).is_confirmed
    }

    fn is_prompt(&self, state: &State, to: u8, event: u32) -> bool {
        let of_inventory = || self.system.event(event).metadata.kind.starts_with("inventory.");
        state.budget.is_prompt && usize::from(to) == ORDERS && of_inventory()
    }

    fn settle(&self, state: &mut State, to: u8, event: u32) {
        for pending in &mut state.pending {
            if (pending.to, pending.event) == (to, event) {
                pending.is_owed = false;
            }
        }
    }

    fn take(&self, state: &mut State, taken: Pending) {
        for pending in &mut state.pending {
            if *pending == taken {
                pending.copies -= 1;
            }
        }
        if !taken.is_owed || self.has_worker(state, taken) {
            state.budget.spend(repeated(taken));
        }
    }

    /// Whether a worker has this delivery in its hands.
    fn has_worker(&self, state: &State, pending: Pending) -> bool {
        usize::from(pending.to) == PAYMENTS
            && state.workers.iter().any(|worker| worker.event == pending.event)
    }

    /// What nobody will deliver any more, and nobody has to, is forgotten.
    fn tidy(&self, state: &mut State) {
        let budget = state.budget;
        state
            .pending
            .retain(|pending| pending.is_owed || (pending.copies > 0 && budget.allows(repeated(*pending))));
        state.pending.sort_unstable();
        state.workers.sort_unstable();
        state.flows.sort_unstable();
    }

    fn made(&mut self, state: &mut State, service: usize, made: &Made) {
        state.tables[service] = made.table;
        self.publish(state, &made.published);
    }

    fn deliver(&mut self, state: &State, pending: Pending, refuses: bool) -> State {
        let mut after = state.clone();
        self.take(&mut after, pending);
        match usize::from(pending.to) {
            FLOW => {
                after.flows.push(self.system.started(pending.event));
                self.settle(&mut after, pending.to, pending.event);
            }
            PAYMENTS => {
                let made = self.system.begin(state, pending.event);
                self.made(&mut after, PAYMENTS, &made);
                match made.held {
                    Some(stand) => after.workers.push(Worker { event: pending.event, stand }),
                    None if made.failed => {}
                    None => self.settle(&mut after, pending.to, pending.event),
                }
            }
            service => {
                let made = self.system.handle(state, service, pending.event, refuses);
                self.made(&mut after, service, &made);
                if !made.failed {
                    self.settle(&mut after, pending.to, pending.event);
                }
            }
        }
        after
    }

    fn call(&mut self, state: &State, worker: Worker, plan: Plan, is_open: bool) -> State {
        let mut after = state.clone();
        after.workers.retain(|other| *other != worker);
        let made = self.system.call(state, worker.stand, plan, is_open);
        after.account = made.account;
        after.workers.extend(made.held.map(|stand| Worker { stand, ..worker }));
        after
    }

    fn commit(&mut self, state: &State, worker: Worker) -> State {
        let mut after = state.clone();
        after.workers.retain(|other| *other != worker);
        let made = self.system.resume(state, worker.event, worker.stand);
        self.made(&mut after, PAYMENTS, &made);
        match made.held {
            Some(stand) => after.workers.push(Worker { stand, ..worker }),
            None if made.failed => {}
            None => self.settle(&mut after, u8::try_from(PAYMENTS).unwrap(), worker.event),
        }
        after
    }

    fn flow(&mut self, state: &State, execution: u32, plan: Plan, is_lost: bool) -> State {
        let mut after = state.clone();
        let at = after.flows.iter().position(|other| *other == execution).unwrap();
        after.flows.remove(at);
        let made = self.system.flow(state, execution, plan);
        after.account = made.account;
        self.made(&mut after, PAYMENTS, &made);
        let next = if is_lost { self.system.flow_lost(execution) } else { made.execution };
        after.flows.extend(next);
        after
    }

    pub fn retried(&mut self, state: &State) -> State {
        let mut after = state.clone();
        let made = self.system.retry(state);
        self.made(&mut after, PAYMENTS, &made);
        self.tidy(&mut after);
        after
    }

    /// The next move of a system that nothing disturbs any more; none when it is at rest.
    pub fn calm_move(&mut self, state: &State) -> Option<Move> {
        if state.is_down {
            return Some(Move::ProviderUp);
        }
        if let Some(worker) = state.workers.first() {
            return Some(match self.system.held(worker.stand) {
                Held::Call { .. } => Move::Call(*worker, ANSWERED),
                Held::Outcome { .. } => Move::Commit(*worker),
            });
        }
        if let Some(execution) = state.flows.first() {
            return Some(Move::Flow(*execution, ANSWERED));
        }
        let owed = |has_copies: bool| {
            state
                .pending
                .iter()
                .copied()
                .find(|pending| pending.is_owed && (pending.copies > 0) == has_copies)
        };
        if let Some(pending) = owed(true) {
            return Some(Move::Deliver(pending));
        }
        // What fails too often waits in its dead-letter queue until the sweeper has done what it can.
        let Stood { status, waits, .. } = self.system.order(state);
        if status != Status::Failed && waits && state.hour < LAST_HOUR {
            return Some(Move::Sweep);
        }
        owed(false).map(Move::Redrive)
    }

    /// The moves of a worker: its call in every way, or its commit; and its death.
    fn moves_of(&mut self, state: &State, worker: Worker, moves: &mut Vec<Move>) {
        let faults = state.budget.allows(Item::Fault);
        match self.system.held(worker.stand) {
            Held::Outcome { .. } => moves.push(Move::Commit(worker)),
            Held::Call { .. } => {
                moves.push(Move::Call(worker, ANSWERED));
                if faults && !state.is_down {
                    let calm = self.system.call(state, worker.stand, ANSWERED, false);
                    moves.extend(plans(&calm.calls).into_iter().map(|plan| Move::Call(worker, plan)));
                    moves.push(Move::CircuitOpen(worker));
                }
            }
        }
        if faults {
            moves.push(Move::Crash(worker));
        }
    }

    fn moves_of_flow(&mut self, state: &State, execution: u32, moves: &mut Vec<Move>) {
        moves.push(Move::Flow(execution, ANSWERED));
        if state.budget.allows(Item::Fault) && !state.is_down {
            let calm = self.system.flow(state, execution, ANSWERED);
            moves.extend(plans(&calm.calls).into_iter().map(|plan| Move::Flow(execution, plan)));
            moves.push(Move::FlowLost(execution));
        }
    }

    fn moves_from_outside(&mut self, state: &State, moves: &mut Vec<Move>) {
        let budget = state.budget;
        let Stood { status, waits, .. } = self.system.order(state);
        if budget.allows(Item::Cancel) && status == Status::Pending {
            moves.push(Move::Cancel);
        }
        // For a worker an outage is a call that does not arrive.
        if state.is_down {
            moves.push(Move::ProviderUp);
        } else if budget.allows(Item::Outage) && !state.flows.is_empty() {
            moves.push(Move::ProviderDown);
        }
        if budget.allows(Item::Sweep) && waits {
            moves.push(Move::Sweep);
        }
        if budget.allows(Item::Retry) && status == Status::Failed {
            moves.push(Move::Retry);
        }
        // No worker lives for a day.
        if state.workers.is_empty() {
            for (item, step) in [(Item::Day, Move::Day), (Item::Week, Move::Week)] {
                if budget.allows(item) {
                    moves.push(step);
                }
            }
        }
    }
}

/// What a delivery of what has been delivered costs.
fn repeated(pending: Pending) -> Item {
    if usize::from(pending.to) == FLOW { Item::Execution } else { Item::Repeat }
}

/// Every way in which one of the calls can go wrong. Where a call changes nothing, it does not matter whether it arrived.
fn plans(calls: &[bool]) -> Vec<Plan> {
    let numbered = (0..).zip(calls);
    let plans = numbered.flat_map(|(call, changes)| {
        let fates = if *changes { &TROUBLES[..] } else { &[CallFate::Unreached, CallFate::Foreign] };
        fates.iter().map(move |fate| Plan { call, fate: *fate })
    });
    plans.collect()
}

impl Model for Order {
    type State = State;
    type Move = Move;

    fn start(&mut self) -> State {
        let (tables, published) = self.system.placed(self.method);
        let account = self.system.accounts.number(Account::default());
        let mut state = State {
            tables,
            account,
            is_down: false,
            hour: 0,
            pending: Vec::new(),
            workers: Vec::new(),
            flows: Vec::new(),
            budget: self.budget,
        };
        self.publish(&mut state, &published);
        state
    }

    fn moves(&mut self, state: &State) -> Vec<Move> {
        let mut moves = Vec::new();
        let budget = state.budget;
        for pending in &state.pending {
            let is_repeat = !pending.is_owed || self.has_worker(state, *pending);
            match pending.copies {
                0 if pending.is_owed && !self.has_worker(state, *pending) && budget.allows(Item::Redrive) => {
                    moves.push(Move::Redrive(*pending));
                }
                1.. if !is_repeat || budget.allows(repeated(*pending)) => {
                    moves.push(Move::Deliver(*pending));
                    if usize::from(pending.to) == FULFILLMENT && budget.allows(Item::Fault) {
                        moves.push(Move::DeliverRefused(*pending));
                    }
                }
                _ => {}
            }
        }
        for worker in &state.workers {
            self.moves_of(state, *worker, &mut moves);
        }
        for execution in &state.flows {
            self.moves_of_flow(state, *execution, &mut moves);
        }
        self.moves_from_outside(state, &mut moves);
        moves
    }

    fn after(&mut self, state: &State, step: &Move) -> State {
        let mut after = match *step {
            Move::Deliver(pending) => self.deliver(state, pending, false),
            Move::DeliverRefused(pending) => self.deliver(state, pending, true),
            Move::Call(worker, plan) => self.call(state, worker, plan, false),
            Move::CircuitOpen(worker) => self.call(state, worker, ANSWERED, true),
            Move::Commit(worker) => self.commit(state, worker),
            Move::Flow(execution, plan) => self.flow(state, execution, plan, false),
            Move::FlowLost(execution) => self.flow(state, execution, ANSWERED, true),
            Move::Retry => self.retried(state),
            _ => state.clone(),
        };
        match *step {
            Move::Crash(worker) => {
                after.workers.retain(|other| *other != worker);
                after.budget.spend(Item::Fault);
            }
            Move::Call(_, plan) | Move::Flow(_, plan) if plan.fate != CallFate::Answered => {
                after.budget.spend(Item::Fault);
            }
            Move::CircuitOpen(_) | Move::FlowLost(_) | Move::DeliverRefused(_) => {
                after.budget.spend(Item::Fault);
            }
            Move::ProviderDown => {
                after.is_down = true;
                after.budget.spend(Item::Outage);
            }
            Move::ProviderUp => after.is_down = false,
            Move::Cancel => {
                let made = self.system.cancel(state);
                self.made(&mut after, ORDERS, &made);
                after.budget.spend(Item::Cancel);
            }
            Move::Sweep => {
                let made = self.system.sweep(state);
                self.made(&mut after, ORDERS, &made);
                after.hour += 1;
                after.budget.spend(Item::Sweep);
            }
            Move::Retry => after.budget.spend(Item::Retry),
            Move::Redrive(pending) => {
                for other in &mut after.pending {
                    if *other == pending {
                        other.copies = 1;
                    }
                }
                after.budget.spend(Item::Redrive);
            }
            Move::Day | Move::Week => {
                let (item, hours) = if *step == Move::Day { (Item::Day, DAY) } else { (Item::Week, WEEK) };
                after.hour += hours;
                after.account = self.system.forgotten(after.account, after.hour);
                if item == Item::Week {
                    after.tables = after.tables.map(|table| self.system.expired(table));
                }
                after.budget.spend(item);
            }
            _ => {}
        }
        self.tidy(&mut after);
        after
    }

    fn broken(&mut self, before: &State, state: &State) -> Vec<String> {
        let mut broken = self.always(before, state);
        broken.extend(self.end(state));
        broken
    }

    fn epilogue(&mut self, state: &State) -> Vec<String> {
        let mut state = state.clone();
        let mut words = vec!["and then, undisturbed:".to_owned()];
        let mut is_retried = false;
        for _ in 0..MAX_EPILOGUE {
            let step = match self.calm_move(&state) {
                Some(step) => step,
                None if !is_retried && self.system.order(&state).status == Status::Failed => {
                    is_retried = true;
                    Move::Retry
                }
                None => return words,
            };
            words.push(self.words(&state, &step));
            state = self.after(&state, &step);
        }
        words.push("...".to_owned());
        words
    }

    fn words(&mut self, state: &State, step: &Move) -> String {
        let kind = |system: &System, event: u32| system.event(event).metadata.kind;
        let troubled = |plan: Plan| match plan.fate {
            CallFate::Answered => String::new(),
            fate => format!(" [call {}: {fate:?}]", plan.call + 1),
        };
        let text = match *step {
            Move::Deliver(pending) | Move::DeliverRefused(pending) => match usize::from(pending.to) {
                FLOW => format!("{} starts an execution of the flow", kind(&self.system, pending.event)),
                PAYMENTS => format!("payments gets {}", self.system.begin(state, pending.event).words),
                service => {
                    let refuses = matches!(step, Move::DeliverRefused(_));
                    let made = self.system.handle(state, service, pending.event, refuses);
                    let refused = if refuses { "; the carrier refuses the parcel" } else { "" };
                    format!("{} gets {}{refused}", SERVICES[service], made.words)
                }
            },
            Move::Call(worker, plan) => {
                format!(
                    "payments calls {}{}",
                    self.system.call(state, worker.stand, plan, false).words,
                    troubled(plan)
                )
            }
            Move::CircuitOpen(worker) => {
                format!("payments calls {}", self.system.call(state, worker.stand, ANSWERED, true).words)
            }
            Move::Commit(worker) => {
                format!("payments commits {}", self.system.resume(state, worker.event, worker.stand).words)
            }
            Move::Crash(worker) => format!("the worker with {} dies", kind(&self.system, worker.event)),
            Move::Flow(execution, plan) => {
                format!("the flow's {}{}", self.system.flow(state, execution, plan).words, troubled(plan))
            }
            Move::FlowLost(execution) => {
                format!(
                    "the flow's {}, and the answer is lost",
                    self.system.flow(state, execution, ANSWERED).words
                )
            }
            Move::ProviderDown => "the provider goes down".into(),
            Move::ProviderUp => "the provider is back".into(),
            Move::Cancel => "the customer cancels".into(),
            Move::Sweep => format!("an hour later the sweeper runs: {}", self.system.sweep(state).words),
            Move::Retry => {
                format!("an operator asks for the compensation again: {}", self.system.retry(state).words)
            }
            Move::Redrive(pending) => {
                format!("an operator redrives {} to {}", kind(&self.system, pending.event), name(pending.to))
            }
            Move::Day => "a day passes; the provider forgets its idempotency keys".into(),
            Move::Week => "a week passes; inbox rows expire".into(),
        };
        let before = self.system.order(state).status;
        let after = self.after(state, step);
        let status = self.system.order(&after).status;
        let mut text = text;
        if status != before {
            text.push_str(&format!("; the order is {}", status.as_str()));
        }
        if self.money(&after) != self.money(state) {
            let money = self.money(&after);
            text.push_str(&format!("; captured {}, refunded {}", money.captured, money.refunded));
        }
        text
    }
}

fn name(consumer: u8) -> &'static str {
    SERVICES.get(usize::from(consumer)).copied().unwrap_or("the flow")
}
