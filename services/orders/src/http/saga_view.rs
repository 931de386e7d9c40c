//! What `GET /orders/{id}/saga` shows: the tracker's steps, and every delivery with its verdict.

use crate::saga::known::{InSaga, Kept, Noted, ParticipantEvent};
use crate::saga::step::Step;
use crate::saga::{Saga, Status};
use chassis::inbox::Delivered;
use chassis::{Loaded, Verdict};
use events::OrderId;
use events::envelope::millis;
use events::fulfillment::{FulfillmentFailed, FulfillmentShipped};
use events::inventory::{InventoryReleased, InventoryReservationFailed, InventoryReserved};
use events::orders::{OrderCancelled, OrderConfirmed, OrderCreated};
use events::payments::{PaymentCharged, PaymentDeclined, PaymentUnavailable};
use serde_json::{Value, json};

/// Where a step stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// Expected, and not there yet.
    Pending,
    Completed,
    /// The service answered no.
    Failed,
    /// It will not happen any more, and the saga does not wait for it.
    Skipped,
    /// There is nothing to undo.
    NotRequired,
}

impl Progress {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Completed => "COMPLETED",
            Self::Failed => "FAILED",
            Self::Skipped => "SKIPPED",
            Self::NotRequired => "NOT_REQUIRED",
        }
    }
}

/// One step of the saga as the API shows it.
struct Shown {
    name: &'static str,
    value: Value,
}

impl Shown {
    /// A step with the event that brought it here, if one did.
    fn new(name: &'static str, progress: Progress, noted: Option<&Noted>) -> Self {
        let mut value = json!({ "status": progress.as_str() });
        if let Some(noted) = noted {
            value["at"] = millis::text(&noted.at).into();
        }
        if let Some(id) = noted.and_then(|noted| noted.event_id) {
            value["event_id"] = json!(id);
        }
        Self { name, value }
    }

    fn failed(name: &'static str, noted: &Noted, error: impl Into<Value>) -> Self {
        let mut step = Self::new(name, Progress::Failed, Some(noted));
        step.value["error"] = error.into();
        step
    }
}

/// A step of the way forward: done, refused, still expected, or given up with the order.
fn forward<E: InSaga>(name: &'static str, refused: Option<(&Noted, Value)>, order: &Saga) -> Shown {
    match (order.noted::<E>(), refused) {
        (Some(noted), _) => Shown::new(name, Progress::Completed, Some(noted)),
        (None, Some((noted, error))) => Shown::failed(name, noted, error),
        (None, None) if order.knows::<OrderCancelled>() => Shown::new(name, Progress::Skipped, None),
        (None, None) => Shown::new(name, Progress::Pending, None),
    }
}

/// A step of the way back: only a cancelled order has it, and only for what a participant may hold. `answer` is the
/// participant's final word, and whether it had to undo something.
fn backward(name: &'static str, answer: Option<(&Noted, bool)>, owes: bool, order: &Saga) -> Shown {
    match answer {
        Some((noted, true)) => Shown::new(name, Progress::Completed, Some(noted)),
        Some((noted, false)) => Shown::new(name, Progress::NotRequired, Some(noted)),
        None if !order.knows::<OrderCancelled>() || !owes => Shown::new(name, Progress::NotRequired, None),
        None => Shown::new(name, Progress::Pending, None),
    }
}

/// An event by which a service refused a step, and what of it is the error.
fn refusal<E: Kept>(order: &Saga, error: impl FnOnce(&E) -> Value) -> Option<(&Noted, Value)> {
    Some((order.noted::<E>()?, error(order.event::<E>()?)))
}

fn steps(order: &Saga) -> Vec<Shown> {
    let short = refusal(order, |failed: &InventoryReservationFailed| json!(failed.reason));
    let declined = refusal(order, |declined: &PaymentDeclined| json!(declined.code));
    let unavailable = refusal(order, |_: &PaymentUnavailable| json!("provider_unavailable"));
    let unshippable = refusal(order, |failed: &FulfillmentFailed| json!(failed.code));
    let released = order.event().map(|InventoryReleased { lines, .. }| !lines.is_empty());
    let released = order.noted::<InventoryReleased>().zip(released);
    vec![
        forward::<OrderCreated>("created", None, order),
        forward::<InventoryReserved>("inventory_reservation", short, order),
        forward::<PaymentCharged>("payment_processing", declined.or(unavailable), order),
        forward::<OrderConfirmed>("confirmation", None, order),
        forward::<FulfillmentShipped>("fulfillment", unshippable, order),
        backward("inventory_compensation", released, order.inventory_owes(), order),
        payment_compensation(order),
    ]
}

/// The provider may refuse a refund and make it later, or the other way round: the last request counts.
fn payment_compensation(order: &Saga) -> Shown {
    let name = "payment_compensation";
    match order.outcome() {
        Some((noted, ParticipantEvent::RefundFailed(failed))) => {
            Shown::failed(name, noted, failed.code.clone())
        }
        Some((noted, outcome)) => {
            let refunded = matches!(outcome, ParticipantEvent::Refunded(_));
            backward(name, Some((noted, refunded)), order.payments_owes(), order)
        }
        None => backward(name, None, order.payments_owes(), order),
    }
}

/// The verdicts that the released API description names. Any other is a kind of refusal, and its name the detail.
const RELEASED: [Verdict; 5] =
    [Verdict::Applied, Verdict::Early, Verdict::LateCompensated, Verdict::Stale, Verdict::Refused];

fn delivery(delivered: Delivered) -> Value {
    let Delivered { event_id, kind, verdict, time, at, duplicates, .. } = delivered;
    let mut delivery = json!({
        "event_id": event_id,
        "type": kind,
        "verdict": verdict.as_str(),
        "told_at": millis::text(&time),
        "delivered_at": millis::text(&at),
        "duplicates": duplicates,
    });
    if !RELEASED.contains(&verdict) {
        delivery["detail"] = delivery["verdict"].take();
        delivery["verdict"] = Verdict::Refused.as_str().into();
    }
    delivery
}

/// The tracker of an order, and the timeline that its deliveries make. Those that changed nothing are remembered for seven days.
#[must_use]
pub fn saga(id: OrderId, loaded: &Loaded<Saga>, deliveries: impl IntoIterator<Item = Delivered>) -> Value {
    let order = &loaded.state;
    let steps = steps(order);
    let mut timeline: Vec<Value> = deliveries.into_iter().map(delivery).collect();
    timeline.sort_by(|a, b| a["delivered_at"].as_str().cmp(&b["delivered_at"].as_str()));
    let shown: serde_json::Map<String, Value> =
        steps.into_iter().map(|step| (step.name.to_owned(), step.value)).collect();
    let mut saga = json!({
        "saga_id": id,
        "order_id": id,
        "status": order.status().as_str(),
        "current_step": order.waits_for().map(Step::as_str),
        "nudges": order.nudges(),
        "steps": shown,
        "compensation_required": order.knows::<OrderCancelled>() && order.status() != Status::Cancelled,
        "version": loaded.version,
        "timeline": timeline,
    });
    if let Some((_, deadline)) = order.deadline() {
        saga["deadline"] = millis::text(&deadline).into();
    }
    if let Some(OrderCancelled { reason, .. }) = order.event() {
        saga["compensation_reason"] = reason.code().into();
    }
    saga
}
