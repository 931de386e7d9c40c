//! The payment of one order: the pure core.
//!
//! A charge is committed as an intent before the provider is called, so that a crash in between leaves a
//! state that says "there may be a charge". What the provider answers comes back as a message.

use chassis::Refusal;
use chrono::{DateTime, Utc};
use events::{CustomerId, Money, OrderId};
use serde::{Deserialize, Serialize};

/// What is to be charged, to whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bill {
    /// The order.
    pub order_id: OrderId,
    /// Who pays.
    pub customer_id: CustomerId,
    /// How much.
    pub amount: Money,
    /// The provider's token; absent: the customer's default payment method.
    pub payment_method: Option<String>,
}

/// How far the payment is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Waiting for the bill, the permission, or both.
    #[default]
    Waiting,
    /// The intent is committed: there may be a charge at the provider.
    Charging,
    /// Captured.
    Charged,
    /// The provider said no. Never tried again.
    Declined,
    /// Cancelled before anything was started; also the tombstone of an order cancelled before it was known.
    Voided,
    /// Cancelled with a charge made or in flight: it is being undone.
    Compensating,
    /// What was captured was given back.
    Refunded,
    /// The provider would not give it back; an operator may have it tried again.
    RefundFailed,
    /// The provider could not be asked. Never tried again.
    Unavailable,
}

/// What payments knows about an order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Charging {
    /// From `order.created`.
    pub bill: Option<Bill>,
    /// From `inventory.reserved`.
    pub reserved: bool,
    /// How far it is.
    pub stage: Stage,
    /// The provider's id of the charge, once it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub charge_id: Option<String>,
    /// How often undoing it was asked for.
    #[serde(default)]
    pub generation: u32,
    /// How many deliveries joined in charging after the first.
    #[serde(default)]
    pub joined: u32,
}

/// One try to undo an order's charge: what an earlier one still says does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Try {
    /// The order.
    pub order_id: OrderId,
    /// The number of the request that it answers.
    pub generation: u32,
}

/// What payments decides on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// An order was created.
    Created(Bill),
    /// Its stock is held.
    Reserved(OrderId),
    /// It was cancelled.
    Cancelled(OrderId),
    /// The provider captured the amount.
    Captured {
        /// The provider's id of the charge.
        charge_id: String,
    },
    /// The provider declined.
    Refused {
        /// The provider's code.
        code: String,
    },
    /// The provider cannot be asked, and was not.
    Unavailable {
        /// Seconds after which it may be asked again.
        retry_after_seconds: u32,
    },
    /// There is no charge at the provider, and there never will be.
    ChargeVoided(Try),
    /// The provider gave the amount back.
    ChargeRefunded(Try),
    /// The provider would not.
    RefundRefused {
        /// Which try.
        of: Try,
        /// The provider's code.
        code: String,
    },
    /// An operator wants it tried again.
    Retried(OrderId),
}

/// What payments decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// The bill is known.
    Billed(Bill),
    /// Stock is held: charging is allowed.
    Permitted,
    /// The charge is about to be made.
    Started,
    /// One delivery more is about to make it: from now on nobody can say that it was never tried.
    Joined,
    /// The amount was captured.
    Charged {
        /// What was billed.
        bill: Bill,
        /// The provider's id of the charge.
        charge_id: String,
    },
    /// The provider declined.
    Declined {
        /// The order.
        order_id: OrderId,
        /// The provider's code.
        code: String,
    },
    /// The provider was not asked, and will not be.
    Unavailable {
        /// The order.
        order_id: OrderId,
        /// Seconds after which another order has a chance.
        retry_after_seconds: u32,
    },
    /// Nothing was charged and nothing will be.
    Voided {
        /// The order.
        order_id: OrderId,
        /// What would have been charged, if that was known.
        amount: Option<Money>,
    },
    /// A charge, made or in flight, has to be undone.
    CompensationRequested {
        /// The order.
        order_id: OrderId,
        /// Counts how often that was asked for, from 1.
        generation: u32,
    },
    /// The amount was given back: all of this bill's.
    Refunded(Bill),
    /// The amount could not be given back.
    RefundFailed {
        /// The order.
        order_id: OrderId,
        /// What is still captured, as far as is known.
        amount: Option<Money>,
        /// The provider's code.
        code: String,
    },
}

