//! EventBridge Scheduler: functions that are invoked every so often, and nobody waits for their answer. An invocation
//! that fails is made twice more; then its input is in the function's dead-letter queue.
//!
//! <https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html>
//! <https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html>

use crate::aws::iam::Iam;
use crate::aws::lambda::{Function, Functions};
use crate::aws::sqs::{Queue, Queues};
use crate::template::resources::{Model, Schedule as Declared};
use anyhow::{Context, Result, bail};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

/// How often a failed invocation is made again.
const RETRIES: u32 = 2;
/// The pause before the first of them; the second waits twice as long.
const PAUSE: Duration = Duration::from_secs(60);

/// A schedule at work.
pub struct Schedule {
    every: Duration,
    pause: Duration,
    function: Arc<Function>,
    input: Bytes,
    dead_letters: Option<Arc<Queue>>,
}

/// `rate(1 minute)`, `rate(5 minutes)`, `rate(2 hours)`, `rate(1 day)`.
fn rate(expression: &str) -> Result<Duration> {
    let parts = expression.strip_prefix("rate(").and_then(|rest| rest.strip_suffix(')'));
    let (number, unit) = parts.and_then(|parts| parts.split_once(' ')).with_context(|| {
        format!("{expression:?}: only rate(N minutes|hours|days) is implemented by the local stack")
    })?;
    let seconds = match unit {
        "minute" | "minutes" => 60,
        "hour" | "hours" => 3600,
        "day" | "days" => 86_400,
        other => bail!("{expression:?}: there is no unit {other:?}"),
    };
    let number: u64 =
        number.parse().with_context(|| format!("{expression:?}: {number:?} is not a number"))?;
    anyhow::ensure!(number > 0, "{expression:?}: never is not a rate");
    Ok(Duration::from_secs(number.saturating_mul(seconds)))
}

/// Every schedule, ready to run; `hurry` divides all times.
///
/// # Errors
/// When a schedule's expression is not implemented, its target is not declared, or it may not do what it has to.
pub fn schedules(
    model: &Model,
    (functions, queues): (&Functions, &Queues),
    (iam, hurry): (&Iam, u32),
) -> Result<Vec<Schedule>> {
    let schedule = |declared: &Declared| -> Result<Schedule> {
        let target = &declared.target;
        let function = functions.get(&target.arn)?;
        iam.require(&target.role_arn, &["lambda:InvokeFunction"], &target.arn)?;
        if let Some(dead) = &target.dead_letter_config {
            queues.by_arn(&dead.arn)?;
            iam.require(&target.role_arn, &["sqs:SendMessage"], &dead.arn)?;
        }
        let declared_function = model.functions.iter().find(|one| one.function_name == function.name);
        let dead_letters = declared_function.and_then(|function| {
            let dead = function.dead_letter_config.as_ref()?;
            Some((&function.role, &dead.target_arn))
        });
        let dead_letters = dead_letters.map(|(role, queue)| {
            iam.require(role, &["sqs:SendMessage"], queue)?;
            queues.by_arn(queue)
        });
        Ok(Schedule {
            every: rate(&declared.schedule_expression)? / hurry.max(1),
            pause: PAUSE / hurry.max(1),
            function,
            input: target.input.clone().unwrap_or_else(|| "{}".into()).into(),
            dead_letters: dead_letters.transpose()?,
        })
    };
    let named =
        |declared: &Declared| schedule(declared).with_context(|| format!("schedule {}", declared.name));
    model.schedules.iter().map(named).collect()
}

impl Schedule {
    /// Invokes the function every so often, for as long as the process lives.
    pub async fn run(self) {
        let schedule = Arc::new(self);
        let mut timer =
            tokio::time::interval_at(tokio::time::Instant::now() + schedule.every, schedule.every);
        timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            timer.tick().await;
            let schedule = Arc::clone(&schedule);
            tokio::spawn(async move { schedule.invoke().await });
        }
    }

    async fn invoke(&self) {
        for retry in 0..=RETRIES {
            tokio::time::sleep(self.pause * retry).await;
            match self.function.invoke(self.input.clone()).await {
                Ok(_) => return,
                Err(error) => tracing::warn!("{} failed: {error}", self.function.name),
            }
        }
        if let Some(queue) = &self.dead_letters {
            queue.send(&String::from_utf8_lossy(&self.input));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_and_the_rest_is_refused() {
        assert_eq!(rate("rate(1 minute)").unwrap(), Duration::from_secs(60));
        assert_eq!(rate("rate(2 hours)").unwrap(), Duration::from_secs(7200));
        for other in
            ["cron(0 12 * * ? *)", "rate(0 minutes)", "rate(1)", "rate(x days)", "at(2026-01-01T00:00:00)"]
        {
            assert!(rate(other).is_err(), "{other}");
        }
    }
}
