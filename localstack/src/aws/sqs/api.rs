//! SQS's calls, in JSON 1.0: what they have in common, and which there are.
//!
//! <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_Operations.html>

use super::service::Service;
use super::{
    batches_api as batches, made_api, messages_api as messages, moves_api as moves, queues_api as queues,
};
use crate::aws::protocol::Outcome;
use crate::aws::protocol::operations::{Operations, Run};
use crate::support::http::Response;
use hyper::header::HeaderValue;

pub static OPERATIONS: &Operations<Service> = &[
    ("CancelMessageMoveTask", Run::Now(moves::cancel)),
    ("ChangeMessageVisibility", Run::Now(messages::change_visibility)),
    ("ChangeMessageVisibilityBatch", Run::Now(batches::change_visibility)),
    ("CreateQueue", Run::Now(|sqs, call| made_api::create(&sqs.queues, &sqs.endpoint, call))),
    ("DeleteMessage", Run::Later(|sqs, call| Box::pin(messages::delete(sqs, call)))),
    ("DeleteMessageBatch", Run::Later(|sqs, call| Box::pin(batches::delete(sqs, call)))),
    ("DeleteQueue", Run::Now(|sqs, call| made_api::delete(&sqs.queues, &sqs.endpoint, call))),
    ("GetQueueAttributes", Run::Now(queues::attributes)),
    ("GetQueueUrl", Run::Now(queues::url)),
    ("ListDeadLetterSourceQueues", Run::Now(queues::list_sources)),
    ("ListMessageMoveTasks", Run::Now(moves::list)),
    ("ListQueueTags", Run::Now(queues::tags)),
    ("ListQueues", Run::Now(queues::list)),
    ("PurgeQueue", Run::Later(|sqs, call| Box::pin(queues::purge(sqs, call)))),
    ("ReceiveMessage", Run::Later(|sqs, call| Box::pin(messages::receive(sqs, call)))),
    ("SendMessage", Run::Later(|sqs, call| Box::pin(messages::send(sqs, call)))),
    ("SendMessageBatch", Run::Later(|sqs, call| Box::pin(batches::send(sqs, call)))),
    ("StartMessageMoveTask", Run::Now(moves::start)),
];

/// The codes that SQS's older protocol has for an error. A header names them, and SDKs read it first.
///
/// <https://smithy.io/2.0/aws/protocols/aws-query-protocol.html#aws-protocols-awsquerycompatible-trait>
fn older_code(code: &str) -> Option<&'static str> {
    const CODES: [(&str, &str); 11] = [
        ("BatchEntryIdsNotDistinct", "AWS.SimpleQueueService.BatchEntryIdsNotDistinct;Sender"),
        ("BatchRequestTooLong", "AWS.SimpleQueueService.BatchRequestTooLong;Sender"),
        ("EmptyBatchRequest", "AWS.SimpleQueueService.EmptyBatchRequest;Sender"),
        ("InvalidBatchEntryId", "AWS.SimpleQueueService.InvalidBatchEntryId;Sender"),
        ("MessageNotInflight", "AWS.SimpleQueueService.MessageNotInflight;Sender"),
        ("PurgeQueueInProgress", "AWS.SimpleQueueService.PurgeQueueInProgress;Sender"),
        ("QueueDeletedRecently", "AWS.SimpleQueueService.QueueDeletedRecently;Sender"),
        ("QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue;Sender"),
        ("QueueNameExists", "QueueAlreadyExists;Sender"),
        ("TooManyEntriesInBatchRequest", "AWS.SimpleQueueService.TooManyEntriesInBatchRequest;Sender"),
        ("UnsupportedOperation", "AWS.SimpleQueueService.UnsupportedOperation;Sender"),
    ];
    CODES.iter().find(|(newer, _)| *newer == code).map(|(_, older)| *older)
}

/// Names the older code of an error in its answer.
pub fn name_older_code(outcome: &Outcome, response: &mut Response) {
    if let Some(older) = outcome.as_ref().err().and_then(|error| older_code(error.code)) {
        response.headers_mut().insert("x-amzn-query-error", HeaderValue::from_static(older));
    }
}