/// Decides what a message means for a payment.
///
/// # Errors
/// [`Refusal`] for what the payment is already past, or what cannot be.
pub fn decide(charging: &Charging, message: &Message, _now: DateTime<Utc>) -> Result<Vec<Fact>, Refusal> {
    match message {
        Message::Created(bill) => prepare(charging, Fact::Billed(bill.clone()), charging.bill.is_some()),
        Message::Reserved(_) => prepare(charging, Fact::Permitted, charging.reserved),
        Message::Cancelled(order_id) => cancel(charging, *order_id),
        Message::Captured { charge_id } => captured(charging, charge_id),
        Message::Unavailable { retry_after_seconds } => match charging.stage {
            // Somebody may have asked meanwhile: what became of that has to be found out first.
            Stage::Charging if charging.joined > 0 => Ok(Vec::new()),
            Stage::Charging => {
                let (order_id, retry_after_seconds) = (answered(charging)?.order_id, *retry_after_seconds);
                Ok(vec![Fact::Unavailable { order_id, retry_after_seconds }])
            }
            _ => Err(Refusal::Stale("already answered")),
        },
        Message::Refused { code } => {
            let order_id = answered(charging)?.order_id;
            Ok(vec![Fact::Declined { order_id, code: code.clone() }])
        }
        Message::ChargeVoided(of) => {
            undone(charging, *of, Fact::Voided { order_id: of.order_id, amount: amount(charging) })
        }
        Message::ChargeRefunded(of) => {
            let bill = charging.bill.clone().ok_or(Refusal::Illegal("a refund without a bill"))?;
            undone(charging, *of, Fact::Refunded(bill))
        }
        Message::RefundRefused { of, code } => {
            let (order_id, code) = (of.order_id, code.clone());
            undone(charging, *of, Fact::RefundFailed { order_id, amount: amount(charging), code })
        }
        Message::Retried(order_id) => match charging.stage {
            Stage::RefundFailed | Stage::Compensating => Ok(vec![requested(charging, *order_id)]),
            _ => Err(Refusal::Illegal("nothing is being undone")),
        },
    }
}

fn amount(charging: &Charging) -> Option<Money> {
    charging.bill.as_ref().map(|bill| bill.amount)
}

/// How the compensation ended: a fact once, and only while it is underway. Where one execution gave up and another of
/// the same request went well, the money is back, and that is what counts.
fn undone(charging: &Charging, of: Try, fact: Fact) -> Result<Vec<Fact>, Refusal> {
    let is_better = !matches!(fact, Fact::RefundFailed { .. });
    match charging.stage {
        Stage::Compensating if of.generation == charging.generation => Ok(vec![fact]),
        Stage::RefundFailed if of.generation == charging.generation && is_better => Ok(vec![fact]),
        _ => Err(Refusal::Stale("not being undone")),
    }
}

fn requested(charging: &Charging, order_id: OrderId) -> Fact {
    Fact::CompensationRequested { order_id, generation: charging.generation.saturating_add(1) }
}

fn captured(charging: &Charging, charge_id: &str) -> Result<Vec<Fact>, Refusal> {
    let charged = |bill: &Bill| Fact::Charged { bill: bill.clone(), charge_id: charge_id.to_owned() };
    match (charging.stage, &charging.bill, &charging.charge_id) {
        // Another delivery asked in spite of all: what it captured is given back.
        (Stage::Unavailable, Some(bill), None) => Ok(vec![charged(bill), requested(charging, bill.order_id)]),
        _ => Ok(vec![charged(answered(charging)?)]),
    }
}

/// One of the two things a charge needs has arrived.
fn prepare(charging: &Charging, learned: Fact, known: bool) -> Result<Vec<Fact>, Refusal> {
    match charging.stage {
        Stage::Waiting if known => Err(Refusal::Stale("already known")),
        Stage::Waiting => {
            let after = evolve(charging.clone(), &learned);
            let ready = after.bill.is_some() && after.reserved;
            Ok(if ready { vec![learned, Fact::Started] } else { vec![learned] })
        }
        // Delivered again after a crash, or by the other event: the call is still due.
        Stage::Charging => Ok(vec![Fact::Joined]),
        Stage::Voided | Stage::Compensating | Stage::Refunded | Stage::RefundFailed => {
            Err(Refusal::Stale("cancelled before it could be charged"))
        }
        Stage::Charged | Stage::Declined | Stage::Unavailable => Err(Refusal::Stale("already answered")),
    }
}

fn cancel(charging: &Charging, order_id: OrderId) -> Result<Vec<Fact>, Refusal> {
    match charging.stage {
        Stage::Waiting => Ok(vec![Fact::Voided { order_id, amount: amount(charging) }]),
        Stage::Charging | Stage::Charged => Ok(vec![requested(charging, order_id)]),
        // Its "no" was its final word.
        Stage::Declined | Stage::Unavailable => Ok(Vec::new()),
        Stage::Voided | Stage::Compensating | Stage::Refunded | Stage::RefundFailed => {
            Err(Refusal::Stale("already cancelled"))
        }
    }
}

