//! The tasks of the payment-compensation flow: look the charge up, void it or refund it, and record how that ended. Each may
//! run any number of times with the same result.
//!
//! The flow itself is `infra/statemachines/payment-compensation.asl.json`; it is started by
//! `payment.compensation.requested`, whose metadata and data are in every task's input.

use crate::payment::{Bill, CompensationAttempt, Message, Payment};
use crate::provider::circuit_breaker::{CircuitBreaker, Open, Permit};
use crate::provider::{ChargeStatus, PaymentProvider, RefundAttempt};
use chassis::aggregate::load;
use chassis::consumer::last_answer;
use chassis::outbox::Cause;
use chassis::ports::Bus;
use chassis::reaction::{Executed, execute};
use chassis::task::{Task, TaskError};
use chassis::{AggregateId, Failure, Ports, Store, log};
use events::payments::PaymentCompensationRequested;
use events::{Envelope, OrderId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// How often the flow looks for a charge that the provider says is there, and that cannot be found.
const MAX_LOOKS: u64 = 12;

/// Runs the tasks.
pub struct Compensator<S, P, B> {
    pub ports: Ports<S>,
    /// Where an answer that got lost is published again.
    pub bus: B,
    /// Where charges are undone.
    pub circuit: CircuitBreaker<P, S>,
}

/// A task's input.
#[derive(Debug, Deserialize)]
#[serde(tag = "task")]
pub enum Input {
    /// Is there a charge?
    LookUpCharge { event: Flow },
    /// The provider knows of none: see to it that there never will be one.
    VoidAtProvider { event: Flow },
    /// There is one: refund it.
    Refund {
        event: Flow,
        /// Counts the attempts of this execution, from 0.
        attempt: u64,
    },
    /// Nothing was captured.
    RecordVoided { event: Flow },
    /// It was refunded.
    RecordRefunded { event: Flow },
    /// It could not be refunded.
    RecordRefundFailed { event: Flow },
    /// An operator requests a failed refund again.
    Retry { order_id: OrderId },
}

/// The event that started the flow, and what its tasks have found so far.
#[derive(Debug, Deserialize)]
pub struct Flow {
    metadata: Value,
    data: Value,
    charge: Option<ChargeStatus>,
    void: Option<VoidStatus>,
    escalation: Option<Escalation>,
}

/// What voiding a charge came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "SCREAMING_SNAKE_CASE")]
enum VoidStatus {
    /// The provider will never capture anything.
    Voided,
    /// There is a charge, and the flow has looked for it so often.
    Exists {
        #[serde(default)]
        looks: u64,
    },
}

/// Why the flow gave up: the error's name, and its cause as Step Functions writes it.
#[derive(Debug, Deserialize)]
struct Escalation {
    error: Option<String>,
    cause: Option<String>,
}

impl Escalation {
    /// The provider's own code where it refused, else the name of the error.
    fn code(&self) -> &str {
        self.error.as_deref().unwrap_or("unknown")
    }

    fn refusal(&self) -> Option<String> {
        let cause: Value = serde_json::from_str(self.cause.as_deref()?).ok()?;
        let message = cause["errorMessage"].as_str().map(str::to_owned);
        message.filter(|_| self.code() == REFUSED)
    }
}

impl Flow {
    fn read(&self) -> Result<(Cause, PaymentCompensationRequested), Failure> {
        let envelope = Envelope::read(json!({"metadata": self.metadata, "data": self.data}))?;
        Ok((Cause::from(&envelope.metadata), envelope.data()?))
    }

    /// The code that `payment.refund.failed` gives.
    fn code(&self) -> String {
        let Some(escalation) = &self.escalation else { return "unknown".to_owned() };
        escalation.refusal().unwrap_or_else(|| escalation.code().to_owned())
    }
}

/// The errors that the flow distinguishes.
const REFUSED: &str = "RefundRefused";
const STILL_UNKNOWN: &str = "StillUnknown";
const CIRCUIT_OPEN: &str = "CircuitOpen";

impl<S: Store, P: PaymentProvider, B: Bus> Task for Compensator<S, P, B> {
    type Input = Input;

    async fn run(&self, input: Input) -> Result<Value, TaskError> {
        match input {
            Input::LookUpCharge { event } => {
                let permit = self.permit().await?;
                Ok(json!(self.look_up(permit, &event).await?))
            }
            Input::VoidAtProvider { event } => self.void(&event).await,
            Input::Refund { event, attempt } => self.refund(&event, attempt).await,
            Input::RecordVoided { event } => self.record(&event, Message::ChargeVoided).await,
            Input::RecordRefunded { event } => self.record(&event, Message::ChargeRefunded).await,
            Input::RecordRefundFailed { event } => self.give_up(&event).await,
            Input::Retry { order_id } => self.retry(order_id).await,
        }
    }
}

impl<S: Store, P: PaymentProvider, B: Bus> Compensator<S, P, B> {
    /// While the circuit is open the flow does not call the provider, and comes again later.
    async fn permit(&self) -> Result<Permit, TaskError> {
        let acquired = self.circuit.acquire().await?;
        acquired.map_err(|Open { retry_after_seconds }| {
            TaskError::new(CIRCUIT_OPEN, format!("for {retry_after_seconds} s more"))
        })
    }

    async fn payment(&self, order_id: OrderId) -> Result<Payment, Failure> {
        Ok(load::<Payment, S>(&self.ports.store, &AggregateId::order(order_id)).await?.state)
    }

    async fn look_up(&self, permit: Permit, flow: &Flow) -> Result<ChargeStatus, Failure> {
        let (_, PaymentCompensationRequested { order_id, .. }) = flow.read()?;
        let payment = self.payment(order_id).await?;
        let call = self.circuit.provider().look_up(order_id, payment.charge_id());
        self.circuit.guarded(permit, call).await
    }

    async fn void(&self, flow: &Flow) -> Result<Value, TaskError> {
        let permit = self.permit().await?;
        let (_, requested) = flow.read()?;
        let before = if let Some(VoidStatus::Exists { looks }) = flow.void { looks } else { 0 };
        let looks = before.saturating_add(1);
        let payment = self.payment(requested.order_id).await?;
        let bill: &Bill =
            payment.bill().ok_or_else(|| Failure::Poison("a compensation without a bill".into()))?;
        let intent = match &flow.charge {
            Some(ChargeStatus::Open { intent }) => Some(intent.as_str()),
            _ => None,
        };
        let call = self.circuit.provider().void(bill, intent);
        match self.circuit.guarded(permit, call).await? {
            true => Ok(json!(VoidStatus::Voided)),
            false if looks >= MAX_LOOKS => {
                Err(TaskError::new(STILL_UNKNOWN, "there is a charge, and it cannot be found"))
            }
            false => Ok(json!(VoidStatus::Exists { looks })),
        }
    }

    async fn refund(&self, flow: &Flow, number: u64) -> Result<Value, TaskError> {
        let permit = self.permit().await?;
        let (_, PaymentCompensationRequested { order_id, generation, .. }) = flow.read()?;
        let Some(ChargeStatus::Captured { charge_id }) = &flow.charge else {
            return Err(Failure::Poison("a refund without a charge".into()).into());
        };
        let attempt = RefundAttempt { generation, number };
        let call = self.circuit.provider().refund(order_id, charge_id, attempt);
        match self.circuit.guarded(permit, call).await? {
            Ok(()) => Ok(json!({"status": "REFUNDED"})),
            Err(code) => Err(TaskError::new(REFUSED, code)),
        }
    }

    /// Records that the charge could not be refunded, unless a last look finds that there is nothing left to refund: the
    /// task that refunded it may have died before it could record that.
    async fn give_up(&self, flow: &Flow) -> Result<Value, TaskError> {
        match self.last_look(flow).await {
            Ok(Some(ChargeStatus::Refunded)) => return self.record(flow, Message::ChargeRefunded).await,
            Ok(Some(ChargeStatus::Cancelled)) => return self.record(flow, Message::ChargeVoided).await,
            Ok(_) => {}
            Err(failure) => tracing::warn!(reason = failure.to_string(), "the last look failed"),
        }
        let code = flow.code();
        let recorded = self.record(flow, |of| Message::RefundRefused { of, code }).await?;
        // Counted by the stage: this task may have recorded it before, and died.
        if matches!(self.payment(flow.read()?.1.order_id).await?, Payment::RefundFailed { .. }) {
            log::count("refunds", ("outcome", "failed"), 1);
        }
        Ok(recorded)
    }

    /// What the provider knows; none while the circuit is open, when not even this call is made.
    async fn last_look(&self, flow: &Flow) -> Result<Option<ChargeStatus>, Failure> {
        match self.circuit.acquire().await? {
            Ok(permit) => self.look_up(permit, flow).await.map(Some),
            Err(_) => Ok(None),
        }
    }

    /// Records how the compensation ended. A repetition finds the payment past it, and succeeds.
    async fn record(
        &self,
        flow: &Flow,
        message: impl FnOnce(CompensationAttempt) -> Message,
    ) -> Result<Value, TaskError> {
        let (cause, PaymentCompensationRequested { order_id, generation, .. }) = flow.read()?;
        self.execute(order_id, message(CompensationAttempt { order_id, generation }), &cause).await
    }

    async fn execute(&self, order_id: OrderId, message: Message, cause: &Cause) -> Result<Value, TaskError> {
        let id = AggregateId::order(order_id);
        Ok(match execute::<Payment, S>(&self.ports, &id, message, cause).await? {
            Executed::Done(after) | Executed::Unchanged(after) => {
                json!({"recorded": true, "stage": json!(after.state)["stage"]})
            }
            Executed::Refused(refusal, _) => json!({"recorded": false, "reason": refusal.to_string()}),
        })
    }

    /// Requests the compensation again. Where it has ended already and orders does not know, payments publishes its
    /// answer again.
    async fn retry(&self, order_id: OrderId) -> Result<Value, TaskError> {
        let cause = Cause::request(self.ports.ids.fresh(), self.ports.ids.fresh(), None);
        let mut answer = self.execute(order_id, Message::Retried(order_id), &cause).await?;
        let payment = self.payment(order_id).await?;
        if matches!(payment, Payment::Refunded { .. } | Payment::Voided { .. }) {
            let id = AggregateId::order(order_id);
            let last = last_answer::<Payment, S>(&self.ports.store, &id).await?;
            self.bus.publish(last.as_slice()).await?;
            answer["published_again"] = json!(last.map(|event| event.metadata.kind));
        }
        Ok(answer)
    }
}
