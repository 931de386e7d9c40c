//! The statuses of an order: found by asking the real saga what follows from every event, never written by hand.

use chassis::Decider;
use chrono::{DateTime, Utc};
use events::fulfillment::{FulfillmentFailed, FulfillmentShipped};
use events::inventory::{
    InventoryReleased, InventoryReservationFailed, InventoryReserved, ReservationFailure, StockLine,
};
use events::orders::{OrderCancelled, OrderConfirmed, OrderCreated, OrderLine};
use events::payments::{
    PaymentCharged, PaymentDeclined, PaymentRefundFailed, PaymentRefunded, PaymentUnavailable, PaymentVoided,
};
use events::{Currency, EventId, Money, OrderId, PaymentId, ProductId};
use orders::saga::deadlines::NUDGES;
use orders::saga::known::ParticipantEvent;
use orders::saga::step::Step;
use orders::saga::{Message, Saga, Status};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// Every status, in the order in which the table has them.
pub const ALL: [Status; 7] = [
    Status::Pending,
    Status::Confirmed,
    Status::Fulfilled,
    Status::Cancelling,
    Status::Cancelled,
    Status::Compensated,
    Status::Failed,
];

/// In which order events reach orders. What orders has not published yet is never answered; among the other services,
/// an event can overtake the one that it was an answer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// As the services published them.
    InOrder,
    /// Events of one service overtake those of another, and inventory's release its reservation.
    Overtaking,
}

/// What the saga does in every story.
#[derive(Debug, Default)]
pub struct Explored {
    /// From, to, and what leads there.
    pub transitions: BTreeMap<(Status, Status), BTreeSet<&'static str>>,
    /// The steps that an order in this status waits for.
    pub waits_for: BTreeMap<Status, BTreeSet<&'static str>>,
    /// How many different states of knowledge there are.
    pub states: usize,
}

/// Breadth first over everything that can happen to one order, from its placing on.
#[must_use]
pub fn explore(arrival: Arrival) -> Explored {
    let mut explored = Explored::default();
    let mut known = BTreeSet::new();
    let mut front: Vec<Saga> =
        follow(&Saga::default(), &placed(), DateTime::UNIX_EPOCH).into_iter().collect();
    while !front.is_empty() {
        let mut next = Vec::new();
        for saga in front {
            if !known.insert(key(&saga)) {
                continue;
            }
            let waits = explored.waits_for.entry(saga.status()).or_default();
            waits.extend(saga.waits_for().map(Step::as_str));
            for (name, message, now) in messages(&saga, arrival) {
                let Some(after) = follow(&saga, &message, now) else { continue };
                let change = (saga.status(), after.status());
                if change.0 != change.1 {
                    explored.transitions.entry(change).or_default().insert(name);
                }
                next.push(after);
            }
        }
        front = next;
    }
    explored.states = known.len();
    explored
}

/// The events, sorted, and what else a status can depend on.
fn key(saga: &Saga) -> (BTreeSet<&'static str>, Option<bool>, Option<String>, Vec<u32>) {
    let outcome = saga.outcome().map(|(_, event)| format!("{event:?}"));
    let kinds = saga.timeline().into_iter().map(|(kind, _)| kind).collect();
    let held_nothing = saga.event::<InventoryReleased>().map(|released| released.lines.is_empty());
    let reminded = [Step::InventoryReservation, Step::PaymentProcessing];
    (kinds, held_nothing, outcome, reminded.map(|step| saga.nudges_of(step).min(NUDGES)).to_vec())
}

/// The saga after a message; `None` when it changes nothing.
fn follow(saga: &Saga, message: &Message, now: DateTime<Utc>) -> Option<Saga> {
    let facts = saga.decide(message, now).ok()?;
    Some(facts.iter().fold(saga.clone(), Saga::evolve))
}

/// What can happen next: its name, the message, and when.
fn messages(saga: &Saga, arrival: Arrival) -> Vec<(&'static str, Message, DateTime<Utc>)> {
    let now = DateTime::UNIX_EPOCH;
    let possible = all_events().into_iter().filter(|event| has_cause(saga, event, arrival));
    let mut all: Vec<_> = possible
        .map(|event| {
            let kind = event.kind();
            (kind, Message::Received { event_id: EventId(Uuid::from_u128(1)), event }, now)
        })
        .collect();
    all.push(("the customer cancels", Message::Cancel, now));
    if let Some((_, deadline)) = saga.deadline() {
        all.push(("the last reminder is unanswered", Message::Sweep, deadline));
    }
    all
}