/// The bill that a provider's answer is about. A charge may be answered after the order was cancelled: the
/// charge is a fact all the same, and is being undone.
fn answered(charging: &Charging) -> Result<&Bill, Refusal> {
    match (charging.stage, &charging.bill) {
        _ if charging.charge_id.is_some() => Err(Refusal::Stale("already answered")),
        (Stage::Charging | Stage::Compensating, Some(bill)) => Ok(bill),
        (Stage::Charged | Stage::Declined | Stage::Unavailable, _) => Err(Refusal::Stale("already answered")),
        _ => Err(Refusal::Illegal("an answer without a charge")),
    }
}

/// The payment after a fact.
#[must_use]
pub fn evolve(mut charging: Charging, fact: &Fact) -> Charging {
    match fact {
        Fact::Billed(bill) => charging.bill = Some(bill.clone()),
        Fact::Permitted => charging.reserved = true,
        Fact::Started => charging.stage = Stage::Charging,
        Fact::Joined => charging.joined = charging.joined.saturating_add(1),
        Fact::Charged { charge_id, .. } => {
            charging.charge_id = Some(charge_id.clone());
            if charging.stage != Stage::Compensating {
                charging.stage = Stage::Charged;
            }
        }
        Fact::Declined { .. } => charging.stage = Stage::Declined,
        Fact::Unavailable { .. } => charging.stage = Stage::Unavailable,
        Fact::Voided { .. } => charging.stage = Stage::Voided,
        Fact::CompensationRequested { generation, .. } => {
            charging.generation = *generation;
            charging.stage = Stage::Compensating;
        }
        Fact::Refunded(_) => charging.stage = Stage::Refunded,
        Fact::RefundFailed { .. } => charging.stage = Stage::RefundFailed,
    }
    charging
}

/// The charge that is due, if one is.
#[must_use]
pub fn due(charging: &Charging) -> Option<&Bill> {
    charging.bill.as_ref().filter(|_| charging.stage == Stage::Charging)
}

#[cfg(test)]
mod tests {
    use super::*;
    use events::Currency;
    use uuid::Uuid;

    const OVER: Refusal = Refusal::Stale("cancelled before it could be charged");
    const ANSWERED: Refusal = Refusal::Stale("already answered");

    fn order_id() -> OrderId {
        OrderId(Uuid::from_u128(1))
    }

    fn bill() -> Bill {
        Bill {
            order_id: order_id(),
            customer_id: "ada".parse().unwrap(),
            amount: Money::new(500, Currency::USD),
            payment_method: None,
        }
    }

    fn billed() -> Fact {
        Fact::Billed(bill())
    }

    fn created() -> Message {
        Message::Created(bill())
    }

    fn reserved() -> Message {
        Message::Reserved(order_id())
    }

    fn cancelled() -> Message {
        Message::Cancelled(order_id())
    }

    fn captured() -> Message {
        Message::Captured { charge_id: "ch_1".into() }
    }

    fn charged() -> Fact {
        Fact::Charged { bill: bill(), charge_id: "ch_1".into() }
    }

    fn declined() -> Fact {
        Fact::Declined { order_id: order_id(), code: "card_declined".into() }
    }

    fn voided(amount: Option<Money>) -> Fact {
        Fact::Voided { order_id: order_id(), amount }
    }

    fn requested() -> Fact {
        Fact::CompensationRequested { order_id: order_id(), generation: 1 }
    }

    fn started() -> Vec<Fact> {
        vec![billed(), Fact::Permitted, Fact::Started]
    }

    #[track_caller]
    #[allow(clippy::needless_pass_by_value, reason = "reads as given, when, then")]
    fn spec(given: &[Fact], when: &Message, then: Result<Vec<Fact>, Refusal>) {
        let charging = given.iter().fold(Charging::default(), evolve);
        assert_eq!(decide(&charging, when, DateTime::UNIX_EPOCH), then);
    }

    #[test]
    fn a_charge_needs_the_bill_and_the_permission_in_either_order() {
        spec(&[], &created(), Ok(vec![billed()]));
        spec(&[billed()], &reserved(), Ok(vec![Fact::Permitted, Fact::Started]));
        spec(&[], &reserved(), Ok(vec![Fact::Permitted]));
        spec(&[Fact::Permitted], &created(), Ok(vec![billed(), Fact::Started]));
    }

    #[test]
    fn the_providers_answer_is_a_fact_once() {
        spec(&started(), &captured(), Ok(vec![charged()]));
        let after = [started(), vec![charged()]].concat();
        spec(&after, &captured(), Err(ANSWERED));
        spec(&after, &created(), Err(ANSWERED));
    }

    /// Guards: a declined payment is never tried again, whatever is delivered twice.
    #[test]
    fn declined_is_final() {
        let refused = Message::Refused { code: "card_declined".into() };
        spec(&started(), &refused, Ok(vec![declined()]));
        let after = [started(), vec![declined()]].concat();
        for again in [created(), reserved(), captured()] {
            spec(&after, &again, Err(ANSWERED));
        }
        assert_eq!(due(&after.iter().fold(Charging::default(), evolve)), None);
        spec(&after, &cancelled(), Ok(vec![]));
    }

