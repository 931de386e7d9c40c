//! The tasks of the payment-compensation flow: look the intent up, void it or refund it, follow the refund, and record how that
//! ended. Each may run any number of times with the same result.
//!
//! The flow itself is `infra/statemachines/payment-compensation.asl.json`; it is started by
//! `payment.compensation.requested`, whose metadata and data are in every task's input.

use crate::payment::{CompensationAttempt, Message, Payment};
use crate::provider::circuit_breaker::{CircuitBreaker, Open, Permit};
use crate::provider::{ChargeStatus, PaymentProvider, Refund, RefundAttempt, RefundStatus};
use chassis::aggregate::load;
use chassis::consumer::last_answer;
use chassis::metrics::{Metric, Unit};
use chassis::outbox::Cause;
use chassis::ports::Bus;
use chassis::reaction::{Executed, execute};
use chassis::task::{Task, TaskError};
use chassis::{AggregateId, Failure, Live, Ports, Store};
use events::payments::PaymentCompensationRequested;
use events::{Envelope, OrderId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// How often the flow looks at an intent that can be neither cancelled nor refunded yet.
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
    /// What became of the intent?
    LookUpCharge { event: Flow },
    /// It has captured nothing: see to it that it never will.
    VoidAtProvider {
        event: Flow,
        /// Counts the attempts of this execution, from 0.
        attempt: u64,
    },
    /// It has captured: refund it.
    Refund {
        event: Flow,
        /// Counts the attempts of this execution, from 0.
        attempt: u64,
    },
    /// The refund is on its way: has it arrived?
    FollowRefund { event: Flow },
    /// The refund has arrived: does it still stand?
    WatchRefund { event: Flow },
    /// Nothing was captured.
    RecordVoided { event: Flow },
    /// It was refunded.
    RecordRefunded { event: Flow },
    /// It could not be refunded.
    RecordRefundFailed { event: Flow },
    /// It was refunded, and that failed afterwards.
    RecordRefundReversed { event: Flow },
    /// An operator requests a failed refund again.
    Retry { order_id: OrderId },
    /// An operator closes the circuit.
    ResetBreaker,
}

/// The event that started the flow, and what its tasks have found so far.
#[derive(Debug, Deserialize)]
pub struct Flow {
    metadata: Value,
    data: Value,
    charge: Option<ChargeStatus>,
    void: Option<VoidStatus>,
    refund: Option<RefundMade>,
    reversal: Option<Reversal>,
    escalation: Option<Escalation>,
}

/// What started a flow.
struct Started {
    cause: Cause,
    live: Live,
    requested: PaymentCompensationRequested,
}

/// A refund that the provider took on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "SCREAMING_SNAKE_CASE")]
enum RefundMade {
    Succeeded { refund: String },
    Pending { refund: String },
}

/// Why a refund that had arrived was taken back.
#[derive(Debug, Serialize, Deserialize)]
struct Reversal {
    code: String,
}

/// What voiding a charge came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "SCREAMING_SNAKE_CASE")]
enum VoidStatus {
    /// The provider will never capture anything.
    Voided,
    /// It has captured, or is about to; the flow has looked so often.
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
    fn read(&self) -> Result<Started, Failure> {
        let envelope = Envelope::read(json!({"metadata": self.metadata, "data": self.data}))?;
        let live = Live::of(&envelope.metadata);
        let live = live.ok_or_else(|| Failure::Poison("a replayed event starts no compensation".into()))?;
        Ok(Started { cause: Cause::from(&envelope.metadata), live, requested: envelope.data()? })
    }

    /// The refund that it follows.
    fn refund(&self) -> Result<&str, Failure> {
        let made = self
            .refund
            .as_ref()
            .map(|(RefundMade::Succeeded { refund } | RefundMade::Pending { refund })| refund);
        let found = self.charge.as_ref().and_then(|charge| match charge {
            ChargeStatus::Refunding { refund } | ChargeStatus::Refunded { refund } => Some(refund),
            _ => None,
        });
        let refund = made.or(found).map(String::as_str);
        refund.ok_or_else(|| Failure::Poison("no refund to follow".into()))
    }

    /// The code that `payment.refund.failed` gives.
    fn code(&self) -> String {
        let Some(escalation) = &self.escalation else { return "unknown".to_owned() };
        escalation.refusal().unwrap_or_else(|| escalation.code().to_owned())
    }
}

/// The refunds that failed for good.
pub static REFUNDS: Metric =
    Metric { name: "refunds", unit: Unit::Count, dimension: Some(("outcome", &[FAILED])) };
const FAILED: &str = "failed";

