//! The payment of one order: the pure core.
//!
//! A charge takes two steps at the provider. First payments creates an intent, which captures nothing, and commits its id;
//! then it confirms that intent by its id, and only what payments has committed is ever confirmed. So a crash at any moment
//! leaves either no id, and then nothing can have been captured, or an id, and then the provider's own object says what
//! happened. The provider's answers come back as messages.

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
    /// The provider's token; absent: the customer's saved payment method.
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
    /// Both are known, and the charge is on its way.
    Charging {
        bill: Bill,
        /// The provider's intent; until it is known, nothing can have been captured.
        intent: Option<String>,
        /// How many deliveries have tried, from 1: each call has an idempotency key of its own.
        tries: u32,
    },
    /// The provider captured the amount.
    Charged { bill: Bill, intent: String, charge_id: String },
    /// The provider declined. Payments never tries again.
    Declined { bill: Bill },
    /// The provider could not be called. Payments never tries again.
    Unavailable { bill: Bill },
    /// Nothing was charged and nothing will be; also the tombstone of an order cancelled before payments knew it.
    Voided { bill: Option<Bill> },
    /// The order was cancelled with an intent at the provider: the compensation flow undoes it.
    Compensating {
        bill: Bill,
        intent: String,
        /// The provider's id of the charge, once it has answered.
        charge_id: Option<String>,
        /// How often payments has requested the compensation.
        generation: u32,
    },
    /// The provider gave the amount back.
    Refunded { bill: Bill, intent: String, charge_id: Option<String>, generation: u32 },
    /// The provider refused to give it back; an operator may request it again.
    RefundFailed { bill: Bill, intent: String, charge_id: Option<String>, generation: u32 },
}

/// A charge that payments has to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingCharge {
    pub bill: Bill,
    /// The intent to confirm; none: it has to be created.
    pub intent: Option<String>,
    /// The number of the delivery that makes the call, from 1.
    pub tries: u32,
}

/// One attempt to undo an order's charge. What an earlier attempt still reports does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompensationAttempt {
    pub order_id: OrderId,
    /// The number of the request that it answers.
    pub generation: u32,
}

/// What the provider captured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capture {
    /// The provider's id of the intent.
    pub intent: String,
    /// The provider's id of the charge.
    pub charge_id: String,
    /// The amount, as the provider's own object has it.
    pub amount: Money,
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
    /// The provider has an intent, which has captured nothing.
    Opened { intent: String },
    /// The provider captured an amount.
    Captured(Capture),
    /// The provider declined.
    Refused { code: String },
    /// The circuit is open, and payments did not call the provider.
    Unavailable { retry_after_seconds: u32 },
    /// There is no charge at the provider, and there never will be one.
    ChargeVoided(CompensationAttempt),
    /// The provider gave the amount back.
    ChargeRefunded(CompensationAttempt),
    /// The provider refused to.
    RefundRefused { of: CompensationAttempt, code: String },
    /// The provider had given it back, and that failed afterwards.
    RefundReversed { of: CompensationAttempt, code: String },
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
    Started(Bill),
    /// One more delivery is about to call the provider.
    Tried,
    /// The provider has this intent: from now on it may capture.
    Opened(String),
    Charged {
        event: PaymentCharged,
        intent: String,
    },
    /// The provider captured in spite of a "no" that payments has published. No event: what follows is that it is undone.
    CapturedLate(Capture),
    Declined(PaymentDeclined),
    Unavailable(PaymentUnavailable),
    Voided(PaymentVoided),
    CompensationRequested(PaymentCompensationRequested),
    Refunded(PaymentRefunded),
    RefundFailed(PaymentRefundFailed),
}

const ANSWERED: Refusal = Refusal::Stale("already answered");
const CANCELLED: Refusal = Refusal::Stale("cancelled before it could be charged");
const NOT_UNDOING: Refusal = Refusal::Stale("not being undone");

impl Decider for Payment {
    type Message = Message;
    type Fact = Fact;