/// Whether the event's service can have published it, after what the saga knows. A service never contradicts itself: what
/// it has reserved it has not refused, and what it has charged it has not declined.
fn has_cause(saga: &Saga, event: &ParticipantEvent, arrival: Arrival) -> bool {
    let (overtaking, cancelled) = (arrival == Arrival::Overtaking, saga.knows::<OrderCancelled>());
    let (confirmed, declined) = (saga.knows::<OrderConfirmed>(), saga.knows::<PaymentDeclined>());
    let (known, refused) = (saga.knows::<InventoryReserved>(), saga.knows::<InventoryReservationFailed>());
    let released = saga.event::<InventoryReleased>().map(|released| !released.lines.is_empty());
    // What is known or, where it can have been overtaken, what nothing contradicts.
    let reserved = known || (overtaking && !refused && released != Some(false));
    let asked = known || charge_is_answered(saga) || saga.knows::<PaymentRefunded>() || failed(saga);
    match event {
        ParticipantEvent::Reserved(_) => {
            !refused && (released.is_none() || (overtaking && released == Some(true)))
        }
        ParticipantEvent::ReservationFailed(_) => {
            !asked && (released.is_none() || (overtaking && released == Some(false)))
        }
        ParticipantEvent::Released(released) if released.lines.is_empty() => cancelled && !asked,
        ParticipantEvent::Released(_) => cancelled && reserved,
        ParticipantEvent::Charged(_) | ParticipantEvent::Declined(_) | ParticipantEvent::Unavailable(_) => {
            reserved && !charge_is_answered(saga) && !undoing_is_answered(saga)
        }
        ParticipantEvent::Voided(_) => {
            cancelled && !declined && !saga.knows::<PaymentCharged>() && !saga.knows::<PaymentRefunded>()
        }
        ParticipantEvent::Refunded(refunded) => {
            let asked_again = refunded.generation.is_none_or(|generation| generation == 1) || failed(saga);
            cancelled && reserved && !declined && !saga.knows::<PaymentVoided>() && asked_again
        }
        ParticipantEvent::RefundFailed(refund) if refund.after_refund => {
            cancelled && (saga.knows::<PaymentRefunded>() || (overtaking && reserved && !declined))
        }
        ParticipantEvent::RefundFailed(_) => cancelled && reserved && !declined && !undoing_is_answered(saga),
        ParticipantEvent::Shipped(_) => confirmed && !cancelled && !saga.knows::<FulfillmentFailed>(),
        ParticipantEvent::FulfillmentFailed(_) => confirmed && !saga.knows::<FulfillmentShipped>(),
    }
}

fn failed(saga: &Saga) -> bool {
    saga.knows::<PaymentRefundFailed>()
}

fn charge_is_answered(saga: &Saga) -> bool {
    saga.knows::<PaymentCharged>() || saga.knows::<PaymentDeclined>() || saga.knows::<PaymentUnavailable>()
}

fn undoing_is_answered(saga: &Saga) -> bool {
    saga.knows::<PaymentVoided>() || saga.knows::<PaymentRefunded>() || failed(saga)
}

fn order_id() -> OrderId {
    OrderId(Uuid::from_u128(1))
}

fn total() -> Money {
    Money::new(500, Currency::USD)
}

fn product() -> Option<ProductId> {
    "beans".parse().ok()
}

fn lines() -> Vec<StockLine> {
    product().into_iter().map(|product_id| StockLine { product_id, quantity: 2 }).collect()
}

fn placed() -> Message {
    let unit_price = Money::new(250, Currency::USD);
    let lines = product().into_iter().map(|product_id| OrderLine { product_id, quantity: 2, unit_price });
    let order = "ada".parse().ok().map(|customer_id| OrderCreated {
        order_id: order_id(),
        customer_id,
        total: total(),
        lines: lines.collect(),
        payment_method: None,
    });
    order.map_or(Message::Sweep, |order| Message::Place { order, address: None })
}

