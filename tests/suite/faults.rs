//! What only the real platform can suffer: transactions throttled and left without an answer, functions killed, dead
//! letters. Every order still ends, and nothing happens twice. What the world suffers too is in `stories`.

use crate::bench::Bench;
use crate::platform::{Platform, options, redriven, run};
use crate::stories::market::every_order_ends_as_ever;
use localstack::faults::{Fault, When};
use operator::redrive::Meant;
use registry::SERVICES;
use serde_json::Value;
use std::time::{Duration, Instant};
use tests::client::order_of;

const TIMEOUT: Duration = Duration::from_secs(60);

/// A platform of its own, where this goes wrong.
async fn platform(name: &str, faults: Vec<Fault>) -> Platform {
    Platform::start(&localstack::stack::Options { faults, ..options(name) }).await.unwrap()
}

/// Guards: bounded retries under the same transaction token. Throttled transactions and lost answers change nothing.
#[test]
fn throttled_and_unanswered_transactions() {
    run(async {
        let payments = "test-quadrille-payments-reactor";
        let functions = SERVICES.iter().map(|service| format!("test-quadrille-{service}-reactor"));
        // Together fewer than a call has attempts: all of them may be one call's.
        let lost = functions.map(|function| {
            let times = if function == payments { 1 } else { 2 };
            Fault::LoseAnswer { function, times }
        });
        let throttle = Fault::Throttle { function: Some(payments.into()), times: 1 };
        let platform = platform("unanswered", lost.chain([throttle]).collect()).await;
        let market = every_order_ends_as_ever(&mut &platform, "throttled and unanswered").await;
        // Without the token the repeated transaction would find its own rows, and count as a second delivery; so would a row that is
        // put alone, if the store did not see that it is the very same.
        for expected in &market.orders {
            for service in SERVICES {
                let duplicates = (&platform).duplicates(service, &expected.order).await;
                assert_eq!(duplicates, 0, "{service}: {}", expected.order);
            }
        }
    });
}

/// Guards: decisions on what the rows say, and not on what an index lists. While replicas and indexes are behind, a sweep lists orders
/// that have ended meanwhile as due, and every order ends as ever.
#[test]
fn reads_that_are_behind() {
    run(async {
        let platform = platform("behind", Vec::new()).await;
        let (product, queue) = (platform.product(10).await, "test-quadrille-inventory-events".to_owned());
        let drop = Fault::Drop { queue: Some(queue), event: Some("order.created".into()), times: 1 };
        platform.stack.faults.set(drop).unwrap();
        let silent = platform.api.place(&order_of(&product, 1)).await.unwrap();
        (&platform).settle().await;
        platform.stack.faults.set(Fault::Lag { table: None, millis: 60_000 }).unwrap();
        let (status, _) = (&mut &platform).post("POST /orders/{id}/cancel", &silent, &Value::Null).await;
        assert_eq!(status, 202);
        assert_eq!(platform.api.ended(&silent, TIMEOUT).await.unwrap()["status"], "CANCELLED");
        (&platform).settle().await;
        assert_eq!((&mut &platform).sweep().await, 0, "reminded an order that has ended");
        every_order_ends_as_ever(&mut &platform, "behind").await;
        platform.check(&[(product, 10)], &[silent]).await;
    });
}

/// Guards: the committed intent, and the provider's idempotency key. Payments dies before and after each of its commits
/// of an order; it is charged once, and ends.
#[test]
fn payments_dies_at_each_of_its_commits() {
    run(async {
        let platform = platform("dying", Vec::new()).await;
        let product = platform.product(100).await;
        let mut ids = Vec::new();
        for nth in 1..=3 {
            for when in [When::Before, When::After] {
                let function = "test-quadrille-payments-reactor".to_owned();
                platform.stack.faults.set(Fault::Kill { function, when, nth }).unwrap();
                let id = platform.api.place(&order_of(&product, 1)).await.unwrap();
                let order = platform.api.ended(&id, TIMEOUT).await.unwrap();
                assert_eq!(order["status"], "FULFILLED", "killed {when:?} commit {nth}");
                assert_eq!(
                    platform.stack.faults.all(),
                    [Fault::Kill { function: "test-quadrille-payments-reactor".into(), when, nth: 0 }]
                );
                platform.stack.faults.clear();
                ids.push(id);
            }
        }
        let stock = [(product, 100)];
        platform.check(&stock, &ids).await;
    });
}

