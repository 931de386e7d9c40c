//! Which step an order waits for, until when, and what follows when that is over: a part of the pure core.

use super::known::Known;
use super::{Saga, Status, cancelled};
use chassis::Refusal;
use chrono::{DateTime, TimeDelta, Utc};
use events::Event;
use events::inventory::InventoryReserved;
use events::orders::{CancelReason, OrderCancelled, OrderConfirmed, OrderCreated};
use serde::{Deserialize, Serialize};

/// A step that another service has to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Inventory holds the goods, or cannot.
    InventoryReservation,
    /// Payments charges, or cannot.
    PaymentProcessing,
    /// Fulfillment ships, or cannot.
    Fulfillment,
    /// Inventory's final word on a cancelled order.
    InventoryCompensation,
    /// Payments' final word on a cancelled order.
    PaymentCompensation,
}

/// Reminders after which the sweeper cancels a pending order. It reminds everything else for ever, ever more rarely: no
/// clock ends what may have been shipped or has to be undone.
pub const NUDGES: usize = 3;
/// How many times the pause between later reminders doubles.
const DOUBLINGS: usize = 5;

impl Step {
    /// As the API shows it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InventoryReservation => "inventory_reservation",
            Self::PaymentProcessing => "payment_processing",
            Self::Fulfillment => "fulfillment",
            Self::InventoryCompensation => "inventory_compensation",
            Self::PaymentCompensation => "payment_compensation",
        }
    }

    /// How long a step may take before the sweeper reminds its service: longer than the service usually tries by itself.
    /// Payments receives a message eight times, a minute apart, fulfillment twenty times, half a minute apart; a
    /// compensation flow that waits for the circuit to close may take longer still, and a second one beside it changes
    /// nothing.
    const fn timeout(self) -> TimeDelta {
        TimeDelta::seconds(match self {
            Self::InventoryReservation | Self::InventoryCompensation => 60,
            Self::PaymentProcessing => 540,
            Self::Fulfillment => 900,
            Self::PaymentCompensation => 1800,
        })
    }

    /// The events that lead to this step.
    #[must_use]
    pub const fn causes(self) -> &'static [&'static str] {
        match self {
            Self::InventoryReservation => &[OrderCreated::TYPE],
            Self::PaymentProcessing => &[OrderCreated::TYPE, InventoryReserved::TYPE],
            Self::Fulfillment => &[OrderConfirmed::TYPE],
            Self::InventoryCompensation | Self::PaymentCompensation => &[OrderCancelled::TYPE],
        }
    }
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
