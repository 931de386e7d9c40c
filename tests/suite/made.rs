//! Queues and rules that an operator makes while the platform runs: by the AWS SDK, as on AWS.

use crate::platform::{Platform, on_platform};
use aws_sdk_eventbridge::error::ProvideErrorMetadata;
use aws_sdk_eventbridge::types::Target;
use aws_sdk_sqs::types::QueueAttributeName::{MessageRetentionPeriod, Policy};
use serde_json::json;
use std::time::Duration;
use uuid::Uuid;

const BUS: &str = "test-quadrille";
const ACCOUNT: &str = "arn:aws:%:us-east-1:000000000000";

fn arn(service: &str, resource: &str) -> String {
    format!("{}:{resource}", ACCOUNT.replace('%', service))
}

fn target(queue: &str) -> Target {
    Target::builder().id("t").arn(arn("sqs", queue)).build().unwrap()
}

struct Clients {
    sqs: aws_sdk_sqs::Client,
    rules: aws_sdk_eventbridge::Client,
}

impl Clients {
    async fn of(platform: &Platform) -> Self {
        let sdk = platform.sdk().await;
        Self { sqs: aws_sdk_sqs::Client::new(&sdk), rules: aws_sdk_eventbridge::Client::new(&sdk) }
    }

    /// A queue with this policy, behind a rule of its name for every product that is listed.
    async fn behind_a_rule(&self, name: &str, policy: Option<String>) -> String {
        let made = self.sqs.create_queue().queue_name(name).attributes(MessageRetentionPeriod, "60");
        let made = policy.into_iter().fold(made, |made, policy| made.attributes(Policy, policy));
        let url = made.send().await.unwrap().queue_url.unwrap();
        let pattern = json!({"detail-type": ["product.listed"]}).to_string();
        self.rules.put_rule().event_bus_name(BUS).name(name).event_pattern(pattern).send().await.unwrap();
        self.rules.put_targets().event_bus_name(BUS).rule(name).targets(target(name)).send().await.unwrap();
        url
    }
}

fn name() -> String {
    format!("test-quadrille-made-{}", Uuid::new_v4())
}

/// Guards: a rule that was made delivers to a queue that was made, if that queue's policy lets this rule in; else the event
/// vanishes, as on AWS.
#[test]
fn a_made_rule_delivers_where_the_policy_lets_it() {
    on_platform(async |platform| {
        let clients = Clients::of(platform).await;
        let (open, closed) = (name(), name());
        let policy = |rule: &str| {
            json!({"Version": "2012-10-17", "Statement": [{
                "Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "sqs:SendMessage",
                "Resource": "*",
                "Condition": {"ArnEquals": {"aws:SourceArn": arn("events", &format!("rule/{BUS}/{rule}"))}},
            }]})
            .to_string()
        };
        let open_url = clients.behind_a_rule(&open, Some(policy(&open))).await;
        let closed_url = clients.behind_a_rule(&closed, Some(policy(&open))).await;
        let product = platform.product(1).await;
        let receive = clients.sqs.receive_message().queue_url(&open_url).max_number_of_messages(10);
        let received = receive.wait_time_seconds(10).send().await.unwrap();
        assert!(received.messages().iter().any(|message| message.body().unwrap().contains(&product)));
        platform.stack.settle(Duration::from_secs(20)).await.unwrap();
        let none = clients.sqs.receive_message().queue_url(&closed_url).send().await.unwrap();
        assert_eq!(none.messages().len(), 0);
        for (rule, url) in [(open, open_url), (closed, closed_url)] {
            let delete = || clients.rules.delete_rule().event_bus_name(BUS).name(&rule).send();
            assert_eq!(delete().await.unwrap_err().code(), Some("ValidationException"), "it has a target");
            let remove = clients.rules.remove_targets().event_bus_name(BUS).rule(&rule).ids("t").ids("u");
            assert_eq!(remove.send().await.unwrap().failed_entry_count(), 1);
            for _ in 0..2 {
                delete().await.unwrap();
            }
            clients.sqs.delete_queue().queue_url(url).send().await.unwrap();
        }
    });
}

/// Guards: what SQS and EventBridge refuse, and what the local stack does not implement.
#[test]
fn what_cannot_be_made_is_refused() {
    on_platform(async |platform| {
        let Clients { sqs, rules } = Clients::of(platform).await;
        let queue = name();
        let create = |name: &str, seconds: &str| {
            sqs.create_queue().queue_name(name).attributes(MessageRetentionPeriod, seconds).send()
        };
        let url = create(&queue, "60").await.unwrap().queue_url.unwrap();
        assert_eq!(create(&queue, "60").await.unwrap().queue_url.as_deref(), Some(url.as_str()));
        for (name, seconds, code) in [
            (queue.as_str(), "61", "QueueAlreadyExists"),
            ("short", "59", "InvalidAttributeValue"),
            ("a.b", "60", "InvalidParameterValue"),
            ("a.fifo", "60", "AWS.SimpleQueueService.UnsupportedOperation"),
            ("test-quadrille-orders-events", "60", "AWS.SimpleQueueService.UnsupportedOperation"),
        ] {
            assert_eq!(create(name, seconds).await.unwrap_err().code(), Some(code), "{name}");
        }
        let declared = url.replace(&queue, "test-quadrille-orders-events");
        let refused = sqs.delete_queue().queue_url(declared).send().await.unwrap_err();
        assert_eq!(refused.code(), Some("AWS.SimpleQueueService.UnsupportedOperation"));
        sqs.delete_queue().queue_url(&url).send().await.unwrap();
        assert_eq!(
            create(&queue, "60").await.unwrap_err().code(),
            Some("AWS.SimpleQueueService.QueueDeletedRecently")
        );
        assert_eq!(
            sqs.delete_queue().queue_url(&url).send().await.unwrap_err().code(),
            Some("AWS.SimpleQueueService.NonExistentQueue")
        );

        let put = |bus: &str, name: &str, pattern: &str| {
            rules.put_rule().event_bus_name(bus).name(name).event_pattern(pattern).send()
        };
        for (bus, name, pattern, code) in [
            (BUS, "made", "no pattern", "InvalidEventPatternException"),
            (BUS, "a rule", "{}", "ValidationException"),
            (BUS, "test-quadrille-orders-events", r#"{"source": ["x"]}"#, "ValidationException"),
            ("nowhere", "made", r#"{"source": ["x"]}"#, "ResourceNotFoundException"),
        ] {
            assert_eq!(put(bus, name, pattern).await.unwrap_err().code(), Some(code), "{name}");
        }
        let rule = name();
        put(BUS, &rule, r#"{"source": ["x"]}"#).await.unwrap();
        let aim = |rule: &str, queue: &str| {
            rules.put_targets().event_bus_name(BUS).rule(rule).targets(target(queue)).send()
        };
        let elsewhere = aim(&rule, "test-quadrille-orders-events").await.unwrap_err();
        assert_eq!(elsewhere.code(), Some("ValidationException"));
        let listed = rules.list_rules().event_bus_name(BUS).name_prefix(&rule).send().await.unwrap();
        assert_eq!(listed.rules()[0].event_pattern(), Some(r#"{"source":["x"]}"#));
        let page = rules.list_rules().event_bus_name(BUS).limit(2).send().await.unwrap();
        let next = rules.list_rules().event_bus_name(BUS).limit(2).next_token(page.next_token().unwrap());
        assert!(next.send().await.unwrap().rules()[0].name() > page.rules()[1].name());
        rules.delete_rule().event_bus_name(BUS).name(&rule).send().await.unwrap();
    });
}
