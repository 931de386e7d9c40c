//! What the state machine of `infra/statemachines/payment-compensation.asl.json` does with a request to undo a charge.

use super::World;
use crate::bench::Flow;
use chassis::task::{Task, TaskError};
use chassis::{Failure, Verdict};
use events::Envelope;
use serde_json::{Value, json};

/// How often the state machine tries a refused refund again.
const RETRIES: u64 = 3;
/// More rounds than the compensator allows.
const MAX_ROUNDS: usize = 100;

impl World {
    /// One task of the flow.
    pub async fn task(&self, task: &str, event: &Value) -> Result<Value, TaskError> {
        self.attempt(task, event, 0).await
    }

    async fn attempt(&self, task: &str, event: &Value, attempt: u64) -> Result<Value, TaskError> {
        let input = json!({"task": task, "event": event, "attempt": attempt});
        self.compensator().run(serde_json::from_value(input).unwrap()).await
    }

    /// One execution. An error that the real one would retry ends it: the event comes again.
    pub(super) async fn flow(&self, envelope: &Envelope) -> Result<Verdict, Failure> {
        let mut flow = Flow::default();
        let ended = self.execute(envelope, &mut flow).await;
        flow.succeeded = ended.is_ok();
        self.flows.lock().unwrap().entry(envelope.metadata.subject.clone()).or_default().push(flow);
        ended.map(|()| Verdict::Applied).map_err(|error| Failure::Transient(error.message))
    }

    async fn execute(&self, envelope: &Envelope, flow: &mut Flow) -> Result<(), TaskError> {
        let mut event = json!(envelope);
        for _ in 0..MAX_ROUNDS {
            event["charge"] = self.task("LookUpCharge", &event).await?;
            let last = match event["charge"]["status"].as_str() {
                Some("CAPTURED") => self.refund(&mut event, flow).await,
                Some("REFUNDED") => "RecordRefunded",
                Some("VOIDED") => "RecordVoided",
                _ => {
                    event["void"] = self.task("VoidAtProvider", &event).await?;
                    continue;
                }
            };
            return self.task(last, &event).await.map(drop);
        }
        panic!("no end after {MAX_ROUNDS} rounds: {event}");
    }

    /// Refunds, several times if need be; gives the task that records how that ended.
    async fn refund(&self, event: &mut Value, flow: &mut Flow) -> &'static str {
        for attempt in 0.. {
            let Err(error) = self.attempt("Refund", event, attempt).await else { break };
            if attempt == RETRIES {
                let cause = json!({"errorMessage": error.message}).to_string();
                event["escalation"] = json!({"error": error.name, "cause": cause});
                return "RecordRefundFailed";
            }
            flow.retried.push(error.name.to_owned());
        }
        "RecordRefunded"
    }
}
