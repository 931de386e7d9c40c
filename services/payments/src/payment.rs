//! The payment of one order: the pure core.
//!
//! Payments commits a charge as an intent before it calls the provider, so that a crash in between leaves a state that
//! says "there may be a charge". The provider's answer comes back as a message.

use chassis::{Decider, Refusal};
use chrono::{DateTime, Utc};
use events::payments::{
    PaymentCharged, PaymentCompensationRequested, PaymentDeclined, PaymentRefundFailed, PaymentRefunded,
    PaymentUnavailable, PaymentVoided,
};
use events::{CustomerId, Money, OrderId, PaymentId};
use serde::{Deserialize, Serialize};

/// What is to be charged, to whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bill {
    pub order_id: OrderId,
    pub customer_id: CustomerId,
    pub amount: Money,
    /// The provider's token; absent: the customer's default payment method.
    pub payment_method: Option<String>,
}

/// What payments knows about an order. Each stage has what it needs and nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "stage", rename_all = "snake_case")]
pub enum Payment {
    /// Nothing.
    #[default]
    Unknown,
    /// The order was created; its stock is not held yet.
    Billed { bill: Bill },
    /// Its stock is held; the order is not known yet.
    Permitted,
    /// Both are known.
    Ready { bill: Bill },
    /// The intent is committed: there may be a charge at the provider.
    Charging {
        bill: Bill,
        /// How many deliveries joined in charging after the first.
        joined: u32,
    },
    /// The provider captured the amount.
    Charged { bill: Bill, charge_id: String },
    /// The provider declined. Payments never tries again.
    Declined { bill: Bill },
    /// The provider could not be called. Payments never tries again.
    Unavailable { bill: Bill },
    /// Nothing was charged and nothing will be; also the tombstone of an order cancelled before payments knew it.
    Voided { bill: Option<Bill> },
    /// The order was cancelled with a charge made or in flight: the compensation flow undoes it.
    Compensating {
        bill: Bill,
        /// The provider's id of the charge, once it has answered.
        charge_id: Option<String>,
        /// How often payments has requested the compensation.
        generation: u32,
    },
    /// The provider gave the amount back.
    Refunded { bill: Bill, charge_id: Option<String> },
    /// The provider refused to give it back; an operator may request it again.
    RefundFailed { bill: Bill, charge_id: Option<String>, generation: u32 },
}

/// One attempt to undo an order's charge. What an earlier attempt still reports does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompensationAttempt {
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
    Captured { charge_id: String },
    /// The provider declined.
    Refused { code: String },
    /// The circuit is open, and payments did not call the provider.
    Unavailable { retry_after_seconds: u32 },
    /// There is no charge at the provider, and there never will be.
    ChargeVoided(CompensationAttempt),
    /// The provider gave the amount back.
    ChargeRefunded(CompensationAttempt),
    /// The provider refused to.
    RefundRefused { of: CompensationAttempt, code: String },
    /// An operator requests the compensation again.
    Retried(OrderId),
}

/// What payments decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// The bill is known.
    Billed(Bill),
    /// Stock is held: charging is allowed.
    Permitted,
    /// Payments is about to charge.
    Started,
    /// One more delivery is about to charge: from now on no worker can say that it was never tried.
    Joined,
    Charged(PaymentCharged),
    Declined(PaymentDeclined),
    Unavailable(PaymentUnavailable),
    Voided(PaymentVoided),
    CompensationRequested(PaymentCompensationRequested),
    Refunded(PaymentRefunded),
    RefundFailed(PaymentRefundFailed),
}

const ANSWERED: Refusal = Refusal::Stale("already answered");
const CANCELLED: Refusal = Refusal::Stale("cancelled before it could be charged");

impl Decider for Payment {
    type Message = Message;
    type Fact = Fact;

