//! Which events payments consumes and publishes, and the charge that it makes.

use crate::breaker::Breaker;
use crate::customer::{self, Customer};
use crate::history;
use crate::payment::{Bill, Fact, Message, Payment, PendingCharge};
use crate::provider::circuit_breaker::{CircuitBreaker, Open};
use crate::provider::{Confirmation, Creation, PaymentMethod, PaymentProvider};
use crate::subscriptions::{Cancelled, Created, Reserved};
use chassis::aggregate::{Loaded, load};
use chassis::audit::{Audited, Kind};
use chassis::metrics::{Metric, Unit};
use chassis::outbox::OutboxEntry;
use chassis::{Aggregate, Attempt, Effects, Failure, Live, Reactor, Store, Verdict};
use events::inventory::InventoryReserved;
use events::orders::{OrderCancelled, OrderCreated};
use events::payments::{PaymentCompensationRequested, PaymentVoided};
use events::{Envelope, Event, Unreadable};

impl Aggregate for Payment {
    const SERVICE: &'static str = "payments";

    fn event(fact: &Fact) -> Option<OutboxEntry> {
        match fact {
            Fact::Billed(_)
            | Fact::Permitted
            | Fact::Started(_)
            | Fact::Tried
            | Fact::Opened(_)
            | Fact::CapturedLate(_) => None,
            Fact::Charged { event, .. } => Some(OutboxEntry::published(event)),
            Fact::Declined(declined) => Some(OutboxEntry::published(declined)),
            Fact::Unavailable(unavailable) => Some(OutboxEntry::published(unavailable)),
            Fact::Voided(voided) => Some(OutboxEntry::published(voided)),
            Fact::CompensationRequested(requested) => Some(OutboxEntry::published(requested)),
            Fact::Refunded(refunded) => Some(OutboxEntry::published(refunded)),
            Fact::RefundFailed(failed) => Some(OutboxEntry::published(failed)),
        }
    }

    fn facts(&self, event: &Envelope) -> Result<Vec<Fact>, Unreadable> {
        history::facts(self, event)
    }

    fn visible(&self) -> String {
        history::visible(self)
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

/// The captures whose amount is not the bill's.
pub static CAPTURES: Metric =
    Metric { name: "captures", unit: Unit::Count, dimension: Some(("amount", &[DIFFERENT])) };
/// Another amount was captured.
pub const DIFFERENT: &str = "different";

/// Charges at a provider behind its circuit breaker.
pub struct Charges<P, S> {
    pub circuit: CircuitBreaker<P, S>,
    /// Payments' own table, where customers have their saved methods.
    pub store: S,
    /// What an order without a payment method is charged to when its customer has saved none; none: it is declined.
    pub fallback: Option<String>,
}

/// The code of a decline for which there is nothing to charge.
const METHOD_REQUIRED: &str = "payment_method_required";

impl<P: PaymentProvider, S: Store> Effects for Charges<P, S> {
    type Reactor = Payment;
    type Call = PendingCharge;

    fn pending_call(payment: &Payment) -> Option<PendingCharge> {
        payment.pending_charge()
    }

    async fn perform(
        &self,
        charge: PendingCharge,
        _attempt: Attempt,
        live: Live,
    ) -> Result<Message, Failure> {
        match &charge.intent {
            Some(intent) => self.confirm(&charge, intent, live).await,
            None => self.create(&charge, live).await,
        }
    }
}

impl<P: PaymentProvider, S: Store> Charges<P, S> {
    async fn create(
        &self,
        PendingCharge { bill, tries, .. }: &PendingCharge,
        live: Live,
    ) -> Result<Message, Failure> {
        let Some(method) = self.method(bill).await? else {
            return Ok(Message::Refused { code: METHOD_REQUIRED.to_owned() });
        };
        let permit = match self.circuit.acquire(live).await? {
            Ok(permit) => permit,
            // Without an intent nothing can have been captured: the order can end here.
            Err(Open { retry_after_seconds }) => return Ok(Message::Unavailable { retry_after_seconds }),
        };
        let call = self.circuit.provider().create(bill, &method, *tries);
        Ok(match self.circuit.guarded(permit, bill.order_id, call).await? {
            Creation::Opened { intent } => Message::Opened { intent },
            Creation::Declined { code } => Message::Refused { code },
        })
    }

    /// What to charge: the order's own method, else the one that its customer has saved, else the fallback. With the
    /// provider's customer, if there is one: the provider refuses a method that belongs to a customer without it.
    async fn method(&self, bill: &Bill) -> Result<Option<PaymentMethod>, Failure> {
        let known: Loaded<Customer> = load(&self.store, &customer::id(&bill.customer_id)).await?;
        let saved = known.state.payment_method().map(str::to_owned);
        let id = bill.payment_method.clone().or(saved).or_else(|| self.fallback.clone());
        let customer = known.state.provider_id().map(str::to_owned);
        Ok(id.map(|id| PaymentMethod { id, customer }))
    }

    async fn confirm(&self, charge: &PendingCharge, intent: &str, live: Live) -> Result<Message, Failure> {
        let permit = self.circuit.acquire(live).await?.map_err(|Open { retry_after_seconds }| {
            Failure::Transient(format!("the circuit is open for {retry_after_seconds} s more"))
        })?;
        let order_id = charge.bill.order_id;
        let call = self.circuit.provider().confirm(order_id, intent, charge.tries);
        let confirmed = self.circuit.guarded_money(permit, order_id, call).await?;
        Ok(match confirmed {
            Confirmation::Captured(capture) => {
                if capture.amount != charge.bill.amount {
                    CAPTURES.count(DIFFERENT, 1);
                    let reason = "another amount was captured than the bill's";
                    tracing::error!(order_id = order_id.to_string(), intent, reason);
                }
                Message::Captured(capture)
            }
            Confirmation::Declined { code } => Message::Refused { code },
        })
    }
}

/// What an audit compares.
pub const AUDITED: Audited = Audited {
    kinds: &[
        Kind::by_events::<Payment>("order"),
        Kind::by_commands::<Customer>("customer"),
        Kind::by_commands::<Breaker>("breaker"),
    ],
    views: &[],
    inbox: <Payment as Reactor>::id,
};
