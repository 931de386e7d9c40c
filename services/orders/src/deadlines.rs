//! Which step an order waits for, until when, and what follows when that is over: a part of the tracker's pure core.

use crate::tracker::{Fact, Order, Status, cancelled};
use chassis::Refusal;
use chrono::{DateTime, TimeDelta, Utc};
use events::Event;
use events::envelope::millis;
use events::inventory::InventoryReserved;
use events::orders::{CancelReason, OrderCancelled, OrderConfirmed, OrderCreated};
use serde::{Deserialize, Serialize};

/// A step that somebody else has to take.
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

/// Reminders after which a pending order is given up. Everything else is reminded for ever, ever more rarely: what
/// may have been shipped, or has to be undone, is not ended by a clock.
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

    /// How long a step may take before it is reminded: longer than its service usually tries by itself. Payments receives a
    /// message eight times, a minute apart, fulfillment twenty times, half a minute apart; a compensation flow that waits
    /// for the circuit to close may take longer still, and a second one beside it changes nothing.
    const fn patience(self) -> TimeDelta {
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

/// A reminder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nudge {
    /// Of which step.
    pub step: Step,
    /// When.
    #[serde(with = "millis")]
    pub at: DateTime<Utc>,
}

impl Order {
    /// The step that the order waits for, if it waits.
    #[must_use]
    pub fn waits_for(&self) -> Option<Step> {
        self.created.as_ref()?;
        match self.status() {
            Status::Pending if self.reserved.is_none() => Some(Step::InventoryReservation),
            Status::Pending => Some(Step::PaymentProcessing),
            Status::Confirmed => Some(Step::Fulfillment),
            // A refund that waits for an operator is no reason to keep the stock.
            Status::Cancelling | Status::Failed
                if self.released.is_none() && self.reservation_failed.is_none() =>
            {
                Some(Step::InventoryCompensation)
            }
            Status::Cancelling => Some(Step::PaymentCompensation),
            Status::Fulfilled | Status::Cancelled | Status::Compensated | Status::Failed => None,
        }
    }

    /// How often a step was reminded.
    #[must_use]
    pub fn nudges_of(&self, step: Step) -> usize {
        self.nudges.iter().filter(|nudge| nudge.step == step).count()
    }

    /// The step that is waited for, and when it is overdue: its patience after the last that was heard or said.
    #[must_use]
    pub fn deadline(&self) -> Option<(Step, DateTime<Utc>)> {
        let step = self.waits_for()?;
        let heard = self.timeline().last().map(|(_, at)| *at);
        let since = heard.max(self.nudges.iter().map(|nudge| nudge.at).max())?;
        let doublings = self.nudges_of(step).saturating_sub(NUDGES).min(DOUBLINGS);
        Some((step, since + step.patience() * (1 << doublings)))
    }

    /// What follows when a step is overdue: a reminder, or the end of a pending order that was reminded often enough.
    pub(crate) fn sweep(&self, at: DateTime<Utc>) -> Result<Fact, Refusal> {
        let overdue = self.deadline().filter(|(_, deadline)| *deadline <= at);
        let (step, _) = overdue.ok_or(Refusal::Stale("not overdue"))?;
        match &self.created {
            Some(placed) if self.status() == Status::Pending && self.nudges_of(step) >= NUDGES => {
                let reason = CancelReason::TimedOut { step: step.as_str().to_owned() };
                Ok(Fact::Cancelled { told: cancelled(&placed.what, reason), at })
            }
            _ => Ok(Fact::Nudged(Nudge { step, at })),
        }
    }
}