    fn decide(&self, message: &Message, _now: DateTime<Utc>) -> Result<Vec<Fact>, Refusal> {
        match message {
            Message::Created(bill) => self.billed(bill),
            Message::Reserved(_) => self.permitted(),
            Message::Cancelled(order_id) => self.cancelled(*order_id),
            Message::Captured { charge_id } => self.captured(charge_id),
            Message::Unavailable { retry_after_seconds } => self.unavailable(*retry_after_seconds),
            Message::Refused { code } => {
                let order_id = self.unanswered()?.order_id;
                let (payment_id, code) = (PaymentId::of(order_id), code.clone());
                Ok(vec![Fact::Declined(PaymentDeclined { order_id, payment_id, code })])
            }
            Message::ChargeVoided(of) => {
                self.undone(*of, |bill| voided(bill.order_id, Some(bill), Some(of.generation)))
            }
            Message::ChargeRefunded(of) => self.undone(*of, |bill| refunded(bill, of.generation)),
            Message::RefundRefused { of, code } => {
                self.undone(*of, |bill| refund_failed(bill, code, of.generation))
            }
            Message::Retried(order_id) => match self {
                Self::RefundFailed { .. } | Self::Compensating { .. } => Ok(vec![self.requested(*order_id)]),
                _ => Err(Refusal::Illegal("nothing is being undone")),
            },
        }
    }

    fn evolve(self, fact: &Fact) -> Self {
        match (self, fact) {
            (Self::Permitted, Fact::Billed(bill)) => Self::Ready { bill: bill.clone() },
            (_, Fact::Billed(bill)) => Self::Billed { bill: bill.clone() },
            (Self::Billed { bill }, Fact::Permitted) => Self::Ready { bill },
            (_, Fact::Permitted) => Self::Permitted,
            (Self::Ready { bill }, Fact::Started) => Self::Charging { bill, joined: 0 },
            (Self::Charging { bill, joined }, Fact::Joined) => {
                Self::Charging { bill, joined: joined.saturating_add(1) }
            }
            (Self::Compensating { bill, generation, .. }, Fact::Charged(charged)) => {
                let charge_id = Some(charged.provider_charge_id.clone());
                Self::Compensating { bill, charge_id, generation }
            }
            (Self::Charging { bill, .. } | Self::Unavailable { bill }, Fact::Charged(charged)) => {
                Self::Charged { bill, charge_id: charged.provider_charge_id.clone() }
            }
            (before, Fact::Declined(_)) => before.declined(),
            (Self::Charging { bill, .. }, Fact::Unavailable(_)) => Self::Unavailable { bill },
            (before, Fact::Voided(_)) => Self::Voided { bill: before.into_bill() },
            (before, Fact::CompensationRequested(requested)) => before.compensating(requested.generation),
            (before, Fact::Refunded(_)) => {
                before.ended(|bill, charge_id, _| Self::Refunded { bill, charge_id })
            }
            (before, Fact::RefundFailed(_)) => {
                before.ended(|bill, charge_id, generation| Self::RefundFailed { bill, charge_id, generation })
            }
            // No decision leads here.
            (before, _) => before,
        }
    }
}

impl Payment {
    /// The bill, where it is known.
    #[must_use]
    pub const fn bill(&self) -> Option<&Bill> {
        match self {
            Self::Unknown | Self::Permitted => None,
            Self::Voided { bill } => bill.as_ref(),
            Self::Billed { bill }
            | Self::Ready { bill }
            | Self::Charging { bill, .. }
            | Self::Charged { bill, .. }
            | Self::Declined { bill }
            | Self::Unavailable { bill }
            | Self::Compensating { bill, .. }
            | Self::Refunded { bill, .. }
            | Self::RefundFailed { bill, .. } => Some(bill),
        }
    }