/// The errors that the flow distinguishes.
const REFUSED: &str = "RefundRefused";
const STILL_UNKNOWN: &str = "StillUnknown";
const STILL_PENDING: &str = "StillPending";
const STILL_STANDS: &str = "StillStands";
const CIRCUIT_OPEN: &str = "CircuitOpen";

impl<S: Store, P: PaymentProvider, B: Bus> Task for Compensator<S, P, B> {
    type Input = Input;

    async fn run(&self, input: Input) -> Result<Value, TaskError> {
        match input {
            Input::LookUpCharge { event } => {
                Ok(json!(self.look_up(self.permit(&event).await?, &event).await?))
            }
            Input::VoidAtProvider { event, attempt } => self.void(&event, attempt).await,
            Input::Refund { event, attempt } => self.refund(&event, attempt).await,
            Input::FollowRefund { event } => self.follow(&event).await,
            Input::WatchRefund { event } => self.watch(&event).await,
            Input::RecordVoided { event } => self.record(&event, Message::ChargeVoided).await,
            Input::RecordRefunded { event } => self.record(&event, Message::ChargeRefunded).await,
            Input::RecordRefundFailed { event } => self.give_up(&event).await,
            Input::RecordRefundReversed { event } => self.reversed(&event).await,
            Input::Retry { order_id } => self.retry(order_id).await,
            Input::ResetBreaker => Ok(json!(self.circuit.reset().await?)),
        }
    }
}

impl<S: Store, P: PaymentProvider, B: Bus> Compensator<S, P, B> {
    /// While the circuit is open the flow does not call the provider, and comes again later.
    async fn permit(&self, flow: &Flow) -> Result<Permit, TaskError> {
        let acquired = self.circuit.acquire(flow.read()?.live).await?;
        acquired.map_err(|Open { retry_after_seconds }| {
            TaskError::new(CIRCUIT_OPEN, format!("for {retry_after_seconds} s more"))
        })
    }

    /// The intent that a flow undoes.
    async fn intent(&self, order_id: OrderId) -> Result<String, Failure> {
        let payment = load::<Payment, S>(&self.ports.store, &AggregateId::order(order_id)).await?.state;
        let intent = payment.intent().map(str::to_owned);
        intent.ok_or_else(|| Failure::Poison("a compensation without an intent".into()))
    }

    async fn look_up(&self, permit: Permit, flow: &Flow) -> Result<ChargeStatus, Failure> {
        let order_id = flow.read()?.requested.order_id;
        let intent = self.intent(order_id).await?;
        self.circuit.guarded(permit, order_id, self.circuit.provider().look_up(&intent)).await
    }

    async fn void(&self, flow: &Flow, attempt: u64) -> Result<Value, TaskError> {
        let permit = self.permit(flow).await?;
        let PaymentCompensationRequested { order_id, generation, .. } = flow.read()?.requested;
        let before = if let Some(VoidStatus::Exists { looks }) = flow.void { looks } else { 0 };
        let looks = before.saturating_add(1);
        let intent = self.intent(order_id).await?;
        let key = format!("{order_id}:void:{generation}:{looks}:{attempt}");
        let call = self.circuit.provider().cancel(&intent, &key);
        match self.circuit.guarded(permit, order_id, call).await? {
            true => Ok(json!(VoidStatus::Voided)),
            false if looks >= MAX_LOOKS => {
                Err(TaskError::new(STILL_UNKNOWN, "the intent can be neither cancelled nor refunded"))
            }
            false => Ok(json!(VoidStatus::Exists { looks })),
        }
    }

    async fn refund(&self, flow: &Flow, number: u64) -> Result<Value, TaskError> {
        let permit = self.permit(flow).await?;
        let PaymentCompensationRequested { order_id, generation, .. } = flow.read()?.requested;
        let intent = self.intent(order_id).await?;
        let call = self.circuit.provider().refund(order_id, &intent, RefundAttempt { generation, number });
        match self.circuit.guarded_money(permit, order_id, call).await? {
            Ok(Refund { id: refund, status: RefundStatus::Succeeded }) => {
                Ok(json!(RefundMade::Succeeded { refund }))
            }
            Ok(Refund { id: refund, .. }) => Ok(json!(RefundMade::Pending { refund })),
            Err(code) => Err(TaskError::new(REFUSED, code)),
        }
    }

    async fn refund_status(&self, flow: &Flow) -> Result<RefundStatus, TaskError> {
        let permit = self.permit(flow).await?;
        let call = self.circuit.provider().refund_status(flow.refund()?);
        Ok(self.circuit.guarded(permit, flow.read()?.requested.order_id, call).await?)
    }

