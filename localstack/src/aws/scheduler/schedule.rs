//! EventBridge Scheduler: functions that are invoked at a rate, asynchronously.
//!
//! <https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html>

use crate::aws::lambda::AsynchronousEvents;
use crate::aws::lambda::asynchronous::Connections;
use crate::template::resources::{Model, Schedule as Declared};
use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

/// A schedule at work.
pub struct Schedule {
    period: Duration,
    events: AsynchronousEvents,
    input: Bytes,
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
    ensure!(number > 0, "{expression:?}: never is not a rate");
    Ok(Duration::from_secs(number.saturating_mul(seconds)))
}

/// Every schedule, ready to run.
///
/// # Errors
/// When a schedule's expression is not implemented, no template declares its target, or a role lacks a permission.
pub fn schedules(model: &Model, connections: &Connections<'_>) -> Result<Vec<Schedule>> {
    let schedule = |declared: &Declared| {
        let schedule = Schedule::new(declared, model, connections);
        schedule.with_context(|| format!("schedule {}", declared.name))
    };
    model.schedules.iter().map(schedule).collect()
}

impl Schedule {
    fn new(declared: &Declared, model: &Model, connections: &Connections<'_>) -> Result<Self> {
        let Connections { queues, iam, time_scale, .. } = *connections;
        let target = &declared.target;
        let events = AsynchronousEvents::of(&target.arn, model, connections)?;
        iam.require(&target.role_arn, &["lambda:InvokeFunction"], &target.arn)?;
        if let Some(dead) = &target.dead_letter_config {
            queues.by_arn(&dead.arn)?;
            iam.require(&target.role_arn, &["sqs:SendMessage"], &dead.arn)?;
        }
        Ok(Self {
            period: rate(&declared.schedule_expression)? / time_scale.max(1),
            events,
            input: target.input.clone().unwrap_or_else(|| "{}".into()).into(),
        })
    }

    /// Invokes the function once a period, for as long as the process lives.
    pub async fn run(self) {
        let schedule = Arc::new(self);
        let mut timer =
            tokio::time::interval_at(tokio::time::Instant::now() + schedule.period, schedule.period);
        timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            timer.tick().await;
            let schedule = Arc::clone(&schedule);
            tokio::spawn(async move { schedule.events.deliver(schedule.input.clone()).await });
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
