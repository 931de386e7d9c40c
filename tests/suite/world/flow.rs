//! The state machine of `infra/statemachines/payment-compensation.asl.json`, run by the local stack's own interpreter: its tasks
//! are the compensator's, and its pauses move the world's clock.

use super::machine::{LONG, Sleeping};
use super::{FLOW, World};
use crate::bench::Flow;
use chassis::ports::Clock;
use chassis::task::Task;
use chassis::{Failure, Verdict};
use chrono::TimeDelta;
use events::Envelope;
use localstack::aws::stepfunctions::interpreter::{Next, Pause, TaskFailure};
use localstack::aws::stepfunctions::{Execution, Status};
use serde_json::{Value, json};

impl World {
    /// One task of the flow.
    pub async fn task(&self, payload: Value) -> Result<Value, TaskFailure> {
        let done = self.compensator().run(serde_json::from_value(payload).unwrap()).await;
        done.map_err(|error| {
            // What is only not there yet is no failure in the log.
            assert_eq!(error.is_wait, ["StillPending", "StillStands"].contains(&error.name), "{error:?}");
            let text = json!({"errorType": error.name, "errorMessage": error.message}).to_string();
            TaskFailure::reported(&text)
        })
    }

    /// Starts an execution; it runs until it ends or sleeps.
    pub(super) async fn flow(&self, envelope: &Envelope) -> Result<Verdict, Failure> {
        let known = self.flows.lock().unwrap().get(&envelope.metadata.subject).map_or(0, Vec::len);
        let id = format!("{}-{known}", envelope.metadata.subject);
        self.execute(Execution::new(id, FLOW, &self.machine.start_at, json!(envelope))).await;
        Ok(Verdict::Applied)
    }

    /// Wakes every execution whose pause is over.
    pub async fn wake(&mut self) {
        let now = self.clock.now();
        let due = |sleeping: &Sleeping| sleeping.until <= now;
        let awake: Vec<Sleeping> = self.sleeping.lock().unwrap().extract_if(.., |one| due(one)).collect();
        for Sleeping { execution, .. } in awake {
            self.execute(execution).await;
        }
        self.publish();
    }

    /// How many executions sleep.
    pub fn asleep(&self) -> usize {
        self.sleeping.lock().unwrap().len()
    }

    async fn execute(&self, mut execution: Execution) {
        while execution.status == Status::Running {
            let pause = self.step_of(&mut execution).await;
            let length = TimeDelta::from_std(pause.length).unwrap();
            if pause.length > LONG {
                self.note(&execution);
                let until = self.clock.now() + length;
                return self.sleeping.lock().unwrap().push(Sleeping { until, execution });
            }
            self.advance(length.num_seconds());
        }
        self.note(&execution);
    }

    async fn step_of(&self, execution: &mut Execution) -> Pause {
        match self.machine.next(execution, self.clock.now()).unwrap() {
            Next::Wait(pause) => pause,
            Next::Invoke { payload, .. } => {
                let answer = self.task(payload).await;
                self.machine.answer(execution, answer, self.clock.now()).unwrap()
            }
        }
    }

    fn note(&self, execution: &Execution) {
        let subject = execution.input["metadata"]["subject"].as_str().unwrap();
        let mut flows = self.flows.lock().unwrap();
        let of_order = flows.entry(subject.to_owned()).or_default();
        of_order.retain(|(id, _)| *id != execution.id);
        of_order.push((execution.id.clone(), Flow::of(execution)));
    }
}
