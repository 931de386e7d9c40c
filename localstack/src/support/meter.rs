//! What AWS would bill, counted where it happens. A stack that is not metered counts nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// EventBridge, pipes and SQS bill each started piece of this size.
///
/// <https://aws.amazon.com/eventbridge/pricing/>, <https://aws.amazon.com/sqs/pricing/>
const PIECE_BYTES: usize = 64 * 1024;

/// What is counted. The names are those of the price file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unit {
    /// Halves of a write request unit of DynamoDB.
    WriteHalves,
    /// Halves of a read request unit: an eventually consistent read of 4 KiB.
    ReadHalves,
    /// Batches that entered a pipe, after its filter.
    PipeRequests,
    /// Events that were put on a bus.
    Events,
    ArchiveBytes,
    /// Calls of standard queues: messages sent, batches received, batches deleted.
    QueueRequests,
    FifoRequests,
    TopicPublishes,
    TopicBytes,
    /// State transitions, retries included.
    Transitions,
    Invocations,
    /// Memory times duration, MiB times milliseconds.
    MebibyteMillis,
    ApiRequests,
    LogBytes,
    SecretReads,
    /// Calls of AWS's API, by service and operation. What they do is billed, and not they.
    Calls,
    /// Rows that calls ask DynamoDB to write, by table.
    RowsWritten,
}

impl Unit {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WriteHalves => "dynamodb.write_halves",
            Self::ReadHalves => "dynamodb.read_halves",
            Self::PipeRequests => "pipes.requests",
            Self::Events => "events.put",
            Self::ArchiveBytes => "events.archive_bytes",
            Self::QueueRequests => "sqs.requests",
            Self::FifoRequests => "sqs.fifo_requests",
            Self::TopicPublishes => "sns.fifo_publishes",
            Self::TopicBytes => "sns.fifo_bytes",
            Self::Transitions => "states.transitions",
            Self::Invocations => "lambda.invocations",
            Self::MebibyteMillis => "lambda.mebibyte_millis",
            Self::ApiRequests => "apigateway.requests",
            Self::LogBytes => "logs.bytes",
            Self::SecretReads => "secretsmanager.reads",
            Self::Calls => "aws.calls",
            Self::RowsWritten => "dynamodb.rows",
        }
    }
}

/// How much of a unit, by the table, queue or function that it was for.
pub type Counts = BTreeMap<(Unit, String), u64>;

/// A meter. Clones share it.
#[derive(Clone, Default)]
pub struct Meter(Option<Arc<Mutex<Counts>>>);

impl Meter {
    #[must_use]
    pub fn new(is_on: bool) -> Self {
        Self(is_on.then(Arc::default))
    }

    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.0.is_some()
    }

    pub fn count(&self, unit: Unit, place: &str, amount: u64) {
        if let Some(counts) = &self.0 {
            let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
            let count = counts.entry((unit, place.to_owned())).or_default();
            *count = count.saturating_add(amount);
        }
    }

    /// Counts something that is billed for each started piece of 64 KiB.
    pub fn count_pieces(&self, unit: Unit, place: &str, bytes: usize) {
        self.count(unit, place, length(bytes.div_ceil(PIECE_BYTES).max(1)));
    }

    pub fn count_bytes(&self, unit: Unit, place: &str, bytes: usize) {
        self.count(unit, place, length(bytes));
    }

    /// Everything counted so far; none for a stack that is not metered.
    #[must_use]
    pub fn counts(&self) -> Option<Counts> {
        self.0.as_ref().map(|counts| counts.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

fn length(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_counted_when_they_are_begun() {
        let meter = Meter::new(true);
        for bytes in [0, 1, PIECE_BYTES, PIECE_BYTES + 1] {
            meter.count_pieces(Unit::Events, "bus", bytes);
        }
        assert_eq!(meter.counts().unwrap()[&(Unit::Events, "bus".into())], 5);
        assert!(Meter::new(false).counts().is_none());
    }
}
