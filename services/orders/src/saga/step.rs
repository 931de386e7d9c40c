//! The steps of a saga that other services take.

use chrono::TimeDelta;
use events::Event;
use events::inventory::InventoryReserved;
use events::orders::{OrderCancelled, OrderConfirmed, OrderCreated, OrderFailed, OrderFulfilled};
use serde::{Deserialize, Serialize};

/// A step that another service has to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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

    /// How long a step may take before the sweeper reminds its service: longer than the service's queue tries by itself,
    /// because a reminder beside a message that is still being tried only gets in its way. A compensation flow that waits
    /// for the circuit to close may take longer still, and a second one beside it changes nothing.
    #[must_use]
    pub const fn patience(self) -> TimeDelta {
        TimeDelta::seconds(match self {
            Self::InventoryReservation | Self::InventoryCompensation => 660,
            Self::PaymentProcessing => 1500,
            Self::Fulfillment => 960,
            Self::PaymentCompensation => 1800,
        })
    }

    /// The service that has to take it.
    #[must_use]
    pub const fn service(self) -> &'static str {
        match self {
            Self::InventoryReservation | Self::InventoryCompensation => "inventory",
            Self::PaymentProcessing | Self::PaymentCompensation => "payments",
            Self::Fulfillment => "fulfillment",
        }
    }

    /// Every step.
    pub const ALL: [Self; 5] = [
        Self::InventoryReservation,
        Self::PaymentProcessing,
        Self::Fulfillment,
        Self::InventoryCompensation,
        Self::PaymentCompensation,
    ];

    /// The events of orders that say how an order went and ended: what a reconciliation publishes again.
    pub const ENDS: [&'static str; 4] =
        [OrderConfirmed::TYPE, OrderFulfilled::TYPE, OrderCancelled::TYPE, OrderFailed::TYPE];

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
