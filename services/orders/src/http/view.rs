//! What the HTTP API shows of an order.

use crate::saga::{Saga, Status};
use chassis::Failure;
use chassis::outbox::envelope_of;
use chassis::store::Item;
use events::envelope::millis;
use events::fulfillment::{FulfillmentFailed, FulfillmentShipped};
use events::orders::{CancelReason, OrderCancelled, OrderCreated};
use events::payments::PaymentDeclined;
use events::{Envelope, Event, OrderId};
use serde_json::{Map, Value, json};

/// The public name of an event: its type in capitals, with customers' words for what the services call otherwise.
fn public_name(kind: &str) -> String {
    match kind {
        PaymentDeclined::TYPE => "PAYMENT_FAILED".to_owned(),
        FulfillmentShipped::TYPE => "ORDER_SHIPPED".to_owned(),
        FulfillmentFailed::TYPE => "SHIPMENT_FAILED".to_owned(),
        other => other.replace("inventory.", "stock.").replace('.', "_").to_uppercase(),
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
/// [`Failure::Poison`] for a state row without an order.
pub fn order(id: OrderId, order: &Saga, version: u64) -> Result<Value, Failure> {
    let placed = order.event::<OrderCreated>().ok_or_else(|| never_created(id))?;
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
    if let Some(OrderCancelled { reason, .. }) = order.event() {
        answer["failure_reason"] = reason.code().into();
        answer["failure"] = failure(reason);
    }
    Ok(answer)
}

/// An order in a list.
///
/// # Errors
/// As [`order`].
pub fn summary(id: OrderId, order: &Saga) -> Result<Value, Failure> {
    let (Some(noted), Some(placed)) = (order.noted::<OrderCreated>(), order.event::<OrderCreated>()) else {
        return Err(never_created(id));
    };
    Ok(json!({
        "order_id": id,
        "status": order.status().as_str(),
        "customer_id": placed.customer_id,
        "total_cents": placed.total.amount,
        "currency": placed.total.currency,
        "created_at": millis::text(&noted.at),
    }))
}

fn never_created(id: OrderId) -> Failure {
    Failure::Poison(format!("order {id} was never created"))
}

/// The row's kind under the name that the released API description gives it.
fn public_kind(row: &Item) -> Option<&str> {
    row.text("kind").map(|kind| if kind == "published" { "told" } else { kind })
}

/// One row of an order's history: published by orders, or recorded from another service.
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

#[cfg(test)]
mod tests {
    use super::*;
    use events::inventory::{InventoryReleased, InventoryReservationFailed, InventoryReserved};
    use events::payments::{PaymentRefundFailed, PaymentRefunded, PaymentUnavailable, PaymentVoided};

    /// Guards: the names that the API description promises.
    #[test]
    fn public_names_are_those_of_the_description() {
        for (kind, name) in [
            (OrderCreated::TYPE, "ORDER_CREATED"),
            (InventoryReserved::TYPE, "STOCK_RESERVED"),
            (InventoryReservationFailed::TYPE, "STOCK_RESERVATION_FAILED"),
            (InventoryReleased::TYPE, "STOCK_RELEASED"),
            (PaymentDeclined::TYPE, "PAYMENT_FAILED"),
            (PaymentUnavailable::TYPE, "PAYMENT_UNAVAILABLE"),
            (PaymentVoided::TYPE, "PAYMENT_VOIDED"),
            (PaymentRefunded::TYPE, "PAYMENT_REFUNDED"),
            (PaymentRefundFailed::TYPE, "PAYMENT_REFUND_FAILED"),
            (FulfillmentShipped::TYPE, "ORDER_SHIPPED"),
            (FulfillmentFailed::TYPE, "SHIPMENT_FAILED"),
        ] {
            assert_eq!(public_name(kind), name);
        }
    }
}
