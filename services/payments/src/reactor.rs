//! Which events payments consumes and publishes, and the charge that it makes.

use crate::payment::{Bill, Fact, Message, Payment};
use crate::provider::circuit_breaker::{CircuitBreaker, Guarded, Open};
use crate::provider::{ChargeOutcome, PaymentProvider};
use crate::subscriptions::{Cancelled, Created, Reserved};
use chassis::outbox::OutboxEntry;
use chassis::{Aggregate, Attempt, Effects, Failure, Reactor, Store, Verdict};
use events::inventory::InventoryReserved;
use events::orders::{OrderCancelled, OrderCreated};
use events::payments::{PaymentCompensationRequested, PaymentVoided};
use events::{Envelope, Event, Unreadable};

impl Aggregate for Payment {
    const SERVICE: &'static str = "payments";

    fn event(fact: &Fact) -> Option<OutboxEntry> {
        match fact {
            Fact::Billed(_) | Fact::Permitted | Fact::Started | Fact::Joined => None,
            Fact::Charged(charged) => Some(OutboxEntry::published(charged)),
            Fact::Declined(declined) => Some(OutboxEntry::published(declined)),
            Fact::Unavailable(unavailable) => Some(OutboxEntry::published(unavailable)),
            Fact::Voided(voided) => Some(OutboxEntry::published(voided)),
            Fact::CompensationRequested(requested) => Some(OutboxEntry::published(requested)),
            Fact::Refunded(refunded) => Some(OutboxEntry::published(refunded)),
            Fact::RefundFailed(failed) => Some(OutboxEntry::published(failed)),
        }
    }

    fn starts_aggregate(message: &Message) -> bool {
        matches!(message, Message::Created(_))
    }
}

impl Reactor for Payment {
    fn read(envelope: &Envelope) -> Result<Message, Unreadable> {
        if envelope.is::<OrderCreated>() {
            let Created { order_id, customer_id, total, payment_method } = envelope.view()?;
            return Ok(Message::Created(Bill { order_id, customer_id, amount: total, payment_method }));
        }
        if envelope.is::<InventoryReserved>() {
            return Ok(Message::Reserved(envelope.view::<Reserved>()?.order_id));
        }
        if envelope.is::<OrderCancelled>() {
            return Ok(Message::Cancelled(envelope.view::<Cancelled>()?.order_id));
        }
        Err(envelope.not_consumed_by(Self::SERVICE))
    }

    fn last_answer(&self) -> Option<&'static str> {
        // The provider may answer a charge after its compensation was requested; what counts is that it is being undone.
        matches!(self, Self::Compensating { .. }).then_some(PaymentCompensationRequested::TYPE)
    }

    fn verdict(&self, facts: &[Fact]) -> Verdict {
        match facts {
            [Fact::Voided(PaymentVoided { amount: None, .. })] | [Fact::Permitted] => Verdict::Early,
            _ if matches!(self, Self::Compensating { .. }) => Verdict::LateCompensated,
            _ => Verdict::Applied,
        }
    }
}

/// Charges at a provider behind its circuit breaker.
pub struct Charges<P, S> {
    pub circuit: CircuitBreaker<P, S>,
}

impl<P: PaymentProvider, S: Store> Effects for Charges<P, S> {
    type Reactor = Payment;
    type Call = Bill;

    fn pending_call(payment: &Payment) -> Option<Bill> {
        payment.pending_charge().cloned()
    }

    async fn perform(&self, bill: Bill, attempt: Attempt) -> Result<Message, Failure> {
        Ok(match self.circuit.charge(&bill, attempt).await? {
            Guarded::Answered(ChargeOutcome::Captured { charge_id }) => Message::Captured { charge_id },
            Guarded::Answered(ChargeOutcome::Declined { code }) => Message::Refused { code },
            Guarded::NeverCalled(Open { retry_after_seconds }) => {
                Message::Unavailable { retry_after_seconds }
            }
        })
    }
}
