//! Asynchronous invocations: Lambda keeps each event, repeats what fails or is throttled, and sends what it gives up to
//! the function's dead-letter queue.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html>

use super::function::{Function, InvokeError};
use super::functions::Functions;
use crate::aws::iam::Iam;
use crate::aws::sqs::{Queue, Queues};
use crate::template::names;
use crate::template::resources::{EventInvokeConfig, Model};
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often a failed event is repeated: Lambda's default, which is the most.
const RETRIES: u32 = 2;
/// For how many seconds an event is kept: Lambda's default is the most.
const AGES: RangeInclusive<u32> = 60..=6 * 3600;
/// The pause after the first failure; after the second it is twice as long.
const PAUSE: Duration = Duration::from_secs(60);
/// The first pause after a throttle; each further one is twice as long.
const THROTTLED: Duration = Duration::from_secs(1);
const MAX_THROTTLED: Duration = Duration::from_secs(300);

/// The events of one function that nothing waits for.
pub struct AsynchronousEvents {
    function: Arc<Function>,
    retries: u32,
    age: Duration,
    dead_letters: Option<Arc<Queue>>,
    /// Divides the pauses.
    time_scale: u32,
}

/// What asynchronous events are connected to.
pub struct Connections<'a> {
    pub functions: &'a Functions,
    pub queues: &'a Queues,
    pub iam: &'a Iam,
    /// Divides all pauses.
    pub time_scale: u32,
}

/// The events of every function, by its name.
///
/// # Errors
/// As [`AsynchronousEvents::of`].
pub fn of_all(
    model: &Model,
    connections: &Connections<'_>,
) -> Result<BTreeMap<String, Arc<AsynchronousEvents>>> {
    let of = |function: &Arc<Function>| {
        let events = AsynchronousEvents::of(&names::function_arn(&function.name), model, connections)?;
        Ok((function.name.clone(), Arc::new(events)))
    };
    connections.functions.all().map(of).collect()
}

impl AsynchronousEvents {
    /// The events of a function, by its ARN.
    ///
    /// # Errors
    /// When no template declares the function or its dead-letter queue, its role may not send there, or its
    /// `EventInvokeConfig` is out of AWS's bounds.
    pub fn of(arn: &str, model: &Model, connections: &Connections<'_>) -> Result<Self> {
        let Connections { functions, queues, iam, time_scale } = *connections;
        let function = functions.get(arn)?;
        let declared = model.functions.iter().find(|declared| declared.function_name == function.name);
        let dead_letters = declared.and_then(|declared| declared.dead_letter_config.as_ref());
        let dead_letters = dead_letters.map(|config| {
            iam.require(&function.role, &["sqs:SendMessage"], &config.target_arn)?;
            queues.by_arn(&config.target_arn)
        });
        let is_meant = |config: &&EventInvokeConfig| names::last_part(&config.function_name) == function.name;
        let config = model.invoke_configs.iter().find(is_meant);
        let retries = config.and_then(|config| config.maximum_retry_attempts).unwrap_or(RETRIES);
        let age = config.and_then(|config| config.maximum_event_age_in_seconds).unwrap_or(*AGES.end());
        ensure!(retries <= RETRIES, "{}: MaximumRetryAttempts is 0 to {RETRIES}", function.name);
        ensure!(AGES.contains(&age), "{}: MaximumEventAgeInSeconds is {AGES:?}", function.name);
        let (dead_letters, age) = (dead_letters.transpose()?, Duration::from_secs(age.into()));
        Ok(Self { function, retries, age, dead_letters, time_scale: time_scale.max(1) })
    }

    /// Runs the function on an event, as often as it takes and is allowed.
    pub async fn deliver(&self, event: Bytes) {
        if let Err(reason) = self.attempt(&event).await {
            let name = &self.function.name;
            let Some(queue) = &self.dead_letters else {
                return tracing::warn!("function {name} gives up an event: {reason:#}");
            };
            let (id, to) = (queue.send(&String::from_utf8_lossy(&event)), &queue.name);
            tracing::warn!(
                "function {name} gives up an event: {reason:#}; it went to the dead-letter queue {to} as message {id}"
            );
        }
    }

    async fn attempt(&self, event: &Bytes) -> Result<()> {
        let (arrived, mut failed, mut throttled) = (Instant::now(), 0, THROTTLED);
        loop {
            let pause = match self.function.invoke(event.clone()).await {
                Ok(_) => return Ok(()),
                Err(error @ InvokeError::Throttled(_)) => {
                    let pause = throttled;
                    throttled = (throttled * 2).min(MAX_THROTTLED);
                    tracing::info!("{}: {error}; its event waits {pause:?}", self.function.name);
                    pause
                }
                Err(error) if failed == self.retries => {
                    return Err(error).context("it failed for the last time");
                }
                Err(error) => {
                    tracing::warn!("{} failed: {error}", self.function.name);
                    failed += 1;
                    PAUSE * failed
                }
            } / self.time_scale;
            ensure!(arrived.elapsed() + pause < self.age, "its event is older than {:?}", self.age);
            tokio::time::sleep(pause).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::lambda::{Account, Mode, Sandbox, Watchdog};
    use crate::faults::{Fault, Faults, Targets};
    use crate::support::journal::Journal;
    use crate::support::meter::Meter;
    use crate::support::storage::Storage;
    use serde_json::json;

    /// A function whose process ends before it does anything, and what kills it.
    fn broken(faults: &Faults) -> (Arc<Function>, Watchdog) {
        let declared = json!({
            "FunctionName": "f", "Runtime": "provided.al2023", "Code": "false", "Handler": "api", "Role": "r",
        });
        let declared = serde_json::from_value(declared).unwrap();
        let watchdog = Watchdog::start().unwrap();
        let sandbox = Sandbox {
            runtime_api: String::new(),
            endpoint: String::new(),
            binaries: "/bin".into(),
            logs: std::env::temp_dir(),
            mode: Mode::Classic,
            group: watchdog.group(),
            faults: faults.clone(),
            meter: Meter::default(),
        };
        let account = Account::new(1, &[]).unwrap();
        (Arc::new(Function::new(&declared, "key", &sandbox, &account).unwrap()), watchdog)
    }

    /// Guards: an event that fails is repeated as often as its function says, and then kept as a dead letter; a throttle is
    /// no try, and ends with the event's age. A function that cannot start is started twice for each try.
    #[tokio::test]
    async fn what_fails_is_repeated_as_declared() {
        for (retries, throttles, age, started) in [(0, 0, 60, 2), (2, 3, 60, 6), (0, 20, 3, 0)] {
            let faults = Faults::new(Targets { functions: ["f".into()].into(), ..Targets::default() });
            if throttles > 0 {
                faults.set(Fault::ThrottleFunction { function: None, times: throttles }).unwrap();
            }
            let (function, _watchdog) = broken(&faults);
            let supervised = tokio::spawn(Arc::clone(&function).supervise());
            let queue = serde_json::from_value(json!({"QueueName": "dlq"})).unwrap();
            let dead_letters = Arc::new(Queue::new(&queue, Journal::open(&Storage::memory()).unwrap().0));
            let events = AsynchronousEvents {
                function: Arc::clone(&function),
                retries,
                age: Duration::from_secs(age),
                dead_letters: Some(Arc::clone(&dead_letters)),
                time_scale: 1000,
            };
            events.deliver("{}".into()).await;
            assert_eq!((function.environments().0, dead_letters.depth().0), (started, 1), "{retries} {age}");
            supervised.abort();
        }
    }
}