    fn decide(&self, message: &Message, _now: DateTime<Utc>) -> Result<Vec<Fact>, Refusal> {
        match message {
            Message::Created(bill) => self.billed(bill),
            Message::Reserved(_) => self.permitted(),
            Message::Cancelled(order_id) => self.cancelled(*order_id),
            Message::Opened { intent } => self.opened(intent),
            Message::Captured(capture) => self.captured(capture),
            Message::Refused { code } => self.refused(code),
            Message::Unavailable { retry_after_seconds } => self.unavailable(*retry_after_seconds),
            Message::ChargeVoided(of) => {
                self.undone(*of, |bill| voided(bill.order_id, Some(bill), Some(of.generation)))
            }
            Message::ChargeRefunded(of) => self.undone(*of, |bill| refunded(bill, of.generation)),
            Message::RefundRefused { of, code } => {
                self.undone(*of, |bill| refund_failed(bill, code, of.generation, false))
            }
            Message::RefundReversed { of, code } => self.reversed(*of, code),
            Message::Retried(order_id) => match self {
                Self::RefundFailed { .. } | Self::Compensating { .. } => Ok(vec![self.requested(*order_id)]),
                _ => Err(Refusal::Illegal("nothing is being undone")),
            },
        }
    }

    fn evolve(self, fact: &Fact) -> Self {
        match (self, fact) {
            (_, Fact::Billed(bill)) => Self::Billed { bill: bill.clone() },
            (_, Fact::Permitted) => Self::Permitted,
            (_, Fact::Started(bill)) => Self::Charging { bill: bill.clone(), intent: None, tries: 1 },
            (Self::Charging { bill, intent, tries }, Fact::Tried) => {
                Self::Charging { bill, intent, tries: tries.saturating_add(1) }
            }
            (Self::Charging { bill, tries, .. }, Fact::Opened(intent)) => {
                Self::Charging { bill, intent: Some(intent.clone()), tries }
            }
            (before, Fact::CapturedLate(Capture { intent, charge_id, .. })) => {
                before.charged(charge_id, intent)
            }
            (before, Fact::Charged { event, intent }) => before.charged(&event.provider_charge_id, intent),
            (Self::Charging { bill, .. }, Fact::Declined(_)) => Self::Declined { bill },
            (Self::Charging { bill, .. }, Fact::Unavailable(_)) => Self::Unavailable { bill },
            (before, Fact::Voided(_)) => Self::Voided { bill: before.bill().cloned() },
            (before, Fact::CompensationRequested(requested)) => before.compensating(requested.generation),
            (
                Self::Compensating { bill, intent, charge_id, generation }
                | Self::RefundFailed { bill, intent, charge_id, generation },
                Fact::Refunded(_),
            ) => Self::Refunded { bill, intent, charge_id, generation },
            (
                Self::Compensating { bill, intent, charge_id, generation }
                | Self::Refunded { bill, intent, charge_id, generation },
                Fact::RefundFailed(_),
            ) => Self::RefundFailed { bill, intent, charge_id, generation },
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
            | Self::Charging { bill, .. }
            | Self::Charged { bill, .. }
            | Self::Declined { bill }
            | Self::Unavailable { bill }
            | Self::Compensating { bill, .. }
            | Self::Refunded { bill, .. }
            | Self::RefundFailed { bill, .. } => Some(bill),
        }
    }

    /// The provider's intent, where there is one that may have captured.
    #[must_use]
    pub fn intent(&self) -> Option<&str> {
        match self {
            Self::Charging { intent, .. } => intent.as_deref(),
            Self::Charged { intent, .. }
            | Self::Compensating { intent, .. }
            | Self::Refunded { intent, .. }
            | Self::RefundFailed { intent, .. } => Some(intent),
            _ => None,
        }
    }

    /// The charge that payments has to make, if there is one.
    #[must_use]
    pub fn pending_charge(&self) -> Option<PendingCharge> {
        let Self::Charging { bill, intent, tries } = self else { return None };
        Some(PendingCharge { bill: bill.clone(), intent: intent.clone(), tries: *tries })
    }