    /// Guards: after a crash between intent and outcome, the redelivery finds the call still due.
    #[test]
    fn a_started_charge_stays_due_until_it_is_answered() {
        spec(&started(), &reserved(), Ok(vec![Fact::Joined]));
        spec(&started(), &created(), Ok(vec![Fact::Joined]));
        assert_eq!(due(&started().iter().fold(Charging::default(), evolve)), Some(&bill()));
    }

    /// Guards: the tombstone. Without it, the late events would charge for a dead order.
    #[test]
    fn cancelled_first_closes_the_door() {
        spec(&[], &cancelled(), Ok(vec![voided(None)]));
        spec(&[billed()], &cancelled(), Ok(vec![voided(Some(bill().amount))]));
        spec(&[voided(None)], &created(), Err(OVER));
        spec(&[voided(None)], &reserved(), Err(OVER));
        spec(&[voided(None)], &cancelled(), Err(Refusal::Stale("already cancelled")));
    }

    /// Guards: a charge made or in flight is undone, and its late answer is not lost.
    #[test]
    fn cancelling_a_charge_asks_for_its_compensation() {
        spec(&started(), &cancelled(), Ok(vec![requested()]));
        spec(&[started(), vec![charged()]].concat(), &cancelled(), Ok(vec![requested()]));
        let racing = [started(), vec![requested()]].concat();
        spec(&racing, &captured(), Ok(vec![charged()]));
        spec(&racing, &reserved(), Err(OVER));
        let after = racing.iter().chain(&[charged()]).fold(Charging::default(), evolve);
        assert_eq!(after.stage, Stage::Compensating);
    }

    /// Guards: an order that was told unavailable is over; a charge that was made in spite of it is given back.
    #[test]
    fn unavailable_is_final_and_a_charge_in_spite_of_it_is_undone() {
        let refused = Message::Unavailable { retry_after_seconds: 60 };
        let unavailable = Fact::Unavailable { order_id: order_id(), retry_after_seconds: 60 };
        spec(&started(), &refused, Ok(vec![unavailable.clone()]));
        let over = [started(), vec![unavailable]].concat();
        spec(&over, &reserved(), Err(ANSWERED));
        spec(&over, &cancelled(), Ok(vec![]));
        spec(&over, &captured(), Ok(vec![charged(), requested()]));
        spec(&[started(), vec![charged()]].concat(), &refused, Err(ANSWERED));
        // Guards: whoever was not let through must not say "never tried" once somebody else has joined.
        spec(&[started(), vec![Fact::Joined]].concat(), &refused, Ok(vec![]));
    }

    /// Guards: how a compensation ends is a fact once, and a failed refund is tried again only when asked for.
    #[test]
    fn a_compensation_ends_once() {
        let racing = [started(), vec![charged(), requested()]].concat();
        let refunded = Fact::Refunded(bill());
        let of = |generation: u32| Try { order_id: order_id(), generation };
        spec(&racing, &Message::ChargeRefunded(of(1)), Ok(vec![refunded.clone()]));
        spec(&racing, &captured(), Err(ANSWERED));
        let over = [racing.clone(), vec![refunded]].concat();
        for again in [Message::ChargeRefunded(of(1)), Message::ChargeVoided(of(1))] {
            spec(&over, &again, Err(Refusal::Stale("not being undone")));
        }
        spec(&over, &Message::Retried(order_id()), Err(Refusal::Illegal("nothing is being undone")));
        let refused = Message::RefundRefused { of: of(1), code: "no".into() };
        let failed =
            Fact::RefundFailed { order_id: order_id(), amount: Some(bill().amount), code: "no".into() };
        spec(&racing, &refused, Ok(vec![failed.clone()]));
        let second = Fact::CompensationRequested { order_id: order_id(), generation: 2 };
        let failed = [racing, vec![failed]].concat();
        spec(&failed, &Message::Retried(order_id()), Ok(vec![second.clone()]));
        spec(&failed, &refused, Err(Refusal::Stale("not being undone")));
        spec(&failed, &Message::ChargeRefunded(of(1)), Ok(vec![Fact::Refunded(bill())]));
        // What the first try still says does not end the second.
        let again = [failed.clone(), vec![second]].concat();
        spec(&again, &refused, Err(Refusal::Stale("not being undone")));
        spec(&again, &Message::ChargeRefunded(of(2)), Ok(vec![Fact::Refunded(bill())]));
        spec(&failed, &created(), Err(OVER));
    }

    #[test]
    fn an_answer_without_a_charge_is_illegal() {
        spec(&[billed()], &captured(), Err(Refusal::Illegal("an answer without a charge")));
    }
}
