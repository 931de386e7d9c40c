//! A state of the whole system, in numbers: who has which rows, what is on its way, who is at work, what still may go
//! wrong.

use super::outside::Plan;

/// The services in the model, in the order of their tables.
pub const SERVICES: [&str; 4] = ["orders", "inventory", "payments", "fulfillment"];
pub const ORDERS: usize = 0;
pub const INVENTORY: usize = 1;
pub const PAYMENTS: usize = 2;
pub const FULFILLMENT: usize = 3;
/// The compensation flow, as a consumer.
pub const FLOW: usize = 4;

/// An event on its way to a consumer, at most as often as there are `copies`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pending {
    pub to: u8,
    pub event: u32,
    /// How often it may still be delivered.
    pub copies: u8,
    /// Whether the consumer has not handled it yet.
    pub is_owed: bool,
}

/// A worker of payments between two commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Worker {
    pub event: u32,
    /// What it holds in memory.
    pub stand: u32,
}

/// What may still happen to the system from outside, each at most so often.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Budget {
    /// All of the following together.
    pub all: u8,
    /// Calls that go wrong, workers that crash, answers that are lost.
    pub faults: u8,
    /// Deliveries of what has been delivered.
    pub repeats: u8,
    /// Second executions of a request.
    pub executions: u8,
    pub cancels: u8,
    pub outages: u8,
    pub days: u8,
    pub weeks: u8,
    pub sweeps: u8,
    pub retries: u8,
    pub redrives: u8,
    /// Whether inventory's events reach orders at once: where the order in which orders learns them is not the question.
    pub is_prompt: bool,
}

/// What is spent of a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item {
    Fault,
    Repeat,
    Execution,
    Cancel,
    Outage,
    Day,
    Week,
    Sweep,
    Retry,
    Redrive,
}

impl Budget {
    fn of(&mut self, item: Item) -> &mut u8 {
        match item {
            Item::Fault => &mut self.faults,
            Item::Repeat => &mut self.repeats,
            Item::Execution => &mut self.executions,
            Item::Cancel => &mut self.cancels,
            Item::Outage => &mut self.outages,
            Item::Day => &mut self.days,
            Item::Week => &mut self.weeks,
            Item::Sweep => &mut self.sweeps,
            Item::Retry => &mut self.retries,
            Item::Redrive => &mut self.redrives,
        }
    }

    pub fn allows(mut self, item: Item) -> bool {
        self.all > 0 && *self.of(item) > 0
    }

    pub fn spend(&mut self, item: Item) {
        let left = self.of(item);
        *left = left.saturating_sub(1);
        self.all = self.all.saturating_sub(1);
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    pub tables: [u32; 4],
    /// The provider's account.
    pub account: u32,
    /// Whether no call reaches the provider.
    pub is_down: bool,
    /// Hours since the order was placed.
    pub hour: u16,
    /// Sorted.
    pub pending: Vec<Pending>,
    /// Sorted.
    pub workers: Vec<Worker>,
    /// The executions of the flow that are running; sorted.
    pub flows: Vec<u32>,
    pub budget: Budget,
}

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// A consumer gets an event and handles it; payments may stop before a call.
    Deliver(Pending),
    /// The same, with a carrier that refuses the parcel.
    DeliverRefused(Pending),
    /// A worker makes its call.
    Call(Worker, Plan),
    /// The circuit is open, and a worker makes no call.
    CircuitOpen(Worker),
    /// A worker commits what its call came to.
    Commit(Worker),
    /// A worker dies.
    Crash(Worker),
    /// A flow goes on to the end of its next task.
    Flow(u32, Plan),
    /// The task is done, and its answer is lost.
    FlowLost(u32),
    ProviderDown,
    ProviderUp,
    /// The customer cancels.
    Cancel,
    /// The sweeper finds the order overdue.
    Sweep,
    /// An operator asks for the compensation again.
    Retry,
    /// An operator sends a dead letter back.
    Redrive(Pending),
    /// A day passes: the provider forgets its idempotency keys.
    Day,
    /// A week passes: inbox rows expire too.
    Week,
}
