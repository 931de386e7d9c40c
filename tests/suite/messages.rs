//! Messages reach a reader: what a shop's own mailer finds in its queue.

use crate::bench::Bench;
use crate::platform::{Platform, options, redriven, root, run};
use aws::sqs::{Queues, Received};
use contracts::Contracts;
use localstack::aws::sqs::Queue;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tests::client::order_of;

const QUEUE: &str = "test-quadrille-notifications-messages.fifo";
const DEAD: &str = "test-quadrille-notifications-messages-dlq.fifo";
/// Seconds: an ended order is reconciled two hours after its end.
const LONG_AFTER: u32 = 3 * 3600;

/// A platform of its own on which an order has been fulfilled, and the order.
async fn fulfilled(name: &str) -> (Platform, String) {
    let platform = Platform::start(&options(name)).await.unwrap();
    let product = platform.product(10).await;
    let order = platform.api.place(&order_of(&product, 1)).await.unwrap();
    assert_eq!((&platform).ended(&order).await["status"], "FULFILLED");
    (&platform).settle().await;
    (platform, order)
}

/// A mailer, as it would run on AWS: it knows the queue's name.
struct Mailer {
    queues: Queues,
    url: String,
}

impl Mailer {
    async fn of(platform: &Platform) -> Self {
        let queues = Queues::new(&platform.sdk().await);
        let url = queues.list(QUEUE).await.unwrap()[QUEUE].clone();
        Self { queues, url }
    }

    async fn receive(&self) -> Vec<Received> {
        self.queues.receive(&self.url).await.unwrap()
    }
}

fn body(message: &Received) -> Value {
    serde_json::from_str(&message.body).unwrap()
}

fn kinds(messages: &[Received]) -> Vec<String> {
    messages.iter().map(|message| body(message)["kind"].as_str().unwrap().to_owned()).collect()
}

fn queue(platform: &Platform, name: &str) -> Arc<Queue> {
    platform.stack.queues.get(name).unwrap()
}

/// Guards: a mailer gets each message, in the order of publication, in the shape that is promised; and an event that comes again
/// long after, when SNS and SQS have forgotten the first message about it, makes no second one.
#[test]
fn the_mailer_finds_each_message_once_and_in_turn() {
    run(async {
        let (platform, order) = fulfilled("mailer").await;
        let mailer = Mailer::of(&platform).await;
        let messages = mailer.receive().await;
        assert_eq!(kinds(&messages), ["ORDER_CONFIRMED", "ORDER_FULFILLED"]);
        let schema = (Contracts::of(&root()).message.schema)();
        let schema = jsonschema::options().should_validate_formats(true).build(&schema).unwrap();
        for message in &messages {
            let body = body(message);
            assert!(schema.is_valid(&body), "{body}");
            assert_eq!(
                (body["order_id"].as_str(), body["customer_id"].as_str()),
                (Some(&*order), Some("ada"))
            );
            assert_eq!(message.group.as_ref(), Some(&order));
        }
        let input = serde_json::json!({ "ahead_seconds": LONG_AFTER });
        let swept = platform.invoke("test-quadrille-orders-sweeper", &input).await;
        assert_eq!(swept["reconciled"], 1, "its events are published again");
        (&platform).settle().await;
        let published = platform.stack.topics.published("test-quadrille-notifications.fifo").unwrap();
        let times: Vec<u32> = published.iter().map(|message| 1 + message.repeats).collect();
        assert_eq!(times, [1, 1], "notifications itself publishes once");
        for message in &messages {
            mailer.queues.delete(&mailer.url, message).await.unwrap();
        }
        assert_eq!(queue(&platform, QUEUE).depth(), (0, 0));
    });
}

/// Guards: a message that the mailer fails to send blocks its order for three tries only, is kept, is shown to an operator with
/// its order, and comes back from there even while the queue remembers its deduplication id.
#[test]
fn a_message_that_the_mailer_fails_is_kept_and_the_next_one_comes() {
    run(async {
        let (platform, order) = fulfilled("failing-mailer").await;
        let messages = queue(&platform, QUEUE);
        let kind = async || {
            let received = messages.receive_for(1, Duration::ZERO).await.remove(0);
            let body: Value = serde_json::from_str(&received.message.body).unwrap();
            body["kind"].as_str().unwrap().to_owned()
        };
        for _ in 0..3 {
            assert_eq!(kind().await, "ORDER_CONFIRMED");
        }
        assert_eq!(kind().await, "ORDER_FULFILLED");
        assert_eq!(platform.dead_letters(), [(DEAD.to_owned(), 1)]);

        let (stage, bus) = platform.operated().await;
        let listed = stage.list(chrono::Utc::now()).await.unwrap();
        let [one] = listed.as_slice() else { panic!("{listed:?}") };
        assert_eq!((one.queue.as_str(), one.subject.as_deref()), (DEAD, Some(order.as_str())));
        assert!(one.reason.starts_with("a message to a customer"), "{one:?}");
        let fates = redriven(&stage, DEAD, Some(order.parse().unwrap()), &bus).await;
        let [one] = fates.as_slice() else { panic!("{fates:?}") };
        assert_eq!((one.fate.as_str(), one.is_well), ("in the queue for the mailer", true));
        assert_eq!(platform.dead_letters(), []);
        let mailer = Mailer::of(&platform).await;
        assert_eq!(kinds(&mailer.receive().await), ["ORDER_FULFILLED", "ORDER_CONFIRMED"]);
    });
}
