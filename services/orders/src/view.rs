//! What the HTTP API shows of an order.

use crate::tracker::{Order, Status};
use chassis::telling::envelope_of;
use chassis::{Failure, Item};
use events::envelope::millis;
use events::fulfillment::{FulfillmentFailed, FulfillmentShipped};
use events::inventory::{InventoryReleased, InventoryReservationFailed, InventoryReserved};
use events::orders::{
    CancelReason, OrderCancelled, OrderCompensated, OrderConfirmed, OrderCreated, OrderFailed, OrderFulfilled,
};
use events::payments::{
    PaymentCharged, PaymentDeclined, PaymentRefundFailed, PaymentRefunded, PaymentUnavailable, PaymentVoided,
};
use events::{Envelope, Event, OrderId};
use serde_json::{Map, Value, json};

/// The public name of an event.
fn public_name(kind: &str) -> &str {
    match kind {
        OrderCreated::TYPE => "ORDER_CREATED",
        InventoryReserved::TYPE => "STOCK_RESERVED",
        InventoryReservationFailed::TYPE => "STOCK_RESERVATION_FAILED",
        PaymentCharged::TYPE => "PAYMENT_CHARGED",
        PaymentDeclined::TYPE => "PAYMENT_FAILED",
        OrderConfirmed::TYPE => "ORDER_CONFIRMED",
        FulfillmentShipped::TYPE => "ORDER_SHIPPED",
        OrderFulfilled::TYPE => "ORDER_FULFILLED",
        FulfillmentFailed::TYPE => "SHIPMENT_FAILED",
        OrderCancelled::TYPE => "ORDER_CANCELLED",
        InventoryReleased::TYPE => "STOCK_RELEASED",
        PaymentUnavailable::TYPE => "PAYMENT_UNAVAILABLE",
        PaymentVoided::TYPE => "PAYMENT_VOIDED",
        PaymentRefunded::TYPE => "PAYMENT_REFUNDED",
        PaymentRefundFailed::TYPE => "PAYMENT_REFUND_FAILED",
        OrderFailed::TYPE => "ORDER_FAILED",
        OrderCompensated::TYPE => "ORDER_COMPENSATED",
        other => other,
    }
}

/// Why an order failed, for programs: `{error, …}`.
#[must_use]
pub fn failure(reason: &CancelReason) -> Value {
    let mut members = match json!(reason) {
        Value::Object(members) => members,
        _ => Map::new(),
    };
    members.remove("code");
    members.insert("error".into(), reason.code().into());
    Value::Object(members)
}

/// The answer to `GET /orders/{id}`; `version` is the number of its last event.
///
/// # Errors
/// [`Failure::Poison`] for a state row without an order: nobody ever placed it.
pub fn order(id: OrderId, order: &Order, version: u64) -> Result<Value, Failure> {
    let created = order.created.as_ref();
    let placed = &created.ok_or_else(|| Failure::Poison(format!("order {id} was never created")))?.what;
    let items = placed.lines.iter().map(|line| {
        let (quantity, price) = (line.quantity, line.unit_price.amount);
        json!({"product_id": line.product_id, "quantity": quantity, "unit_price_cents": price})
    });
    let events = order
        .timeline()
        .into_iter()
        .map(|(kind, at)| json!({"type": public_name(kind), "timestamp": millis::text(&at)}));
    let mut answer = json!({
        "order_id": id,
        "status": order.status().as_str(),
        "customer_id": placed.customer_id,
        "total_cents": placed.total.amount,
        "currency": placed.total.currency,
        "items": items.collect::<Vec<_>>(),
        "events": events.collect::<Vec<_>>(),
        "version": version,
    });
    if let Some(cancelled) = &order.cancelled {
        answer["failure_reason"] = cancelled.what.code().into();
        answer["failure"] = failure(&cancelled.what);
    }
    Ok(answer)
}

/// An order in a list.
///
/// # Errors
/// As [`order`].
pub fn summary(id: OrderId, order: &Order) -> Result<Value, Failure> {
    let created = order.created.as_ref();
    let created = created.ok_or_else(|| Failure::Poison(format!("order {id} was never created")))?;
    Ok(json!({
        "order_id": id,
        "status": order.status().as_str(),
        "customer_id": created.what.customer_id,
        "total_cents": created.what.total.amount,
        "currency": created.what.total.currency,
        "created_at": millis::text(&created.mark.at),
    }))
}

/// The row's kind under the name that the released API description gives it.
fn public_kind(row: &Item) -> Option<&str> {
    row.text("kind").map(|kind| if kind == "published" { "told" } else { kind })
}

/// One row of an order's history: told by orders, or recorded from another service.
///
/// # Errors
/// [`Failure::Poison`] for a row that is not one.
pub fn event(row: &Item) -> Result<Value, Failure> {
    let Envelope { metadata, data } = envelope_of(row)?;
    Ok(json!({
        "seq": metadata.seq,
        "kind": public_kind(row),
        "event_id": metadata.id,
        "type": metadata.kind,
        "version": metadata.version,
        "source": metadata.source,
        "time": millis::text(&metadata.time),
        "correlation_id": metadata.correlation_id,
        "causation_id": metadata.causation_id,
        "data": data,
    }))
}

/// The answer to `POST /orders`.
#[must_use]
pub fn accepted(placed: &OrderCreated, correlation_id: &str) -> Value {
    json!({
        "order_id": placed.order_id,
        "status": Status::Pending.as_str(),
        "total_cents": placed.total.amount,
        "currency": placed.total.currency,
        "correlation_id": correlation_id,
    })
}