    /// The provider's id of the charge, where it is known.
    #[must_use]
    pub fn charge_id(&self) -> Option<&str> {
        match self {
            Self::Charged { charge_id, .. } => Some(charge_id),
            Self::Compensating { charge_id, .. }
            | Self::Refunded { charge_id, .. }
            | Self::RefundFailed { charge_id, .. } => charge_id.as_deref(),
            _ => None,
        }
    }

    /// The charge that payments has to make, if there is one.
    #[must_use]
    pub const fn pending_charge(&self) -> Option<&Bill> {
        if let Self::Charging { bill, .. } = self { Some(bill) } else { None }
    }

    fn into_bill(self) -> Option<Bill> {
        self.bill().cloned()
    }

    const fn generation(&self) -> u32 {
        match self {
            Self::Compensating { generation, .. } | Self::RefundFailed { generation, .. } => *generation,
            _ => 0,
        }
    }

    fn billed(&self, bill: &Bill) -> Result<Vec<Fact>, Refusal> {
        match self {
            Self::Unknown => Ok(vec![Fact::Billed(bill.clone())]),
            Self::Permitted => Ok(vec![Fact::Billed(bill.clone()), Fact::Started]),
            _ => self.repeated(),
        }
    }

    fn permitted(&self) -> Result<Vec<Fact>, Refusal> {
        match self {
            Self::Unknown => Ok(vec![Fact::Permitted]),
            Self::Billed { .. } => Ok(vec![Fact::Permitted, Fact::Started]),
            _ => self.repeated(),
        }
    }

    /// One of the two events that a charge needs arrives, and is not the first of its kind or comes too late.
    fn repeated(&self) -> Result<Vec<Fact>, Refusal> {
        match self {
            Self::Unknown | Self::Billed { .. } | Self::Permitted | Self::Ready { .. } => {
                Err(Refusal::Stale("already known"))
            }
            // Delivered again after a crash, or by the other event: the call is still pending.
            Self::Charging { .. } => Ok(vec![Fact::Joined]),
            Self::Voided { .. }
            | Self::Compensating { .. }
            | Self::Refunded { .. }
            | Self::RefundFailed { .. } => Err(CANCELLED),
            Self::Charged { .. } | Self::Declined { .. } | Self::Unavailable { .. } => Err(ANSWERED),
        }
    }

    fn cancelled(&self, order_id: OrderId) -> Result<Vec<Fact>, Refusal> {
        match self {
            Self::Unknown | Self::Billed { .. } | Self::Permitted | Self::Ready { .. } => {
                Ok(vec![voided(order_id, self.bill(), None)])
            }
            Self::Charging { .. } | Self::Charged { .. } => Ok(vec![self.requested(order_id)]),
            // Payments has published its "no", and there is nothing to undo.
            Self::Declined { .. } | Self::Unavailable { .. } => Ok(Vec::new()),
            Self::Voided { .. }
            | Self::Compensating { .. }
            | Self::Refunded { .. }
            | Self::RefundFailed { .. } => Err(Refusal::Stale("already cancelled")),
        }
    }

    fn captured(&self, charge_id: &str) -> Result<Vec<Fact>, Refusal> {
        if let Self::Unavailable { bill } = self {
            // Another delivery called the provider in spite of all: its charge is given back.
            return Ok(vec![charged(bill, charge_id), self.requested(bill.order_id)]);
        }
        Ok(vec![charged(self.unanswered()?, charge_id)])
    }

    fn unavailable(&self, retry_after_seconds: u32) -> Result<Vec<Fact>, Refusal> {
        match self {
            // Another delivery may have called the provider: what it did has to be found out first.
            Self::Charging { joined: 1.., .. } => Ok(Vec::new()),
            Self::Charging { bill, .. } => {
                let order_id = bill.order_id;
                Ok(vec![Fact::Unavailable(PaymentUnavailable { order_id, retry_after_seconds })])
            }
            _ => Err(ANSWERED),
        }
    }

