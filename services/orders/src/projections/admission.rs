//! Admission: a view of payments' circuit breaker, from its events. While the circuit is open, payments would only cancel a
//! new order; orders refuses it instead, with the time after which to come again.

use chassis::store::{Item, Key};
use chrono::{DateTime, Utc};
use events::envelope::millis;
use events::payments::{PROVIDER, PaymentCircuitClosed, PaymentCircuitHalfOpened, PaymentCircuitOpened};
use events::{Envelope, Unreadable};

/// The row of the view.
#[must_use]
pub fn key() -> Key {
    view_of(PROVIDER)
}

fn view_of(provider: &str) -> Key {
    Key::new(format!("breaker#{provider}"), "view")
}

/// The view that an event makes, if it is one of the breaker's. Orders refuses only while the circuit is open: half open, a
/// probe needs an order.
///
/// # Errors
/// [`Unreadable`] when its data is not of its shape.
pub fn view(envelope: &Envelope) -> Result<Option<Item>, Unreadable> {
    let row = |provider: &str, stage: &str| Item::new(view_of(provider)).with("stage", stage);
    if envelope.is::<PaymentCircuitOpened>() {
        let opened: PaymentCircuitOpened = envelope.data()?;
        let until = millis::text(&opened.until);
        return Ok(Some(row(&opened.provider, "OPEN").with("until", until)));
    }
    if envelope.is::<PaymentCircuitHalfOpened>() {
        return Ok(Some(row(&envelope.data::<PaymentCircuitHalfOpened>()?.provider, "HALF_OPEN")));
    }
    if envelope.is::<PaymentCircuitClosed>() {
        return Ok(Some(row(&envelope.data::<PaymentCircuitClosed>()?.provider, "CLOSED")));
    }
    Ok(None)
}

/// Seconds for which the circuit stays open; none when orders may accept an order now. When the time is over, the next
/// order is the probe.
#[must_use]
pub fn open_for(view: &Item, now: DateTime<Utc>) -> Option<u32> {
    let until = view.text("until").filter(|_| view.text("stage") == Some("OPEN"))?;
    let until = DateTime::parse_from_rfc3339(until).ok()?.with_timezone(&Utc);
    let seconds = u32::try_from((until - now).num_seconds()).ok()?;
    (until > now).then(|| seconds.saturating_add(1))
}