/// Every event of the other services; two of the releases, of something held and of nothing.
fn all_events() -> Vec<ParticipantEvent> {
    let mut all = payments_events();
    let order_id = order_id();
    all.extend(product().map(|product_id| {
        ParticipantEvent::ReservationFailed(InventoryReservationFailed {
            order_id,
            reason: ReservationFailure::InsufficientStock,
            product_id,
            requested: 2,
            available: 1,
        })
    }));
    all.push(ParticipantEvent::Reserved(InventoryReserved { order_id, lines: lines() }));
    all.push(ParticipantEvent::Released(InventoryReleased { order_id, lines: lines() }));
    all.push(ParticipantEvent::Released(InventoryReleased { order_id, lines: Vec::new() }));
    let (carrier, tracking_number) = ("Local Parcels".into(), "LP1".into());
    all.push(ParticipantEvent::Shipped(FulfillmentShipped { order_id, carrier, tracking_number }));
    all.push(ParticipantEvent::FulfillmentFailed(FulfillmentFailed { order_id, code: "refused".into() }));
    all
}

fn payments_events() -> Vec<ParticipantEvent> {
    let (order_id, amount) = (order_id(), total());
    let payment_id = PaymentId::of(order_id);
    vec![
        ParticipantEvent::Charged(PaymentCharged {
            order_id,
            payment_id,
            amount,
            provider_charge_id: "ch_1".into(),
        }),
        ParticipantEvent::Declined(PaymentDeclined { order_id, payment_id, code: "card_declined".into() }),
        ParticipantEvent::Unavailable(PaymentUnavailable { order_id, retry_after_seconds: 60 }),
        ParticipantEvent::Voided(PaymentVoided { order_id, payment_id, amount: None, generation: None }),
        refunded(1),
        refunded(2),
        refund_failed(false),
        refund_failed(true),
    ]
}

fn refunded(generation: u32) -> ParticipantEvent {
    let (order_id, amount, generation) = (order_id(), total(), Some(generation));
    let payment_id = PaymentId::of(order_id);
    ParticipantEvent::Refunded(PaymentRefunded {
        order_id,
        payment_id,
        amount,
        customer_id: None,
        generation,
    })
}

fn refund_failed(after_refund: bool) -> ParticipantEvent {
    let (order_id, amount, code) = (order_id(), Some(total()), "refused".into());
    let (payment_id, generation) = (PaymentId::of(order_id), Some(1));
    ParticipantEvent::RefundFailed(PaymentRefundFailed {
        order_id,
        payment_id,
        amount,
        code,
        generation,
        after_refund,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use events::Event;

    /// Guards: I7. Whatever arrives, and in whatever order, nothing leads out of a final status, but for the one event that
    /// says that money is kept after all.
    #[test]
    fn no_final_status_is_ever_left() {
        for arrival in [Arrival::InOrder, Arrival::Overtaking] {
            let explored = explore(arrival);
            assert!(explored.states > 50, "{} states of {arrival:?}", explored.states);
            for ((from, to), events) in &explored.transitions {
                let reopened = (*from, *to) == (Status::Compensated, Status::Failed)
                    && events.iter().eq([&PaymentRefundFailed::TYPE]);
                assert!(
                    reopened || ![Status::Fulfilled, Status::Cancelled, Status::Compensated].contains(from),
                    "{arrival:?}: from {} to {} by {events:?}",
                    from.as_str(),
                    to.as_str()
                );
            }
        }
    }

    /// Guards: the picture. Events that overtake each other may bring several steps at once, and no
    /// step that the picture does not have.
    #[test]
    fn what_overtakes_leads_along_the_picture() {
        let picture = explore(Arrival::InOrder).transitions;
        for (from, to) in explore(Arrival::Overtaking).transitions.into_keys() {
            let (mut reached, mut front) = (BTreeSet::new(), vec![from]);
            while let Some(status) = front.pop() {
                let next = picture.keys().filter(|(before, _)| *before == status).map(|(_, after)| *after);
                front.extend(next.filter(|after| reached.insert(*after)));
            }
            assert!(reached.contains(&to), "no way from {} to {}", from.as_str(), to.as_str());
        }
    }

    #[test]
    fn every_status_is_reached() {
        let reached: Vec<Status> = explore(Arrival::InOrder).waits_for.into_keys().collect();
        assert_eq!(reached.len(), ALL.len(), "{reached:?}");
    }
}
