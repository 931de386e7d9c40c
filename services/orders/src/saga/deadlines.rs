//! Which step an order waits for, until when, and what follows when that is over: a part of the pure core.

use super::known::Known;
use super::step::Step;
use super::{Saga, Status, cancelled};
use chassis::Refusal;
use chrono::{DateTime, Utc};
use events::inventory::InventoryReserved;
use events::orders::{CancelReason, OrderCreated};

/// Reminders after which the sweeper cancels a pending order. It reminds everything else for ever, ever more rarely: no
/// clock ends what may have been shipped or has to be undone.
pub const NUDGES: usize = 3;
/// How many times the pause between later reminders doubles.
const DOUBLINGS: usize = 5;

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
    pub fn nudges(&self) -> usize {
        self.known.iter().filter(|noted| matches!(noted.what, Known::Nudged(_))).count()
    }

    /// How often the sweeper has reminded a step.
    #[must_use]
    pub fn nudges_of(&self, step: Step) -> usize {
        self.known.iter().filter(|noted| noted.what == Known::Nudged(step)).count()
    }

    /// The step that the order waits for, and when it is overdue: its timeout after the last event or reminder.
    #[must_use]
    pub fn deadline(&self) -> Option<(Step, DateTime<Utc>)> {
        let step = self.waits_for()?;
        let since = self.known.iter().map(|noted| noted.at).max()?;
        let doublings = self.nudges_of(step).saturating_sub(NUDGES).min(DOUBLINGS);
        Some((step, since + step.timeout() * (1 << doublings)))
    }

    /// What follows when a step is overdue: a reminder, or the end of a pending order that was reminded often enough.
    pub(super) fn sweep(&self, at: DateTime<Utc>) -> Result<Known, Refusal> {
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
