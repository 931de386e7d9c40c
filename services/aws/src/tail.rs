//! The bus's events as they come: a queue and a rule of one's own, for as long as one looks.
//!
//! <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-resource-based.html>

use crate::sdk::refused;
use aws_config::SdkConfig;
use aws_sdk_eventbridge::types::Target;
use aws_sdk_sqs::types::QueueAttributeName;
use chassis::Failure;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use std::time::Duration;
use uuid::Uuid;

/// How long SQS keeps an event that nobody has looked at, in seconds: its least.
const RETENTION: &str = "60";
/// How long one may look. What is older was left over by a process that could not end well.
pub const LONGEST: Duration = Duration::from_secs(12 * 3600);
const LEFT_OVER: TimeDelta = TimeDelta::hours(13);
/// The id of the rule's one target.
const TARGET: &str = "tail";

/// A queue with a rule, both of one name: `<stage>-quadrille-tail-<id>`; the id is a UUIDv7, whose time is that of its making.
pub struct Tail {
    queues: aws_sdk_sqs::Client,
    rules: aws_sdk_eventbridge::Client,
    bus: String,
    name: String,
    url: String,
}

impl Tail {
    /// Makes queue and rule on the bus of a stage, `<stage>-quadrille`.
    ///
    /// # Errors
    /// A [`Failure`] with AWS's own text; what was made before it is deleted.
    pub async fn start(config: &SdkConfig, bus: &str) -> Result<Self, Failure> {
        let (queues, rules) = (aws_sdk_sqs::Client::new(config), aws_sdk_eventbridge::Client::new(config));
        let name = format!("{bus}-tail-{}", Uuid::now_v7());
        let mut tail = Self { queues, rules, bus: bus.to_owned(), name, url: String::new() };
        match tail.make().await {
            Ok(()) => Ok(tail),
            Err(failure) => {
                // The first failure is the one to hear of.
                let _ = tail.end().await;
                Err(failure)
            }
        }
    }

    async fn make(&mut self) -> Result<(), Failure> {
        let bus = self.rules.describe_event_bus().name(&self.bus).send().await.map_err(|e| refused(&e))?;
        let bus = bus.arn.ok_or_else(|| Failure::Poison("the bus has no ARN".into()))?;
        let rule = format!("{}/{}", bus.replacen(":event-bus/", ":rule/", 1), self.name);
        let queue = queue_arn(&bus, &self.name).ok_or_else(|| Failure::Poison(format!("{bus} is no ARN")))?;
        let make = self.queues.create_queue().queue_name(&self.name);
        let make = make.attributes(QueueAttributeName::MessageRetentionPeriod, RETENTION);
        let make = make.attributes(QueueAttributeName::Policy, policy(&queue, &rule).to_string());
        self.url = make.send().await.map_err(|e| refused(&e))?.queue_url.unwrap_or_default();
        // Everything, replays too.
        let pattern = json!({"source": [{"prefix": "quadrille."}]}).to_string();
        let put = self.rules.put_rule().name(&self.name).event_bus_name(&self.bus).event_pattern(pattern);
        put.send().await.map_err(|e| refused(&e))?;
        let target = Target::builder().id(TARGET).arn(queue).build();
        let target = target.map_err(|e| Failure::Poison(e.to_string()))?;
        let put = self.rules.put_targets().rule(&self.name).event_bus_name(&self.bus).targets(target);
        put.send().await.map(drop).map_err(|e| refused(&e))
    }

    /// The bodies of the events that have come, after a second at most.
    ///
    /// # Errors
    /// A [`Failure`] with AWS's own text.
    pub async fn next(&self) -> Result<Vec<String>, Failure> {
        let receive = self.queues.receive_message().queue_url(&self.url).max_number_of_messages(10);
        let received = receive.wait_time_seconds(1).send().await.map_err(|e| refused(&e))?;
        let mut bodies = Vec::new();
        for message in received.messages.unwrap_or_default() {
            let receipt = message.receipt_handle.unwrap_or_default();
            let delete = self.queues.delete_message().queue_url(&self.url).receipt_handle(receipt);
            delete.send().await.map_err(|e| refused(&e))?;
            bodies.extend(message.body);
        }
        Ok(bodies)
    }