    /// Whether a pending refund has arrived.
    async fn follow(&self, flow: &Flow) -> Result<Value, TaskError> {
        match self.refund_status(flow).await? {
            RefundStatus::Succeeded => Ok(json!({"status": "SUCCEEDED"})),
            RefundStatus::Pending => Err(TaskError::not_yet(STILL_PENDING, "the refund has not arrived yet")),
            RefundStatus::Failed { code } => Err(TaskError::new(REFUSED, code)),
        }
    }

    /// Whether a refund that arrived was taken back: a bank may return it days later.
    async fn watch(&self, flow: &Flow) -> Result<Value, TaskError> {
        match self.refund_status(flow).await? {
            RefundStatus::Failed { code } => Ok(json!(Reversal { code })),
            _ => Err(TaskError::not_yet(STILL_STANDS, "the refund stands")),
        }
    }

    /// Records that the charge could not be refunded, unless a last look finds that there is nothing left to refund: the
    /// task that refunded it may have died before it could record that.
    async fn give_up(&self, flow: &Flow) -> Result<Value, TaskError> {
        match self.last_look(flow).await {
            Ok(Some(ChargeStatus::Refunded { .. })) => {
                return self.record(flow, Message::ChargeRefunded).await;
            }
            Ok(Some(ChargeStatus::Cancelled)) => return self.record(flow, Message::ChargeVoided).await,
            Ok(_) => {}
            Err(failure) => tracing::warn!(reason = failure.to_string(), "the last look failed"),
        }
        let code = flow.code();
        self.record_failed(flow, |of| Message::RefundRefused { of, code }).await
    }

    /// Records that a refund which had arrived was taken back.
    async fn reversed(&self, flow: &Flow) -> Result<Value, TaskError> {
        let code = flow.reversal.as_ref().map_or_else(|| "unknown".into(), |reversal| reversal.code.clone());
        self.record_failed(flow, |of| Message::RefundReversed { of, code }).await
    }

    /// What the provider knows; none while the circuit is open, when not even this call is made.
    async fn last_look(&self, flow: &Flow) -> Result<Option<ChargeStatus>, Failure> {
        match self.circuit.acquire(flow.read()?.live).await? {
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
        Ok(self.ended(flow, message).await?.0)
    }

    /// Records that the money is still kept, and counts that by the stage: the task may have recorded it before, and died.
    async fn record_failed(
        &self,
        flow: &Flow,
        message: impl FnOnce(CompensationAttempt) -> Message,
    ) -> Result<Value, TaskError> {
        let (recorded, payment) = self.ended(flow, message).await?;
        if matches!(payment, Payment::RefundFailed { .. }) {
            REFUNDS.count(FAILED, 1);
        }
        Ok(recorded)
    }

    async fn ended(
        &self,
        flow: &Flow,
        message: impl FnOnce(CompensationAttempt) -> Message,
    ) -> Result<(Value, Payment), Failure> {
        let Started { cause, requested, .. } = flow.read()?;
        let PaymentCompensationRequested { order_id, generation, .. } = requested;
        self.execute(order_id, message(CompensationAttempt { order_id, generation }), &cause).await
    }

    /// The answer of a task, and the payment as it stands then.
    async fn execute(
        &self,
        order_id: OrderId,
        message: Message,
        cause: &Cause,
    ) -> Result<(Value, Payment), Failure> {
        let id = AggregateId::order(order_id);
        Ok(match execute::<Payment, S>(&self.ports, &id, message, cause).await? {
            Executed::Done(after) | Executed::Unchanged(after) => {
                (json!({"recorded": true, "stage": json!(after.state)["stage"]}), after.state)
            }
            Executed::Refused(refusal, before) => {
                (json!({"recorded": false, "reason": refusal.to_string()}), before.state)
            }
        })
    }

    /// Requests the compensation again. Where it has ended already and orders does not know, payments publishes its
    /// answer again.
    async fn retry(&self, order_id: OrderId) -> Result<Value, TaskError> {
        let cause = Cause::request(self.ports.ids.fresh(), self.ports.ids.fresh(), None);
        let (mut answer, payment) = self.execute(order_id, Message::Retried(order_id), &cause).await?;
        if matches!(payment, Payment::Refunded { .. } | Payment::Voided { .. }) {
            let id = AggregateId::order(order_id);
            let last = last_answer::<Payment, S>(&self.ports.store, &id).await?;
            self.bus.publish(last.as_slice()).await?;
            answer["published_again"] = json!(last.map(|event| event.metadata.kind));
        }
        Ok(answer)
    }
}
