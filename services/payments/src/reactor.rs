//! How charging maps to what payments takes, tells and calls.

use crate::charging::{self, Bill, Charging, Fact, Message, Stage};
use crate::provider::Provider;
use crate::subscriptions::{Cancelled, Created, Reserved};
use chassis::telling::Entry;
use chassis::{Core, Failure, Reactor, Verdict};
use events::inventory::InventoryReserved;
use events::orders::{OrderCancelled, OrderCreated};
use events::payments::{
    PaymentCharged, PaymentCompensationRequested, PaymentDeclined, PaymentRefundFailed, PaymentRefunded,
    PaymentUnavailable, PaymentVoided,
};
use events::{Envelope, Event, PaymentId, Unreadable};
use std::future::Future;

/// Payments' reaction.
pub struct Payments<P = Provider> {
    /// Where charges are made.
    pub provider: P,
}

/// The payment provider, as far as payments calls it.
pub trait Gateway: Send + Sync + 'static {
    /// Captures a bill. The idempotency key is derived from the order: the call may be repeated and charges
    /// once. Answers [`Message::Captured`] or [`Message::Refused`].
    /// Or [`Message::Unavailable`], and only on the `first` try: on a later one the provider may have been asked already,
    /// and what it did is not known.
    fn charge(&self, bill: &Bill, first: bool) -> impl Future<Output = Result<Message, Failure>> + Send;
}

impl<P: Gateway> Reactor for Payments<P> {
    const SERVICE: &'static str = "payments";
    type State = Charging;
    type Message = Message;
    type Fact = Fact;
    type Call = Bill;
    const CORE: Core<Self::State, Message, Fact> =
        Core { decide: charging::decide, evolve: charging::evolve };

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

    fn opens(message: &Message) -> bool {
        matches!(message, Message::Created(_))
    }

    fn tell(fact: &Fact) -> Option<Entry> {
        match fact.clone() {
            Fact::Billed(_) | Fact::Permitted | Fact::Started | Fact::Joined => None,
            Fact::Charged { bill: Bill { order_id, amount, .. }, charge_id } => {
                let payment_id = PaymentId::of(order_id);
                let provider_charge_id = charge_id;
                Some(Entry::told(&PaymentCharged { order_id, payment_id, amount, provider_charge_id }))
            }
            Fact::Declined { order_id, code } => {
                let payment_id = PaymentId::of(order_id);
                Some(Entry::told(&PaymentDeclined { order_id, payment_id, code }))
            }
            Fact::Unavailable { order_id, retry_after_seconds } => {
                Some(Entry::told(&PaymentUnavailable { order_id, retry_after_seconds }))
            }
            Fact::Voided { order_id, amount } => {
                let payment_id = PaymentId::of(order_id);
                Some(Entry::told(&PaymentVoided { order_id, payment_id, amount }))
            }
            Fact::CompensationRequested { order_id, generation } => {
                let payment_id = PaymentId::of(order_id);
                Some(Entry::told(&PaymentCompensationRequested { order_id, payment_id, generation }))
            }
            Fact::Refunded(Bill { order_id, customer_id, amount, .. }) => {
                let (payment_id, customer_id) = (PaymentId::of(order_id), Some(customer_id));
                Some(Entry::told(&PaymentRefunded { order_id, payment_id, amount, customer_id }))
            }
            Fact::RefundFailed { order_id, amount, code } => {
                let payment_id = PaymentId::of(order_id);
                Some(Entry::told(&PaymentRefundFailed { order_id, payment_id, amount, code }))
            }
        }
    }

    fn word(state: &Charging) -> Option<&'static str> {
        // A charge may be answered after it was asked back; what counts is that it is being undone.
        (state.stage == Stage::Compensating).then_some(PaymentCompensationRequested::TYPE)
    }

    fn verdict(before: &Charging, facts: &[Fact]) -> Verdict {
        match facts {
            [Fact::Voided { amount: None, .. }] | [Fact::Permitted] => Verdict::Early,
            _ if before.stage == Stage::Compensating => Verdict::LateCompensated,
            _ => Verdict::Applied,
        }
    }

    fn due_call(state: &Charging) -> Option<Bill> {
        charging::due(state).cloned()
    }

    async fn perform(&self, bill: Bill, first: bool) -> Result<Message, Failure> {
        self.provider.charge(&bill, first).await
    }
}