const DEAD_LETTERS: &str = "test-quadrille-payments-events-dlq";

/// Waits until payments has two dead letters: an order's reservation, which the provider failed, and a message that is no
/// event. Gives the order.
async fn two_dead_letters(platform: &Platform) -> String {
    let product = platform.product(10).await;
    platform.stack.faults.set(Fault::Provider { times: 8 }).unwrap();
    platform.stack.queues.get("test-quadrille-payments-events").unwrap().send("no event at all");
    let id = platform.api.place(&order_of(&product, 4)).await.unwrap();
    let deadline = Instant::now() + TIMEOUT;
    while depth(platform) != (2, 0) {
        assert!(Instant::now() < deadline, "{:?}", depth(platform));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    id
}

/// Dead letters that are visible, and those that are in flight.
fn depth(platform: &Platform) -> (usize, usize) {
    platform.stack.queues.get(DEAD_LETTERS).unwrap().depth()
}

/// The list has each dead letter with its reason and its order, and takes none out of its queue.
async fn check_list(platform: &Platform, id: &str) {
    let (stage, _) = platform.operated().await;
    let listed = stage.list(chrono::Utc::now()).await.unwrap();
    assert!(listed.len() == 2 && listed.iter().all(|one| one.queue == DEAD_LETTERS), "{listed:?}");
    let about = |what: &str| listed.iter().find(|one| one.what.as_deref() == Some(what)).unwrap();
    let event = about("inventory.reserved");
    assert!(event.subject.as_deref() == Some(id) && event.reason.starts_with("transient: "), "{listed:?}");
    assert!(
        about("message").reason.starts_with("poison: the body is not an EventBridge event"),
        "{listed:?}"
    );
    assert_eq!(depth(platform), (2, 0), "the list took something out of the queue");
}

/// Redriving handles the event again and leaves what is no event; redriving another order or queue does nothing.
async fn check_redrive(platform: &Platform, id: &str) {
    let (stage, bus) = platform.operated().await;
    let other = Some(uuid::Uuid::nil().to_string().parse().unwrap());
    assert_eq!(redriven(&stage, DEAD_LETTERS, other, &bus).await, []);
    let mut fates = redriven(&stage, DEAD_LETTERS, None, &bus).await;
    fates.sort_by_key(|fate| fate.what.clone());
    let [event, message] = fates.as_slice() else { panic!("{fates:?}") };
    assert_eq!((event.subject.as_deref(), event.fate.as_str(), event.is_well), (Some(id), "applied", true));
    assert!(message.fate.starts_with("stays, poison: ") && !message.is_well, "{message:?}");
    assert_eq!(platform.api.ended(id, TIMEOUT).await.unwrap()["status"], "FULFILLED");
    assert_eq!(depth(platform), (1, 0));
    let nowhere = Meant::Of("test-quadrille-nowhere-dlq".into(), None);
    let missing = stage.redrive(&nowhere, &bus, |_| {}).await.unwrap_err();
    assert!(missing.to_string().contains("no dead-letter queue test-quadrille-nowhere-dlq"));
}

/// Guards: dead letters. An event that a service could not handle lies there with its reason and its order, and an operator
/// sends it back; a message that no service can read fails alone and stays, with its reason.
#[test]
fn dead_letters_are_listed_sent_back_and_go_on() {
    run(async {
        let mut options = options("dead-letters");
        options.parameters.insert("CircuitOpenSeconds".into(), "3".into());
        let platform = Platform::start(&options).await.unwrap();
        let other = platform.product(10).await;
        let id = two_dead_letters(&platform).await;
        check_list(&platform, &id).await;
        // The circuit closes again after a while.
        tokio::time::sleep(Duration::from_secs(3)).await;
        check_redrive(&platform, &id).await;
        let after = platform.api.place(&order_of(&other, 1)).await.unwrap();
        assert_eq!(platform.api.ended(&after, TIMEOUT).await.unwrap()["status"], "FULFILLED");
    });
}
