//! The tasks of the payment-compensation flow: look the charge up, void it or give it back, and record how that
//! ended. Each may run any number of times and comes to the same.
//!
//! The flow itself is `infra/statemachines/payment-compensation.asl.json`; it is started by
//! `payment.compensation.requested`, whose metadata and data are in every task's input.

use crate::charging::{Bill, Charging, Message, Stage, Try};
use crate::reactor::{Gateway, Payments};
use chassis::lambda::{Task, TaskError};
use chassis::ports::Bus;
use chassis::reaction::{apply, load, word};
use chassis::telling::Cause;
use chassis::{Failure, Ports, Store, log};
use events::payments::PaymentCompensationRequested;
use events::{Envelope, OrderId};
use serde::Deserialize;
use serde_json::{Value, json};
use std::future::Future;

/// How often a charge that is said to be there, and cannot be found, is looked for.
const MAX_LOOKS: u64 = 12;

/// What the provider knows of an order's charge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// No intent to charge was found, which does not mean that none will arrive.
    Nothing,
    /// An intent that has captured nothing yet.
    Open {
        /// The provider's id of the intent.
        intent: String,
    },
    /// The amount was captured.
    Captured {
        /// The provider's id of the charge.
        charge_id: String,
    },
    /// It was captured and given back.
    Refunded,
    /// The intent is cancelled: it can never capture anything.
    Cancelled,
}

/// The payment provider, as far as undoing a charge goes.
pub trait Undoing: Send + Sync + 'static {
    /// For how many seconds the provider is not to be asked; `None`: it may be, once.
    fn closed_for(&self) -> impl Future<Output = Result<Option<u32>, Failure>> + Send;

    /// What the provider knows of the charge.
    fn look_up(
        &self,
        order_id: OrderId,
        charge_id: Option<&str>,
    ) -> impl Future<Output = Result<Known, Failure>> + Send;

    /// Makes sure that nothing will ever be captured for `bill`, not even by a call that is still on its way;
    /// `false`: there is a charge already. `intent` is the one that was found, if one was.
    fn void(&self, bill: &Bill, intent: Option<&str>) -> impl Future<Output = Result<bool, Failure>> + Send;

    /// Gives a captured charge back; the inner error is the provider's code for a refusal. `attempt` tells one try
    /// from the next: what was refused once is refused again under the same idempotency key.
    fn refund(
        &self,
        order_id: OrderId,
        charge_id: &str,
        attempt: (u32, u64),
    ) -> impl Future<Output = Result<Result<(), String>, Failure>> + Send;
}

/// Runs the tasks.
pub struct Compensator<S, P, B> {
    /// The ports.
    pub ports: Ports<S>,
    /// Where a word that got lost is told again.
    pub bus: B,
    /// Where charges are undone.
    pub provider: P,
}

/// A task's input.
#[derive(Debug, Deserialize)]
#[serde(tag = "task")]
pub enum Input {
    /// Is there a charge?
    LookUpCharge {
        /// The state of the flow.
        event: Flow,
    },
    /// There is none that anybody knows of: see to it that there never will be.
    VoidAtProvider {
        /// The state of the flow.
        event: Flow,
    },
    /// There is one: give it back.
    Refund {
        /// The state of the flow.
        event: Flow,
        /// Counts the tries of this execution, from 0.
        attempt: u64,
    },
    /// Nothing was captured.
    RecordVoided {
        /// The state of the flow.
        event: Flow,
    },
    /// It was given back.
    RecordRefunded {
        /// The state of the flow.
        event: Flow,
    },
    /// It could not be given back.
    RecordRefundFailed {
        /// The state of the flow.
        event: Flow,
    },
    /// An operator wants a failed refund tried again.
    Retry {
        /// The order.
        order_id: OrderId,
    },
}

/// The event that started the flow, and what its tasks have found so far.
#[derive(Debug, Deserialize)]
pub struct Flow {
    metadata: Value,
    data: Value,
    #[serde(default)]
    charge: Value,
    #[serde(default)]
    void: Value,
    #[serde(default)]
    escalation: Value,
}

impl Flow {
    fn read(&self) -> Result<(Cause, PaymentCompensationRequested), Failure> {
        let envelope = Envelope::read(json!({"metadata": self.metadata, "data": self.data}))?;
        Ok((Cause::from(&envelope.metadata), envelope.data()?))
    }

    /// Why the flow gave up: the provider's own code where it refused, else the name of the error.
    fn code(&self) -> String {
        let error = self.escalation["error"].as_str().unwrap_or("unknown");
        let cause =
            self.escalation["cause"].as_str().and_then(|text| serde_json::from_str::<Value>(text).ok());
        let said = cause.as_ref().and_then(|cause| cause["errorMessage"].as_str());
        said.filter(|_| error == REFUSED).unwrap_or(error).to_owned()
    }
}

/// The errors that the flow tells apart.
const REFUSED: &str = "RefundRefused";
const STILL_UNKNOWN: &str = "StillUnknown";
const CIRCUIT_OPEN: &str = "CircuitOpen";

impl<S: Store, P: Gateway + Undoing, B: Bus> Task for Compensator<S, P, B> {
    type Input = Input;

    async fn run(&self, input: Input) -> Result<Value, TaskError> {
        match input {
            Input::LookUpCharge { event } => {
                self.admit().await?;
                Ok(self.look_up(&event).await?)
            }
            Input::VoidAtProvider { event } => {
                self.admit().await?;
                self.void(&event).await
            }
            Input::Refund { event, attempt } => {
                self.admit().await?;
                self.refund(&event, attempt).await
            }
            Input::RecordVoided { event } => self.record(&event, Message::ChargeVoided).await,
            Input::RecordRefunded { event } => self.record(&event, Message::ChargeRefunded).await,
            Input::RecordRefundFailed { event } => self.give_up(&event).await,
            Input::Retry { order_id } => self.retry(order_id).await,
        }
    }
}

