//! What `GET /orders/{id}/saga` shows: the tracker's steps, and every delivery with its verdict.

use crate::deadlines::Step as Waited;
use crate::tracker::{Mark, Order, Status};
use chassis::Item;
use chassis::reaction::Loaded;
use events::OrderId;
use events::envelope::millis;
use serde_json::{Value, json};

/// Where a step stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// Expected, and not heard of yet.
    Pending,
    /// Done.
    Completed,
    /// It said no.
    Failed,
    /// It will not happen any more, and nobody waits for it.
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

/// One step of the saga.
struct Step {
    name: &'static str,
    progress: Progress,
    mark: Option<Mark>,
    error: Option<String>,
}

impl Step {
    const fn new(name: &'static str, progress: Progress, mark: Option<Mark>) -> Self {
        Self { name, progress, mark, error: None }
    }

    fn json(&self) -> Value {
        let mut step = json!({ "status": self.progress.as_str() });
        if let Some(mark) = self.mark {
            step["at"] = millis::text(&mark.at).into();
        }
        if let Some(id) = self.mark.and_then(|mark| mark.event_id) {
            step["event_id"] = json!(id);
        }
        if let Some(error) = &self.error {
            step["error"] = error.as_str().into();
        }
        step
    }
}

/// A step of the way forward: done, refused, still expected, or given up with the order.
fn forward(name: &'static str, done: Option<Mark>, refused: Option<(Mark, String)>, order: &Order) -> Step {
    match (done, refused) {
        (Some(mark), _) => Step::new(name, Progress::Completed, Some(mark)),
        (None, Some((mark, error))) => {
            Step { error: Some(error), ..Step::new(name, Progress::Failed, Some(mark)) }
        }
        (None, None) if order.cancelled.is_some() => Step::new(name, Progress::Skipped, None),
        (None, None) => Step::new(name, Progress::Pending, None),
    }
}

/// A step of the way back: only a cancelled order has it, and only for what a participant may hold. `word` is the
/// participant's last, and whether it had to undo something.
fn backward(name: &'static str, word: Option<(Mark, bool)>, refused: bool, order: &Order) -> Step {
    match word {
        Some((mark, true)) => Step::new(name, Progress::Completed, Some(mark)),
        Some((mark, false)) => Step::new(name, Progress::NotRequired, Some(mark)),
        None if order.cancelled.is_none() || refused => Step::new(name, Progress::NotRequired, None),
        None => Step::new(name, Progress::Pending, None),
    }
}

fn steps(order: &Order) -> Vec<Step> {
    let short = order.reservation_failed.as_ref();
    let declined = order.declined.as_ref();
    let reason = |said: &crate::tracker::Said<events::inventory::InventoryReservationFailed>| {
        (said.mark, json!(said.what.reason).as_str().unwrap_or_default().to_owned())
    };
    let unavailable = order.unavailable.as_ref().map(|said| (said.mark, "provider_unavailable".to_owned()));
    vec![
        forward("created", order.created.as_ref().map(|said| said.mark), None, order),
        forward("inventory_reservation", order.reserved, short.map(reason), order),
        forward(
            "payment_processing",
            order.charged.as_ref().map(|said| said.mark),
            declined.map(|said| (said.mark, said.what.clone())).or(unavailable),
            order,
        ),
        forward("confirmation", order.confirmed, None, order),
        forward(
            "fulfillment",
            order.shipped.as_ref().map(|said| said.mark),
            order.fulfillment_failed.as_ref().map(|said| (said.mark, said.what.clone())),
            order,
        ),
        backward(
            "inventory_compensation",
            order.released.as_ref().map(|said| (said.mark, said.what)),
            short.is_some(),
            order,
        ),
        payment_compensation(order),
    ]
}

/// A refund may be refused, and made later: then it counts.
fn payment_compensation(order: &Order) -> Step {
    let name = "payment_compensation";
    let word = order.refunded.map(|mark| (mark, true)).or(order.voided.map(|mark| (mark, false)));
    match (word, &order.refund_failed) {
        (None, Some(failed)) => {
            Step { error: Some(failed.what.clone()), ..Step::new(name, Progress::Failed, Some(failed.mark)) }
        }
        (word, _) => {
            let refused =
                order.declined.is_some() || order.unavailable.is_some() || order.reservation_failed.is_some();
            backward(name, word, refused, order)
        }
    }
}

/// One delivery, from its inbox row.
fn delivery(row: &Item) -> Value {
    let text = |name: &str| row.text(name).unwrap_or_default().to_owned();
    json!({
        "event_id": text("event_id"),
        "type": text("type"),
        "verdict": text("verdict"),
        "told_at": text("time"),
        "delivered_at": text("at"),
        "duplicates": row.count("duplicates").unwrap_or_default(),
    })
}

/// The tracker of an order, and the timeline that its inbox rows make. Deliveries are remembered for seven days.
#[must_use]
pub fn saga(id: OrderId, loaded: &Loaded<Order>, inbox: &[Item]) -> Value {
    let order = &loaded.state;
    let steps = steps(order);
    let mut timeline: Vec<Value> = inbox.iter().map(delivery).collect();
    timeline.sort_by(|a, b| a["delivered_at"].as_str().cmp(&b["delivered_at"].as_str()));
    let shown: serde_json::Map<String, Value> =
        steps.iter().map(|step| (step.name.to_owned(), step.json())).collect();
    let mut saga = json!({
        "saga_id": id,
        "order_id": id,
        "status": order.status().as_str(),
        "current_step": order.waits_for().map(Waited::as_str),
        "nudges": order.nudges.len(),
        "steps": shown,
        "compensation_required": order.cancelled.is_some() && order.status() != Status::Cancelled,
        "version": loaded.version,
        "timeline": timeline,
    });
    if let Some((_, deadline)) = order.deadline() {
        saga["deadline"] = millis::text(&deadline).into();
    }
    if let Some(cancelled) = &order.cancelled {
        saga["compensation_reason"] = cancelled.what.code().into();
    }
    saga
}
