//! Which step an order waits for, until when, and what follows when that is over: a part of the pure core.

use super::known::Known;
use super::step::Step;
use super::{Saga, Status, cancelled};
use chassis::Refusal;
use chrono::{DateTime, TimeDelta, Utc};
use events::envelope::millis;
use events::inventory::InventoryReserved;
use events::orders::{CancelReason, OrderCreated};
use serde::{Deserialize, Serialize};

/// Reminders after which the sweeper cancels a pending order. It reminds everything else for ever, ever more rarely: no
/// clock ends what may have been shipped or has to be undone.
pub const NUDGES: u32 = 3;
/// How many times the pause between later reminders doubles.
const DOUBLINGS: u32 = 5;

/// How long after an order's end the sweeper publishes again how it ended.
pub const RECONCILED_AFTER: TimeDelta = TimeDelta::hours(2);

/// The reminders of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Reminders {
    number: u32,
    /// When the last one was sent.
    #[serde(with = "millis")]
    last: DateTime<Utc>,
}

impl Saga {
    /// The step that the order waits for, if it waits.
    #[must_use]
    pub fn waits_for(&self) -> Option<Step> {
        self.event::<OrderCreated>()?;
        match self.status() {
            Status::Pending if !self.knows::<InventoryReserved>() => Some(Step::InventoryReservation),
            Status::Pending => Some(Step::PaymentProcessing),
            Status::Confirmed => Some(Step::Fulfillment),
            // A refund that waits for an operator is no reason to keep the stock.
            Status::Cancelling | Status::Failed if self.inventory_owes() => Some(Step::InventoryCompensation),
            Status::Cancelling => Some(Step::PaymentCompensation),
            Status::Fulfilled | Status::Cancelled | Status::Compensated | Status::Failed => None,
        }
    }

    /// How often the sweeper has reminded any step.
    #[must_use]
    pub fn nudges(&self) -> u32 {
        self.nudges.values().map(|reminders| reminders.number).sum()
    }

    /// How often the sweeper has reminded a step.
    #[must_use]
    pub fn nudges_of(&self, step: Step) -> u32 {
        self.nudges.get(&step).map_or(0, |reminders| reminders.number)
    }

    pub(super) fn reminded(&mut self, step: Step, at: DateTime<Utc>) {
        let number = self.nudges_of(step).saturating_add(1);
        self.nudges.insert(step, Reminders { number, last: at });
    }

    /// The step that the order waits for, and when it is overdue: its timeout after the last event or reminder.
    #[must_use]
    pub fn deadline(&self) -> Option<(Step, DateTime<Utc>)> {
        let step = self.waits_for()?;
        let reminders = self.nudges.values().map(|reminders| reminders.last);
        let since = self.known.iter().map(|noted| noted.at).chain(reminders).max()?;
        let doublings = self.nudges_of(step).saturating_sub(NUDGES).min(DOUBLINGS);
        Some((step, since + step.patience() * (1 << doublings)))
    }

    /// When the sweeper publishes again how an ended order ended, once. Orders waits for no answer of those who only learn
    /// of it: rewards, notifications, inventory of the shipment. One of them may have missed an event, and learns of it now.
    #[must_use]
    pub fn reconciliation(&self) -> Option<DateTime<Utc>> {
        let has_ended = matches!(self.status(), Status::Fulfilled | Status::Cancelled | Status::Compensated);
        let ended_at = self.known.iter().map(|noted| noted.at).max()?;
        (has_ended && !self.reconciled).then(|| ended_at + RECONCILED_AFTER)
    }

    /// What follows when a step is overdue: a reminder, or the end of a pending order that was reminded often enough. Of an
    /// ended order: its reconciliation.
    pub(super) fn sweep(&self, at: DateTime<Utc>) -> Result<Known, Refusal> {
        if self.reconciliation().is_some_and(|due| due <= at) {
            return Ok(Known::Reconciled);
        }
        let overdue = self.deadline().filter(|(_, deadline)| *deadline <= at);
        let (step, _) = overdue.ok_or(Refusal::Stale("not overdue"))?;
        match self.event::<OrderCreated>() {
            Some(placed) if self.status() == Status::Pending && self.nudges_of(step) >= NUDGES => {
                Ok(cancelled(placed, CancelReason::TimedOut { step: step.as_str().to_owned() }))
            }
            _ => Ok(Known::Nudged(step)),
        }
    }
}