    /// The bill that the provider's first answer is about. The answer may come after the order was cancelled: the charge
    /// is a fact all the same, and is being undone.
    const fn unanswered(&self) -> Result<&Bill, Refusal> {
        match self {
            Self::Charging { bill, .. } | Self::Compensating { bill, charge_id: None, .. } => Ok(bill),
            Self::Charged { .. }
            | Self::Declined { .. }
            | Self::Unavailable { .. }
            | Self::Compensating { .. }
            | Self::Refunded { charge_id: Some(_), .. }
            | Self::RefundFailed { charge_id: Some(_), .. } => Err(ANSWERED),
            _ => Err(Refusal::Illegal("an answer without a charge")),
        }
    }

    /// How the compensation ended: a fact once, and only while it is underway. Where one execution gave up and another
    /// of the same request succeeded, the money is back, and that is what counts.
    fn undone(
        &self,
        of: CompensationAttempt,
        ended: impl FnOnce(&Bill) -> Fact,
    ) -> Result<Vec<Fact>, Refusal> {
        let stale = Refusal::Stale("not being undone");
        let (bill, failed) = match self {
            Self::Compensating { bill, .. } => (bill, false),
            Self::RefundFailed { bill, .. } => (bill, true),
            _ => return Err(stale),
        };
        let fact = ended(bill);
        let is_worse = failed && matches!(fact, Fact::RefundFailed(_));
        if of.generation != self.generation() || is_worse { Err(stale) } else { Ok(vec![fact]) }
    }

    fn requested(&self, order_id: OrderId) -> Fact {
        let (payment_id, generation) = (PaymentId::of(order_id), self.generation().saturating_add(1));
        Fact::CompensationRequested(PaymentCompensationRequested { order_id, payment_id, generation })
    }

    fn declined(self) -> Self {
        match self.bill().cloned() {
            Some(bill) => Self::Declined { bill },
            None => self,
        }
    }

    fn compensating(self, generation: u32) -> Self {
        let charge_id = self.charge_id().map(str::to_owned);
        match self.into_bill() {
            Some(bill) => Self::Compensating { bill, charge_id, generation },
            None => Self::Voided { bill: None },
        }
    }

    fn ended(self, into: impl FnOnce(Bill, Option<String>, u32) -> Self) -> Self {
        match self {
            Self::Compensating { bill, charge_id, generation }
            | Self::RefundFailed { bill, charge_id, generation } => into(bill, charge_id, generation),
            before => before,
        }
    }
}

fn charged(bill: &Bill, charge_id: &str) -> Fact {
    let (order_id, amount) = (bill.order_id, bill.amount);
    let (payment_id, provider_charge_id) = (PaymentId::of(order_id), charge_id.to_owned());
    Fact::Charged(PaymentCharged { order_id, payment_id, amount, provider_charge_id })
}

fn voided(order_id: OrderId, bill: Option<&Bill>, generation: Option<u32>) -> Fact {
    let (payment_id, amount) = (PaymentId::of(order_id), bill.map(|bill| bill.amount));
    Fact::Voided(PaymentVoided { order_id, payment_id, amount, generation })
}

fn refunded(bill: &Bill, generation: u32) -> Fact {
    let Bill { order_id, customer_id, amount, .. } = bill.clone();
    let (payment_id, customer_id) = (PaymentId::of(order_id), Some(customer_id));
    let generation = Some(generation);
    Fact::Refunded(PaymentRefunded { order_id, payment_id, amount, customer_id, generation })
}

fn refund_failed(bill: &Bill, code: &str, generation: u32) -> Fact {
    let (order_id, amount, code) = (bill.order_id, Some(bill.amount), code.to_owned());
    let (payment_id, generation, after_refund) = (PaymentId::of(order_id), Some(generation), false);
    Fact::RefundFailed(PaymentRefundFailed { order_id, payment_id, amount, code, generation, after_refund })
}

#[cfg(test)]
#[path = "payment_specs.rs"]
mod specs;
