//! What orders reads of the others' events. An order's history keeps what it learned as it was told, so its views
//! are the events themselves.

use events::catalogue::{Reading, reading};
use events::fulfillment::{FulfillmentFailed, FulfillmentShipped};
use events::inventory::{InventoryReleased, InventoryReservationFailed, InventoryReserved, ProductListed};
use events::payments::{
    PaymentCharged, PaymentCircuitClosed, PaymentCircuitHalfOpened, PaymentCircuitOpened, PaymentDeclined,
    PaymentRefundFailed, PaymentRefunded, PaymentUnavailable, PaymentVoided,
};

/// Everything that orders takes.
pub const READS: &[Reading] = &[
    reading::<ProductListed, ProductListed>(),
    reading::<InventoryReserved, InventoryReserved>(),
    reading::<InventoryReservationFailed, InventoryReservationFailed>(),
    reading::<InventoryReleased, InventoryReleased>(),
    reading::<PaymentCharged, PaymentCharged>(),
    reading::<PaymentDeclined, PaymentDeclined>(),
    reading::<PaymentVoided, PaymentVoided>(),
    reading::<PaymentUnavailable, PaymentUnavailable>(),
    reading::<PaymentCircuitOpened, PaymentCircuitOpened>(),
    reading::<PaymentCircuitHalfOpened, PaymentCircuitHalfOpened>(),
    reading::<PaymentCircuitClosed, PaymentCircuitClosed>(),
    reading::<PaymentRefunded, PaymentRefunded>(),
    reading::<PaymentRefundFailed, PaymentRefundFailed>(),
    reading::<FulfillmentShipped, FulfillmentShipped>(),
    reading::<FulfillmentFailed, FulfillmentFailed>(),
];
