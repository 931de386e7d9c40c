//! What the services' rows about one order say together: money (I2), points (I8), and the goods of an order that has ended.

use super::gathered::Subject;
use super::rows::{state_of, with};
use super::{Book, Difference, Money};
use chassis::Decider;
use chassis::aggregate::read_state;
use chassis::outbox::{EntryKind, envelope_of};
use chassis::store::{EVENTS, Key};
use chrono::{DateTime, Utc};
use events::orders::OrderCreated;
use events::payments::{PaymentCharged, PaymentRefundFailed, PaymentRefunded};
use events::rewards::{RewardsGranted, RewardsRevoked};
use registry::inventory::reservation::Reservation;
use registry::orders::saga::Status;
use registry::orders::saga::history::{self, Until};
use registry::rewards::points::{Fact, Message, Points};
use std::collections::BTreeSet;

/// An order, as its own events have it.
struct Order<'a> {
    subject: &'a Subject,
    status: Status,
    placed: OrderCreated,
}

/// What differs in an order to which nothing happens any more; `missed`: the services that lack an event of it.
pub fn check(subject: &Subject, missed: &BTreeSet<&str>, book: Option<&Book>) -> Vec<Difference> {
    let rows: Vec<_> = with(subject.of("orders"), EVENTS).cloned().collect();
    let Ok(past) = history::fold(&rows, Until::default()) else { return Vec::new() };
    let Some(placed) = past.state.event::<OrderCreated>().cloned() else {
        let what = "is missing: other services know an order that was never placed";
        return vec![Difference::new("orders", &Key::state(&*subject.pk), what)];
    };
    let order = Order { subject, status: past.state.status(), placed };
    let mut found = order.copies();
    found.extend(order.money());
    found.extend(book.and_then(|book| order.book(book)));
    found.extend(order.points().filter(|_| !missed.contains("rewards")));
    found.extend(order.goods().filter(|_| !missed.contains("inventory")));
    found
}

