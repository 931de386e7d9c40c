//! A payment's published events read back as facts. What led to them is private and leaves no row; where an event implies it,
//! it is put before the event, with blanks for what no event says.

use crate::payment::{Bill, Capture, Fact, Payment};
use events::payments::{
    PaymentCharged, PaymentCompensationRequested, PaymentDeclined, PaymentRefundFailed, PaymentRefunded,
    PaymentUnavailable, PaymentVoided,
};
use events::{Currency, CustomerId, Envelope, Money, OrderId, Unreadable};

/// The facts that an event stands for, in this state.
///
/// # Errors
/// [`Unreadable`] for an event that payments does not publish about an order, or data that is not of its shape.
pub fn facts(before: &Payment, event: &Envelope) -> Result<Vec<Fact>, Unreadable> {
    let fact = match fact(event)? {
        Some(fact) => fact,
        None => return Err(event.not_consumed_by("payments")),
    };
    let mut facts = implied(before, &fact);
    facts.push(fact);
    Ok(facts)
}

fn fact(event: &Envelope) -> Result<Option<Fact>, Unreadable> {
    Ok(Some(match () {
        () if event.is::<PaymentCharged>() => Fact::Charged { event: event.data()?, intent: String::new() },
        () if event.is::<PaymentDeclined>() => Fact::Declined(event.data()?),
        () if event.is::<PaymentUnavailable>() => Fact::Unavailable(event.data()?),
        () if event.is::<PaymentVoided>() => Fact::Voided(event.data()?),
        () if event.is::<PaymentCompensationRequested>() => Fact::CompensationRequested(event.data()?),
        () if event.is::<PaymentRefunded>() => Fact::Refunded(event.data()?),
        () if event.is::<PaymentRefundFailed>() => Fact::RefundFailed(event.data()?),
        () => return Ok(None),
    }))
}

/// The private facts without which this one could not be.
fn implied(before: &Payment, fact: &Fact) -> Vec<Fact> {
    let opened = |order_id| {
        let begun = bill(order_id).map(Fact::Started);
        begun.into_iter().chain([Fact::Opened(String::new())])
    };
    match (before, fact) {
        (Payment::Unknown, Fact::Charged { event, .. }) => opened(event.order_id).collect(),
        (Payment::Unknown, Fact::Declined(declined)) => opened(declined.order_id).collect(),
        (Payment::Unknown, Fact::Unavailable(unavailable)) => opened(unavailable.order_id).collect(),
        (Payment::Unknown, Fact::CompensationRequested(requested)) => opened(requested.order_id).collect(),
        (
            Payment::Declined { .. } | Payment::Unavailable { .. } | Payment::Voided { .. },
            Fact::CompensationRequested(requested),
        ) => opened(requested.order_id).chain([captured_late()]).collect(),
        _ => Vec::new(),
    }
}

fn bill(order_id: OrderId) -> Option<Bill> {
    let customer_id: CustomerId = "unknown".parse().ok()?;
    Some(Bill { order_id, customer_id, amount: Money::new(0, Currency::USD), payment_method: None })
}

fn captured_late() -> Fact {
    let (intent, charge_id) = (String::new(), String::new());
    Fact::CapturedLate(Capture { intent, charge_id, amount: Money::new(0, Currency::USD) })
}

/// What the published events determine: the answer, and how the latest request to undo it ended.
#[must_use]
pub fn visible(payment: &Payment) -> String {
    match payment {
        Payment::Unknown | Payment::Billed { .. } | Payment::Permitted | Payment::Charging { .. } => {
            "no answer".into()
        }
        Payment::Charged { .. } => "charged".into(),
        Payment::Declined { .. } => "declined".into(),
        Payment::Unavailable { .. } => "unavailable".into(),
        Payment::Voided { .. } => "voided".into(),
        Payment::Compensating { generation, .. } => format!("being undone, request {generation}"),
        Payment::Refunded { generation, .. } => format!("refunded, request {generation}"),
        Payment::RefundFailed { generation, .. } => format!("not refunded, request {generation}"),
    }
}