impl<S: Store, P: Gateway + Undoing, B: Bus> Compensator<S, P, B> {
    /// While the circuit is open nobody asks the provider, and the flow comes again later.
    async fn admit(&self) -> Result<(), TaskError> {
        match self.provider.closed_for().await? {
            None => Ok(()),
            Some(seconds) => Err(TaskError::new(CIRCUIT_OPEN, format!("for {seconds} s more"))),
        }
    }

    async fn payment(&self, order_id: OrderId) -> Result<Charging, Failure> {
        Ok(load::<Charging, S>(&self.ports.store, &partition(order_id)).await?.state)
    }

    async fn look_up(&self, flow: &Flow) -> Result<Value, Failure> {
        let (_, requested) = flow.read()?;
        let payment = self.payment(requested.order_id).await?;
        let known = self.provider.look_up(requested.order_id, payment.charge_id.as_deref()).await?;
        Ok(match known {
            Known::Nothing => json!({"status": "NOTHING"}),
            Known::Open { intent } => json!({"status": "OPEN", "intent": intent}),
            Known::Captured { charge_id } => json!({"status": "CAPTURED", "charge_id": charge_id}),
            Known::Refunded => json!({"status": "REFUNDED"}),
            Known::Cancelled => json!({"status": "VOIDED"}),
        })
    }

    async fn void(&self, flow: &Flow) -> Result<Value, TaskError> {
        let (_, requested) = flow.read()?;
        let looks = flow.void["looks"].as_u64().unwrap_or(0).saturating_add(1);
        let payment = self.payment(requested.order_id).await?;
        let bill = payment.bill.ok_or_else(|| Failure::Poison("a compensation without a bill".into()))?;
        match self.provider.void(&bill, flow.charge["intent"].as_str()).await? {
            true => Ok(json!({"status": "VOIDED"})),
            false if looks >= MAX_LOOKS => {
                Err(TaskError::new(STILL_UNKNOWN, "there is a charge, and it cannot be found"))
            }
            false => Ok(json!({"status": "EXISTS", "looks": looks})),
        }
    }

    async fn refund(&self, flow: &Flow, attempt: u64) -> Result<Value, TaskError> {
        let (_, requested) = flow.read()?;
        let charge_id = flow.charge["charge_id"].as_str();
        let charge_id = charge_id.ok_or_else(|| Failure::Poison("a refund without a charge".into()))?;
        let attempt = (requested.generation, attempt);
        match self.provider.refund(requested.order_id, charge_id, attempt).await? {
            Ok(()) => Ok(json!({"status": "REFUNDED"})),
            Err(code) => Err(TaskError::new(REFUSED, code)),
        }
    }

    /// Says that it could not be given back, unless a last look finds that there is nothing left to give back: the task
    /// that saw to it may have died before it could say so.
    async fn give_up(&self, flow: &Flow) -> Result<Value, TaskError> {
        // While the circuit is open nobody asks, not even now.
        if matches!(self.provider.closed_for().await, Ok(None)) {
            let found = self.look_up(flow).await.unwrap_or_default();
            match found["status"].as_str() {
                Some("REFUNDED") => return self.record(flow, Message::ChargeRefunded).await,
                Some("VOIDED") => return self.record(flow, Message::ChargeVoided).await,
                _ => {}
            }
        }
        let code = flow.code();
        let recorded = self.record(flow, |of| Message::RefundRefused { of, code }).await?;
        // Counted by how it stands: this task may have recorded it before, and died.
        if self.payment(flow.read()?.1.order_id).await?.stage == Stage::RefundFailed {
            log::count("refunds", ("outcome", "failed"), 1);
        }
        Ok(recorded)
    }

    /// Tells how it ended. A repetition finds the payment past it, and is content.
    async fn record(&self, flow: &Flow, message: impl FnOnce(Try) -> Message) -> Result<Value, TaskError> {
        let (cause, PaymentCompensationRequested { order_id, generation, .. }) = flow.read()?;
        self.tell(order_id, &message(Try { order_id, generation }), &cause).await
    }

    async fn tell(&self, order_id: OrderId, message: &Message, cause: &Cause) -> Result<Value, TaskError> {
        let (pk, subject) = (partition(order_id), order_id.to_string());
        let applied = apply::<Payments<P>, S>(&self.ports, (&pk, &subject), message, cause).await?;
        Ok(match applied {
            Ok(after) => json!({"recorded": true, "stage": after.state.stage}),
            Err(refusal) => json!({"recorded": false, "reason": refusal.to_string()}),
        })
    }

    /// Asks for it again. Where it ended already and orders does not know, it is said again how.
    async fn retry(&self, order_id: OrderId) -> Result<Value, TaskError> {
        let cause = Cause::request(self.ports.ids.fresh(), self.ports.ids.fresh(), None);
        let mut answer = self.tell(order_id, &Message::Retried(order_id), &cause).await?;
        let stage = self.payment(order_id).await?.stage;
        if matches!(stage, Stage::Refunded | Stage::Voided) {
            let word = word::<Payments<P>, S>(&self.ports.store, &partition(order_id)).await?;
            self.bus.publish(word.as_slice()).await?;
            answer["told_again"] = json!(word.map(|word| word.metadata.kind));
        }
        Ok(answer)
    }
}

fn partition(order_id: OrderId) -> String {
    format!("order#{order_id}")
}