impl Order<'_> {
    fn differs(&self, service: &'static str, what: String) -> Difference {
        Difference::new(service, &Key::state(&*self.subject.pk), what)
    }

    /// The events of one type that are about it.
    fn events<E: events::Event + serde::de::DeserializeOwned>(&self) -> Vec<E> {
        let all = self.subject.published.iter().map(|(_, event)| event);
        all.filter(|event| event.is::<E>()).filter_map(|event| event.data().ok()).collect()
    }

    /// What orders recorded of others' events is what those published.
    fn copies(&self) -> Vec<Difference> {
        let mut found = Vec::new();
        let recorded = with(self.subject.of("orders"), EVENTS).filter(|row| EntryKind::Recorded.is_of(row));
        for row in recorded.filter(|row| row.text("source") != Some("quadrille.orders")) {
            let Ok(copy) = envelope_of(row) else { continue };
            let mut published = self.subject.published.iter().map(|(_, event)| event);
            let original = published.find(|event| event.metadata.id == copy.metadata.id);
            let kind = &copy.metadata.kind;
            let what = match original {
                None => format!("records {kind}, which no service has published"),
                Some(original) if original.data != copy.data => {
                    format!("records {kind} with other data than {} published", original.metadata.source)
                }
                Some(_) => continue,
            };
            found.push(Difference::new("orders", &row.key, what));
        }
        found
    }

    /// What is to be kept of its money, where that is certain.
    fn due(&self) -> Option<u64> {
        match self.status {
            Status::Confirmed | Status::Fulfilled => Some(self.placed.total.amount),
            Status::Cancelled | Status::Compensated => Some(0),
            Status::Pending | Status::Cancelling | Status::Failed => None,
        }
    }

    /// A capture that the provider made after a "no" has no event, but its refund has: so more may be given back than was
    /// captured by the events, and never less.
    fn money(&self) -> Option<Difference> {
        let due = self.due()?;
        let captured: u64 = self.events::<PaymentCharged>().iter().map(|event| event.amount.amount).sum();
        let refunded: u64 = self.events::<PaymentRefunded>().iter().map(|event| event.amount.amount).sum();
        let reversed = self.events::<PaymentRefundFailed>();
        let reversed =
            reversed.iter().filter(|failed| failed.after_refund).filter_map(|failed| failed.amount);
        let refunded = refunded.saturating_sub(reversed.map(|amount| amount.amount).sum());
        let kept = captured.saturating_sub(refunded);
        let is_right = kept == due && (due == 0 || refunded == 0);
        let status = self.status.as_str();
        let what = format!(
            "the order is {status}, and {captured} were captured and {refunded} given back, not {due} kept"
        );
        let mend = match due {
            0 => format!("quadrille order retry-compensation {}", self.placed.order_id),
            _ => "needs a person: compare with the provider's dashboard".into(),
        };
        (!is_right).then(|| self.differs("payments", what).mended_by(mend))
    }

    fn went_on_since(&self, time: DateTime<Utc>) -> bool {
        self.subject.published.iter().any(|(_, event)| event.metadata.time >= time)
    }

    /// What the provider itself has.
    fn book(&self, book: &Book) -> Option<Difference> {
        let due = self.due().filter(|_| !self.went_on_since(book.read_at))?;
        let Money { captures, captured, refunded } =
            book.orders.get(&self.placed.order_id.to_string()).copied().unwrap_or_default();
        let is_right = captures <= 1 && captured.checked_sub(refunded) == Some(due);
        let status = self.status.as_str();
        let what = format!(
            "the order is {status}, and the provider's book has {captures} captures: {captured} - {refunded}, not {due}"
        );
        let mend = "needs a person: compare with the provider's dashboard";
        (!is_right).then(|| self.differs("payments", what).mended_by(mend))
    }

    /// Rewards' own core says what the points are.
    fn points(&self) -> Option<Difference> {
        let OrderCreated { order_id, customer_id, total, .. } = self.placed.clone();
        let confirmed = Message::Confirmed { order_id, customer_id, total };
        let granted = Points::default().decide(&confirmed, DateTime::UNIX_EPOCH).ok()?;
        let points = |fact: &Fact| if let Fact::Granted(granted) = fact { granted.points } else { 0 };
        let due: u64 = match self.status {
            Status::Confirmed | Status::Fulfilled => granted.iter().map(points).sum(),
            _ => 0,
        };
        let granted: u64 = self.events::<RewardsGranted>().iter().map(|event| event.points).sum();
        let revoked: u64 = self.events::<RewardsRevoked>().iter().map(|event| event.points).sum();
        let status = self.status.as_str();
        let what = format!(
            "the order is {status}, and {granted} points were granted and {revoked} revoked, not {due} kept"
        );
        (granted.checked_sub(revoked) != Some(due)).then(|| self.differs("rewards", what))
    }

    /// Where its goods are.
    fn goods(&self) -> Option<Difference> {
        let row = state_of(self.subject.of("inventory"))?;
        let reservation = read_state::<Reservation>(row).ok()?.state;
        let is_right = match self.status {
            Status::Fulfilled => reservation == Reservation::Shipped,
            Status::Confirmed => matches!(reservation, Reservation::Held { .. } | Reservation::Shipped),
            Status::Cancelled | Status::Compensated => {
                matches!(reservation, Reservation::Released | Reservation::Failed)
            }
            Status::Pending | Status::Cancelling | Status::Failed => true,
        };
        let stage = match reservation {
            Reservation::Unknown => "unknown",
            Reservation::Held { .. } => "held",
            Reservation::Failed => "not reserved",
            Reservation::Shipped => "shipped",
            Reservation::Released => "released",
        };
        let what = format!("the order is {}, and its goods are {stage}", self.status.as_str());
        (!is_right).then(|| self.differs("inventory", what))
    }
}
