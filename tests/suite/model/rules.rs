//! What must be true: of every state, of every step, of every end.

use super::order::Order;
use super::search::{Model, fingerprint};
use super::state::{FULFILLMENT, INVENTORY, ORDERS, PAYMENTS, State};
use super::system::Stood;
use orders::saga::Status;

/// More steps than any undisturbed end takes.
const MAX_STEPS: usize = 500;

/// Money at the provider, of all intents of the order, in minor units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Money {
    pub captures: usize,
    pub captured: u64,
    pub refunded: u64,
}

impl Money {
    pub fn kept(self) -> u64 {
        self.captured.saturating_sub(self.refunded)
    }
}

impl Order {
    pub fn money(&self, state: &State) -> Money {
        let account = self.system.accounts.value(state.account);
        let mut money = Money::default();
        for intent in account.intents.values() {
            money.captures += intent.charges.iter().filter(|charge| charge.succeeded).count();
            money.captured += intent.captured();
            money.refunded += account.refunded(intent);
        }
        money
    }

    /// Rules of every state and every step.
    pub fn always(&mut self, before: &State, state: &State) -> Vec<String> {
        let mut broken = Vec::new();
        if self.money(state).captures > 1 {
            broken.push("I2: two captures of one order".to_owned());
        }
        let changed = [ORDERS, INVENTORY, PAYMENTS, FULFILLMENT];
        for service in changed.into_iter().filter(|service| before.tables[*service] != state.tables[*service])
        {
            broken.extend(self.system.shared_id(state.tables[service]));
        }
        let (was, is) = (self.system.order(before).status, self.system.order(state).status);
        let is_end = matches!(was, Status::Fulfilled | Status::Cancelled | Status::Compensated);
        // A refund that a bank took back is the one thing that opens an order again.
        let is_reopened = is == Status::Failed && self.money(state).kept() > 0;
        if was != is && is_end && !is_reopened {
            broken.push(format!("I7: an order that was {} is {}", was.as_str(), is.as_str()));
        }
        let (available, held, shipped) = self.system.units(state);
        if available + held + shipped != 10 {
            broken.push("I1: units appeared or disappeared".to_owned());
        }
        broken
    }

    /// Rules of a state in which nothing is on its way any more.
    pub fn at_rest(&mut self, state: &State) -> Vec<String> {
        let (Stood { status, total, .. }, money) = (self.system.order(state), self.money(state));
        let expected = match status {
            Status::Confirmed | Status::Fulfilled => Some(total),
            Status::Cancelled | Status::Compensated => Some(0),
            Status::Pending | Status::Cancelling | Status::Failed => None,
        };
        let mut broken = Vec::new();
        if expected.is_some_and(|expected| expected != money.kept()) {
            broken.push(format!("I2: an order at rest is {} and {} is kept", status.as_str(), money.kept()));
        }
        if self.system.said_no(state) && money.kept() > 0 {
            broken.push("payments has published a no, and money is kept".to_owned());
        }
        broken
    }

    /// I3: the way on without further trouble, with dead letters redriven and the operator's verb, ends.
    pub fn end(&mut self, state: &State) -> Vec<String> {
        let mut state = state.clone();
        let mut way = Vec::new();
        let mut retries = 0;
        for _ in 0..MAX_STEPS {
            let number = fingerprint(&state);
            if let Some(known) = self.ends.get(&number) {
                let known = known.clone();
                return self.remember(&way, known);
            }
            way.push(number);
            let next = self.calm_move(&state);
            let is_failed = next.is_none() && self.system.order(&state).status == Status::Failed;
            state = match next {
                Some(step) => self.after(&state, &step),
                None if is_failed && retries == 0 => {
                    retries += 1;
                    self.retried(&state)
                }
                None => {
                    let broken = self.unended(&state);
                    return self.remember(&way, broken);
                }
            };
        }
        self.remember(&way, vec!["I3: no end".to_owned()])
    }

    fn unended(&mut self, state: &State) -> Vec<String> {
        let mut broken = self.at_rest(state);
        match self.system.order(state).status {
            // A bank that takes nothing back leaves the order to an operator for good; not one that would.
            Status::Failed if self.refunds_fail() && self.money(state).kept() > 0 => {}
            Status::Failed => {
                broken.push("I3: an order stays FAILED whatever the operator does".to_owned());
            }
            status @ (Status::Pending | Status::Cancelling | Status::Confirmed) => {
                // What a saga waits for, the sweeper asks for.
                broken.push(format!("I3: an order stays {}", status.as_str()));
            }
            Status::Fulfilled | Status::Cancelled | Status::Compensated => {}
        }
        broken
    }

    fn remember(&mut self, way: &[u64], broken: Vec<String>) -> Vec<String> {
        self.ends.extend(way.iter().map(|number| (*number, broken.clone())));
        broken
    }
}