    /// Deletes rule and queue.
    ///
    /// # Errors
    /// A [`Failure`] with AWS's own text; a later [`Tail::sweep`] deletes what is left.
    pub async fn end(&self) -> Result<(), Failure> {
        let ended = remove_rule(&self.rules, &self.bus, &self.name).await;
        if !self.url.is_empty() {
            let delete = self.queues.delete_queue().queue_url(&self.url);
            delete.send().await.map_err(|e| refused(&e))?;
        }
        ended
    }

    /// Deletes what others left over: what is older than the longest look.
    ///
    /// # Errors
    /// A [`Failure`] with AWS's own text.
    pub async fn sweep(config: &SdkConfig, bus: &str, now: DateTime<Utc>) -> Result<(), Failure> {
        let (queues, rules) = (aws_sdk_sqs::Client::new(config), aws_sdk_eventbridge::Client::new(config));
        let prefix = format!("{bus}-tail-");
        let listed = rules.list_rules().event_bus_name(bus).name_prefix(&prefix).send().await;
        for rule in listed.map_err(|e| refused(&e))?.rules.unwrap_or_default() {
            let name = rule.name.unwrap_or_default();
            if is_left_over(&prefix, &name, now) {
                remove_rule(&rules, bus, &name).await?;
            }
        }
        let listed = queues.list_queues().queue_name_prefix(&prefix).send().await.map_err(|e| refused(&e))?;
        for url in listed.queue_urls.unwrap_or_default() {
            let name = url.rsplit('/').next().unwrap_or_default();
            if is_left_over(&prefix, name, now) {
                queues.delete_queue().queue_url(&url).send().await.map_err(|e| refused(&e))?;
            }
        }
        Ok(())
    }
}

async fn remove_rule(rules: &aws_sdk_eventbridge::Client, bus: &str, name: &str) -> Result<(), Failure> {
    // A rule without the target, or none at all, is what is wanted.
    let _ = rules.remove_targets().rule(name).event_bus_name(bus).ids(TARGET).send().await;
    let deleted = rules.delete_rule().name(name).event_bus_name(bus).send().await;
    deleted.map(drop).map_err(|e| refused(&e))
}

/// The ARN of a queue beside a bus: region and account are the same.
fn queue_arn(bus: &str, name: &str) -> Option<String> {
    let mut parts = bus.split(':');
    let (_, partition, _) = (parts.next()?, parts.next()?, parts.next()?);
    let (region, account) = (parts.next()?, parts.next()?);
    Some(format!("arn:{partition}:sqs:{region}:{account}:{name}"))
}

/// Lets EventBridge send to the queue for the rule.
fn policy(queue: &str, rule: &str) -> Value {
    json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow",
            "Principal": {"Service": "events.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": queue,
            "Condition": {"ArnEquals": {"aws:SourceArn": rule}},
        }],
    })
}

/// Whether a name is one of ours, and older than the longest look.
fn is_left_over(prefix: &str, name: &str, now: DateTime<Utc>) -> bool {
    let id = name.strip_prefix(prefix).and_then(|id| id.parse::<Uuid>().ok());
    let made = id.and_then(|id| id.get_timestamp()).and_then(|made| {
        let (seconds, nanos) = made.to_unix();
        DateTime::from_timestamp(i64::try_from(seconds).ok()?, nanos)
    });
    made.is_some_and(|made| now - made > LEFT_OVER)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: only what is ours, and older than the longest look, is deleted.
    #[test]
    fn what_is_younger_or_not_ours_stays() {
        let (prefix, id, now) = ("dev-quadrille-tail-", Uuid::now_v7(), Utc::now());
        let later = now + LEFT_OVER + TimeDelta::minutes(1);
        let name = format!("{prefix}{id}");
        assert!(is_left_over(prefix, &name, later) && !is_left_over(prefix, &name, now));
        for other in ["dev-quadrille-tail-x", "dev-quadrille-orders-events", &*id.to_string()] {
            assert!(!is_left_over(prefix, other, later), "{other}");
        }
        assert!(!is_left_over(prefix, &format!("{prefix}{}", Uuid::nil()), later));
    }

    #[test]
    fn a_queue_lies_beside_its_bus() {
        let arn = queue_arn("arn:aws-cn:events:cn-north-1:123456789012:event-bus/dev-quadrille", "q");
        assert_eq!(arn.as_deref(), Some("arn:aws-cn:sqs:cn-north-1:123456789012:q"));
    }
}
