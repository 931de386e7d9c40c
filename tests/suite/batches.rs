//! A batch: each record parsed on its own, failures reported one by one, one subject in order.

use crate::envelopes::envelope;
use crate::platform::run;
use aws::queue;
use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use chassis::{EventHandler, Failure, Verdict};
use events::Envelope;
use serde_json::json;
use std::sync::Mutex;
use std::time::Duration;
use tokio::time::Instant;

/// How long the function has for a batch.
const TIME: Duration = Duration::from_millis(300);

#[derive(Default)]
struct Recorder(Mutex<Vec<(String, u64)>>);

impl EventHandler for Recorder {
    const SERVICE: &'static str = "recorder";

    async fn handle(&self, envelope: &Envelope) -> Result<Verdict, Failure> {
        let (subject, seq) = (envelope.metadata.subject.clone(), envelope.metadata.seq);
        // The first of a subject takes longest: only waiting for it keeps the order.
        tokio::time::sleep(Duration::from_millis(10_u64.saturating_sub(seq * 3))).await;
        self.0.lock().unwrap().push((subject.clone(), seq));
        if subject == "stuck" {
            std::future::pending::<()>().await;
        }
        if subject == "bad" { Err(Failure::Transient("try again".into())) } else { Ok(Verdict::Applied) }
    }
}

fn message(id: &str, body: String) -> SqsMessage {
    let mut message = SqsMessage::default();
    message.message_id = Some(id.to_owned());
    message.body = Some(body);
    message
}

fn event(id: &str, subject: &str, seq: u64) -> SqsMessage {
    let mut envelope = envelope("order.created", 1, "orders", json!({}));
    envelope.metadata.subject = subject.to_owned();
    envelope.metadata.seq = seq;
    message(id, json!({ "detail": envelope }).to_string())
}

fn handle(records: Vec<SqsMessage>) -> (Vec<String>, Vec<(String, u64)>) {
    let mut event = SqsEvent::default();
    event.records = records;
    let recorder = Recorder::default();
    let response = run(async { queue::handle(&recorder, event, Instant::now() + TIME).await });
    let SqsBatchResponse { batch_item_failures, .. } = response;
    let failed = batch_item_failures.into_iter().map(|failure| failure.item_identifier).collect();
    (failed, recorder.0.into_inner().unwrap())
}

/// Guards: one bad body does not fail its neighbours, and a failed one is not acknowledged.
#[test]
fn a_bad_record_fails_alone() {
    let poison = [
        "not json".to_owned(),
        json!({"detail": {"metadata": {}}}).to_string(),
        json!({"other": 1}).to_string(),
    ];
    let mut records = vec![event("good-1", "a", 1)];
    records.extend(poison.into_iter().enumerate().map(|(n, body)| message(&format!("poison-{n}"), body)));
    records.extend([event("failing", "bad", 1), event("good-2", "b", 1)]);
    let (mut failed, taken) = handle(records);
    failed.sort();
    assert_eq!(failed, ["failing", "poison-0", "poison-1", "poison-2"]);
    assert_eq!(taken.len(), 3);
}

#[test]
fn records_of_one_subject_are_taken_in_order() {
    let records = vec![event("1", "a", 1), event("2", "b", 1), event("3", "a", 2), event("4", "a", 3)];
    let (failed, taken) = handle(records);
    assert!(failed.is_empty());
    let of_a: Vec<u64> = taken.iter().filter(|(subject, _)| subject == "a").map(|(_, seq)| *seq).collect();
    assert_eq!(of_a, [1, 2, 3]);
}

/// Guards: a record that is never done with fails before Lambda stops the function, with those of its subject that come after
/// it; the others are done.
#[test]
fn a_record_that_hangs_fails_alone_and_in_time() {
    let records = vec![event("1", "stuck", 1), event("2", "stuck", 2), event("3", "a", 1)];
    let (mut failed, taken) = handle(records);
    failed.sort();
    assert_eq!(failed, ["1", "2"]);
    assert!(taken.contains(&("a".to_owned(), 1)) && !taken.contains(&("stuck".to_owned(), 3)));
}
