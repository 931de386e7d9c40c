//! What orders reads of the others' events. An order's history keeps the events as they were published, so its views
//! are the events themselves.

use events::catalogue::{Subscription, subscription};
use events::fulfillment::{FulfillmentFailed, FulfillmentShipped};
use events::inventory::{InventoryReleased, InventoryReservationFailed, InventoryReserved, ProductListed};
use events::payments::{
    PaymentCharged, PaymentCircuitClosed, PaymentCircuitHalfOpened, PaymentCircuitOpened, PaymentDeclined,
    PaymentRefundFailed, PaymentRefunded, PaymentUnavailable, PaymentVoided,
};

/// Everything that orders consumes.
pub const CONSUMES: &[Subscription] = &[
    subscription::<ProductListed, ProductListed>(),
    subscription::<InventoryReserved, InventoryReserved>(),
    subscription::<InventoryReservationFailed, InventoryReservationFailed>(),
    subscription::<InventoryReleased, InventoryReleased>(),
    subscription::<PaymentCharged, PaymentCharged>(),
    subscription::<PaymentDeclined, PaymentDeclined>(),
    subscription::<PaymentVoided, PaymentVoided>(),
    subscription::<PaymentUnavailable, PaymentUnavailable>(),
    subscription::<PaymentCircuitOpened, PaymentCircuitOpened>(),
    subscription::<PaymentCircuitHalfOpened, PaymentCircuitHalfOpened>(),
    subscription::<PaymentCircuitClosed, PaymentCircuitClosed>(),
    subscription::<PaymentRefunded, PaymentRefunded>(),
    subscription::<PaymentRefundFailed, PaymentRefundFailed>(),
    subscription::<FulfillmentShipped, FulfillmentShipped>(),
    subscription::<FulfillmentFailed, FulfillmentFailed>(),
];