    const fn generation(&self) -> u32 {
        match self {
            Self::Compensating { generation, .. }
            | Self::Refunded { generation, .. }
            | Self::RefundFailed { generation, .. } => *generation,
            _ => 0,
        }
    }

    fn billed(&self, bill: &Bill) -> Result<Vec<Fact>, Refusal> {
        match self {
            Self::Unknown => Ok(vec![Fact::Billed(bill.clone())]),
            Self::Permitted => Ok(vec![Fact::Started(bill.clone())]),
            _ => self.repeated(),
        }
    }

    fn permitted(&self) -> Result<Vec<Fact>, Refusal> {
        match self {
            Self::Unknown => Ok(vec![Fact::Permitted]),
            Self::Billed { bill } => Ok(vec![Fact::Started(bill.clone())]),
            _ => self.repeated(),
        }
    }

    /// One of the two events that a charge needs arrives, and is not the first of its kind or comes too late.
    fn repeated(&self) -> Result<Vec<Fact>, Refusal> {
        match self {
            Self::Unknown | Self::Billed { .. } | Self::Permitted => Err(Refusal::Stale("already known")),
            // Delivered again after a crash, or by the other event: the charge is still on its way.
            Self::Charging { .. } => Ok(vec![Fact::Tried]),
            Self::Voided { .. }
            | Self::Compensating { .. }
            | Self::Refunded { .. }
            | Self::RefundFailed { .. } => Err(CANCELLED),
            Self::Charged { .. } | Self::Declined { .. } | Self::Unavailable { .. } => Err(ANSWERED),
        }
    }

    fn cancelled(&self, order_id: OrderId) -> Result<Vec<Fact>, Refusal> {
        match self {
            // Without an intent nothing was captured, and none will be: the state refuses every one that comes later.
            Self::Unknown | Self::Billed { .. } | Self::Permitted | Self::Charging { intent: None, .. } => {
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

    /// An intent is confirmed only once it is known here, and only the first one is: all others capture nothing.
    fn opened(&self, intent: &str) -> Result<Vec<Fact>, Refusal> {
        match self {
            Self::Charging { intent: None, .. } => Ok(vec![Fact::Opened(intent.to_owned())]),
            Self::Charging { .. } => Ok(Vec::new()),
            _ => Err(ANSWERED),
        }
    }

    /// A capture is a fact at whatever stage it becomes known. Where the order is over it is undone.
    fn captured(&self, capture: &Capture) -> Result<Vec<Fact>, Refusal> {
        let Some(bill) = self.bill() else { return Err(Refusal::Illegal("a capture without a bill")) };
        match self {
            Self::Charging { .. }
            | Self::Compensating { charge_id: None, .. }
            | Self::RefundFailed { charge_id: None, .. }
            | Self::Refunded { charge_id: None, .. } => Ok(vec![charged(bill, capture)]),
            Self::Declined { .. } | Self::Unavailable { .. } | Self::Voided { .. } => {
                Ok(vec![Fact::CapturedLate(capture.clone()), self.requested(bill.order_id)])
            }
            Self::Billed { .. } => Err(Refusal::Illegal("a capture without an intent")),
            _ => Err(ANSWERED),
        }
    }

    fn refused(&self, code: &str) -> Result<Vec<Fact>, Refusal> {
        let Self::Charging { bill, .. } = self else { return Err(ANSWERED) };
        let (order_id, code) = (bill.order_id, code.to_owned());
        Ok(vec![Fact::Declined(PaymentDeclined { order_id, payment_id: PaymentId::of(order_id), code })])
    }

    fn unavailable(&self, retry_after_seconds: u32) -> Result<Vec<Fact>, Refusal> {
        match self {
            Self::Charging { intent: None, bill, .. } => {
                let order_id = bill.order_id;
                Ok(vec![Fact::Unavailable(PaymentUnavailable { order_id, retry_after_seconds })])
            }
            // The intent may have captured: what became of it has to be found out first.
            Self::Charging { .. } => Ok(Vec::new()),
            _ => Err(ANSWERED),
        }
    }

    /// How the compensation ended: a fact once, and only while it is underway. Where one execution gave up and another
    /// of the same request succeeded, the money is back, and that is what counts.
    fn undone(
        &self,
        of: CompensationAttempt,
        ended: impl FnOnce(&Bill) -> Fact,
    ) -> Result<Vec<Fact>, Refusal> {
        let (bill, failed) = match self {
            Self::Compensating { bill, .. } => (bill, false),
            Self::RefundFailed { bill, .. } => (bill, true),
            _ => return Err(NOT_UNDOING),
        };
        let fact = ended(bill);
        let is_worse = failed && matches!(fact, Fact::RefundFailed(_));
        if of.generation != self.generation() || is_worse { Err(NOT_UNDOING) } else { Ok(vec![fact]) }
    }

    /// The provider's refund failed after it had been made.
    fn reversed(&self, of: CompensationAttempt, code: &str) -> Result<Vec<Fact>, Refusal> {
        match self {
            Self::Refunded { bill, generation, .. } if *generation == of.generation => {
                Ok(vec![refund_failed(bill, code, of.generation, true)])
            }
            _ => Err(NOT_UNDOING),
        }
    }

    fn requested(&self, order_id: OrderId) -> Fact {
        let (payment_id, generation) = (PaymentId::of(order_id), self.generation().saturating_add(1));
        Fact::CompensationRequested(PaymentCompensationRequested { order_id, payment_id, generation })
    }

    fn charged(self, charge_id: &str, intent: &str) -> Self {
        let (id, intent) = (charge_id.to_owned(), intent.to_owned());
        match self {
            Self::Compensating { bill, generation, .. } => {
                Self::Compensating { bill, intent, charge_id: Some(id), generation }
            }
            Self::RefundFailed { bill, generation, .. } => {
                Self::RefundFailed { bill, intent, charge_id: Some(id), generation }
            }
            Self::Refunded { bill, generation, .. } => {
                Self::Refunded { bill, intent, charge_id: Some(id), generation }
            }
            Self::Charging { bill, .. }
            | Self::Declined { bill }
            | Self::Unavailable { bill }
            | Self::Voided { bill: Some(bill) } => Self::Charged { bill, intent, charge_id: id },
            before => before,
        }
    }

    fn compensating(self, generation: u32) -> Self {
        match self {
            Self::Charging { bill, intent: Some(intent), .. } => {
                Self::Compensating { bill, intent, charge_id: None, generation }
            }
            Self::Charged { bill, intent, charge_id } => {
                Self::Compensating { bill, intent, charge_id: Some(charge_id), generation }
            }
            Self::Compensating { bill, intent, charge_id, .. }
            | Self::RefundFailed { bill, intent, charge_id, .. } => {
                Self::Compensating { bill, intent, charge_id, generation }
            }
            before => before,
        }
    }
}

fn charged(bill: &Bill, Capture { intent, charge_id, amount }: &Capture) -> Fact {
    let (order_id, provider_charge_id) = (bill.order_id, charge_id.clone());
    let payment_id = PaymentId::of(order_id);
    let event = PaymentCharged { order_id, payment_id, amount: *amount, provider_charge_id };
    Fact::Charged { event, intent: intent.clone() }
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

fn refund_failed(bill: &Bill, code: &str, generation: u32, after_refund: bool) -> Fact {
    let (order_id, amount, code) = (bill.order_id, Some(bill.amount), code.to_owned());
    let (payment_id, generation) = (PaymentId::of(order_id), Some(generation));
    Fact::RefundFailed(PaymentRefundFailed { order_id, payment_id, amount, code, generation, after_refund })
}

#[cfg(test)]
#[path = "payment_specs.rs"]
mod specs;
